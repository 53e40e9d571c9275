"""Two runs beside each other, cell by cell: differences, paired tests, and what makes two numbers not comparable.

It judges nothing but significance; tolerances and what may fail a build are the gate's business.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench.catalog.registry import registry
from bench.results.record import Column
from bench.results.view import Cell, RunView
from bench.tables import significance, statistics
from bench.tables.layout import format_value, printable, signed
from bench.tables.render import pipe
from bench.tables.significance import paired_test

ALPHA = 0.05
"""Differences with a p-value below it are called better or worse."""


class Change(NamedTuple):
    """One dataset, method and metric in both runs."""

    dataset: str
    method: str
    metric: str
    verdict: str
    """same, better, worse, undecided (no significant difference), new, vanished, incomparable or incomplete."""
    base: float | None
    head: float | None
    test: statistics.Paired | None
    detail: str
    """Why two numbers cannot be compared; empty otherwise."""
    digits: int

    @property
    def compared(self) -> bool:
        """Whether two numbers were held against each other."""
        return self.verdict in ("same", "better", "worse", "undecided")

    @property
    def difference(self) -> float | None:
        """Head less base: of the items of the test where there is one, else of two finite numbers, if compared."""
        if self.test is not None:
            return self.test.difference
        if not self.compared or self.base is None or self.head is None:
            return None
        return self.head - self.base if math.isfinite(self.base) and math.isfinite(self.head) else None

    @property
    def shared(self) -> bool:
        """Whether both sides have the cell."""
        return self.verdict not in ("new", "vanished")


class Apart(NamedTuple):
    """What is known of the images behind two cells: they are not the same."""

    detail: str
    references: bool
    """It is what outputs are compared with; else what they were made from."""
    certain: bool
    """They must be the same for two numbers to be compared; not where two places may decode a file differently."""

    def concerns(self, column: Column) -> bool:
        """Whether a column's values depend on it: without a reference they do not depend on one."""
        name = column.signature.partition("|")[0]
        known = registry("metric")
        return not self.references or name not in known or known.get(name).fields.get("mode") != "NR"


def changes(base: RunView, head: RunView, apart: Mapping[tuple[str, str], Sequence[Apart]] = {}) -> list[Change]:
    """Every cell of either run, in the order of the head and then of what vanished. `apart`: by dataset and method,
    what is known of their images."""
    before = {(cell.dataset, cell.method, cell.column.label): cell for cell in base.cells}
    after = {(cell.dataset, cell.method, cell.column.label): cell for cell in head.cells}
    return [_change(key, before.get(key), after.get(key), apart) for key in dict.fromkeys([*after, *before])]


def _change(
    key: tuple[str, str, str],
    base: Cell | None,
    head: Cell | None,
    apart: Mapping[tuple[str, str], Sequence[Apart]],
) -> Change:
    old = base.value if base is not None else None
    new = head.value if head is not None else None
    known = head or base
    assert known is not None
    others = [one for one in apart.get(key[:2], ()) if one.concerns(known.column)]
    noted = "; ".join(one.detail for one in others)

    def verdict(word: str, detail: str = "", test: statistics.Paired | None = None) -> Change:
        told = "; ".join(part for part in (detail, noted) if part)
        return Change(*key, word, old, new, test, told, known.column.digits)

    if base is None or head is None:
        return verdict("new" if base is None else "vanished")
    if base.column.signature != head.column.signature:
        return verdict("incomparable", f"{base.column.signature} against {head.column.signature}")
    if any(one.certain for one in others):
        return verdict("incomparable")
    if old is None or new is None or not (base.complete and head.complete):
        reason = head.reason or base.reason or ""
        return verdict("incomplete", f"{base.n}/{base.expected} against {head.n}/{head.expected}: {reason}")
    if old == new and (math.isfinite(old) or base.items == head.items):  # infinite means hide what else moved
        return verdict("same")
    test = paired_test(base, head)
    if test is None:
        alone = "a set has one value: nothing to test" if head.column.is_set else "too few finite values to test"
        return verdict("undecided", alone)
    shared = len(base.items.keys() & head.items.keys())
    if shared < max(base.expected, head.expected):
        return verdict("incomparable", f"only {shared} items are in both runs", test)
    detail = f"{shared - test.n} of {shared} items are infinite and not in the test" if test.n < shared else ""
    if base.infinite != head.infinite:
        detail += f", {base.infinite} in base and {head.infinite} in head"
    if test.p_randomisation >= ALPHA:
        return verdict("undecided", detail, test)
    return verdict("better" if (test.difference > 0) == head.column.higher_is_better else "worse", detail, test)


