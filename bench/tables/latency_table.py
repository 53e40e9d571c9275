"""Times for readers and for programs: medians with what they rest on, the whole job's stages, what a method costs.

Numbers are derived here from the stored samples. Ratios are told only of methods that were measured in turns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bench.catalog import published
from bench.catalog.published import Value, plain
from bench.catalog.registry import registry
from bench.machine import machine_line
from bench.results import csv_text
from bench.results.samples import FLOORS, LEVEL, RESAMPLES, ROUNDS, SEED, Ratio, TimeSummary, ratio, summarise
from bench.results.timings import Timing
from bench.suite.setting import STAGES
from bench.tables import render
from bench.tables.layout import printable
from bench.tables.time_column import METRIC, UNSYNCHRONISED, milliseconds, short

_NOTE = {"markdown": ("- ", ""), "latex": ("% ", ""), "html": ("<p>", "</p>"), "terminal": ("• ", "")}


class Line(NamedTuple):
    """A timing with what is derived from it."""

    timing: Timing
    summary: TimeSummary | None
    ratio: Ratio | None
    base: str | None
    """Label of the method that the ratio is to."""
    theirs: Value | None
    """The paper's time."""

    @property
    def images_per_second(self) -> float:
        return self.timing.setting.batch * 1e9 / self.summary.median if self.summary else float("nan")

    @property
    def megapixels_per_second(self) -> float:
        size = self.timing.setting.size
        return self.images_per_second * size.height * size.width / 1e6

    @property
    def label(self) -> str:
        random = " (random weights)" if self.timing.record.get("weights") == "random" else ""
        return printable(self.timing.label) + random


def lines(timings: Sequence[Timing], table: str | None = None) -> list[Line]:
    """Derive everything. The base of a ratio is the first method that was measured at the same setting.

    `table`: a paper's table whose times stand beside ours. Raises `BenchError` for one that does not exist.
    """
    theirs = _theirs(timings, table)
    bases: dict[Any, Timing] = {}
    found = []
    for timing in timings:
        if not timing.ok:
            found.append(Line(timing, None, None, None, theirs.get(timing.label)))
            continue
        base = bases.setdefault(timing.setting, timing)
        turns = timing.record.get("order") == "interleaved" and base.session == timing.session and base is not timing
        compared = ratio(base.samples, timing.samples) if turns else None
        found.append(Line(timing, summarise(timing.samples), compared, base.label, theirs.get(timing.label)))
    return found


def _theirs(timings: Sequence[Timing], key: str | None) -> dict[str, Value]:
    if key is None or not published.folder().is_dir():
        return {}
    table = published.load(key)
    values = {value.method: value for value in table.values if value.metric == METRIC}
    found = {}
    for timing in timings:
        entry = registry("method").get(timing.name) if timing.name in registry("method") else None
        names = {timing.label, timing.name, *([str(entry.fields.get("title"))] if entry else [])}
        printed = table.method_of({plain(timing.label)}) or table.method_of({plain(name) for name in names})
        if printed in values:
            found[timing.label] = values[printed]
    return found


def text(found: Sequence[Line], style: str, title: str, notes: Iterable[str] = (), table: str | None = None) -> str:
    """In one of `render.FORMATS`. Raises `BenchError` for another word."""
    render.check_style(style)
    if style == "json":
        return render.json_text([record(line) for line in found])
    if style == "csv":
        return render.csv_text([_flat(record(line)) for line in found])
    blocks = [("", _times(found)), ("The whole job, ms per image", _stages(found)), ("What it takes", _costs(found))]
    return _page(title, [(name, rows) for name, rows in blocks if rows], [*_footer(found, table), *notes], style)


def _page(title: str, blocks: Sequence[tuple[str, list[dict[str, str]]]], notes: Sequence[str], style: str) -> str:
    out = []
    for name, rows in blocks:
        body = render.of_rows(rows, style, ("method", "noise", "stopped by"))
        heading = f"{title}: {name}" if name and style != "markdown" else name or title
        out.append(
            {
                "markdown": f"**{heading}**\n\n{body}",
                "latex": f"% {heading}\n{body}",
                "html": f"<h3>{render.html.escape(heading)}</h3>\n{body}",
                "terminal": f"{heading}\n{body}",
            }[style]
        )
    prefix, suffix = _NOTE[style]
    shown = (render.html.escape(note) if style == "html" else note for note in map(printable, notes))
    return "\n".join(out) + "\n" + "".join(f"{prefix}{note}{suffix}\n" for note in shown)


def _place(found: Sequence[Line], line: Line) -> dict[str, str]:
    """Size and batch, where they differ between the lines."""
    setting = line.timing.setting
    columns = {"size": str(setting.size), "batch": str(setting.batch)}
    varying = {
        "size": len({other.timing.setting.size for other in found}) > 1,
        "batch": len({other.timing.setting.batch for other in found}) > 1,
    }
    return {"method": line.label, **{name: value for name, value in columns.items() if varying[name]}}


