"""A run for other tools: rows as CSV, JSON or parquet, outputs as a folder tree; and the removal of left-overs."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import unicodedata
from pathlib import Path
from typing import NamedTuple

from bench import artefacts, csv_text
from bench.claims import Claims
from bench.errors import BenchError
from bench.store import Store
from bench.tables import frame

_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')


class Laid(NamedTuple):
    """How many outputs were laid out, and how many could not be."""

    written: int
    missing: int


class Freed(NamedTuple):
    """What a collection deleted."""

    runs: int
    rows: int
    files: int
    bytes: int


def safe_name(text: str) -> str:
    """A label or item id as a relative path that stays below its folder on every system."""
    parts = [_UNSAFE.sub("_", part).strip() for part in unicodedata.normalize("NFC", text).split("/")]
    kept = ["_" * len(part) if set(part) <= {"."} else part for part in parts if part]
    return "/".join(kept) or "_"


def images(store: Store, data: frame.RunData, results: Path, target: Path) -> Laid:
    """Copy every output to `target/DATASET/METHOD/ITEM.png` (`ITEM#2.png` for a further repeat)."""
    units = store.units(data.number)
    made = store.restorations_of(data.number)
    written = missing = 0
    taken: set[Path] = set()
    cells = [(dataset, method) for dataset in data.record.datasets for method in data.record.methods]
    for index, (dataset, method) in enumerate(cells):
        if dataset["label"] not in method.get("datasets", (dataset["label"],)):
            continue
        repeats = int(method["repeats"])
        folder = target / _one_folder(dataset["label"]) / _one_folder(method["label"])
        for position in range(len(dataset["items"]) * repeats):
            restoration, _ = units.get((index, position), (None, 0))
            row = made[restoration][1] if restoration is not None else None
            if row is None or row.output_hash is None or row.suffix is None:
                missing += 1
                continue
            source = artefacts.path(results, row.output_hash, row.suffix)
            if not source.is_file():
                missing += 1
                continue
            item, repeat = dataset["items"][position // repeats], position % repeats
            destination = folder / (safe_name(item) + (f"#{repeat + 1}" if repeat else "") + source.suffix)
            if destination in taken:
                raise BenchError(f"two items would be written to {destination}: give datasets and methods other labels")
            taken.add(destination)
            destination.parent.mkdir(parents=True, exist_ok=True)
            _copy(source, destination)
            written += 1
    return Laid(written, missing)


def _one_folder(label: str) -> str:
    return safe_name(label).replace("/", "_")


def _copy(source: Path, destination: Path) -> None:
    temporary = destination.with_name(f".{destination.name}.part")
    shutil.copyfile(source, temporary)
    temporary.replace(destination)


def text(data: frame.RunData, style: str) -> str:
    """All rows of a run as CSV or strict JSON; a value that is not finite is empty with its status."""
    found = [{**row, "value": row["value"] if row["status"] == "ok" else None} for row in frame.rows(data)]
    if style == "json":
        return json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return csv_text.of_records(frame.COLUMNS, found)


def write(data: frame.RunData, style: str, target: Path) -> None:
    """The same rows into a file, which appears whole or not at all.

    Parquet holds what `bench.load_results` returns: types as documented, infinities as they are.
    """
    if style == "parquet":
        buffer = io.BytesIO()
        frame.to_frame(frame.rows(data)).to_parquet(buffer, engine="pyarrow", index=False)
        put(target, buffer.getvalue())
    else:
        put(target, text(data, style).encode("utf-8"))


def put(target: Path, payload: bytes) -> None:
    """Write a file a user named, replacing it in one step. Raises `BenchError`."""
    temporary = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(payload)
        temporary.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise BenchError(f"{target}: cannot be written: {error.strerror or error}") from error


def collect(store: Store, results: Path, keep: int | None, *, dry_run: bool) -> Freed:
    """Drop old runs (`keep` newest per suite stay), then every row and file that no run names."""
    if Claims(store).busy():
        raise BenchError(f"a run is working on {store.path}: wait for it to end")
    doomed: list[int] = []
    if keep is not None:
        seen: dict[str, int] = {}
        for row in store.runs():
            seen[row.suite] = seen.get(row.suite, 0) + 1
            if seen[row.suite] > keep:
                doomed.append(row.id)
    rows, needed = store.sweep(doomed, dry_run=dry_run)
    names = {output.hex() for output in needed}
    files = size = 0
    for file in (results / artefacts.FOLDER).glob("*/*"):
        if file.is_file() and (file.stem not in names or file.name.startswith(".part-")):
            files += 1
            size += file.stat().st_size
            if not dry_run:
                file.unlink()
    return Freed(len(doomed), rows, files, size)
