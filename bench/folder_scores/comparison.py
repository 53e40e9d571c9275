"""Several folders of outputs against the same references, as a run's methods are: one row each, tested item by item.

What comes out is a `RunView` that no store has, so that it is printed and chosen from as a run is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench import paths
from bench.data.image_files import list_images
from bench.data.images import FileSource
from bench.data.items import Dataset
from bench.errors import BenchError, having, suggest
from bench.folder_scores import footnotes, missing, pairs, text
from bench.folder_scores.asked import Asked
from bench.folder_scores.scoring import Row, run
from bench.metrics.base import SetMetric
from bench.metrics.outcome import SCORED
from bench.planning.bind import BoundMetric
from bench.results import csv_text
from bench.results.record import Column, DatasetRecord, MethodRecord, RunRecord
from bench.results.view import Cell, ItemScore, RunView
from iqpir.errors import shown

_SIGNS = "*?["


class OutputFolder(NamedTuple):
    """Outputs of one method."""

    label: str
    path: str


class Scored(NamedTuple):
    """What became of one folder."""

    folder: OutputFolder
    dataset: Dataset
    rows: Sequence[Row]


def folders(restored: Sequence[str]) -> list[OutputFolder]:
    """The folders that a request compares; none where it names one set of images.

    One folder, file or pattern of files is a set of images. Several folders, or a pattern that only folders match, are
    compared. Raises `BenchError` for several files, which a shell makes of a pattern without quotes.
    """
    found: list[str] = []
    for name in restored:
        matched = _folders_of(name)
        if matched is None and len(restored) > 1 and paths.find(name, None).is_file():
            raise BenchError(
                f"{shown(name)} is one of {len(restored)} files: name their folder, or put the pattern into quotes, "
                "'outputs/mine/*.png'"
            )
        if matched is None and len(restored) > 1:
            list_images(name)  # says what is wrong with it
        found += [name] if matched is None else matched
    if len(found) == len(restored) == 1 and not any(sign in restored[0] for sign in _SIGNS):
        return []
    if len(restored) == 1 and _folders_of(restored[0]) is None:
        return []
    return [OutputFolder(*pair) for pair in zip(_labels(found), found, strict=True)]


def _folders_of(text: str) -> list[str] | None:
    """The folders that a pattern matches, or the one that it is; None for files and for patterns that files match."""
    if paths.find(text, None).is_dir():
        return [text]
    if not any(sign in text for sign in _SIGNS):
        return None
    place = Path(text).expanduser()
    start = paths.fixed_part(place)
    matched = sorted(start.glob(str(place.relative_to(start))))
    directories = [path for path in matched if path.is_dir() and not path.name.startswith(".")]
    files = [path for path in matched if path.is_file() and not path.name.startswith(".")]
    if not directories or (files and not text.endswith(("/", os.sep))):
        return None
    return [str(path) for path in directories]


def _labels(folders: Sequence[str]) -> list[str]:
    """The part of each path in which they differ: `a/LOL` and `b/LOL` are called a and b."""
    parts = [Path(folder).expanduser().resolve().parts for folder in folders]
    if len(set(parts)) != len(parts):
        double = next(folder for at, folder in enumerate(folders) if parts[at] in parts[:at])
        raise BenchError(f"{shown(double)} is named twice")
    while len({one[-1] for one in parts}) == 1 and len(parts) > 1:
        parts = [one[:-1] for one in parts]
    depth = 1
    while len({one[-depth:] for one in parts}) < len(parts):
        depth += 1
    return [shown("/".join(one[-depth:])) for one in parts]


def alone(restored: Sequence[str]) -> list[OutputFolder]:
    """One set of images as a comparison of one."""
    place = Path(restored[0]).expanduser()
    named = place if not any(sign in restored[0] for sign in _SIGNS) else paths.fixed_part(place)
    return [OutputFolder(shown(named.resolve().name), restored[0])]


def against(named: str | None, wanted: Sequence[OutputFolder]) -> str | None:
    """The label of the folder that others are to be tested against, named by it or as it was given.

    Raises `BenchError` where there is none.
    """
    labels = [folder.label for folder in wanted]
    found = next((folder.label for folder in wanted if named in (folder.label, folder.path)), None)
    if named is not None and found is None:
        raise BenchError(f"no folder {named!r} here{suggest(named, labels)} (they are {', '.join(labels)})")
    return found


def check_shared(datasets: Sequence[Dataset], labels: Sequence[str], base: str | None) -> None:
    """Raise `BenchError` where a folder has no image in common with the one that it is to be tested against."""
    names = dict(zip(labels, (set(those.values()) for those in _names(datasets)[0]), strict=True))
    for label, own in names.items():
        if base is not None and own and names[base] and not own & names[base]:
            raise BenchError(
                f"{label} and {base} have no image in common ({shown(min(own))}, {shown(min(names[base]))}): nothing "
                "can be tested; --id takes what their names share"
            )


def compare(
    asked: Sequence[Asked],
    wanted: Sequence[OutputFolder],
    reference: str | os.PathLike[str] | None,
    *,
    id: str | None = None,
    pattern: str | None = None,
    subset: bool = False,
    tested: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    timeout: float | None = None,
    note: Callable[[str], object] | None = None,
    expect: Callable[[int], object] | None = None,
    advance: Callable[[int], object] | None = None,
) -> list[Scored]:
    """Score each folder; `tested` is the label that others are to be tested against. `note` is told of what is said
    before any work, `expect` of how many images there are, `advance` of each finished one.

    Raises `BenchError` as `folder_scores.pairs` does, with the folder's name.
    """
    sets: list[Dataset] = []
    for folder in wanted:
        try:
            sets.append(pairs(folder.path, reference, asked, id=id, pattern=pattern, subset=subset))
        except BenchError as error:
            raise BenchError(f"{folder.label}: {error}") from error
    check_shared(sets, [folder.label for folder in wanted], tested)
    if note is not None:
        for folder, dataset in zip(wanted, sets, strict=True):
            lost = missing(dataset)
            told = [f"{having(lost, 'reference')} no image (--subset leaves them out)"] if lost else []
            lines = [*dataset.notes, *told]
            for line in lines:
                note(f"{folder.label}: {line}")
    if expect is not None:
        expect(sum(len(dataset.items) for dataset in sets))
    found = []
    for folder, dataset in zip(wanted, sets, strict=True):
        rows = list(run(asked, dataset, device=device, threads=threads, advance=advance, timeout=timeout))
        found.append(Scored(folder, dataset, rows))
    return found


def view(asked: Sequence[Asked], found: Sequence[Scored], reference: str | None, protocol: str | None) -> RunView:
    """What was scored as a run's cells, under the name of the references' folder."""
    label = shown(Path(reference).expanduser().resolve().name) if reference is not None else "images"
    columns = [_column(one) for one in asked]
    names, by_reference = _names([one.dataset for one in found])
    items = list(dict.fromkeys(name for those in names for name in those.values()))
    cells = [
        _cell(label, one, column, each, those, items if by_reference else [*those.values()])
        for one, those in zip(found, names, strict=True) for column, each in zip(columns, asked, strict=True)
    ]  # fmt: skip
    count = f"{len(found)} {'folder' if len(found) == 1 else 'folders'}"
    title = f"{count} against {label}" if reference is not None else count
    methods = [
        MethodRecord(
            one.folder.label, "folder", {"path": one.folder.path}, {}, 1, None, restores=False,
            lossy=[f"{one.folder.label}: {line}" for line in footnotes(one.dataset)] or None,
        )
        for one in found
    ]  # fmt: skip
    record = RunRecord(
        "score",
        title,
        {"metrics": [{"metric": one.entry.name, "options": dict(one.options)} for one in asked]},
        [DatasetRecord(label, "folder", reference is not None, protocol, items, columns)],
        methods,
    )
    return RunView(0, record, {}, cells, frozenset())


def listing(found: Sequence[Scored], style: str) -> str:
    """Every row of every folder as `json` or `csv`, under the folder's label."""
    rows = [{"method": one.folder.label, **text.strict(row)} for one in found for row in one.rows]
    if style == "csv":
        return csv_text.of_records(["method", *Row.__annotations__], rows)
    plain = [{key: value for key, value in row.items() if key != "reason" or value} for row in rows]
    return json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _column(one: Asked) -> Column:
    options = "".join(f"({','.join(f'{key}={value}' for key, value in one.options.items())})" if one.options else "")
    bound = BoundMetric(one.entry.name + options, one.metric, one.entry)
    kind = one.metric.kind
    return Column(
        bound.label, bound.heading, one.signature, bound.row_signature, "", kind.fr, kind.of_sets,
        one.metric.higher_is_better, bound.digits, None, two_sets=kind.two_sets,
    )  # fmt: skip


