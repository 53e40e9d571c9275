"""Metrics held against people: a run's columns against the votes on its outputs, any metric against a set of opinions.

Published sets are read as they are published: TID2013's `mos_with_names.txt`, KADID-10k's `dmos.csv`, PIPAL's lines of
name and score, and any CSV with a column of images and one of scores.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench import files, folder_scores
from bench.data.decimal_text import decimal
from bench.data.images import FileSource
from bench.data.items import Dataset, Item
from bench.errors import BenchError, ItemError, one_line
from bench.metrics.outcome import SCORED
from bench.metrics.people import Asked
from bench.results import voted, votes
from bench.results.view import Cell, RunView
from bench.results.voted import Judged, Owner
from bench.tables.agreement import Agreement, Opinions, Preferences, agree

# Compared in lower case, without what is no letter: KonIQ-10k has image_name and MOS, SPAQ "Image name".
_IMAGE = ("distimg", "image", "img", "imagename", "imgname", "name", "filename", "file", "distorted")
_REFERENCE = ("refimg", "reference", "ref", "original")
_SCORE = ("mos", "dmos", "score", "elo", "rating", "opinion")
_KINDS = {"mos": "ratings", "bt": "pairs", "rank": "rankings"}


# A run and its votes


def of_run(data: RunView, results: Path, *, logistic: bool = False, study: str = "") -> list[Agreement]:
    """Every metric with a value per image, on every dataset and design that has votes. Raises `BenchError`."""
    kept = votes.sessions(results)
    found: list[Agreement] = []
    for dataset in data.record.datasets:
        labels = [method.label for method in data.record.methods if method.is_for(dataset.label)]
        of = voted.owners(dataset, data.units, labels)
        cells = [cell for cell in data.cells if cell.dataset == dataset.label]
        names = [c for c in dataset.columns if not c.is_set and c.voted is None and c.given is None]
        for kind, shown in _KINDS.items():
            judged = voted.judged(kept, of, Asked(kind, study=study))
            if kind != "mos":
                judged = [one for one in judged if len({owner.method for owner, _, _ in one.owners}) > 1]
            if not judged:
                continue
            outputs = sorted({owner for one in judged for owner, _, _ in one.owners})
            try:
                people = _opinions(kind, judged, outputs)
            except ItemError as error:
                raise BenchError(f"{dataset.label}: {error}") from None
            for column in names:
                values = _values([one for one in cells if one.column.label == column.label], outputs, dataset.items)
                if np.isfinite(values).sum() < 2:
                    continue
                turned = values if column.higher_is_better else -values
                found.append(
                    agree(dataset.label, shown, column.label, column.signature, turned, people, logistic=logistic)
                )
    return found


def _values(cells: Sequence[Cell], outputs: Sequence[Owner], items: Sequence[str]) -> np.ndarray:
    """Of each output the value of the item's first repeat, which is what a study shows, not the mean of all."""
    known = {
        (cell.method, score.item): score.value
        for cell in cells for score in cell.scores
        if score.repeat == 0 and score.status in SCORED and score.value is not None
    }  # fmt: skip
    found = [known.get((one.method, items[one.position]), math.nan) for one in outputs]
    return np.array(found, dtype=float)


def _opinions(kind: str, judged: Sequence[Judged], outputs: Sequence[Owner]) -> Opinions:
    scenes = np.array([one.position for one in outputs])
    place = {owner: n for n, owner in enumerate(outputs)}
    if kind == "mos":
        given = voted.opinions(judged, Asked("mos"))
        return Opinions(np.array([given[one] for one in outputs]), scenes, None, within=False)
    better, worse = [], []
    total, count = np.zeros(len(outputs)), np.zeros(len(outputs))
    for order in voted.orders(judged) if kind == "rank" else map(_order, judged):
        for one, rank in order.items():
            for other, behind in order.items():
                if one.position == other.position and one != other:
                    total[place[one]] += (rank < behind) + 0.5 * (rank == behind)
                    count[place[one]] += 1
                    if rank < behind:
                        better.append(place[one])
                        worse.append(place[other])
    shares = np.divide(total, count, out=np.full(len(outputs), np.nan), where=count > 0)
    pairs = Preferences(np.array(better, dtype=int), np.array(worse, dtype=int), np.ones(len(better)))
    return Opinions(shares, scenes, pairs, within=True)


def _order(one: Judged) -> dict[Owner, float]:
    return {owner: -value for owner, value, _ in one.owners}


# A set of opinions on disk


class Opinion(NamedTuple):
    """One line of a set."""

    image: str
    reference: str
    """Empty where the set does not name it."""
    score: float


def read_opinions(file: Path) -> list[Opinion]:
    """Raises `BenchError` with the line of the first that is none."""
    try:
        text = files.read_text(file, encoding="utf-8-sig")
        rows, mark = _rows(text)
    except OSError as error:
        raise BenchError(f"{file}: cannot be read: {one_line(error.strerror or error)}") from None
    except csv.Error as error:
        raise BenchError(f"{file}: no CSV: {one_line(error)}") from None
    if not rows:
        raise BenchError(f"{file}: is empty")
    header = [re.sub("[^a-z]", "", cell.lower()) for cell in rows[0][1]]
    image, score = (next((header.index(name) for name in names if name in header), None) for names in (_IMAGE, _SCORE))
    if image is not None and score is not None:
        reference = next((header.index(name) for name in _REFERENCE if name in header), None)
        rows = rows[1:]
    else:
        image, score, reference = _headless(file, rows[0][1], mark)
    found: dict[str, Opinion] = {}
    for number, cells in rows:
        width = max(image, score, reference or 0)
        if len(cells) <= width:
            raise BenchError(f"{file}:{number}: {len(cells)} columns, at least {width + 1} are needed")
        try:
            value = decimal(_point(cells[score], mark))
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise BenchError(f"{file}:{number}: {one_line(cells[score], 40)!r} is no score")
        name = cells[image]
        if not name or name in found:
            raise BenchError(
                f"{file}:{number}: {'an image is named twice: ' + one_line(name, 60) if name else 'no image'}"
            )
        found[name] = Opinion(name, cells[reference] if reference is not None else "", value)
    return list(found.values())


