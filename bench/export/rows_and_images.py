"""A run for other tools: rows as CSV, JSON or parquet, outputs as a folder tree."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import shutil
import unicodedata
from pathlib import Path
from typing import NamedTuple

from bench import files
from bench.errors import BenchError
from bench.results import artefacts, csv_text, view

_LONGEST = 255
_HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors after which no other file can be written either."""
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')


class Laid(NamedTuple):
    """How many outputs were laid out, and how many could not be."""

    written: int
    missing: int
    """Failed, or not worked on yet."""
    gone: int
    """Made and scored, but their files were deleted since."""
    refused: str = ""
    """Why the first file that could not be written was not; empty where all could."""
    unwritten: int = 0

    def line(self, target: Path, suite: str) -> str:
        """For a person, with the remedy of what is missing."""
        told = f"{self.written} images in {target}"
        if self.missing:
            told += f", {self.missing} not there (bench table {suite} says why)"
        if self.gone:
            told += f", {self.gone} not there because their files were deleted (bench run {suite} makes them again)"
        if self.unwritten:
            told += f", {self.unwritten} not written: {self.refused}"
        return told

    @property
    def complete(self) -> bool:
        return not (self.missing or self.gone or self.unwritten)


def fitting(part: str, ending: str = "") -> str:
    """A name of at most 255 bytes, the most that file systems take; a longer one is cut and told apart by its hash."""
    if len(os.fsencode(part + ending)) <= _LONGEST:
        return part + ending
    mark = "~" + hashlib.sha256(os.fsencode(part)).hexdigest()[:8] + ending
    kept = part
    while len(os.fsencode(kept + mark)) > _LONGEST:
        kept = kept[:-1]
    return kept + mark


def safe_name(text: str, ending: str = "") -> str:
    """A label or item id, and what follows it, as a relative path that stays below its folder on every system."""
    *folders, name = _safe_parts(text)
    return "/".join([*map(fitting, folders), fitting(name, ending)])


def _safe_parts(text: str) -> list[str]:
    parts = [_UNSAFE.sub("_", part).strip() for part in unicodedata.normalize("NFC", text).split("/")]
    return ["_" * len(part) if set(part) <= {"."} else part for part in parts if part] or ["_"]


def images(data: view.RunView, results: Path, target: Path) -> Laid:
    """Copy every output to `target/DATASET/METHOD/ITEM.png` (`ITEM#2.png` for a further repeat).

    All names are settled before the first copy, so that a clash leaves nothing half done; each file appears whole or
    not at all, and one that cannot be written does not keep the others back. Raises `BenchError` for a clash, and
    where nothing more can be written.
    """
    outputs, missing = _outputs(data, results, target)
    written = gone = unwritten = 0
    refused = ""
    for destination, source in outputs.items():
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
            copied = _copied(source, destination)
            written, gone = written + copied, gone + (not copied)
        except OSError as error:
            reason = f"{destination}: {error.strerror or error}"
            if error.errno in _HOPELESS:
                raise BenchError(f"{reason} ({written} images were written before)") from error
            refused, unwritten = refused or reason, unwritten + 1
    return Laid(written, missing, gone, refused, unwritten)


def _outputs(data: view.RunView, results: Path, target: Path) -> tuple[dict[Path, Path], int]:
    """Where every output goes and where it lies, and how many units have none."""
    missing = 0
    found: dict[Path, Path] = {}
    for (dataset, method), units in data.units.items():
        folder = target / one_folder(dataset) / one_folder(method)
        for unit in units:
            row = unit.row
            if row is None or row.output_hash is None or row.suffix is None:
                missing += 1
                continue
            source = artefacts.path(results, row.output_hash, row.suffix)
            destination = folder / safe_name(unit.item, (f"#{unit.repeat + 1}" if unit.repeat else "") + source.suffix)
            if destination in found:
                raise BenchError(f"two items would be written to {destination}: give datasets and methods other labels")
            found[destination] = source
    return found, missing


def one_folder(label: str, ending: str = "") -> str:
    """A label, and what follows it, as one name."""
    return fitting("_".join(_safe_parts(label)), ending)


def _copied(source: Path, destination: Path) -> bool:
    """Copy a file in one step; False where the source is not there."""
    try:
        with files.replacing(destination) as temporary:
            shutil.copyfile(source, temporary)
    except FileNotFoundError:
        if source.exists():
            raise
        return False
    return True


def text(data: view.RunView, style: str) -> str:
    """All rows of a run as CSV or strict JSON; a value that is not finite is empty with its status."""
    found = [{**row, "value": row["value"] if row["status"] == "ok" else None} for row in view.rows(data)]
    if style == "json":
        return json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return csv_text.of_records(view.COLUMNS, found)


def write(data: view.RunView, style: str, target: Path) -> None:
    """The same rows into a file, which appears whole or not at all.

    Parquet holds what `bench.load_results` returns: types as documented, infinities as they are.
    """
    if style == "parquet":
        buffer = io.BytesIO()
        view.to_frame(view.rows(data)).to_parquet(buffer, engine="pyarrow", index=False)
        files.put(target, buffer.getvalue())
    else:
        files.put(target, text(data, style).encode("utf-8"))
