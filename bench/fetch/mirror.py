"""The same file from a folder instead of a server, for machines without a network.

A mirror may be laid out like the cache, described by a MANIFEST.csv, or be any heap of files: what a file is, is
decided by its hash. Nothing outside the folder is read, whatever its manifest or its links say.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

from bench.errors import BenchError, one_line
from bench.fetch.assets import Asset
from bench.fetch.part import FetchError, Part, WrongContentError
from bench.identity import file_hash

MANIFEST = "MANIFEST.csv"


def take(part: Part, folder: Path) -> Path:
    """Copy the part's asset from a mirror, place it verified, and return which file it was.

    Raises `FetchError` that says what was looked at and why it would not do.
    """
    refused: list[str] = []
    for candidate in _candidates(part, folder, refused):
        if (size := candidate.stat().st_size) > part.limit:
            refused.append(f"{_below(candidate, folder)}: {size} bytes, more than {part.limit}")
            continue
        try:
            part.copy(candidate)
            part.place()
            return candidate
        except WrongContentError as error:
            refused.append(f"{_below(candidate, folder)}: {error}")
    why = f" ({'; '.join(refused[:3])})" if refused else ""
    raise FetchError(f"{part.asset.file} is not in {folder}{why}")


def check_folder(folder: Path) -> Path:
    """The mirror as an existing folder, or a `BenchError`."""
    if not folder.is_dir():
        raise BenchError(f"--mirror {folder} is not a folder")
    return folder


def _candidates(part: Part, folder: Path, refused: list[str]) -> Iterator[Path]:
    """Files that may be the asset: at its own path, by the manifest, then by size and hash anywhere below."""
    asset, expected = part.asset, part.expected
    tried: set[Path] = set()
    for candidate in _named(asset, expected, folder, refused):
        real = _inside(candidate, folder)
        if real is None:
            if candidate.is_symlink() or candidate.exists():
                refused.append(f"{_below(candidate, folder)} leads out of the folder")
        elif real.is_file() and real not in tried:
            tried.add(real)
            yield real
    if expected is None or asset.bytes is None:
        return  # nothing to know a nameless file by, short of hashing everything
    for candidate in _of_size(folder, asset.bytes):
        real = _inside(candidate, folder)
        if real is not None and real not in tried:
            tried.add(real)
            try:
                if file_hash(real) == expected:
                    yield real
            except OSError as error:
                refused.append(f"{_below(real, folder)} cannot be read: {error.strerror or one_line(error)}")


def _named(asset: Asset, expected: str | None, folder: Path, refused: list[str]) -> Iterator[Path]:
    yield folder / asset.file
    manifest = folder / MANIFEST
    known = expected or asset.prefix
    if known is None or _inside(manifest, folder) is None or not manifest.is_file():
        return
    try:
        with open(manifest, newline="", encoding="utf-8-sig", errors="replace") as file:
            rows = csv.DictReader(file)
            for row in rows:
                if not (row.get("sha256") or "").strip().lower().startswith(known):
                    continue
                name = row.get("file") or ""
                # Also refuse names that only another system would read as absolute or as leaving the folder.
                windows = PureWindowsPath(name)
                if not name or "\0" in name or windows.drive or windows.root or ".." in windows.parts:
                    refused.append(f"{MANIFEST}:{rows.line_num} names {one_line(name, 80)!r}, outside the folder")
                else:
                    yield folder / name
    except (OSError, csv.Error) as error:
        refused.append(f"{MANIFEST} cannot be read: {one_line(error, 120)}")


def _of_size(folder: Path, size: int) -> Iterator[Path]:
    """Regular files of that size below the folder, in a stable order; linked folders are not entered."""
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(parent, name)
            try:
                if path.is_file() and path.stat().st_size == size:
                    yield path
            except OSError:  # vanished, or may not be looked at: then it is not what we look for
                continue


def _inside(path: Path, folder: Path) -> Path | None:
    """The real path behind a name, or None where it lies outside the folder or is a loop of links."""
    try:
        real = path.resolve()
        return real if real.is_relative_to(folder.resolve()) else None
    except (OSError, RuntimeError):
        return None


def _below(path: Path, folder: Path) -> str:
    try:
        return one_line(str(path.relative_to(folder)), 100)
    except ValueError:
        return one_line(path.name, 100)
