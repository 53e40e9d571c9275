"""What a run's record says of a method beyond its identity: where it applies, with which detector, in which files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.data.lossy import note
from bench.errors import ItemError
from bench.methods.base import StoredMethod
from bench.planning.bind import BoundDataset, BoundMethod
from bench.planning.plan import Plan


def of_method(plan: Plan, index: int) -> dict[str, Any]:
    """Keys of a method's record that are left out where there is nothing to say."""
    bound = plan.resolved.methods[index]
    found: dict[str, Any] = {}
    if bound.datasets is not None:
        found["datasets"] = sorted(bound.datasets)
    if bound.detector is not None:
        found["modes"] = _modes(plan, index)
    lossy = list(_lossy(bound, plan.resolved.datasets))
    if lossy:
        found["lossy"] = lossy
    return found


def _modes(plan: Plan, method: int) -> Mapping[str, str]:
    """Numeric modes of a method with a detector of its own, by column."""
    cells = [cell for cell in plan.cells if cell.index % len(plan.resolved.methods) == method]
    return {one.label: cell.metric_mode(one) for cell in cells for one in cell.dataset.metrics if one.annotated}


def _lossy(bound: BoundMethod, datasets: Sequence[BoundDataset]) -> Iterator[str]:
    """A line per dataset for which somebody's outputs are lossy files."""
    if not isinstance(bound.method, StoredMethod):
        return
    for dataset in datasets:
        if bound.is_for(dataset.label):
            files = [_located(bound.method, dataset.label, item.id) for item in dataset.dataset.items]
            line = note(files)
            if line is not None:
                yield f"{bound.label} on {dataset.label}: {line}"


def _located(method: StoredMethod, dataset: str, item: str) -> Path | None:
    try:
        return method.locate(dataset, item)
    except ItemError:
        return None