def _names(datasets: Sequence[Dataset]) -> tuple[list[dict[str, str]], bool]:
    """Per folder: item → the name that folders share. It is its reference's, as far as it tells references apart, and
    the item's own where there is no reference, or one for several items. And whether it is the reference's."""
    references = [{item.id: item.gt.path for item in one.items if isinstance(item.gt, FileSource)} for one in datasets]
    if any(len({*of.values()}) < len(one.items) for of, one in zip(references, datasets, strict=True)):
        return [{item.id: item.id for item in one.items} for one in datasets], False
    files = {path for of in references for path in of.values()}
    base = Path(os.path.commonpath([path.parent for path in files])) if files else Path()
    within = {path: path.relative_to(base) for path in files}
    for spelt in (lambda path: path.stem, lambda path: path.with_suffix("").as_posix(), Path.as_posix):
        named = {path: shown(spelt(place)) for path, place in within.items()}
        if len({*named.values()}) == len(files):
            break
    return [{item: named[path] for item, path in of.items()} for of in references], True


_NOT_THERE = "no image of it (--subset)"


def _cell(
    dataset: str, one: Scored, column: Column, asked: Asked, names: Mapping[str, str], items: Sequence[str]
) -> Cell:
    """A folder's cell; of `items` that it has no image of it lacks a value."""
    mine = [row for row in one.rows if row["signature"] == asked.signature]
    there = {*names.values()}
    absent = [ItemScore(name, 0, "unavailable", None, _NOT_THERE) for name in items if name not in there]
    failed = {row["item"]: row for row in mine if row["item"]}
    if not isinstance(asked.metric, SetMetric):
        scores = [_score(names[row["item"]], row) for row in mine]
        return Cell(dataset, one.folder.label, column, len(items), [*scores, *absent])
    scores = [
        _score(names[item.id], failed[item.id]) if item.id in failed else ItemScore(names[item.id], 0, "ok", None, None)
        for item in one.dataset.items
    ]
    whole = next((row for row in mine if not row["item"]), None)
    value = None if whole is None else _score("", whole)
    if value is not None and value.status in SCORED and not any(score.status in SCORED for score in scores):
        value = None
    return Cell(dataset, one.folder.label, column, len(items), [*scores, *absent], value)


def _score(item: str, row: Row) -> ItemScore:
    return ItemScore(item, 0, row["status"], row["value"], row["reason"])
