"""Intervals and tests of a run's cells, and what a table says of them.

Whatever a run holds, statistics speak of items: a cell's values are the means of each item's repeats (`Cell.items`), so
that twenty restorations of six images are six values. The interval of a method with members, such as trainings with
other seeds, speaks of other members as well. What is resampled and how is `statistics`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from bench.errors import counted
from bench.metrics import preference
from bench.metrics.preference import Comparison
from bench.results import voted
from bench.results.view import Cell, RunView
from bench.tables import statistics
from bench.tables.notes import Note, legend, told


def intervals(cells: Iterable[Cell]) -> dict[int, statistics.Interval]:
    """By a cell's `id`, the bootstrap interval of its mean over items, and over members where there are several.

    Set metrics, whose value is no mean, have none; of Bradley–Terry strengths people and items are drawn again, as
    `bench study report` does.
    """
    cells = list(cells)
    compared = {
        id(cell): _of_strengths(cell.column.compared, tuple(cell.column.strengths or ())).get(cell.method)
        for cell in cells
        if cell.column.compared is not None
    }
    means = [cell for cell in cells if not cell.column.is_set]
    alone = [cell for cell in means if cell.members <= 1]
    found = {id(cell): statistics.crossed(cell.by_member) for cell in means if cell.members > 1}
    ranges = statistics.bootstraps([cell.item_values for cell in alone])
    found |= {id(cell): one for cell, one in zip(alone, ranges, strict=True)}
    return {number: one for number, one in (found | compared).items() if one is not None}


def interval_of(cell: Cell) -> statistics.Interval | None:
    """The interval of one cell's mean; those of many are made together in less time."""
    return intervals([cell]).get(id(cell))


@lru_cache(maxsize=32)
def _of_strengths(made: tuple[Comparison, ...], methods: tuple[str, ...]) -> Mapping[str, statistics.Interval]:
    """By method; those that have none are not in it."""
    told, names = voted.only_compared(made, methods)
    found = preference.with_bootstrap(told, len(names))
    each = zip(names, found.low, found.high, strict=True)
    return {name: statistics.Interval(float(low), float(high)) for name, low, high in each if math.isfinite(low)}


def paired_test(base: Cell, other: Cell) -> statistics.Paired | None:
    """Paired test of two cells on the items that both have a value for; None for set metrics.

    A method with repeats enters with the mean of all of an item's, whatever the other one is.
    """
    if base.column.is_set or base.column.signature != other.column.signature:
        return None
    first, second = base.columns, other.columns
    if first.grid.items is second.grid.items:  # in the same order as well
        shared = first.valued & second.valued
        return statistics.paired(first.item_values[shared[first.valued]], second.item_values[shared[second.valued]])
    both = [item for item in base.items if item in other.items]
    return statistics.paired([base.items[item] for item in both], [other.items[item] for item in both])


STARS = ((0.001, "∗∗∗"), (0.01, "∗∗"), (0.05, "∗"))
"""Signs by the p-value below which they stand. Not the asterisk, which markdown reads as emphasis."""


def stars(p: float) -> str:
    """The sign of a p-value; empty where it tells of no difference."""
    return next((sign for level, sign in STARS if p < level), "")


def tested(data: RunView, against: str, whole: RunView | None = None) -> Iterator[statistics.Paired]:
    """Every test of a table that holds its methods against one of them, which need not be shown itself."""
    bases = {(cell.dataset, cell.column.label): cell for cell in (whole or data).cells if cell.method == against}
    for cell in data.cells:
        base = bases.get((cell.dataset, cell.column.label))
        test = paired_test(base, cell) if base is not None and cell.method != against else None
        if test is not None:
            yield test


def how(tests: Iterable[statistics.Paired]) -> str:
    """How the tests' p-values came about, for a footer: by all sign patterns, by a draw of them, or by both."""
    kinds = {test.exact for test in tests}
    drawn = f"approximate randomisation, two-sided, {statistics.TRIALS} trials, seed {statistics.SEED}"
    exact = "exact randomisation over all sign patterns, two-sided"
    if kinds == {True}:
        return exact
    if kinds == {False} or not kinds:
        return drawn
    return f"{exact}, up to {statistics.EXACT_ITEMS} items; above, {drawn}"


def notes(data: RunView, whole: RunView, *, ci: bool, against: str | None) -> Iterator[Note]:
    """What intervals and stars mean, and where they are rough."""
    several = ", ".join(dict.fromkeys(cell.method for cell in data.cells if cell.members > 1))
    if ci:
        yield legend(
            f"[low, high] is the {statistics.LEVEL:.0%} percentile bootstrap interval of the mean "
            f"({statistics.RESAMPLES} resamples of the items, seed {statistics.SEED}): how far it would move with "
            "other items of the same kind, not with another training run.",
            f"[low, high]: {statistics.LEVEL:.0%} bootstrap interval of the mean over items.",
        )
        if any(cell.column.compared is not None for cell in data.cells):
            yield told("Of Bradley–Terry strengths items and, independently, people are drawn again.")
        if several:
            yield told(
                f"{several}: resampled are the items and, independently, the members (crossed bootstrap): "
                "how far the mean would move with other items and another training run; a few members tell little."
            )
    if against is not None:
        yield from _test_notes(data, whole, against, several)
    if ci or against is not None:
        for dataset in data.record.datasets:
            of = [cell.expected for cell in data.cells if cell.dataset == dataset.label and not cell.column.is_set]
            count = min([len(dataset.items), *(some for some in of if some)])
            if count < statistics.FEW:
                yield told(f"{dataset.label} has only {counted(count, 'item')}: its intervals and tests are rough.")


def _test_notes(data: RunView, whole: RunView, against: str, several: str) -> Iterator[Note]:
    tests = list(tested(data, against, whole))
    levels = ", ".join(f"{sign} p<{level:g}" for level, sign in reversed(STARS))
    yield legend(
        f"{levels}: differs from {against}; p is the chance of a difference at least as large if the two methods were "
        f"interchangeable on every item ({how(tests)}), one by one for {len(tests)} tests; a small p is not a large "
        "difference.",
        f"{levels}: differs from {against} (paired randomisation test over items).",
    )
    yield told(
        "Without a star a difference is not shown, or, as for values of a whole set, not tested; JSON and CSV have "
        "every p."
    )
    if several:
        yield told(f"{several}: an item enters with the mean of its members, so that p speaks of other items alone.")
    if any(cell.infinite for cell in data.cells):
        yield told("Items with an infinite value are left out of the tests.")
