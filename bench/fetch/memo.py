"""SHA-256 of files on disk, remembered, so that planning does not read gigabytes of weights again and again.

One tiny file per remembered path: writers never share one, nothing is merged, and a lost entry only costs time.
This is a convenience for the cache folder, not a defence against somebody who can write to it.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from bench import files, paths
from bench.identity import file_hash

_VERSION = 1


def digest(path: Path) -> str:
    """Hex SHA-256 of a file, from the memo while its size and times are the same. Raises `OSError`."""
    stamp = _stamp(path)
    known = _recall(path, stamp)
    if known is not None:
        return known
    found = file_hash(path)
    # A file that changed while it was read is not remembered: the stamp would vouch for bytes nobody hashed.
    if _stamp(path) == stamp:
        _store(path, stamp, found)
    return found


def remember(path: Path, sha256: str) -> None:
    """Note the hash of a file that was hashed while it was written."""
    _store(path, _stamp(path), sha256)


def _stamp(path: Path) -> list[int]:
    # The change time joins size and modification time because a copy can preserve those two, but never this one.
    status = path.stat()
    return [_VERSION, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _entry(path: Path) -> Path:
    name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:32]
    return paths.home() / "digests" / f"{name}.json"


def _recall(path: Path, stamp: list[int]) -> str | None:
    try:
        found = json.loads(_entry(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or found.get("stamp") != stamp or found.get("path") != str(path.absolute()):
        return None
    known = found.get("sha256")
    return known if isinstance(known, str) and len(known) == 64 else None


def _store(path: Path, stamp: list[int], sha256: str) -> None:
    entry = {"path": str(path.absolute()), "stamp": stamp, "sha256": sha256}
    with suppress(OSError):  # a read-only or full cache only loses the memo
        files.write(_entry(path), json.dumps(entry).encode())
