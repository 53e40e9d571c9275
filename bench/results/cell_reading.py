"""The cells of a method on a dataset, read from the store by a few queries, whatever the number of images.

One query has the values of all metrics per image; what is no plain number is asked for by itself. Nothing is restored,
decoded or scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bench.metrics.kinds import PerImage, Place
from bench.metrics.outcome import Status, of_number
from bench.results import units
from bench.results.cell import Cell
from bench.results.features import complete
from bench.results.record import Column
from bench.results.scores import OK, ItemScore, Scores, Word
from bench.results.status import NOT_SCORED, NOT_WORKED_ON, of_cell, of_unit
from bench.results.store import Score, Store

_FROM = (
    "FROM unit CROSS JOIN restoration r ON r.id=unit.restoration CROSS JOIN score s ON s.output=r.output "
    "WHERE unit.run=? AND unit.cell=?"
)
_PLAIN = "s.status='ok' AND typeof(s.value)='real' AND s.reason IS NULL"
_VALUES = f"SELECT unit.item, s.signature, s.reference, CASE WHEN {_PLAIN} THEN s.value END {_FROM}"
_OTHERS = f"SELECT unit.item, s.signature, s.reference, s.status, s.value, s.reason {_FROM} AND NOT ({_PLAIN})"
_ROW = np.dtype([("unit", np.int64), ("signature", np.int64), ("reference", np.int64), ("value", np.float64)])


class _Stored:
    """The rows of scores of a method's outputs on a dataset, of whatever metrics."""

    def __init__(self, store: Store, run: int, place: units.Place) -> None:
        self._store, self._at = store, (run, place.cell)
        # NULL becomes NaN: what is no plain number.
        found = np.fromiter(store.select(_VALUES, self._at), _ROW)
        self._rows = found[np.argsort(found["signature"], kind="stable")]

    def of(self, signature: int) -> np.ndarray:
        """Those of one signature."""
        signatures = self._rows["signature"]
        return self._rows[np.searchsorted(signatures, signature) : np.searchsorted(signatures, signature, "right")]

    @cached_property
    def others(self) -> Mapping[tuple[int, int, int], Score]:
        """By unit, signature and reference, those that are no plain number."""
        return {(row[0], row[1], row[2]): Score(*row[3:]).checked() for row in self._store.select(_OTHERS, self._at)}


@dataclass(frozen=True)
class Reader:
    """Reads one method on one dataset of a run, metric by metric."""

    store: Store
    run: int
    place: units.Place
    units: units.UnitColumns

    def cells(self) -> list[Cell]:
        """One per column."""
        return [self._cell(column) for column in self.place.dataset.columns]

    def _cell(self, column: Column) -> Cell:
        dataset, method = self.place.dataset, self.place.method
        column = replace(column, mode=method.mode_of(column))
        cell = Cell(
            dataset.label, method.label, column, len(dataset.items), self._scores(column), absent=dataset.unavailable,
            members=len(method.members or ()) or 1,
        )  # fmt: skip
        if not column.kind.of_sets or not cell.columns.scored.any():
            return cell
        return replace(cell, set_score=self._set_score(column))

    def _scores(self, column: Column) -> Sequence[ItemScore]:
        verdict = of_cell(self.place.dataset, self.place.method, column)
        if verdict is not None:
            return self._alike(Word(verdict.status, verdict.reason))
        if type(column.kind) is PerImage:
            return self._per_image(column)
        found = self._one_by_one(column)
        return Scores.of(found) if column.kind.computed else list(found)  # what people gave stays as they gave it

    def _alike(self, word: Word) -> Scores:
        count = len(self.units)
        return Scores(self.units.grid, [word], np.zeros(count, np.int32), np.full(count, np.nan))

    def _per_image(self, column: Column) -> Scores:
        words, codes = list(self._words), self._codes.copy()
        values = np.full(len(codes), np.nan)
        signature = self.store.signature_id(column.row_signature, column.mode, create=False)
        if signature is not None:
            rows = self._stored.of(signature)
            rows = rows[(rows["unit"] >= 0) & (rows["unit"] < len(codes))]
            wanted = self.units.references[rows["unit"]] if column.kind.pairs else 0
            rows = rows[(rows["reference"] == wanted) & self.units.made[rows["unit"]]]
            values[rows["unit"]] = rows["value"]
            codes[rows["unit"]] = words.index(OK)
            known = {word: place for place, word in enumerate(words)}
            for row in rows[np.isnan(rows["value"])].tolist():
                score = self._stored.others[row[:3]]
                codes[row[0]] = known.setdefault(Word(score.status, score.reason), len(known))
                values[row[0]] = np.nan if score.value is None else score.value
            words = list(known)
        return Scores(self.units.grid, words, codes, values)

    @cached_property
    def _stored(self) -> _Stored:
        return _Stored(self.store, self.run, self.place)

    @cached_property
    def _words(self) -> Sequence[Word]:
        """What a unit without a stored score is: the first three, then by what became of its output."""
        before = [OK, Word(Status.PENDING, NOT_WORKED_ON), Word(Status.PENDING, NOT_SCORED)]
        return list(dict.fromkeys([*before, *(Word(made.status, made.reason) for made in self.units.words)]))

    @cached_property
    def _codes(self) -> np.ndarray:
        """[N] Places in `_words` before any score is looked at."""
        known = {word: place for place, word in enumerate(self._words)}
        outcome = np.array([known[Word(made.status, made.reason)] for made in self.units.words] or [0], np.int32)
        codes = np.where(self.units.made, np.int32(2), outcome[np.maximum(self.units.codes, 0)])
        return np.where(self.units.codes < 0, np.int32(1), codes)

    # Everything but plain metrics per image

    def _one_by_one(self, column: Column) -> Iterator[ItemScore]:
        signature = self.store.signature_id(column.row_signature, column.mode, create=False)
        held: Mapping[Place, Score] = {}
        if signature is not None:
            made = [(unit.made.output, unit.reference) for unit in self.units if unit.made is not None]
            wanted = {
                content for output, reference in made if output is not None
                for content, _ in column.kind.places(output, reference)
            }  # fmt: skip
            held = (self.store.extractions if column.kind.of_sets else self.store.scores)(wanted, signature)
        for unit in self.units:
            yield ItemScore(unit.item, unit.repeat, *of_unit(unit, self.place.dataset, self.place.method, column, held))

    def _set_score(self, column: Column) -> ItemScore:
        if column.strengths is not None:
            value = column.strengths.get(self.place.method.label)
            status = Status.NOT_APPLICABLE if value is None else of_number(value)
            return ItemScore("", 0, status, value, column.not_given if value is None else None)
        extractor = self.store.signature_id(column.row_signature, column.mode, create=False)
        signature = self.store.signature_id(column.signature, column.mode, create=False)
        made = [
            column.kind.member(unit.item, unit.made.output_hash, unit.made.output, unit.reference)
            for unit in self.units
            if unit.made is not None and unit.made.output is not None and unit.made.output_hash is not None
            and column.kind.not_for_item(unit.item, self.place.dataset.unboxed) is None
        ]  # fmt: skip
        members = complete(self.store, made, extractor, column.kind) if extractor is not None else []
        score = None
        if signature is not None and members:
            place = self.store.set_place(
                [one.output_hash for one in members], column.kind.references(members), create=False
            )
            score = self.store.scores([place[0]], signature).get(place) if place is not None else None
        if score is None:
            return ItemScore("", 0, Status.PENDING, None, "not aggregated yet: run again")
        return ItemScore("", 0, score.status, score.value, score.reason)
