"""A baseline file: a snapshot as strict JSON, sorted, one line per item, so that a rewritten one shows what changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from bench import files, paths
from bench.errors import BenchError, one_line, suggest
from bench.gate import snapshot_format
from bench.gate.snapshot_format import Snapshot
from bench.suite.complaints import said

_ONE_LINE = {
    "tolerances": 0, "here": 0, "elsewhere": 0, "metrics": 0, "values": 0, "items": 1, "timings": 1,
}  # fmt: skip
"""Under these keys a mapping that holds at most so many levels of others is written on one line."""


def default(suite: str, results: str | None) -> Path:
    """Where a suite's baseline lies unless it is named."""
    return paths.results(results) / "baselines" / f"{suite}.json"


def text(snapshot: Snapshot) -> str:
    """The file's text. Equal snapshots give equal text."""
    data = snapshot.model_dump(mode="json", exclude_none=True)
    for dataset in data["datasets"].values():
        for method in dataset["methods"].values():
            for value in method["values"].values():
                value.setdefault("value", None)  # strict JSON says null where there is no number
    data["timings"] = sorted(data["timings"], key=lambda row: (row["method"], row["setting"], row["machine"]))
    return "".join(_written(data, "", 0)) + "\n"


def write(snapshot: Snapshot, file: Path) -> Snapshot:
    """Write a baseline; the tolerances of one that is there stay. Returns what was written. Atomic."""
    if file.exists():
        snapshot = snapshot.model_copy(update={"tolerances": read(file).tolerances})
    files.write(file, text(snapshot).encode("utf-8"))
    return snapshot


def read(file: Path) -> Snapshot:
    """A baseline. Raises `BenchError`, one line, for a file that is not there, no strict JSON, or of another form."""
    try:
        given = files.read_text(file)
    except FileNotFoundError:
        raise BenchError(f"no baseline {file}: bench baseline SUITE writes one") from None
    except OSError as error:
        raise BenchError(f"{file}: cannot be read: {one_line(error.strerror or error)}") from None
    try:
        data = json.loads(given, parse_constant=_no_constant, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise BenchError(f"{file}:{error.lineno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise BenchError(f"{file}: not strict JSON: {one_line(error)}") from None
    if not isinstance(data, dict) or "baseline" not in data:
        raise BenchError(f"{file}: no baseline: the key 'baseline' is missing (bench baseline SUITE writes one)")
    if data["baseline"] != 1:
        raise BenchError(
            f"{file}: a baseline of form {one_line(repr(data['baseline']), 40)}, this bench reads form 1: "
            "use the bench that wrote it, or write it anew"
        )
    try:
        found = Snapshot.model_validate(data)
    except ValidationError as error:
        raise BenchError(f"{file}: {_complaint(error)}") from None
    _check(found, file)
    return found


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for place, key in enumerate(keys) if key in keys[:place])
        raise ValueError(f"key {twice!r} is written twice")
    return found


def _check(snapshot: Snapshot, file: Path) -> None:
    """What the form alone does not say: every value belongs to a metric, and every metric has its values."""
    for name, dataset in snapshot.datasets.items():
        per_item = {label for label, metric in dataset.metrics.items() if not metric.of_sets}
        for label, method in dataset.methods.items():
            place = f"{file}: datasets.{name}.methods.{label}"
            _same(f"{place}.values", set(method.values), set(dataset.metrics))
            for item, content in method.items.items():
                if content.values.keys() != per_item:
                    _same(f"{place}.items.{item}.values", set(content.values), per_item)


def _same(place: str, found: set[str], wanted: set[str]) -> None:
    for odd in sorted(found ^ wanted):
        raise BenchError(f"{place}: {odd!r} " + ("is missing" if odd in wanted else "is no metric of this dataset"))


_MODELS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("timings.*", snapshot_format.SnapshotTiming),
    ("datasets.*.methods.*.items.*", snapshot_format.SnapshotItem),
    ("datasets.*.methods.*.values.*", snapshot_format.SnapshotValue),
    ("datasets.*.methods.*", snapshot_format.SnapshotMethod),
    ("datasets.*.metrics.*", snapshot_format.SnapshotMetric),
    ("datasets.*", snapshot_format.SnapshotDataset),
    ("made", snapshot_format.SnapshotOrigin),
    ("tolerances.*.metrics.*", snapshot_format.Tolerance),
    ("tolerances.*.*", snapshot_format.Tolerance),
    ("tolerances.*", snapshot_format.Limits),
    ("tolerances", snapshot_format.Tolerances),
)
"""Which mapping a place is, for the names it could have."""


def _complaint(error: ValidationError) -> str:
    """The first thing that is wrong: where, what, and the nearest word."""
    problem = error.errors()[0]
    place = [str(part) for part in problem["loc"]]
    where = ".".join(place)
    if problem["type"] == "extra_forbidden":
        known = list(_model(place[:-1]).model_fields)
        return f"{where}: unknown key{suggest(place[-1], known)} (known: {', '.join(known)})"
    if problem["type"] == "missing":
        return f"{where} is missing"
    return f"{where}: {said(problem)}"


def _model(place: list[str]) -> type[BaseModel]:
    for pattern, model in _MODELS:
        parts = pattern.split(".")
        if len(parts) == len(place) and all(a in ("*", b) for a, b in zip(parts, place, strict=True)):
            return model
    return Snapshot


def _written(value: Any, key: str, depth: int) -> Iterator[str]:
    """JSON in pieces: sorted keys, one space per level, small mappings on one line."""
    if not isinstance(value, (dict, list)) or not value:
        yield json.dumps(value, ensure_ascii=False, allow_nan=False)
        return
    inner = [(None, one) for one in value] if isinstance(value, list) else sorted(value.items())
    opening, closing = ("[", "]") if isinstance(value, list) else ("{", "}")
    room = _ONE_LINE.get(key, -1)
    yield opening
    for number, (name, one) in enumerate(inner):
        yield ("," if number else "") + "\n" + " " * (depth + 1)
        if name is not None:
            yield json.dumps(name, ensure_ascii=False) + ": "
        if _levels(one) <= room:
            yield json.dumps(one, sort_keys=True, ensure_ascii=False, allow_nan=False)
        else:
            yield from _written(one, name or "", depth + 1)
    yield "\n" + " " * depth + closing


def _levels(value: Any) -> int:
    """How many levels of mappings and lists a mapping holds; -1 for what is neither."""
    if isinstance(value, dict):
        return max((1 + _levels(one) for one in value.values()), default=0)
    return max((1 + _levels(one) for one in value), default=0) if isinstance(value, list) else -1
