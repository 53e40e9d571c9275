"""Why there is a value of a unit, or none: decided here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from bench.metrics.kinds import NO_REFERENCE, Place
from bench.metrics.outcome import Status
from bench.results.record import Column, DatasetRecord, MethodRecord
from bench.results.store import Score
from bench.results.units import Unit

NOT_WORKED_ON = "not worked on yet: run again"
NOT_SCORED = "not scored yet: run again"


class Verdict(NamedTuple):
    """What became of a value, the value where there is one, and the reason where one has to be said."""

    status: str
    value: float | None = None
    reason: str | None = None


def of_unit(
    unit: Unit, dataset: DatasetRecord, method: MethodRecord, column: Column, held: Mapping[Place, Score]
) -> Verdict:
    """What became of one column of one unit. `held`: the column's stored rows."""
    known = (
        of_cell(dataset, method, column)
        or _of_item(unit, dataset, column)
        or _of_output(unit)
        or _of_people(unit, method, column)
    )
    return known or _of_rows(unit, column, held)


def of_cell(dataset: DatasetRecord, method: MethodRecord, column: Column) -> Verdict | None:
    """What holds for every unit of a method on a dataset."""
    if column.given == {}:
        return Verdict(Status.NOT_APPLICABLE, reason=column.not_given)
    unavailable = method.unavailable or column.unavailable
    if unavailable:
        return Verdict(Status.UNAVAILABLE, reason=unavailable)
    why = column.kind.not_for(paired=dataset.paired, annotated=dataset.annotation is not None)
    return None if why is None else Verdict(Status.NOT_APPLICABLE, reason=why)


def _of_item(unit: Unit, dataset: DatasetRecord, column: Column) -> Verdict | None:
    why = column.kind.not_for_item(unit.item, dataset.unboxed)
    return None if why is None else Verdict(Status.INPUT, reason=why)


def _of_output(unit: Unit) -> Verdict | None:
    if unit.row is None:
        return Verdict(Status.PENDING, reason=NOT_WORKED_ON)
    return Verdict(unit.row.status, reason=unit.row.reason) if unit.row.output is None else None


def _of_people(unit: Unit, method: MethodRecord, column: Column) -> Verdict | None:
    if column.given is None:
        return None
    value = column.given[method.label][unit.position]
    if value is None:
        return Verdict(Status.NOT_APPLICABLE, reason=column.not_given)
    return Verdict(Status.OK, None if column.is_set else value)


def _of_rows(unit: Unit, column: Column, held: Mapping[Place, Score]) -> Verdict:
    """The first stored row that decides: a reference that gave no features ends the matter."""
    assert unit.row is not None and unit.row.output is not None
    places = column.kind.places(unit.row.output, unit.reference)
    if not places:
        return Verdict(Status.NOT_APPLICABLE, reason=NO_REFERENCE)
    scores = [held.get(place) for place in places]
    score = next((one for one in scores if one is None or one.status != Status.OK), scores[-1])
    if score is None:
        return Verdict(Status.PENDING, reason=NOT_SCORED)
    return Verdict(score.status, score.value, score.reason)
