"""The scores of one cell as columns: a million of them are a few arrays, and an `ItemScore` is made where one is read.

What a cell's numbers are made of them is `bench.results.view`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple, Self, overload

import numpy as np

from bench.metrics.outcome import SCORED, Status


class ItemScore(NamedTuple):
    """One value of one item, or why there is none."""

    item: str
    repeat: int
    status: str
    """A `Status`."""
    value: float | None
    reason: str | None


class Word(NamedTuple):
    """What many scores have in common: their status, and the reason where one has to be said."""

    status: str
    reason: str | None = None


def mean(values: Sequence[float] | np.ndarray) -> float:
    """Mean of one value or more; infinite with an infinite one, NaN when infinities of both signs meet.

    The sum is rounded once, whatever the order of the values.
    """
    given = values.tolist() if isinstance(values, np.ndarray) else values
    if any(map(math.isinf, given)):
        return sum(given)
    try:
        return math.fsum(given) / len(given)
    except OverflowError:  # their sum is no number any more, and their mean is
        return math.fsum(value / len(given) for value in given)


class Grid(NamedTuple):
    """Whose the scores of a cell are; cells of one method on one dataset share it."""

    items: Sequence[str]
    """Each once, in the order in which they come."""
    places: np.ndarray
    """[N] Which of the items a score is of."""
    repeats: np.ndarray
    """[N] Which of its repeats."""

    @classmethod
    def regular(cls, items: Sequence[str], repeats: int) -> Grid:
        """Every item as often, all repeats of one after the other."""
        count = len(items)
        places, numbers = np.arange(count, dtype=np.int32), np.arange(repeats, dtype=np.int32)
        return cls(items, np.repeat(places, repeats), np.tile(numbers, count))


class Scores(Sequence[ItemScore]):
    """A sequence of `ItemScore` that is kept as columns."""

    def __init__(self, grid: Grid, words: Sequence[Word], codes: np.ndarray, values: np.ndarray) -> None:
        """`codes` [N] are places in `words`; `values` [N] float64 are NaN where there is none."""
        self.grid = grid
        self._words = words
        self._codes = codes
        self.values = values

    @classmethod
    def of(cls, scores: Iterable[ItemScore]) -> Self:
        """Itself, or scores in columns."""
        if isinstance(scores, cls):
            return scores
        items: dict[str, int] = {}
        words: dict[Word, int] = {}
        rows = [
            (items.setdefault(one.item, len(items)), one.repeat,
             words.setdefault(Word(one.status, one.reason), len(words)), math.nan if one.value is None else one.value)
            for one in scores
        ]  # fmt: skip
        places, repeats, codes, values = zip(*rows, strict=True) if rows else ((), (), (), ())
        grid = Grid(list(items), np.array(places, np.int32), np.array(repeats, np.int32))
        return cls(grid, list(words), np.array(codes, np.int32), np.array(values, np.float64))

    def __len__(self) -> int:
        return len(self._codes)

    @overload
    def __getitem__(self, index: int) -> ItemScore: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[ItemScore]: ...

    def __getitem__(self, index: int | slice) -> ItemScore | Sequence[ItemScore]:
        if isinstance(index, slice):
            return self.only(np.arange(len(self))[index])
        value, word = float(self.values[index]), self._words[self._codes[index]]
        item, repeat = self.grid.items[self.grid.places[index]], int(self.grid.repeats[index])
        return ItemScore(item, repeat, word.status, None if math.isnan(value) else value, word.reason)

    def __iter__(self) -> Iterator[ItemScore]:
        items, words = self.grid.items, self._words
        columns = self.grid.places.tolist(), self.grid.repeats.tolist(), self._codes.tolist(), self.values.tolist()
        for place, repeat, code, value in zip(*columns, strict=True):
            word = words[code]
            yield ItemScore(items[place], repeat, word.status, None if math.isnan(value) else value, word.reason)

    def only(self, index: np.ndarray) -> Scores:
        """Some of them, by their places or by a mask; the items are those that are left."""
        places = self.grid.places[index]
        kept, renumbered = np.unique(places, return_inverse=True)
        items = [self.grid.items[place] for place in kept.tolist()]
        grid = Grid(items, renumbered.astype(np.int32).reshape(-1), self.grid.repeats[index])
        return Scores(grid, self._words, self._codes[index], self.values[index])

    def of_items(self, items: Iterable[str]) -> Scores:
        """Those of some items."""
        wanted = set(items)
        mine = np.array([item in wanted for item in self.grid.items], bool)
        return self.only(mine[self.grid.places])

    # What there is

    def ranked(self, ranks: Mapping[str, int]) -> np.ndarray:
        """[N] A number for the status of each; 0 for one that has none."""
        table = np.array([ranks.get(word.status, 0) for word in self._words], np.int8)
        return table[self._codes] if len(self) else np.zeros(0, np.int8)

    @cached_property
    def scored(self) -> np.ndarray:
        """[N] Whether each has a status of those that enter a mean."""
        return self.ranked(dict.fromkeys(SCORED, 1)).astype(bool)

    @cached_property
    def whole(self) -> np.ndarray:
        """[items] Whether all of an item's are scored."""
        return self._all_of(self.scored)

    @cached_property
    def valued(self) -> np.ndarray:
        """[items] Whether all of an item's have a value that enters a mean."""
        return self._all_of(self.scored & ~np.isnan(self.values))

    def _all_of(self, having: np.ndarray) -> np.ndarray:
        count = len(self.grid.items)
        return np.bincount(self.grid.places[~having], minlength=count) == 0

    @cached_property
    def repeats(self) -> int:
        """How often the item that has most was restored; 1 where there is none."""
        return int(np.bincount(self.grid.places).max()) if len(self) else 1

    def by_item(self) -> Iterator[tuple[int, np.ndarray]]:
        """(place of an item, places of its scores in their order), item by item."""
        order = np.argsort(self.grid.places, kind="stable")
        ends = np.cumsum(np.bincount(self.grid.places, minlength=len(self.grid.items)))
        for item, end in enumerate(ends.tolist()):
            yield item, order[ends[item - 1] if item else 0 : end]

    @cached_property
    def item_values(self) -> np.ndarray:
        """[items that have all of their values] The mean of an item's repeats."""
        if self.repeats == 1:
            return self.values[np.argsort(self.grid.places, kind="stable")][self.valued]
        return np.array([mean(self.values[mine]) for item, mine in self.by_item() if self.valued[item]], np.float64)

    def lacking(self) -> Iterator[ItemScore]:
        """Those without a value that enters a mean."""
        return (self[place] for place in np.flatnonzero(~self.scored).tolist())

    def commonest_lack(self) -> str | None:
        """The status that most of those without a value have; the first met of several, None where nothing lacks."""
        names = [word.status for word in self._words]
        known = {name: place for place, name in enumerate(dict.fromkeys(names))}
        found = np.array([known[name] for name in names], np.int32)[self._codes[~self.scored]]
        if not len(found):
            return None
        numbers, first, counts = np.unique(found, return_index=True, return_counts=True)
        best = min(range(len(numbers)), key=lambda place: (-counts[place], first[place]))
        return list(known)[numbers[best]]


OK = Word(Status.OK)
