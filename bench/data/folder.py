"""Folders of images on disk as a dataset: LQ-only or paired, any layout that a glob pattern can name.

Nothing is read here but folder listings and the split file; sizes are compared by `pairing.check_sizes`, pixels by the
run.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from bench import paths
from bench.data.expressions import Expression
from bench.data.image_files import Listing, list_images
from bench.data.images import shown
from bench.data.items import Dataset, Item
from bench.data.naming import Naming, expression_of, infer
from bench.data.pairing import Pairing, id_of, id_pattern, item_id, pair, problems, select
from bench.errors import BenchError, counted


class Strangers(BenchError):
    """Two folders that share no id. `fact` says so without a remedy, which depends on who asked."""

    def __init__(self, fact: str, before: str = "", after: str = "") -> None:
        super().__init__(f"{before}{fact}{after}")
        self.fact = fact


def folder(
    name: str,
    base: Path | None,
    *,
    lq: str,
    gt: str | None = None,
    scale: int = 1,
    id: str | None = None,  # the option's name in a suite
    lq_id: str | None = None,
    gt_id: str | None = None,
    split: str | None = None,
) -> Dataset:
    """A dataset of image files.

    `lq`, `gt`: a glob pattern, a folder (all levels below it) or a file; without `gt` the data are LQ only.
    `scale`: GT size divided by LQ size. `id`: a regular expression with a group for the ids of both sides; `lq_id` and
    `gt_id` for one side each. `split`: a text file with one id or file name a line, for a part of the files.
    Raises `BenchError` when nothing matches or an option is wrong; a single bad file is an item with a `problem`.
    """
    return _folder(name, base, lq, gt, scale, id, lq_id, gt_id, split, every_gt=False)


def _folder(
    name: str, base: Path | None, lq: str, gt: str | None, scale: int, id: str | None, lq_id: str | None,
    gt_id: str | None, split: str | None, *, every_gt: bool, alone: tuple[str, str] = ("GT file", "no LQ file"),
    where: str = "lq_id",
) -> Dataset:  # fmt: skip
    if scale < 1:
        raise BenchError(f"dataset {name!r}: scale {scale} is not a positive whole number")
    inputs = list_images(lq, base)
    references = list_images(gt, base) if gt is not None else None
    if references is not None and inputs.single and references.single:
        # Two files named one by one belong together, whatever they are called.
        only = Item(inputs.files[0].name.rpartition(".")[0] or "image", inputs.files[0].source)
        pairing = Pairing([Item(shown(only.id), only.lq, references.files[0].source)], [])
    else:
        ours = id_pattern(lq_id or id, where if lq_id else "id")
        theirs = id_pattern(gt_id or id, "gt_id" if gt_id else "id")
        _check_matches(ours, inputs, lq)
        if references is not None:
            _check_matches(theirs, references, str(gt))
        pairing = pair(
            inputs.files, None if references is None else references.files, lq_id=ours, gt_id=theirs,
            every_gt=every_gt and not inputs.single, alone=alone,
        )  # fmt: skip
    if split is not None:
        pairing = select(pairing, *_split_names(split, base))
    if references is not None and not any(item.lq and item.gt for item in pairing.items):
        if (doubled := next((item for item in pairing.items if item.several), None)) is not None:
            raise BenchError(f"dataset {name!r}: id {doubled.id!r}: {doubled.problem}: an id names one file of a side")
        first = next((item.id for item in pairing.items if item.lq), inputs.files[0].name)
        raise Strangers(
            f"no file of {shown(lq)} ({counted(len(inputs.files), 'file')}) has the id of a file of "
            f"{shown(str(gt))} ({counted(len(references.files), 'file')}), such as {first!r}",
            f"dataset {name!r}: ", "; give id patterns (lq_id, gt_id)",
        )  # fmt: skip
    listings = (inputs,) if references is None else (inputs, references)
    notes = (*problems(pairing.items), *pairing.notes, *(side.left_out for side in listings if side.left_out))
    return Dataset(name, tuple(pairing.items), references is not None, scale, notes=notes)


def _check_matches(pattern: Expression | None, side: Listing, place: str) -> None:
    """Raise `BenchError` for an id pattern that finds an id in no name of a side: it is not what was meant."""
    if pattern is None or any(id_of(pattern, file.name) for file in side.files):
        return
    example = item_id(side.files[0].name)
    raise BenchError(
        f"{pattern.where}: {pattern.pattern!r} finds no id in any name of {shown(place)} "
        f"({counted(len(side.files), 'file')}), such as {example!r}: the id is what its group matches "
        "in a name without its suffix"
    )


def paired(
    restored: str | os.PathLike[str],
    reference: str | os.PathLike[str] | None,
    base: Path | None = None,
    *,
    scale: int = 1,
    id: str | None = None,
    pattern: str | None = None,
    subset: bool = True,
) -> Dataset:
    """Any images, and their references where given: `lq` of each item is the restored image, `gt` its reference.

    For `bench score`; paths, ids and errors are those of `folder`. `id`: a regular expression whose groups are the
    ids of both sides; `pattern`: what stands around the id in the restored images' names, such as `{id}_out`.
    Without `subset` a reference that no image belongs to is an item with a `problem`, unless one file was named.
    Where no name of one side is one of the other's and no pattern is given, what stands around the ids is found out
    (`naming`), and a note says it.
    """
    against = None if reference is None else os.fspath(reference)

    def read(lq_id: str | None, gt_id: str | None) -> Dataset:
        return _folder(
            "score", base, os.fspath(restored), against, scale, id, lq_id, gt_id, None, every_gt=not subset,
            alone=("reference", "no image"), where="lq_id" if pattern is None else f"pattern {pattern!r}",
        )  # fmt: skip

    try:
        return read(None if pattern is None else expression_of(pattern), None)
    except Strangers as error:
        naming = None if id or pattern else named(os.fspath(restored), str(against), base)
        if naming is None:
            remedy = (
                "--pattern '{id}_out' says what stands around the id, --id REGEX takes the part in its group for the "
                "id on both sides, such as --id '([0-9]+)'"
            )
            raise BenchError(f"{error.fact}; {remedy}") from error
    found = read(naming.outputs.expression, naming.references.expression)
    return replace(found, notes=(naming.told, *found.notes))


def named(restored: str, reference: str, base: Path | None = None) -> Naming | None:
    """How the names of two folders belong together, where they are not equal and leave no doubt."""
    ours, theirs = list_images(restored, base), list_images(reference, base)
    return infer([item_id(file.name) for file in ours.files], [item_id(file.name) for file in theirs.files])


def _split_names(split: str, base: Path | None) -> tuple[list[str], str]:
    path = paths.find(split, base)
    if path.exists() and not path.is_file():
        raise BenchError(f"split {shown(path)} is no file: a text file with one id or file name a line is needed")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise BenchError(f"split {shown(path)} cannot be read ({reason})") from error
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise BenchError(f"split {shown(path)} lists nothing")
    return names, shown(path.name)
