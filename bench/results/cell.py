"""One metric of one method on one dataset, with its scores: its mean is derived here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bench.metrics.outcome import Status, of_number
from bench.results.record import Column
from bench.results.scores import ItemScore, Scores, mean


@dataclass(frozen=True)
class Cell:
    """One metric of one method on one dataset."""

    dataset: str
    method: str
    column: Column
    expected: int
    """Items, however often each was restored."""
    scores: Sequence[ItemScore]
    """Per item and repeat; for a set metric, whether its features are there."""
    set_score: ItemScore | None = None
    absent: str | None = None
    """Why the whole dataset is not on this machine."""
    members: int = 1
    """Between how many members of its method the repeats of each item are shared, evenly and in order."""

    @cached_property
    def columns(self) -> Scores:
        """The scores as columns."""
        return Scores.of(self.scores)

    @cached_property
    def items(self) -> Mapping[str, float]:
        """Item → its value, the mean of its repeats: what means, intervals and tests are made of, since the repeats of
        one image are no further images. An item that lacks one of its repeats has no value."""
        found = self.columns
        names = (item for item, valued in zip(found.grid.items, found.valued.tolist(), strict=True) if valued)
        return dict(zip(names, found.item_values.tolist(), strict=True))

    @property
    def item_values(self) -> np.ndarray:
        """The values of `items`."""
        return self.columns.item_values

    @cached_property
    def by_member(self) -> Sequence[Sequence[float]]:
        """[members][items] values of the items that have one, in the order of `items`; their mean is the cell's."""
        found, draws = self.columns, self.repeats // self.members
        of_member = found.grid.repeats // draws
        rows = [mine for item, mine in found.by_item() if found.valued[item]]
        return [
            [mean(found.values[mine[of_member[mine] == member]]) for mine in rows] for member in range(self.members)
        ]

    @cached_property
    def n(self) -> int:
        """Items that have all of what enters the value."""
        return int(self.columns.whole.sum())

    @property
    def repeats(self) -> int:
        """How often each item was restored."""
        return self.columns.repeats

    @cached_property
    def infinite(self) -> int:
        """Items whose value is infinite, such as the PSNR of an output that equals its reference."""
        return int(np.isinf(self.item_values).sum())

    @property
    def complete(self) -> bool:
        return self.n == self.expected and self.absent is None

    @cached_property
    def value(self) -> float | None:
        """Mean of the items' values, or the set's value; None when nothing was scored."""
        if self.column.is_set:
            scored = bool(self.columns.scored.any())
            return self.set_score.value if self.set_score is not None and scored else None
        return mean(self.item_values) if len(self.item_values) else None

    @property
    def status(self) -> str:
        """ok, inf or nan for a value; otherwise why there is none."""
        if self.value is not None:
            return of_number(self.value)
        if self.column.is_set and self.set_score is not None:
            return self.set_score.status
        if self.absent is not None:
            return Status.UNAVAILABLE
        return self.columns.commonest_lack() or "no items"

    @property
    def reason(self) -> str | None:
        """Why the value is missing or incomplete: the first reason of an item."""
        if self.set_score is not None and self.set_score.reason:
            return self.set_score.reason
        if self.absent is not None:
            return self.absent
        return next((score.reason for score in self.columns.lacking() if score.reason), None)
