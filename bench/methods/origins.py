"""What a command is made of, as far as it can be told without running it: its repository, its interpreter, its files.

Two states that differ here may make different images, so each of these enters a command's identity.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from bench.errors import BenchError, one_line
from bench.fetch import memo

_PACKAGES = """
import os, sys
found = {n for p in sys.path if os.path.isdir(p) for n in os.listdir(p) if n.endswith((".dist-info", ".egg-info"))}
print("\\n".join([sys.version] + sorted(found)))
"""
"""Names and versions of what is installed, in words that every Python since 2.7 understands."""


def checkout(where: str, repo: Path) -> dict[str, str]:
    """The commit of a clone and the hash of what differs from it: tracked files, and Python files nobody tracks.

    Other untracked files (weights, results) do not count: those that matter are declared. Raises `BenchError` where
    `repo` is not the top of a git clone.
    """
    top = Path(_git(where, repo, "rev-parse", "--show-toplevel").decode(errors="surrogateescape").rstrip("\n"))
    if top.resolve() != repo.resolve():
        raise BenchError(f"{where}: {repo} is not the top folder of a git clone (that is {top})")
    commit = _git(where, repo, "rev-parse", "HEAD").decode().strip()
    diff = hashlib.sha256(
        _git(where, repo, "diff", "HEAD", "--binary", "--full-index", "--no-ext-diff", "--no-textconv", "--no-color")
    )
    strange = _git(where, repo, "ls-files", "--others", "--exclude-standard", "-z", "--", "*.py")
    for name in sorted(filter(None, strange.split(b"\0"))):
        path = repo / os.fsdecode(name)
        if path.is_file():
            diff.update(b"\0" + name + b"\0" + path.read_bytes())
    return {"commit": commit, "diff": diff.hexdigest()}


def _git(where: str, repo: Path, *arguments: str) -> bytes:
    # Variables such as GIT_DIR would point git at another repository, and a monitor is a program of the repository's.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(repo), "-c", "core.fsmonitor=false", *arguments],  # noqa: S607
            capture_output=True, timeout=60, check=True, env={**environment, "GIT_OPTIONAL_LOCKS": "0"},
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        said = one_line(error.stderr.decode("utf-8", "replace"), 160)
        raise BenchError(f"{where}: {repo} must be a git clone, whose commit stands for its code: {said}") from error
    except (OSError, subprocess.SubprocessError) as error:
        raise BenchError(f"{where}: git cannot say which commit {repo} is at: {one_line(error, 160)}") from error
    return done.stdout


def interpreter(where: str, python: Path, environment: Mapping[str, str]) -> str:
    """Hash of a Python's version and of the packages installed for it. Raises `BenchError` where it does not run."""
    try:
        done = subprocess.run(
            [str(python), "-c", _PACKAGES], capture_output=True, timeout=60, check=True, env=dict(environment),
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise BenchError(f"{where}: the Python {python} cannot be run: {one_line(error, 160)}") from error
    return hashlib.sha256(done.stdout).hexdigest()


def content(where: str, path: Path) -> str:
    """SHA-256 of a file, or of the names and hashes of all files in a folder. Raises `BenchError`."""
    try:
        if not path.is_dir():
            return memo.digest(path)
        inside = sorted(file for file in path.rglob("*") if file.is_file())
        lines = [f"{file.relative_to(path).as_posix()} {memo.digest(file)}\n" for file in inside]
    except OSError as error:
        raise BenchError(f"{where}: {path} cannot be read: {error.strerror or error}") from error
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
