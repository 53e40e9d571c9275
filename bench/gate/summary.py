"""A comparison for its readers: terse text for a terminal, markdown for a pull request, strict JSON for programs."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from bench.gate.arguments import Side
from bench.gate.findings import KINDS, Comparison, Finding
from bench.gate.snapshot_format import Snapshot, SnapshotOrigin
from bench.tables.layout import format_value, printable, signed

SHOWN = 20
"""Findings of a summary's first table; the others are folded away."""
NAMED = 3
"""Items that a line names."""


def render(found: Comparison, base: Side, head: Side, kinds: Collection[str], style: str) -> str:
    """The answer; `kinds` are those that fail."""
    return {"text": _text, "markdown": _markdown, "json": _json}[style](found, base, head, kinds)


def _verdict(found: Comparison, kinds: Collection[str]) -> str:
    failing = len(found.failing(kinds))
    others = len(found.findings) - failing
    words = [f"{failing} finding{'s' * (failing != 1)}"] if failing else []
    words += [f"{others} note{'s' * (others != 1)}"] if others else []
    return ", ".join(words) or f"all {found.compared} values hold"


def _ordered(found: Comparison, kinds: Collection[str]) -> list[Finding]:
    """Findings that fail first, each group in the order of the kinds."""
    order = list(KINDS)
    return sorted(found.findings, key=lambda one: (one.kind not in kinds, order.index(one.kind)))


def where(one: Finding) -> str:
    """The place of a finding."""
    method = one.method or ("all methods" if one.metric or one.items else "")
    place = " on ".join(part for part in (method, one.dataset) if part)
    return ", ".join(part for part in (place, one.metric) if part)


def _numbers(one: Finding) -> tuple[str, str, str]:
    """(base, head, difference), with as many digits as it takes to tell them apart."""
    if one.base is None or one.head is None:
        base, head = ("" if value is None else format_value(value, one.digits) for value in (one.base, one.head))
        return base, head, ""
    digits = one.digits
    while digits < 10 and one.base != one.head and _same(one.base, one.head, digits):
        digits += 1
    difference = one.head - one.base
    change = "" if math.isnan(difference) or math.isinf(difference) else signed(difference, digits)
    return format_value(one.base, digits), format_value(one.head, digits), change


def _same(first: float, second: float, digits: int) -> bool:
    """Whether a reader would see one number, or a difference of a single digit."""
    if math.isinf(first) or math.isinf(second):
        return False
    return round(abs(first - second), digits) < 10.0 ** (1 - digits)


def _items(one: Finding) -> str:
    named = ", ".join(one.items[:NAMED])
    return named + (f" and {len(one.items) - NAMED} more" if len(one.items) > NAMED else "")


def _said(one: Finding) -> str:
    """Everything but the numbers: items, detail, tolerance."""
    parts = [one.detail, f"may move by {one.tolerance}" if one.tolerance is not None and one.base != one.head else ""]
    return "; ".join(part for part in (_items(one), *parts) if part)


def _line(one: Finding) -> str:
    base, head, change = _numbers(one)
    values = f"{base} → {head}" + (f" ({change})" if change else "") if base and head else ""
    if bool(base) != bool(head):
        values = f"was {base}" if base else f"is {head}"
    told = "; ".join(part for part in (values, _said(one)) if part)
    return printable(f"{one.kind:<12} {where(one)}" + (f": {told}" if told else ""))


def _head(found: Comparison, base: Side, head: Side) -> str:
    return f"{head.snapshot.suite}, {head.name} against {base.name}"


def _place(found: Comparison) -> str:
    if not found.elsewhere:
        return "made in the same place: images are held bit by bit, values to the tolerances of that"
    return f"made in another place ({'; '.join(found.elsewhere)}): values are held to the tolerances of that"


def _text(found: Comparison, base: Side, head: Side, kinds: Collection[str]) -> str:
    rows = _ordered(found, kinds)
    lines = [f"{_head(found, base, head)}: {_verdict(found, kinds)}"]
    lines += [("  " if one.kind in kinds else "  note: ") + _line(one) for one in rows]
    lines.append(printable(f"{found.compared} values compared, {_place(found)}"))
    return "\n".join(lines) + "\n"