def _times(found: Sequence[Line]) -> list[dict[str, str]]:
    events = any(line.timing.events.size for line in found)
    cpu = any(line.timing.cpu.size for line in found)
    beside = any(line.theirs for line in found)
    rows = []
    for line in found:
        timing, told = line.timing, line.summary
        row = _place(found, line)
        row["median ms"] = (
            "failed" if told is None else milliseconds(told.median) + ("*" if told.n < FLOORS[50] else "")
        )
        row["IQR ms"] = "–" if told is None else milliseconds(told.iqr)
        for q in (90, 95, 99):
            row[f"p{q} ms"] = _tail(told, q)
        row["n"] = "0" if told is None else str(told.n)
        row[f"ratio to {_first(found)}"] = _ratio(line)
        if events:
            row["CUDA events ms"] = milliseconds(float(np.median(timing.events))) if timing.events.size else "–"
        if cpu:
            row["CPU ms"] = milliseconds(float(np.median(timing.cpu))) if timing.cpu.size else "–"
        row["images/s"] = short(line.images_per_second) if told else "–"
        row["MP/s"] = short(line.megapixels_per_second) if told else "–"
        if beside:
            row["paper ms"] = line.theirs.printed if line.theirs else "–"
        row["noise"] = "; ".join(timing.noise)
        if row["noise"]:
            row["noise"] = f"noisy: {printable(row['noise'])}"
        rows.append(row)
    if not any(row["noise"] for row in rows):
        for row in rows:
            del row["noise"]
    return rows


def _stages(found: Sequence[Line]) -> list[dict[str, str]]:
    rows = []
    for line in found:
        stages = line.timing.record.get("stages")
        if stages:
            rows.append({**_place(found, line), **{name: milliseconds(stages[name]) for name in (*STAGES, "whole")}})
    return rows


def _costs(found: Sequence[Line]) -> list[dict[str, str]]:
    rows = []
    for line in found:
        record = line.timing.record
        if not line.timing.ok:
            continue
        memory = record.get("memory", {})
        row = _place(found, line)
        row |= {"load s": f"{record['load_ns'] / 1e9:.2f}", "first call ms": milliseconds(record["first_ns"])}
        for name, heading in _MEMORY.items():
            if name != "rss_peak" and line.timing.setting.kind == "cpu":
                continue
            row[heading] = f"{memory[name] / 2**20:.0f}" if name in memory else "n/a"
        row["parameters"] = f"{record['parameters']:,}" if record.get("parameters") else "n/a"
        row["GFLOP"] = short(record["flops"] / 1e9) if record.get("flops") else "n/a"
        row["stopped by"] = str(record.get("stop", ""))
        rows.append(row)
    return rows


_MEMORY = {
    "rss_peak": "RSS peak MiB", "torch_allocated_peak": "torch allocated MiB", "torch_reserved_peak":
    "torch reserved MiB", "nvml_used": "GPU used MiB",
}  # fmt: skip


def _first(found: Sequence[Line]) -> str:
    return next((line.label for line in found if line.timing.ok), "first")


def _ratio(line: Line) -> str:
    if line.summary is None:
        return "–"
    if line.base == line.timing.label:
        return "1"
    if line.ratio is None:
        return "–"
    if line.ratio.low is None:
        return f"{line.ratio.value:.3f} (of {line.ratio.rounds})"
    return f"{line.ratio.value:.3f} [{line.ratio.low:.3f}, {line.ratio.high:.3f}]"


def _tail(told: TimeSummary | None, q: int) -> str:
    if told is None:
        return "–"
    value = {90: told.p90, 95: told.p95, 99: told.p99}[q]
    return f"n/a (n={told.n}<{FLOORS[q]})" if value is None else milliseconds(value)


