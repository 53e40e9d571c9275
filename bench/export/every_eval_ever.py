"""Every Eval Ever 0.3: a record per method, below `data/SUITE/DEVELOPER/METHOD/`, for its datastore and its validator.

A metric's signature is its parameters: two records are comparable when they are equal.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics as spread
import uuid
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import files
from bench.export import facts
from bench.export.facts import Measured
from bench.export.rows_and_images import text
from bench.results import view
from bench.results.view import RunView
from bench.tables import statistics

SCHEMA = "0.3.0"


def write(data: RunView, created: float, target: Path) -> list[Path]:
    """The records, and `rows.csv` with every single value, whose SHA-256 each record names. Returns the records."""
    rows = "".join(text(view.rows(data), "csv")).encode()
    files.put(target / "rows.csv", rows)
    written = []
    names = facts.told_apart(method.label for method in data.record.methods)
    for method in data.record.methods:
        each = [one for one in facts.measured(data) if one.cell.method == method.label]
        if not each:
            continue
        owner, label = facts.developer(method.name), names[method.label]
        record = _record(data, each, f"{owner}/{label}", created, hashlib.sha256(rows).hexdigest())
        place = target / "data" / facts.plain(data.record.suite) / owner / label / f"{_uuid(record)}.json"
        files.put(place, (json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
        written.append(place)
    return written


def _uuid(record: dict[str, Any]) -> uuid.UUID:
    """Of version 4 in its form, of the content in its digits: an export of the same run has the same name."""
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).digest()
    return uuid.UUID(bytes=digest[:16], version=4)


def _record(data: RunView, each: list[Measured], model: str, created: float, rows: str) -> dict[str, Any]:
    method = next(one for one in data.record.methods if one.label == each[0].cell.method)
    found = facts.entry("method", method.name)
    weights = found.fields.get("weights") if found is not None else None
    return {
        "schema_version": SCHEMA,
        "evaluation_id": f"{facts.plain(data.record.suite)}/{model}/{int(created)}",
        "evaluation_timestamp": facts.when(created),
        "retrieved_timestamp": str(int(created)),
        "source_metadata": {
            "source_name": data.record.title or data.record.suite,
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "third_party" if facts.home("method", method.name) else "other",
            "additional_details": {"rows_file": "rows.csv", "rows_sha256": rows, "run": str(data.number)},
        },
        "eval_library": {"name": "iqpir-bench", "version": version("iqpir-bench")},
        "model_info": {
            "name": method.label,
            "id": model,
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "open_weights" if weights else "unknown",
                "catalogue_name": method.name,
                "options": json.dumps(dict(method.options), sort_keys=True, ensure_ascii=False),
                "licence": method.licence or "none stated",
            },
        },
        "evaluation_results": [dict(_result(data, one)) for one in each],
    }


def _result(data: RunView, one: Measured) -> Iterator[tuple[str, Any]]:
    cell, column = one.cell, one.cell.column
    dataset = next(each for each in data.record.datasets if each.label == cell.dataset)
    address = facts.home("dataset", dataset.name)
    source: dict[str, Any] = {"dataset_name": dataset.name, "source_type": "url", "url": [address]}
    low, high = facts.bounds(data, cell, one.value)
    yield "evaluation_result_id", f"{cell.dataset}/{column.label}"
    yield "evaluation_name", f"{cell.dataset}: {column.heading}"
    yield "source_data", source if address else {"dataset_name": dataset.name, "source_type": "other"}
    yield (
        "metric_config",
        {
            "metric_id": column.signature,
            "metric_name": column.heading,
            "metric_kind": facts.metric_name(data, column.label),
            "metric_parameters": dict(facts.fields_of(column.signature)),
            "lower_is_better": not column.higher_is_better,
            "score_type": "continuous",
            "min_score": _bound(low),
            "max_score": _bound(high),
            "additional_details": {"protocol": dataset.protocol or "", "numeric_mode": column.mode},
        },
    )
    yield "score_details", {"score": one.value, "details": {"items": f"{cell.n}/{cell.expected}"}, **_uncertainty(one)}


def _bound(value: float) -> float | str:
    return value if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"


def _uncertainty(one: Measured) -> dict[str, Any]:
    values = [value for value in one.cell.items.values() if math.isfinite(value)]
    if one.interval is None or len(values) < 2:
        return {}
    interval = {
        "lower": one.interval.low,
        "upper": one.interval.high,
        "confidence_level": statistics.LEVEL,
        "method": "percentile bootstrap over items",
    }
    return {
        "uncertainty": {
            "confidence_interval": interval,
            "standard_deviation": spread.stdev(values),
            "num_samples": len(values),
            "num_bootstrap_samples": statistics.RESAMPLES,
        }
    }
