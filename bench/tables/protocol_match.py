"""Which columns of a run a paper's value may stand in: those that mean what the paper's protocol makes of its metric.

A suite may ask for one metric in several ways, and the paper printed one number. What a column means is its signature;
what the paper's value means is the signature that the table's protocol gives (INDEX.yaml names it).
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from bench.catalog.published import PublishedTable
from bench.catalog.registry import registry
from bench.errors import BenchError
from bench.metrics.build import build_metric
from bench.metrics.explain import differences
from bench.metrics.protocols import DEFAULT, protocol
from bench.results.view import RunView
from bench.suite.definition import MetricSpec, label_of

_MAKE = frozenset({"proto", "impl", "weights", "params", "v"})
"""Fields that say with what a number was made or how far that is proved, not what it means."""


class Belonging:
    """Decides for the columns of one run and one paper's table."""

    def __init__(self, data: RunView, table: PublishedTable) -> None:
        self._data = data
        self._table = table
        self._known: dict[tuple[str, str, str | None], str] = {}

    def why_not(self, column: str, theirs: str, ours: str | None) -> str:
        """Why no value of the paper's dataset `theirs` belongs to a column; empty where it does.

        `ours` is the label of that dataset in the run; None where the run does not have it.
        """
        place = (column, theirs, ours)
        if place not in self._known:
            self._known[place] = self._decide(*place)
        return self._known[place]

    def _decide(self, column: str, theirs: str, ours: str | None) -> str:
        spec = self._specs.get(column)
        if spec is None:  # of a class of boxes, or derived
            return ""
        named = self._table.protocol_of(theirs)
        rules = named or self._protocols.get(ours or "") or DEFAULT
        try:
            wanted = _signature(spec.metric, {}, rules)
            made = (self._signatures.get((ours or "", column)) if named else None) or _signature(
                spec.metric, spec.options, rules
            )
            fields = [row for row in differences(wanted, made) if row.field not in _MAKE]
        except BenchError:  # made of people's votes, or not to be measured any more: there is nothing to tell apart
            return ""
        told = ", ".join(f"{row.field}:{row.second} where it has {row.field}:{row.first}" for row in fields)
        whose = f"the paper's protocol ({named})" if named else f"the paper's value, taken for {rules},"
        return f"{told} by {whose}" if told else ""

    @cached_property
    def _specs(self) -> dict[str, MetricSpec]:
        specs = self._data.record.metrics
        return {label_of(spec): spec for spec in specs if spec.metric in registry("metric")}

    @cached_property
    def _protocols(self) -> dict[str, str]:
        """By dataset label, of those whose record names one."""
        return {one.label: one.protocol for one in self._data.record.datasets if one.protocol is not None}

    @cached_property
    def _signatures(self) -> dict[tuple[str, str], str]:
        """By (dataset, column), as they were measured."""
        return {
            (cell.dataset, cell.column.label): cell.column.signature
            for cell in self._data.cells
            if cell.dataset in self._protocols
        }


def _signature(metric: str, options: dict[str, Any], rules: str) -> str:
    return str(build_metric(registry("metric").get(metric), options, protocol(rules)).signature())
