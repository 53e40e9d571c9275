"""A suite looked at without running it: every name resolved for real, and what is not on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bench.catalog.plugins import load_plugins
from bench.catalog.registry import registry
from bench.data.survey import deviations
from bench.errors import counted
from bench.planning.bind import resolve
from bench.planning.missing import screen
from bench.suite import definition


class Valid(NamedTuple):
    """What is said of a suite in which nothing is wrong."""

    line: str
    notes: tuple[str, ...]
    """Where its data are not as published, and what is missing here."""


def validate(name: str, plugins: Sequence[str] = ()) -> Valid:
    """Resolve a suite and import its networks. Raises `BenchError` with a line per mistake."""
    load_plugins(plugins)
    resolved = resolve(definition.load(definition.find(name)))
    for method in resolved.methods:
        if method.entry.target:
            method.entry.load()  # imports the network, so that a target that is not there is found here
    jobs = sum(method.is_for(dataset.label) for dataset, method in resolved.jobs())
    labels = len({method.label for method in resolved.methods})
    notes = [
        f"{name}: {bound.label}: {line}"
        for bound in resolved.datasets
        for line in (*bound.dataset.notes, *deviations(registry("dataset").get(bound.name), bound.dataset))
    ]
    if resolved.missing:
        notes.append(screen(name, resolved.missing))
    return Valid(
        f"{name}: valid ({counted(len(resolved.datasets), 'dataset')}, {counted(labels, 'method')}, "
        f"{counted(jobs, 'job')}, {counted(len(resolved.file.suite.metrics), 'metric')})",
        tuple(notes),
    )
