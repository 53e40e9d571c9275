"""The column of times beside a run's scores, and how a time is written.

What a time rests on is said by the footer; `bench latency` says more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.catalog.published import PublishedTable
from bench.errors import counted
from bench.machine import machine_line
from bench.results.samples import FLOORS
from bench.results.timings import Timing
from bench.results.view import RunView
from bench.tables.layout import Shown, Table, printable
from bench.tables.notes import legend, told

METRIC = "inference-ms"
"""What the papers' tables call a time per image."""
UNSYNCHRONISED = (
    "it states no protocol, and the timer of the authors' code stops without waiting for the GPU, so that its times "
    "are probably those of dispatch (some 540 operations at about 10 µs each), which --dispatch measures"
)


def timed(table: Table, data: RunView, theirs: PublishedTable | None = None) -> Table:
    """The table with a last column of median milliseconds, where the run's methods have been timed.

    The same time stands beside every dataset: it is of generated images of one size. `theirs`: the paper's table, whose
    own times are shown in brackets.
    """
    if not data.timings:
        return table
    times = {timing.label: timing for timing in data.timings}
    printed = {value.method: value.printed for value in theirs.values if value.metric == METRIC} if theirs else {}
    ours = {} if theirs is None else {
        label: found for label in times if (found := theirs.method_of(_names(data, label))) in printed
    }  # fmt: skip
    rows = []
    for row in table.rows:
        if row.scored == "paper":
            text = f"({printed[row.method]})" if row.method in printed else "–"
        else:
            beside = f" ({printed[ours[row.method]]})" if row.method in ours else ""
            text = _text(times.get(row.method)) + beside
        rows.append(row._replace(cells=[*row.cells, Shown(text, 0)]))
    header, arrows = [*table.header, "Latency, ms"], [*table.arrows, "↓"]
    notes = [*table.notes, *(legend(line) if line[0] in "*~" else told(line) for line in _footer(data.timings))]
    if printed:
        notes.append(legend(f"In brackets behind a time: the paper's; {UNSYNCHRONISED}."))
    columns = [*table.columns, "latency"]
    return table._replace(header=header, arrows=arrows, rows=rows, notes=notes, columns=columns)


def _names(data: RunView, label: str) -> set[str]:
    from bench.catalog.published import plain

    named = [method.name for method in data.record.methods if method.label == label]
    return {plain(name) for name in (label, *named)}


def _text(timing: Timing | None) -> str:
    if timing is None:
        return "–"
    if not timing.ok:
        return "failed"
    marks = ("*" if timing.samples.size < FLOORS[50] else "") + ("~" if timing.noise else "")
    return short(timing.median_ms) + marks


def setting_line(timings: Sequence[Timing]) -> str:
    """What medians rest on, in one sentence."""
    first = timings[0]
    setting = first.setting
    threads = f", {counted(setting.threads, 'thread')}" if setting.kind == "cpu" else ""
    samples = [timing.samples.size for timing in timings if timing.ok]
    counts = f", n {min(samples)} to {max(samples)}" if samples else ""
    return (
        f"Latency: median of `restore` on generated images, {setting.short}{threads}{counts}, on "
        f"{machine_line(first.fingerprint)}; bench latency tells more."
    )


def _footer(timings: Sequence[Timing]) -> Iterator[str]:
    yield setting_line(timings)
    if any(timing.ok and timing.samples.size < FLOORS[50] for timing in timings):
        yield f"* median of fewer than {FLOORS[50]} samples."
    noisy = {timing.label: "; ".join(timing.noise) for timing in timings if timing.ok and timing.noise}
    yield from (f"~ noisy: {printable(label)}: {printable(reason)}" for label, reason in noisy.items())
    random = [timing.label for timing in timings if timing.record.get("weights") == "random"]
    if random:
        yield f"Timed with random weights: {printable(', '.join(random))}."
    yield from (f"latency failed: {printable(f'{one.label}: {one.reason}')}" for one in timings if not one.ok)


def milliseconds(nanoseconds: float) -> str:
    """Milliseconds with four significant digits at most, and never finer than a tenth of a microsecond."""
    return short(nanoseconds / 1e6)


def short(value: float) -> str:
    for limit, digits in ((1000, 0), (100, 1), (10, 2), (0.1, 3)):
        if abs(value) >= limit:
            return f"{value:.{digits}f}"
    return f"{value:.4f}"
