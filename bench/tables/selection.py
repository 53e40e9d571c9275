"""A part of a run for a table: some datasets, methods and metrics, in the order in which they were asked for.

Names are labels as tables show them, patterns (`*`, `?`, `[…]`) of labels, or what the catalogue calls a thing. What is
ranked is what is shown; what a method is held against, and what a gain is the mean of, stays the whole run's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import NamedTuple

from bench.catalog import published
from bench.catalog.published import canonical, dataset_title
from bench.errors import BenchError, suggest
from bench.results.view import RunView
from bench.suite.definition import label_of
from bench.tables import derived, gains, run_seconds
from bench.tables.layout import Extras

LATENCY = "latency"
"""What the column of measured times is chosen by."""


class Choice(NamedTuple):
    """What of a run is shown; empty: all of it."""

    datasets: Sequence[str] = ()
    methods: Sequence[str] = ()
    metrics: Sequence[str] = ()

    def __bool__(self) -> bool:
        return any(self)


def select(data: RunView, choice: Choice, extras: Extras, others: Sequence[str] = ()) -> tuple[RunView, Extras]:
    """The chosen part of a run and how to lay it out; `others` are rows that stand beside the run's.

    Raises `BenchError` for what there is not.
    """
    if not choice:
        return data, extras
    sets = pick("dataset", choice.datasets, _datasets(data))
    methods = pick("method", choice.methods, {**_methods(data), **dict.fromkeys(others, ())})
    known = _metrics(data, extras)
    asked = {*extras.formulas, *([run_seconds.COLUMN] * extras.seconds), *([gains.COLUMN] if extras.gain else [])}
    metrics = pick("metric", choice.metrics, known)
    cells = sorted(
        (
            cell
            for cell in data.cells
            if cell.dataset in sets and cell.method in methods and cell.column.label in metrics
        ),
        key=lambda cell: (sets[cell.dataset], methods[cell.method], metrics[cell.column.label]),
    )
    if not cells:
        raise BenchError(
            "nothing of this run is left: the methods chosen are for other datasets, or the metrics for none"
        )
    here = {cell.dataset for cell in cells}
    record = replace(
        data.record,
        datasets=sorted((one for one in data.record.datasets if one.label in here), key=lambda one: sets[one.label]),
        methods=sorted(
            (one for one in data.record.methods if one.label in methods), key=lambda one: methods[one.label]
        ),
    )
    timings = [one for one in data.timings if one.label in methods and LATENCY in metrics]
    part = data._replace(cells=cells, record=record, timings=timings)
    return part, extras._replace(
        whole=data,
        derived=[name for name in known if name in metrics or name in asked],
        order=list(methods) if choice.methods else None,
    )


def pick(
    kind: str, wanted: Sequence[str], known: Mapping[str, Sequence[str]], where: str = "this run"
) -> dict[str, int]:
    """Label → place, of the labels that are wanted, in the order given; `known` has the other names of each.

    A label as it is written comes first, then other names, then patterns. Raises `BenchError` for what fits nothing.
    """
    if not wanted:
        return {label: place for place, label in enumerate(known)}
    found: dict[str, int] = {}
    for text in wanted:
        labels = list(_fitting(text, known))
        if not labels:
            names = ", ".join(known)
            raise BenchError(f"no {kind} {text!r} in {where}{suggest(text, known)} (it has {names})")
        for label in labels:
            found.setdefault(label, len(found))
    return found


def _fitting(text: str, known: Mapping[str, Sequence[str]]) -> Iterator[str]:
    folded = text.casefold()
    names = {label: [one.casefold() for one in (label, *others)] for label, others in known.items()}
    exact = [label for label in known if label == text] or [label for label in known if folded in names[label]]
    yield from exact or (label for label in known if any(fnmatchcase(one, folded) for one in names[label]))


def split_metrics(texts: Sequence[str]) -> list[str]:
    """Metrics of comma-separated lists; commas within brackets of any kind belong to a metric."""
    found: list[str] = []
    for text in texts:
        depth, start = 0, 0
        for place, sign in enumerate(f"{text},"):
            depth += (sign in "([{") - (sign in ")]}")
            if sign == "," and depth <= 0:
                found.append(text[start:place].strip())
                start = place + 1
    return [one for one in found if one]


def _datasets(data: RunView) -> dict[str, list[str]]:
    titled = published.folder().is_dir()
    return {one.label: [one.name, *([dataset_title(one.name)] if titled else [])] for one in data.record.datasets}


def _methods(data: RunView) -> dict[str, list[str]]:
    """A catalogue name stands for all of its variants."""
    return {one.label: [one.name] for one in data.record.methods}


def _metrics(data: RunView, extras: Extras) -> dict[str, list[str]]:
    specs = {label_of(spec): spec.metric for spec in data.record.metrics}
    catalogued = published.folder().is_dir()
    found = {}
    for cell in data.cells:
        label = cell.column.label
        name = specs.get(label, label)
        found[label] = [cell.column.heading, name, *([canonical(name)] if catalogued else [])]
    found |= {
        one.name: [one.heading]
        for one in derived.columns(data, gain=extras.gain, seconds=extras.seconds, formulas=extras.formulas)
    }
    return found | ({LATENCY: []} if data.timings else {})
