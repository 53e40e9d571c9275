"""A finding in words, whatever the form that it is printed in."""

from __future__ import annotations

import math
from collections.abc import Collection

from bench.gate.findings import KINDS, Comparison, Finding
from bench.tables.layout import format_value, printable, signed

NAMED = 3
"""Items that a line names."""


def ordered(found: Comparison, kinds: Collection[str]) -> list[Finding]:
    """Findings that fail first, each group in the order of the kinds."""
    order = list(KINDS)
    return sorted(found.findings, key=lambda one: (one.kind not in kinds, order.index(one.kind)))


def where(one: Finding) -> str:
    """The place of a finding."""
    method = one.method or ("all methods" if one.metric or one.items else "")
    place = " on ".join(part for part in (method, one.dataset) if part)
    return ", ".join(part for part in (place, one.metric) if part)


def numbers(one: Finding) -> tuple[str, str, str]:
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


def said(one: Finding) -> str:
    """Everything but the numbers: items, detail, tolerance."""
    parts = [one.detail, f"may move by {one.tolerance}" if one.tolerance is not None and one.base != one.head else ""]
    return "; ".join(part for part in (_items(one), *parts) if part)


def described(one: Finding) -> str:
    """What of it: the numbers, the items, the reason."""
    base, head, change = numbers(one)
    values = f"{base} → {head}" + (f" ({change})" if change else "") if base and head else ""
    if bool(base) != bool(head):
        values = f"was {base}" if base else f"is {head}"
    return printable("; ".join(part for part in (values, said(one)) if part))


def line(one: Finding) -> str:
    """A finding on a line of its own."""
    told = described(one)
    return printable(f"{one.kind:<12} {where(one)}") + (f": {told}" if told else "")
