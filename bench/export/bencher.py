"""Bencher Metric Format: `{benchmark: {measure: {value, lower_value, upper_value}}}`, for tracking in CI.

A benchmark is a method on a dataset, a measure the label of a metric; times are the measure `latency`, in nanoseconds
as Bencher's own is. A mean over fewer items than were expected has no place: what failed would be tracked as a change.
"""

from __future__ import annotations

import json

import numpy as np

from bench.export import facts
from bench.results.view import RunView

_QUARTILES = (25, 75)


def text(data: RunView) -> str:
    """The run as strict JSON."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for one in facts.measured(data):
        if not one.whole:
            continue
        measure = {"value": one.value}
        if one.interval is not None:
            measure |= {"lower_value": one.interval.low, "upper_value": one.interval.high}
        found.setdefault(f"{one.cell.dataset}/{one.cell.method}", {})[one.cell.column.label] = measure
    for timing in data.timings:
        if timing.ok and timing.samples.size:
            low, high = np.percentile(timing.samples, _QUARTILES)
            found.setdefault(f"{timing.setting.short}/{timing.label}", {})["latency"] = {
                "value": float(np.median(timing.samples)), "lower_value": float(low), "upper_value": float(high),
            }  # fmt: skip
    return json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
