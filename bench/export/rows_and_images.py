"""A run for other tools: rows as CSV, JSON or parquet, outputs as a folder tree."""

from __future__ import annotations

import errno
import itertools
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bench import files
from bench.errors import BenchError
from bench.export.names import NamedOutput, laid_out, write_table
from bench.results import artefacts, csv_text, view

_GROUP = 50_000
"""Rows of a group of a parquet file, which are in memory at once."""
_HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors after which no other file can be written either."""


class Laid(NamedTuple):
    """How many outputs were laid out, and how many could not be."""

    written: int
    missing: int
    """Failed, or not worked on yet."""
    gone: int
    """Made and scored, but their files were deleted since."""
    unkept: int = 0
    """Scored by a run that did not keep them."""
    refused: str = ""
    """Why the first file that could not be written was not; empty where all could."""
    unwritten: int = 0
    others: int = 0
    """Files that lie beside these, in the folders of their methods: of an earlier export, or somebody's."""

    def line(self, target: Path, suite: str) -> str:
        """For a person, with the remedy of what is missing."""
        told = f"{self.written} images in {target}"
        if self.missing:
            told += f", {self.missing} not there (bench table {suite} says why)"
        if self.gone:
            told += f", {self.gone} not there because their files were deleted (bench run {suite} makes them again)"
        if self.unkept:
            told += f", {self.unkept} not kept by the run (bench run {suite} --fresh makes them again)"
        if self.unwritten:
            told += f", {self.unwritten} not written: {self.refused}"
        if self.others:
            told += f"; {self.others} other files lie beside them: export into a new folder before folders are scored"
        return told

    @property
    def complete(self) -> bool:
        return not (self.missing or self.gone or self.unkept or self.unwritten)


def images(data: view.RunView, results: Path, target: Path) -> Laid:
    """Copy every output to `target/DATASET/METHOD/ITEM.png` (`ITEM#2.png` for a further repeat).

    No two outputs have one name, and those that could not keep their own are told by `names.NAMES`; each file appears
    whole or not at all, and one that cannot be written does not keep the others back. Raises `BenchError` where
    nothing more can be written.
    """
    outputs, missing, unkept = _outputs(data, results)
    suffixes = [source.suffix for source in outputs.values()]
    names = laid_out(list(outputs), suffixes)
    write_table(target, dict(zip(names, outputs, strict=True)), dict(zip(names, suffixes, strict=True)))
    written = gone = unwritten = 0
    refused, others = "", _beside(target, names)
    for name, source in zip(names, outputs.values(), strict=True):
        destination = target / name
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
            copied = _copied(source, destination)
            written, gone = written + copied, gone + (not copied)
        except OSError as error:
            reason = f"{destination}: {error.strerror or error}"
            if error.errno in _HOPELESS:
                raise BenchError(f"{reason} ({written} images were written before)") from error
            refused, unwritten = refused or reason, unwritten + 1
    return Laid(written, missing, gone, unkept, refused, unwritten, others)


def _beside(target: Path, names: Iterable[str]) -> int:
    """How many files the folders of these outputs hold that are none of them."""
    own = {target / name for name in names}
    folders = {each.parent for each in own}
    there = (path for folder in folders if folder.is_dir() for path in folder.iterdir())
    return sum(path not in own and path.is_file() for path in there)


def _outputs(data: view.RunView, results: Path) -> tuple[dict[NamedOutput, Path], int, int]:
    """Where every output lies, how many units have none, and of how many it was not kept."""
    missing = unkept = 0
    found: dict[NamedOutput, Path] = {}
    for (dataset, method), units in data.units.items():
        for unit in units:
            row = unit.row
            if row is None or row.output_hash is None:
                missing += 1
                continue
            if row.suffix is None:
                unkept += 1
                continue
            found[NamedOutput(dataset, method, unit.item, unit.repeat)] = artefacts.path(
                results, row.output_hash, row.suffix
            )
    return found, missing, unkept


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


Rows = Iterable[Mapping[str, Any]]
"""The long form of a run, as `bench.results.view` has it."""


def text(rows: Rows, style: str) -> Iterator[str]:
    """Rows as CSV or strict JSON, piece by piece; a value that is not finite is empty with its status."""
    shown = ({**row, "value": row["value"] if row["status"] == "ok" else None} for row in rows)
    if style == "json":
        return _json(shown)
    return csv_text.pieces(view.COLUMNS, ([row[column] for column in view.COLUMNS] for row in shown))


def _json(rows: Rows) -> Iterator[str]:
    """One array, laid out as `json.dumps` does it with an indent of one."""
    before = "["
    for row in rows:
        yield f"{before}\n " + json.dumps(row, indent=1, ensure_ascii=False, allow_nan=False).replace("\n", "\n ")
        before = ","
    yield "[]\n" if before == "[" else "\n]\n"


def write(rows: Rows, style: str, target: Path) -> None:
    """The same rows into a file, which appears whole or not at all.

    Parquet holds what `bench.load_results` returns: types as documented, infinities as they are.
    """
    files.write_for(target, partial(_write_parquet if style == "parquet" else _write_text, rows, style))


def _write_text(rows: Rows, style: str, target: Path) -> None:
    with target.open("w", encoding="utf-8", newline="") as stream:
        stream.writelines(text(rows, style))


def _write_parquet(rows: Rows, style: str, target: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    given = iter(rows)
    schema = pa.Table.from_pandas(view.to_frame(()), preserve_index=False).schema  # with what pandas reads its types by
    with pq.ParquetWriter(target, schema) as writer:
        while chunk := list(itertools.islice(given, _GROUP)):
            writer.write_table(pa.Table.from_pandas(view.to_frame(chunk), schema=schema, preserve_index=False))
