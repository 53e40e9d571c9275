"""The removal of what no run names: rows of the store, and files of outputs.

What goes is decided and deleted under one lease, which nobody gets while a run or an export is under way, and during
which none begins.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from bench.errors import BenchError, one_line
from bench.results import artefacts
from bench.results.leases import Lease
from bench.results.store import Store

_CHECKED = 100
"""After so many files the lease is looked at again: who was asleep for long may have lost it."""


class Freed(NamedTuple):
    """What a collection deleted, or would."""

    runs: int
    rows: int
    files: int
    bytes: int


class _Undone(Exception):
    """Takes a transaction back that only counted."""


def collect(store: Store, results: Path, keep: int | None, *, dry_run: bool) -> Freed:
    """Drop old runs (`keep` newest per suite stay), then every row and file that no run names.

    Raises `BenchError` while a run or an export is under way.
    """
    with Lease(store, "gc") as lease:
        rows, needed, doomed = 0, set[bytes](), list[int]()
        try:
            with store.transaction():
                lease.check()
                doomed = _doomed(store, keep)
                rows, needed = store.sweep(doomed)
                if dry_run:
                    raise _Undone
        except _Undone:
            pass
        files, size = _sweep_files(results, {output.hex() for output in needed}, lease, dry_run)
    return Freed(len(doomed), rows, files, size)


def _doomed(store: Store, keep: int | None) -> list[int]:
    doomed: list[int] = []
    seen: dict[str, int] = {}
    for row in store.runs() if keep is not None else ():
        seen[row.suite] = seen.get(row.suite, 0) + 1
        if keep is not None and seen[row.suite] > keep:
            doomed.append(row.id)
    return doomed


def _sweep_files(results: Path, names: set[str], lease: Lease, dry_run: bool) -> tuple[int, int]:
    """(files, bytes) of outputs that nobody needs, and of what a killed run left half written."""
    files = size = 0
    try:
        for file in (results / artefacts.FOLDER).glob("*/*"):
            if not file.is_file() or (file.stem in names and not file.name.startswith(".part-")):
                continue
            if files % _CHECKED == 0:
                lease.check()
            files += 1
            size += file.stat().st_size
            if not dry_run:
                file.unlink()
    except OSError as error:
        raise BenchError(f"{results / artefacts.FOLDER}: {one_line(error)}; {files} files were deleted") from error
    return files, size
