"""From a run in the store to the snapshot that the gate compares, and back to cells that tables can print."""

from __future__ import annotations

import datetime
import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from bench.gate.slowdown import timing
from bench.gate.snapshot_format import (
    Snapshot,
    SnapshotDataset,
    SnapshotItem,
    SnapshotMethod,
    SnapshotMetric,
    SnapshotOrigin,
    SnapshotTiming,
    SnapshotValue,
    Status,
    item_of,
)
from bench.results import timings
from bench.results.record import Column, RunRecord
from bench.results.store import Store
from bench.results.units import references_of
from bench.results.view import Cell, ItemScore, RunView

DIGITS = 12
"""Significant digits that are kept: far below every tolerance, above the last bits in which processors differ."""
_LINUX = re.compile(r"Linux-.*?-((?:x86_64|aarch64|arm64|ppc64le|riscv64)-with-)")
"""A platform's kernel, which no number depends on; the C library's version, which some may, stays."""


def take(store: Store, data: RunView) -> Snapshot:
    """The snapshot of a run."""
    row = store.run(data.number)
    assert row is not None
    return Snapshot(
        suite=data.record.suite,
        title=data.record.title,
        made=_made(data.provenance, row.created),
        datasets=_datasets(store, data),
        timings=list(_timings(store, data)),
    )


def cells(snapshot: Snapshot) -> RunView:
    """A snapshot as the cells of a run without a number, for tables and tests of per-item values."""
    found: list[Cell] = []
    for dataset, content in snapshot.datasets.items():
        for method, made in content.methods.items():
            rows = {key: item_of(key, made.items, content.inputs) for key in made.items}
            items = len({item for item, _ in rows.values()})
            for label, metric in content.metrics.items():
                value = made.values[label]
                column = Column(
                    label=label, heading=label, signature=metric.signature, row_signature=metric.signature, mode="",
                    fr=False, is_set=metric.of_sets, higher_is_better=metric.better == "higher", digits=metric.digits,
                    unavailable=None,
                )  # fmt: skip
                if metric.of_sets:
                    entered = [*["ok"] * value.n, *["failed"] * (len(rows) - value.n)]  # how many, not which
                    scores = [ItemScore(*rows[key], how, None, None) for key, how in zip(rows, entered, strict=True)]
                    whole = ItemScore("", 0, value.status, value.number, value.reason)
                    found.append(Cell(dataset, method, column, items, scores, whole))
                    continue
                scores = [_score(*rows[key], row.values[label], value.reason) for key, row in made.items.items()]
                found.append(Cell(dataset, method, column, items, scores))
    return RunView(0, RunRecord(snapshot.suite, snapshot.title, {}, [], []), {}, found, frozenset())


def item_key(item: str, repeat: int, repeats: int) -> str:
    """An item's name in a snapshot: its id, and which repeat where there are several."""
    return item if repeats == 1 else f"{item}#{repeat + 1}"


def _score(item: str, repeat: int, given: float | str, reason: str | None) -> ItemScore:
    if isinstance(given, str):
        number = {"inf": math.inf, "-inf": -math.inf}.get(given)
        return ItemScore(item, repeat, given.removeprefix("-"), number, None if number is not None else reason)
    return ItemScore(item, repeat, "ok", given, None)


def _made(provenance: Mapping[str, Any], created: float) -> SnapshotOrigin:
    started = datetime.datetime.fromtimestamp(created, datetime.UTC)
    places = ("processor", "device", "device_model", "python")
    return SnapshotOrigin(
        created=started.isoformat(timespec="seconds"),
        packages={name: str(version) for name, version in provenance.get("packages", {}).items()},
        commit=(provenance.get("code") or {}).get("commit"),
        instructions=provenance.get("instructions") or None,
        threads=provenance.get("threads") or None,
        platform=_LINUX.sub(r"Linux-\1", str(provenance.get("platform", ""))),
        **{name: str(provenance.get(name, "")) for name in places},
    )


