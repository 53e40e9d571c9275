"""A suite for somebody's folders: inputs, references and outputs that are there, with comments on what to change.

How the folders name the same images is found out (`data.naming`); what cannot be is written as a comment with its
reason, so that the suite runs as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.catalog.registry import registry
from bench.data.image_files import Listing, list_images
from bench.data.naming import Affixes, infer
from bench.data.pairing import item_id
from bench.errors import BenchError
from iqpir.errors import shown

WITH_REFERENCE = ("psnr", "ssim", "piqe")
WITHOUT_REFERENCE = ("piqe",)
"""Metrics that need nothing from elsewhere."""


class Outputs(NamedTuple):
    """A folder of outputs, under the label that tables give it."""

    label: str
    path: str


def draft(
    lq: str, gt: str | None, outputs: Sequence[Outputs], metrics: Sequence[str] = (), methods: Sequence[str] = ()
) -> str:  # fmt: skip
    """The suite's text. Raises `BenchError` where inputs and references cannot be paired, a folder has no image, or a
    method is unknown."""
    for name in methods:
        registry("method").get(name)
    inputs = list_images(lq)
    names = _ids(inputs)
    mine, theirs = _pairing(names, gt)
    ids = [core for name in names if (core := mine.id_of(name)) is not None]
    return "\n".join(_lines(lq, gt, mine, theirs, [*_method_lines(outputs, ids), *_run_lines(methods)], metrics)) + "\n"


def _lines(
    lq: str, gt: str | None, mine: Affixes, theirs: Affixes, methods: Sequence[str], metrics: Sequence[str]
) -> Iterator[str]:  # fmt: skip
    label = shown(Path(gt or lq).expanduser().resolve().parent.name or "mine")
    yield "# Written by bench init. bench validate FILE checks it, bench run FILE --plan says what would be done."
    yield "schema: 1"
    yield f"title: {_quoted(f'My images: {label}')}"
    yield "datasets:"
    yield "  - dataset: folder"
    yield f"    label: {_quoted(label)}"
    yield "    options:"
    yield f"      lq: {_quoted(lq)}  # inputs; a pattern such as photos/*.png takes some of them"
    if mine != Affixes():
        yield f"      lq_id: {_quoted(mine.expression)}  # what of an input's name is its id"
    if gt is not None:
        yield f"      gt: {_quoted(gt)}  # references; without this line only metrics without a reference apply"
        if theirs != Affixes():
            yield f"      gt_id: {_quoted(theirs.expression)}  # and of a reference's"
    yield "methods:"
    yield "  - identity  # the inputs as they are: every method has to beat them"
    yield from methods
    yield "  # - gamma  # bench list methods has more; networks need bench fetch"
    chosen = list(metrics) or list(WITH_REFERENCE if gt is not None else WITHOUT_REFERENCE)
    yield "# bench list metrics has more, such as niqe (bench fetch FILE); options: {psnr: {space: y, crop: 4}}"
    yield f"metrics: [{', '.join(chosen)}]"
    if gt is not None:
        yield "# protocol: recommended/low-light  # how the papers of a task measure: bench list protocols"
    yield "# layout: columns  # how tables are arranged: rows, columns (datasets side by side), methods (across)"


def _run_lines(methods: Sequence[str]) -> list[str]:
    return [f"  - {_quoted(name)}" for name in dict.fromkeys(methods) if name != "identity"]


def _method_lines(outputs: Sequence[Outputs], ids: Sequence[str]) -> Iterator[str]:
    for one in outputs:
        affixes, reason = _outputs_named(one.path, ids)
        options = {"path": one.path}
        if affixes is not None and affixes != Affixes():
            options["pattern"] = f"{affixes.pattern}.*"
        text = ", ".join(f"{key}: {_quoted(value)}" for key, value in options.items())
        line = f"- {{method: folder, options: {{{text}}}, label: {_quoted(one.label)}}}"
        yield f"  {line}" if affixes is not None else f"  # {line}  # {reason}"


def _outputs_named(path: str, ids: Sequence[str]) -> tuple[Affixes | None, str]:
    """What stands around ids in a folder's names, or why it cannot be told."""
    names = _ids(list_images(path))
    if set(names) & set(ids):
        return Affixes(), ""
    found = infer(names, ids)
    if found is None:
        return None, f"no name such as {names[0]!r} fits the ids such as {ids[0]!r}: write a pattern: '{{id}}_out.*'"
    if found.references != Affixes() or found.outputs.padded:
        return None, f"names such as {found.example[0]!r} hold only a part of the id {found.example[1]!r}: rename them"
    return found.outputs, ""


def _pairing(names: Sequence[str], gt: str | None) -> tuple[Affixes, Affixes]:
    """What stands around the ids of inputs and of references."""
    if gt is None:
        return Affixes(), Affixes()
    references = _ids(list_images(gt))
    if set(names) & set(references):
        return Affixes(), Affixes()
    found = infer(names, references)
    if found is None:
        raise BenchError(
            f"inputs such as {names[0]!r} and references such as {references[0]!r} do not say which belong together: "
            "name them alike, or write lq_id and gt_id into a suite (docs/suites.md)"
        )
    return found.outputs, found.references


def _ids(listing: Listing) -> list[str]:
    return [item_id(file.name) for file in listing.files]


def _quoted(text: str) -> str:
    """Text as YAML reads it back: JSON's strings are YAML's."""
    return json.dumps(text, ensure_ascii=False)