def render(found: Sequence[Change], style: str) -> str:
    """The comparison as markdown or as strict JSON."""
    if style == "json":
        rows = [
            {
                **change._asdict(),
                "base": _strict(change.base),
                "head": _strict(change.head),
                "difference": change.difference,
                "test": change.test and {**change.test._asdict(), "interval": list(change.test.interval)},
            }
            for change in found
        ]
        return json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    from tabulate import tabulate

    body = [
        [
            *map(pipe, (change.dataset, change.method, change.metric)), _number(change.base, change),
            _number(change.head, change), _difference(change), change.verdict,
        ]
        for change in found
    ]  # fmt: skip
    header = ["Dataset", "Method", "Metric", "base", "head", "head − base", "verdict"]
    align = ("left", "left", "left", "right", "right", "right", "left")
    lines = [tabulate(body, header, tablefmt="pipe", disable_numparse=True, colalign=align), ""]
    lines += [f"- {c.verdict}: {c.method} on {c.dataset}, {c.metric}: {printable(c.detail)}" for c in found if c.detail]
    tests = [change.test for change in found if change.test is not None]
    if tests:
        lines.append(
            f"- better and worse: p < {ALPHA} over the items of both runs, the repeats of an item averaged "
            f"({significance.how(tests)}); [low, high] is the {statistics.LEVEL:.0%} bootstrap interval of the "
            f"difference ({statistics.RESAMPLES} resamples, seed {statistics.SEED})."
        )
    elif any(change.verdict != "same" for change in found):
        lines.append(
            "- no difference was tested: none of these cells has enough items with a finite value in both runs."
        )
    return "\n".join(lines) + "\n"


def _strict(value: float | None) -> float | str | None:
    """A number as strict JSON has it; an infinite one as its word."""
    return value if value is None or math.isfinite(value) else format_value(value, 0)


def why_nothing(found: Sequence[Change]) -> str:
    """Why two sides have no number that can be held against the other's."""
    shared = [change for change in found if change.shared]
    if shared:
        return f"nothing can be compared: of {len(shared)} cells of both none has a comparable value on both sides"
    sides = {verdict: [change for change in found if change.verdict == verdict] for verdict in ("vanished", "new")}
    for what, field in (("dataset", "dataset"), ("method", "method"), ("metric", "metric")):
        theirs = [list(dict.fromkeys(getattr(change, field) for change in side)) for side in sides.values()]
        if not set(theirs[0]) & set(theirs[1]):
            return f"nothing in common: {what}s {_some(theirs[0])} in the one, {_some(theirs[1])} in the other"
    return "nothing in common: no dataset is measured with the same method and metric in both"


def _some(names: Sequence[str]) -> str:
    return (", ".join(map(printable, names[:3])) or "(none)") + (" …" if len(names) > 3 else "")


def _number(value: float | None, change: Change) -> str:
    return "" if value is None else format_value(value, change.digits)


def _difference(change: Change) -> str:
    if change.difference is None:
        return ""
    if change.test is None:
        return signed(change.difference, change.digits)
    low, high = (signed(end, change.digits) for end in change.test.interval)
    p = statistics.p_text(change.test.p_randomisation)
    return f"{signed(change.difference, change.digits)} [{low}, {high}] {p}"
