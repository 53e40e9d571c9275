"""A comparison for its readers: terse text for a terminal, markdown for a pull request, strict JSON for programs."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from bench.gate import annotations as reviews
from bench.gate.arguments import Side
from bench.gate.findings import KINDS, Comparison, Finding
from bench.gate.snapshot_format import Snapshot, SnapshotOrigin
from bench.gate.wording import line, numbers, ordered, said
from bench.tables.layout import printable

SHOWN = 20
"""Findings of a summary's first table; the others are folded away."""


def render(found: Comparison, base: Side, head: Side, kinds: Collection[str], style: str) -> str:
    """The answer as text, markdown, json, github or gitlab; `kinds` are those that fail."""
    if style == "github":
        return _text(found, base, head, kinds) + reviews.github(found, base, head, kinds)
    forms = {"text": _text, "markdown": _markdown, "json": _json, "gitlab": reviews.gitlab}
    return forms[style](found, base, head, kinds)


def _verdict(found: Comparison, kinds: Collection[str]) -> str:
    failing = len(found.failing(kinds))
    others = len(found.findings) - failing
    words = [f"{failing} finding{'s' * (failing != 1)}"] if failing else []
    words += [f"{others} note{'s' * (others != 1)}"] if others else []
    return ", ".join(words) or f"all {found.compared} values hold"


def _head(found: Comparison, base: Side, head: Side) -> str:
    return f"{head.snapshot.suite}, {head.name} against {base.name}"


def _place(found: Comparison) -> str:
    if not found.elsewhere:
        return "made in the same place: images are held bit by bit, values to the tolerances of that"
    return f"made in another place ({'; '.join(found.elsewhere)}): values are held to the tolerances of that"


def _text(found: Comparison, base: Side, head: Side, kinds: Collection[str]) -> str:
    rows = ordered(found, kinds)
    lines = [f"{_head(found, base, head)}: {_verdict(found, kinds)}"]
    lines += [("  " if one.kind in kinds else "  note: ") + line(one) for one in rows]
    lines.append(printable(f"{found.compared} values compared, {_place(found)}"))
    return "\n".join(lines) + "\n"


def _markdown(found: Comparison, base: Side, head: Side, kinds: Collection[str]) -> str:
    failing = [one for one in ordered(found, kinds) if one.kind in kinds]
    notes = [one for one in ordered(found, kinds) if one.kind not in kinds]
    passed = found.outcome(kinds)
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
        [one.kind, one.dataset or "all", one.method or "all", one.metric or "all", *numbers(one), said(one)]
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
        "outcome": found.outcome(kinds),
        "compared": found.compared,
        "elsewhere": list(found.elsewhere),
        "findings": [
            {
                "kind": one.kind, "fails": one.kind in kinds, "dataset": one.dataset, "method": one.method,
                "metric": one.metric, "baseline": _finite(one.base), "run": _finite(one.head),
                "items": list(one.items), "detail": one.detail,
                "tolerance": None if one.tolerance is None else one.tolerance.model_dump(),
            }
            for one in ordered(found, kinds)
        ],
    }  # fmt: skip
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: float | None) -> float | str | None:
    """A number as strict JSON has it; an infinite one as its word."""
    if value is None or math.isfinite(value):
        return value
    return "inf" if value > 0 else "-inf"