def _rows(text: str) -> tuple[list[tuple[int, list[str]]], str]:
    """(number of its line and cells, of each row; what separates cells, empty for blanks). Raises `csv.Error`."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    unquoted = re.sub(r'"[^"]*"', "", first)
    # Where commas are decimal, spreadsheets write semicolons or tabs: so these are looked for first.
    mark = next((one for one in (";", "\t", ",") if one in unquoted), "")
    if not mark:
        return [(number, line.split()) for number, line in enumerate(text.splitlines(), 1) if line.strip()], mark
    reader = csv.reader(io.StringIO(text), delimiter=mark, strict=True)
    rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    return [row for row in rows if any(row[1])], mark


def _point(number: str, mark: str) -> str:
    """A number with a decimal point. A comma is one only where it does not separate cells."""
    return number.replace(",", ".") if mark != "," and re.fullmatch(r"[-+]?\d+,\d+", number) else number


def _headless(file: Path, cells: Sequence[str], mark: str) -> tuple[int, int, None]:
    """Columns of a list without names: one is a number, the other an image's name."""
    numbers = [bool(re.fullmatch(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?", _point(cell, mark))) for cell in cells]
    if len(cells) == 2 and sum(numbers) == 1:
        return numbers.index(False), numbers.index(True), None
    raise BenchError(
        f"{file}:1: neither a line of names (image, image_name … and mos, score …), nor an image and its score"
    )


def of_opinions(
    file: Path, images: Path, references: Path | None, metrics: Sequence[str], *, lower: bool = False,
    protocol: str | None = None, device: str = "cpu", logistic: bool = False,
) -> list[Agreement]:  # fmt: skip
    """Score the images of a set and hold the values against its opinions. `lower`: a lower score is a better image.

    Raises `BenchError`.
    """
    asked = folder_scores.ask(list(metrics), protocol)
    opinions = read_opinions(file)
    placed = _by_name(images)
    originals = {} if references is None else _by_name(references)
    items, scenes = [], []
    for one in opinions:
        path = _only(placed.get(_plain(one.image)), one.image)
        if path is None:
            raise BenchError(f"{images}: no {one_line(one.image, 80)}, of which {file} has an opinion")
        origin = _original(one, originals)
        if references is not None and origin is None:
            raise BenchError(f"{references}: no reference of {one_line(one.image, 80)}")
        items.append(Item(one.image, FileSource(path), None if origin is None else FileSource(origin)))
        scenes.append(str(origin) if origin is not None else one.reference or one.image)
    rows = list(
        folder_scores.run(asked, Dataset(file.stem, tuple(items), paired=references is not None), device=device)
    )
    numbers = np.unique(scenes, return_inverse=True)[1]
    scores = np.array([one.score for one in opinions]) * (-1 if lower else 1)
    people = Opinions(scores, numbers, None, within=False)
    found = []
    for each in asked:
        if each.metric.kind.of_sets:
            continue
        given = {row["item"]: row for row in rows if row["signature"] == each.signature}
        values = np.array([_value(given.get(one.image)) for one in opinions])
        turned = values if each.metric.higher_is_better else -values
        found.append(agree(file.stem, "published", each.label, each.signature, turned, people, logistic=logistic))
    return found


def _value(row: Mapping[str, object] | None) -> float:
    value = None if row is None or row.get("status") not in SCORED else row.get("value")
    return float(value) if isinstance(value, int | float) else math.nan


def _by_name(folder: Path) -> dict[str, list[Path]]:
    """Files by their name and by their path in the folder, in lower case."""
    if not folder.is_dir():
        raise BenchError(f"{folder}: no such folder")
    by_path: dict[str, list[Path]] = {}
    by_name: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            by_path.setdefault(_plain(str(file.relative_to(folder))), []).append(file)
            by_name.setdefault(_plain(file.name), []).append(file)
    return {**by_name, **by_path}


def _plain(name: str) -> str:
    """Sets were published from systems for which I01.BMP and i01.bmp are one file."""
    return name.replace("\\", "/").lower()


def _only(found: Sequence[Path] | None, name: str) -> Path | None:
    """Raises `BenchError` for a name that several files have, of which any could be meant."""
    if found and len(found) > 1:
        raise BenchError(f"{one_line(name, 80)} is {found[0]} and {found[1]}: name it with its folder")
    return found[0] if found else None


def _original(one: Opinion, originals: Mapping[str, Sequence[Path]]) -> Path | None:
    """By the name that the set gives, else by the longest stem that the image's name begins with (I01_08_3: I01)."""
    if one.reference:
        return _only(originals.get(_plain(one.reference)), one.reference)
    stem = Path(_plain(one.image)).stem
    fits = [
        (len(Path(name).stem), path) for name, each in originals.items() for path in each
        if re.match(re.escape(Path(name).stem) + r"([^0-9a-z]|$)", stem)
    ]  # fmt: skip
    return max(fits)[1] if fits else None