def _footer(found: Sequence[Line], table: str | None) -> Iterator[str]:
    settings = list(dict.fromkeys(line.timing.setting for line in found))
    first = settings[0]
    point = f"{first.size}, batch {first.batch}, " if len(settings) == 1 else ""
    threads = f", {first.threads} threads" if first.kind == "cpu" else ""
    yield f"Setting: {point}{first.dtype}, {first.kind}{threads}."
    yield f"Machine: {'; '.join(dict.fromkeys(machine_line(line.timing.fingerprint) for line in found))}."
    if first.mode == "dispatch":
        yield (
            "Dispatch: on a CPU it is synchronous, and equals the wall-clock time of a call."
            if first.kind == "cpu"
            else "Dispatch: the clock stops when the call returns, whatever the GPU has still to do: no latency."
        )
    elif first.kind == "cuda":
        yield "Wall clock per call, the GPU waited for before and after; CUDA events: the same calls by its clock."
    order = next((line.timing.record.get("order") for line in found if line.timing.ok), None)
    turns = "each method in a fresh process, taking turns (ABCD ABCD)" if order == "interleaved" else (
        "each method in a fresh process, one after the other"
    )  # fmt: skip
    yield f"Times are of `restore` alone, on generated images: {turns}. Load and first call stand apart."
    yield (
        "A percentile is told from so many samples on: "
        + ", ".join(f"p{q} {least}" for q, least in FLOORS.items() if q > 50)
        + "; MP/s counts pixels of the input."
    )
    if any(line.summary is not None and line.summary.n < FLOORS[50] for line in found):
        yield f"* median of fewer than {FLOORS[50]} samples."
    if any(line.ratio for line in found):
        yield (
            f"Ratios are of medians over the rounds that both took part in, [low, high] their {LEVEL:.0%} bootstrap "
            f"interval ({RESAMPLES} resamples of rounds, seed {SEED}), none below {ROUNDS} rounds."
        )
    if any(line.timing.record.get("weights") == "random" for line in found):
        yield "Random weights: the network of that name without its trained weights; timed, never scored."
    if any(line.theirs for line in found) and table is not None:
        yield f"Paper ms: printed in {table}; {UNSYNCHRONISED if table.startswith('iqp') else 'another machine'}."
    yield from (f"{line.label}, {line.timing.setting.size}: failed: {line.timing.reason}" for line in found
                if not line.timing.ok)  # fmt: skip


def record(line: Line) -> dict[str, object]:
    """A line as JSON-like data; milliseconds, and null for what is not told."""
    timing, told = line.timing, line.summary
    setting, kept = timing.setting, timing.record
    return {
        "method": timing.label, "name": timing.name, "weights": kept.get("weights") or "published",
        "height": setting.size.height, "width": setting.size.width, "batch": setting.batch, "dtype": setting.dtype,
        "device": setting.kind, "mode": setting.mode, "threads": setting.threads, "status": timing.status,
        "reason": timing.reason, "n": told.n if told else 0,
        "median_ms": told and told.median / 1e6, "q1_ms": told and told.low / 1e6, "q3_ms": told and told.high / 1e6,
        **{f"p{q}_ms": None if told is None or value is None else value / 1e6
           for q, value in ((90, told and told.p90), (95, told and told.p95), (99, told and told.p99))},
        "events_median_ms": float(np.median(timing.events)) / 1e6 if timing.events.size else None,
        "cpu_median_ms": float(np.median(timing.cpu)) / 1e6 if timing.cpu.size else None,
        "ratio_to": line.base if line.ratio else None, "ratio": line.ratio and line.ratio.value,
        "ratio_low": line.ratio and line.ratio.low, "ratio_high": line.ratio and line.ratio.high,
        "images_per_second": line.images_per_second if told else None,
        "megapixels_per_second": line.megapixels_per_second if told else None,
        "published_ms": line.theirs.number if line.theirs else None,
        "load_s": kept["load_ns"] / 1e9 if told else None, "first_call_ms": kept["first_ns"] / 1e6 if told else None,
        "stages_ms": {name: value / 1e6 for name, value in (kept.get("stages") or {}).items()},
        "memory_bytes": kept.get("memory", {}), "parameters": kept.get("parameters"), "flops": kept.get("flops"),
        "stop": kept.get("stop"), "order": kept.get("order"), "noise": timing.noise, "session": timing.session,
        "machine": machine_line(timing.fingerprint), "environment": kept.get("environment", {}),
    }  # fmt: skip


def _flat(given: Mapping[str, object]) -> dict[str, object]:
    """For CSV: stages and memory as columns of their own, lists joined."""
    flat: dict[str, object] = {}
    for name, value in given.items():
        if name == "environment":
            continue
        if isinstance(value, Mapping):
            keys = (*STAGES, "whole") if name == "stages_ms" else tuple(_MEMORY)
            unit = name.rpartition("_")[2]
            flat |= {f"{key}_{unit}": value.get(key) for key in keys}
        else:
            flat[name] = "; ".join(value) if isinstance(value, list) else value
    return flat


def raw(timings: Sequence[Timing]) -> str:
    """Every sample as CSV: one line per call, nanoseconds."""
    header = ["method", "height", "width", "batch", "dtype", "device", "mode", "round", "wall_ns", "cpu_ns", "event_ns"]
    return csv_text.of_rows(header, _calls(timings))


def _calls(timings: Sequence[Timing]) -> Iterator[list[object]]:
    for timing in timings:
        setting = timing.setting
        place = [timing.label, *setting.size, setting.batch, setting.dtype, setting.kind, setting.mode]
        for index, wall in enumerate(timing.samples):
            more = (f"{column[index]:.0f}" if column.size else "" for column in (timing.cpu, timing.events))
            yield [*place, index, f"{wall:.0f}", *more]


def check_published(table: str | None) -> str | None:
    """The table if it has times, else None. Raises `BenchError` for one that does not exist."""
    if table is None or not published.folder().is_dir():
        return None
    return table if METRIC in published.load(table).metrics else None
