"""Where things lie on disk: the cache of fetched files, the results folder, the suites and tables that ship.

Pure look-ups: nothing here creates, downloads or opens anything.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from bench.errors import BenchError

_PACKAGE = Path(__file__).resolve().parent


def home() -> Path:
    """The cache of fetched weights and data: `BENCH_HOME`, else the platform's user cache folder."""
    override = os.environ.get("BENCH_HOME")
    return Path(override).expanduser() if override else Path(platformdirs.user_cache_dir("iqpir-bench"))


def results(folder: str | os.PathLike[str] | None = None) -> Path:
    """The results folder: the argument, else `BENCH_RESULTS`, else `./results`."""
    chosen = os.fspath(folder or os.environ.get("BENCH_RESULTS") or "results")
    if "\0" in chosen:
        raise BenchError(f"the results folder {chosen!r} has a null byte, which no name can hold")
    return Path(chosen)


def catalog() -> Path:
    """The folder of YAML entries that ship with the package."""
    return _PACKAGE / "catalog"


def shipped(name: str) -> Path:
    """A folder of the repository (`suites`, `results/published`) as the wheel carries it, or as a checkout has it."""
    packed = _PACKAGE / {"suites": "_suites", "results/published": "_published"}[name]
    return packed if packed.is_dir() else _PACKAGE.parent / name


def find(path: str | os.PathLike[str], base: Path | None) -> Path:
    """A path as a suite writes it: absolute, else below the working directory, else below the suite file's folder.

    A path that exists in neither place is returned below the working directory, for the message that will say so.
    `path` may be a glob pattern; then its fixed leading folder decides. Raises `BenchError` for an empty one, by which
    nobody means the working directory.
    """
    if not os.fspath(path):
        raise BenchError("a path is empty: name a folder or a file ('.' is the working directory)")
    given = Path(path).expanduser()
    if given.is_absolute() or base is None:
        return given if given.is_absolute() else Path.cwd() / given
    fixed = fixed_part(given)
    if not (Path.cwd() / fixed).exists() and (base / fixed).exists():
        return base / given
    return Path.cwd() / given


def fixed_part(pattern: Path) -> Path:
    """The leading folders of a glob pattern that hold no wildcard."""
    kept: list[str] = []
    for part in pattern.parts:
        if any(sign in part for sign in "*?["):
            break
        kept.append(part)
    return Path(*kept)