def _datasets(store: Store, data: RunView) -> dict[str, SnapshotDataset]:
    references = store.content_hashes(references_of(data.units))
    by_place: dict[tuple[str, str], list[Cell]] = {}
    for cell in data.cells:
        by_place.setdefault((cell.dataset, cell.method), []).append(cell)
    found: dict[str, SnapshotDataset] = {}
    for dataset in data.record.datasets:
        inputs: dict[str, str] = {}
        methods: dict[str, SnapshotMethod] = {}
        for method in data.record.methods:
            mine = by_place.get((dataset.label, method.label))
            if mine is None:  # a method that is not for this dataset
                continue
            outputs: list[bytes | None] = []
            items: dict[str, SnapshotItem] = {}
            each = [cell for cell in mine if not cell.column.is_set]
            labels = [cell.column.label for cell in each]
            # One value of every metric per unit; without any metric, nothing per unit.
            values = zip(*map(_item_values, each), strict=True) if each else itertools.repeat(())
            for unit, found_values in zip(data.units[dataset.label, method.label], values, strict=bool(each)):
                output = unit.row.output_hash if unit.row is not None else None
                if unit.given is not None and output is not None:
                    inputs[unit.item] = _short(unit.given)
                outputs.append(output)
                # Not checked as what is read from a file: there may be a hundred thousand.
                items[item_key(unit.item, unit.repeat, method.repeats)] = SnapshotItem.model_construct(
                    output=None if output is None else _short(output),
                    reference=_short(references[unit.reference]) if unit.reference in references else None,
                    values=dict(zip(labels, found_values, strict=True)),
                )
            methods[method.label] = SnapshotMethod(
                expected=len(items),
                outputs=_digest(zip(items, outputs, strict=True)),
                values={cell.column.label: _value(cell) for cell in mine},
                items=items,
            )
        metrics = {column.label: _metric(column) for column in dataset.columns}
        found[dataset.label] = SnapshotDataset(inputs=inputs, metrics=metrics, methods=methods)
    return found


def _timings(store: Store, data: RunView) -> Iterator[SnapshotTiming]:
    """The newest time of every method at the setting that the suite's `latency:` names, on every machine that has one.

    What `bench latency` measured beside it belongs to no suite, and another folder could not be held to it.
    """
    asked = timings.asked(data.record.definition, data.provenance)
    if asked is None:
        return
    for method in data.record.methods:
        known: set[tuple[str, str]] = set()
        identity, options = method.timed
        request = timings.request_digest(method.name, options)
        rows = (
            timings.find(store, methods=[timings.method_digest(identity)])
            if identity
            else timings.find(store, requests=[request])
        )
        for row in rows:
            setting = f"{row.setting.short}, {row.setting.threads} threads"
            machine = ", ".join(f"{name} {value}" for name, value in sorted(row.fingerprint.items()) if value)
            if row.setting._replace(threads=0) == asked and (setting, machine) not in known:
                known.add((setting, machine))
                reason = row.reason or "; ".join(row.noise) or None
                seconds = [value / 1e9 for value in row.samples] if row.ok else []
                yield timing(method.label, setting, machine, seconds, reason, [value / 1e9 for value in row.probe])


def _short(content: bytes) -> str:
    return content.hex()[:16]


def _digest(outputs: Iterable[tuple[str, bytes | None]]) -> str:
    named = sorted((item, output.hex() if output is not None else None) for item, output in outputs)
    return hashlib.sha256(json.dumps(named, ensure_ascii=False).encode()).hexdigest()


def _metric(column: Column) -> SnapshotMetric:
    return SnapshotMetric(
        signature=column.signature,
        better="higher" if column.higher_is_better else "lower",
        digits=column.digits,
        learned=bool(column.mode),
        of_sets=column.is_set,
    )


def _value(cell: Cell) -> SnapshotValue:
    number, status = _number(cell.value, cell.status)
    scored = int(cell.columns.scored.sum())
    return SnapshotValue(value=number, status=status, n=scored, reason=None if cell.complete else cell.reason)


def _item_values(cell: Cell) -> Iterator[float | Status]:
    """Of every unit, the value or the word for why there is none."""
    found = cell.columns
    plain = (found.scored & np.isfinite(found.values)).tolist()
    for place, (value, is_plain) in enumerate(zip(found.values.tolist(), plain, strict=True)):
        if is_plain:
            yield float(f"{value:.{DIGITS}g}")
        else:
            score = found[place]
            number, status = _number(score.value, score.status)
            yield status if number is None else number


def _number(value: float | None, status: str) -> tuple[float | None, Status]:
    """A value as JSON can hold it, with the word that says what is missing."""
    word: Any = "-inf" if value == -math.inf else status
    return (float(f"{value:.{DIGITS}g}") if value is not None and math.isfinite(value) else None), word
