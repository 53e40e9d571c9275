"""Records of runs that were never made, for tables, figures and gates: what a test does not say has a default."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bench.results.record import DatasetRecord, MethodRecord, RunRecord


def dataset_record(label: str, **fields: Any) -> DatasetRecord:
    return DatasetRecord(
        label, **{"name": "", "paired": True, "protocol": None, "items": (), "columns": (), **fields}
    )  # fmt: skip


def method_record(label: str, **fields: Any) -> MethodRecord:
    defaults = {"name": "", "options": {}, "identity": {}, "repeats": 1, "unavailable": None}
    return MethodRecord(label, **{**defaults, **fields})


def run_record(
    suite: str,
    title: str,
    definition: Mapping[str, Any],
    datasets: Iterable[Mapping[str, Any]] = (),
    methods: Iterable[Mapping[str, Any]] = (),
) -> RunRecord:
    """A record of datasets and methods that say no more than what they are asked for, their label at least."""
    return RunRecord(
        suite, title, definition, [dataset_record(**one) for one in datasets], [method_record(**one) for one in methods]
    )
