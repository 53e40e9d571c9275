"""Hashes that this user has accepted for files whose publisher gives none: `pins.json` in the cache folder.

A pin is trust on first use: it cannot say that the first copy was right, only that the file never changes after it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from bench import paths
from bench.errors import BenchError
from bench.fetch.memo import write_atomically

_SHA256 = re.compile(r"[0-9a-f]{64}")


def location() -> Path:
    return paths.home() / "pins.json"


def pinned(file: str) -> str | None:
    """The accepted hex SHA-256 of a file below the cache folder, or None."""
    return _read().get(file)


def accept(file: str, sha256: str) -> None:
    """Accept a hash for a file, safely beside other processes that accept theirs. Raises `BenchError`, `OSError`."""
    from filelock import FileLock

    location().parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{location()}.lock", timeout=60):
        merged = {**_read(), file: sha256}
        write_atomically(location(), json.dumps(merged, indent=1, sort_keys=True) + "\n")


def _read() -> Mapping[str, str]:
    try:
        found = json.loads(location().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BenchError(f"{location()} cannot be read ({error}): repair it, or delete it and pin again") from error
    if not isinstance(found, dict) or not all(isinstance(v, str) and _SHA256.fullmatch(v) for v in found.values()):
        raise BenchError(f"{location()} is not a mapping of files to SHA-256: repair it, or delete it and pin again")
    return found
