"""Signs that tell a reader which values are no independent evidence, each with its line below the table.

† on a metric: the methods of the suite's paper were conditioned on it or trained for it. ‡ on a method: its training
data overlap this test set, as the catalogue says of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from bench.catalog import published
from bench.catalog.registry import Registry, registry
from bench.results.record import Column, MethodRecord
from bench.results.view import RunView
from bench.suite.definition import label_of

PRIOR_LINE = (
    "† The paper's own methods, and hosts with its score (+), were conditioned on this metric or trained for it: their "
    "values here are no independent evidence."
)


PRIOR_BRIEF = "† The paper's own methods were conditioned on this metric or trained for it."


class Overlap(NamedTuple):
    """A method that has been trained on what it is tested on."""

    dataset: str
    method: str
    why: str
    """What the two share, in a few words."""


def prior(data: RunView) -> frozenset[str]:
    """Labels of the columns that the methods of the suite's paper were made for; none where it names no table."""
    key = data.record.definition.get("published")
    if key is None or not published.folder().is_dir() or key not in published.names():
        return frozenset()
    made_for = published.load(str(key)).prior
    specs = data.record.metrics
    names = {label_of(spec): spec.metric for spec in specs}
    labels = {cell.column.label for cell in data.cells}
    return frozenset(label for label in labels if published.canonical(names.get(label, label)) in made_for)


def overlaps(data: RunView) -> list[Overlap]:
    """Pairs of a dataset and a method whose training data share images or scenes, as the catalogue says today."""
    found = []
    sets, methods = registry("dataset"), registry("method")
    for dataset in data.record.datasets:
        name = dataset.name
        shared: Mapping[str, str] = sets.get(name).fields.get("overlaps", {}) if name in sets else {}
        for method in data.record.methods:
            if not method.is_for(dataset.label):
                continue
            found += [
                Overlap(dataset.label, method.label, shared[one]) for one in _trained(method, methods)
                if one in shared
            ]  # fmt: skip
    return found


def _trained(method: MethodRecord, methods: Registry) -> list[str]:
    """What a method was trained on; a host with a score has seen at least what its host has."""
    name = method.name
    if name not in methods:
        return []
    fields = methods.get(name).fields
    given = method.options.get("host") or (fields.get("options") or {}).get("host")
    host = given if isinstance(given, str) and given in methods else None
    own = list(fields.get("trained_on", []))
    return list(dict.fromkeys([*own, *(methods.get(host).fields.get("trained_on", []) if host else [])]))


def nearest(data: RunView) -> dict[str, str]:
    """Columns without a value because their metric cannot be had here → which others stand for it best, in a line."""
    metrics = registry("metric")
    specs = {label_of(spec): spec.metric for spec in data.record.metrics}
    entries = {label: metrics.get(name) for label, name in specs.items() if name in metrics}
    cells = {label: [cell for cell in data.cells if cell.column.label == label] for label in entries}
    here = {entries[label].name: those[0].column.heading for label, those in cells.items() if those}
    found: dict[str, str] = {}
    for label, entry in entries.items():
        stand_ins: Mapping[str, str] = entry.fields.get("nearest", {})
        lost = any(cell.status == "unavailable" for cell in cells[label])
        if not stand_ins or not lost or any(cell.value is not None for cell in cells[label]):
            continue
        told = [
            f"{here[name]}, in this table ({how})" if name in here else f"{metrics.get(name).fields['symbol']} ({how})"
            for name, how in stand_ins.items()
        ]
        found[label] = (
            f"¶ {here[entry.name]} cannot be computed here. Nearest, with values of their own: {'; '.join(told)}."
        )
    return found


def detection_lines(columns: Iterable[Column]) -> Iterator[str]:
    """What an AP is of, where a table has one: it means one of two things that share a name."""
    found = {
        (fields["det"].partition("@")[0], fields.get("tuned", ""))
        for fields in (dict(part.partition(":")[::2] for part in one.signature.split("|")) for one in columns)
        if "det" in fields
    }
    for detector, training in sorted(found):
        if training:
            how = ", ".join(training.replace("=", " ").split(",")[1:])
            yield (
                f"AP of {detector} trained anew on what each method makes of the train part ({how}): how much can be "
                "learnt from its images. Not comparable with AP of one detector for all methods."
            )
        else:
            yield (
                f"AP of one {detector} for all methods, not trained on their images: how well they suit it. Not "
                "comparable with AP of detectors that were, as papers mostly report it for dark photographs."
            )


def overlap_lines(found: Iterable[Overlap]) -> Iterator[str]:
    """One line per dataset and reason."""
    groups: dict[tuple[str, str], dict[str, None]] = {}
    for one in found:
        groups.setdefault((one.dataset, one.why), {})[one.method] = None
    for (dataset, why), methods in groups.items():
        yield f"‡ Trained on what {dataset} tests: {', '.join(methods)} ({why})."