def _markdown(found: Comparison, base: Side, head: Side, kinds: Collection[str]) -> str:
    failing = [one for one in _ordered(found, kinds) if one.kind in kinds]
    notes = [one for one in _ordered(found, kinds) if one.kind not in kinds]
    passed = "passed" if not failing else "failed"
    lines = [f"### bench check {_cell(head.snapshot.suite)}: {passed}", ""]
    name = printable(base.name).replace("`", "'")
    lines += [f"{_cell(head.name)} against `{name}`: {_verdict(found, kinds)}.", ""]
    if failing:
        lines += [*_table(failing[:SHOWN]), ""]
    if len(failing) > SHOWN:
        lines += [*_details(f"{len(failing) - SHOWN} more findings", _table(failing[SHOWN:])), ""]
    if notes:
        lines += [*_details(f"{len(notes)} notes, which do not fail", _table(notes)), ""]
    lines += _details(
        "What was compared", [f"- {line}" for line in _about(found, base.snapshot, head.snapshot, failing)]
    )
    return "\n".join(lines) + "\n"


def _details(title: str, lines: Sequence[str]) -> list[str]:
    return ["<details>", f"<summary>{title}</summary>", "", *lines, "", "</details>"]


def _table(rows: Sequence[Finding]) -> list[str]:
    header = ["finding", "dataset", "method", "metric", "baseline", "run", "difference", "what"]
    align = ["---"] * 4 + ["---:"] * 3 + ["---"]
    body = [
        [one.kind, one.dataset or "all", one.method or "all", one.metric or "all", *_numbers(one), _said(one)]
        for one in rows
    ]
    return [f"| {' | '.join(_cell(text) for text in line)} |" for line in (header, align, *body)]


def _cell(text: str) -> str:
    """Text that stays text in a table of GitHub's markdown."""
    safe = html.escape(printable(text), quote=False)
    for sign in "\\`*_|[]":
        safe = safe.replace(sign, "\\" + sign)
    return safe.replace("@", "@\u200b")  # nobody is called to a pull request by the name of a file


def _about(found: Comparison, base: Snapshot, head: Snapshot, failing: Sequence[Finding]) -> Iterator[str]:
    yield f"{found.compared} values; {_cell(_place(found))}."
    limits = base.tolerances.elsewhere if found.elsewhere else base.tolerances.here
    named = [f"{name} {one}" for name, one in limits.metrics.items()]
    widths = [f"deterministic metrics {limits.deterministic}", f"learned ones {limits.learned}", *named]
    yield _cell(f"may move: {', '.join(widths)}; latency {base.tolerances.latency:g} times the base's median.")
    yield f"baseline: {_cell(_origin(base.made))}."
    yield f"run: {_cell(_origin(head.made))}."
    for kind in dict.fromkeys(one.kind for one in failing):
        yield f"{kind}: {KINDS[kind]}."


def _origin(made: SnapshotOrigin) -> str:
    commit = f", commit {made.commit[:12]}" if made.commit else ""
    return f"{made.created}{commit}, {made.device_model or made.processor}, Python {made.python}"


def _json(found: Comparison, base: Side, head: Side, kinds: Collection[str]) -> str:
    data: dict[str, Any] = {
        "suite": head.snapshot.suite,
        "baseline": base.name,
        "run": head.name,
        "passed": not found.failing(kinds),
        "compared": found.compared,
        "elsewhere": list(found.elsewhere),
        "findings": [
            {
                "kind": one.kind, "fails": one.kind in kinds, "dataset": one.dataset, "method": one.method,
                "metric": one.metric, "baseline": _finite(one.base), "run": _finite(one.head),
                "items": list(one.items), "detail": one.detail,
                "tolerance": None if one.tolerance is None else one.tolerance.model_dump(),
            }
            for one in _ordered(found, kinds)
        ],
    }  # fmt: skip
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: float | None) -> float | str | None:
    """A number as strict JSON has it; an infinite one as its word."""
    if value is None or math.isfinite(value):
        return value
    return "inf" if value > 0 else "-inf"
