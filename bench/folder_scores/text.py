"""Rows of one request as a table of means, JSON or CSV."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from bench.folder_scores.asked import Asked
from bench.folder_scores.scoring import Row
from bench.metrics.base import SetMetric
from bench.results import csv_text
from bench.results.view import mean

_NOTES = 12


def render(
    rows: Sequence[Row], asked: Sequence[Asked], style: str, *, per_item: bool = False, notes: Sequence[str] = ()
) -> str:
    """Rows as `table` (a mean per metric, its signature and the notes below), `json` (one strict array) or `csv`."""
    if style == "json":
        plain = [{key: value for key, value in strict(row).items() if key != "reason" or value} for row in rows]
        return json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if style == "csv":
        return csv_text.of_records(list(Row.__annotations__), map(strict, rows))
    return _table(rows, asked, per_item, notes)


def strict(row: Row) -> dict[str, Any]:
    """Without infinities, which JSON has not: their status says it."""
    value = row["value"]
    return {**row, "value": value if value is not None and math.isfinite(value) else None}


def _table(rows: Sequence[Row], asked: Sequence[Asked], per_item: bool, notes: Sequence[str]) -> str:
    from tabulate import tabulate

    lines: list[list[str]] = []
    reasons: dict[str, int] = {}
    for one in asked:
        mine = [row for row in rows if row["signature"] == one.signature]
        digits, arrow = one.entry.fields.get("digits", 4), "↑" if one.metric.higher_is_better else "↓"
        if per_item:
            shown = [row for row in mine if row["item"]]
            lines += [[row["item"], one.label, _number(row, digits), ""] for row in shown]
        due = [row for row in mine if row["status"] != "n/a"]
        scored = [row["value"] for row in mine if row["status"] in ("ok", "inf") and row["value"] is not None]
        whole = isinstance(one.metric, SetMetric)
        counts = (mine[-1]["reason"] or "all") if whole else f"{len(scored)} / {len(due)}"
        lines.append(["mean" if per_item else "", f"{one.label} {arrow}", _mean(scored, mine, digits), counts])
        for row in mine:
            if row["reason"] and row["item"]:
                what = "n/a" if row["status"] == "n/a" else f"failed: {row['item']}"
                line = f"{what}: {row['reason']}" if what != "n/a" else f"n/a: {one.label}: {row['reason']}"
                reasons[line] = reasons.get(line, 0) + 1
    if not per_item:
        lines = [line[1:] for line in lines]
    header = ["metric", "value", "scored / expected"]
    text = tabulate(lines, ["item", *header] if per_item else header, tablefmt="simple", disable_numparse=True)
    footer = [*(one.signature for one in asked), *notes, *list(reasons)[:_NOTES]]
    if len(reasons) > _NOTES:
        footer.append(f"… and {len(reasons) - _NOTES} more reasons (--format csv has every row)")
    return text + "\n\n" + "\n".join(footer) + "\n"


def _mean(values: Sequence[float], rows: Sequence[Row], digits: int) -> str:
    """Mean of what was scored; identical images make a PSNR mean infinite, and it is said how many did."""
    if not values:
        return rows[0]["status"] if rows else "no items"
    infinite = sum(map(math.isinf, values))
    if infinite:
        return f"inf ({infinite} of {len(values)})"
    return f"{mean(values):z.{digits}f}"


def _number(row: Row, digits: int) -> str:
    return row["status"] if row["value"] is None or math.isinf(row["value"]) else f"{row['value']:z.{digits}f}"
