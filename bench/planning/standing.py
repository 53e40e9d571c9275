"""Where all units of a job stand, as columns: a few queries find what is done, and only the rest is looked at closely.

`jobs.examine` says of single units what they still need; both agree, and a run that has nothing left to do makes no
object of any of its units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.planning.jobs import NOT_STORED, Facts, Job, examine, reference_of, signature_of, wanted
from bench.results.artefacts import Shelf
from bench.results.settled import Asked, unsettled
from bench.results.store import Store


@dataclass(frozen=True)
class Standing:
    """The units of a job; each array is [units]."""

    restorations: np.ndarray
    """Number of the stored row, 0 for none."""
    references: np.ndarray
    """Content id of what the output is compared with; 0 for nothing, `NOT_STORED` where it has none yet."""
    done: np.ndarray
    scorable: np.ndarray
    """Restored before, with scores missing."""
    unknown: np.ndarray
    """Whether the item's content has to be decoded before more can be said."""
    blocked: np.ndarray
    """Whether the unit cannot be worked on at all."""
    seconds: np.ndarray
    """What restoring took; NaN where nobody knows."""
    mine: np.ndarray
    """Whether a unit is of this shard of the run; all are without."""

    @classmethod
    def nothing(cls, count: int, *, blocked: np.ndarray | None = None) -> Standing:
        """Of units that nothing is known of."""
        none = np.zeros(count, bool)
        return cls(
            np.zeros(count, np.int64), np.zeros(count, np.int64), none.copy(), none.copy(), ~none,
            none.copy() if blocked is None else blocked, np.full(count, math.nan), ~none,
        )  # fmt: skip

    @property
    def open(self) -> np.ndarray:
        """Whether there is work to do and it can be done."""
        return ~self.done & ~self.blocked & self.mine


def stand(store: Store, job: Job, facts: Sequence[Facts], shelf: Shelf) -> Standing:
    """Compare all units of a job with what the store holds."""
    found = Standing.nothing(len(facts), blocked=np.array([fact.problem is not None for fact in facts], bool))
    keys = [job.key(unit, fact) for unit, fact in enumerate(facts)]
    rows = store.outcomes(key for key in keys if key is not None)
    references = _references(store, job, facts)
    made: list[Asked] = []
    for unit, key in enumerate(keys):
        if key is None:
            continue
        found.unknown[unit] = False
        found.references[unit] = references[unit]
        row = rows.get(key)
        if row is None:
            continue
        found.restorations[unit] = row.id
        if isinstance(row.seconds, float):
            found.seconds[unit] = row.seconds
        if row.status == "input" and row.output is None:
            found.done[unit] = True
        elif row.status == "ok" and row.output is not None and row.hash is not None:
            there = row.suffix is None or shelf.holds(row.hash, row.suffix)  # without a suffix it was not kept
            made += [Asked(unit, row.output, references[unit])] if there else []
    _score(store, job, facts, shelf, made, found)
    return found


def _references(store: Store, job: Job, facts: Sequence[Facts]) -> list[int]:
    """Content id of each unit's reference."""
    hashes = [reference_of(job, unit, fact) for unit, fact in enumerate(facts)]
    known = store.content_ids(one for one in hashes if one is not None)
    return [0 if one is None else known.get(one, NOT_STORED) for one in hashes]


def _score(
    store: Store, job: Job, facts: Sequence[Facts], shelf: Shelf, made: Sequence[Asked], found: Standing
) -> None:  # fmt: skip
    """Mark what is done among units whose outputs are there; those that may lack a score are examined."""
    due = [one for one in job.dataset.metrics if one.unavailable is None and wanted(job, one)]
    signatures = [(metric.kind, signature_of(store, job, metric, create=False)) for metric in due]
    ready = np.array([one.unit for one in made], np.int64)
    if any(signature is None for _, signature in signatures):
        lacking = ready.tolist()
    else:
        stored = [(kind, signature) for kind, signature in signatures if signature is not None]
        lacking = list(unsettled(store, made, stored))
    if any(kind.fr for kind, _ in signatures):  # of a reference that was not decoded yet there is no score
        unseen = (unit for unit in ready.tolist() if facts[unit].gt is None and facts[unit].gt_stamp is not None)
        lacking = sorted({*lacking, *unseen})
    found.done[ready] = True
    states = examine(store, job, lacking, [facts[unit] for unit in lacking], shelf)
    for unit, state in zip(lacking, states, strict=True):
        found.done[unit] = state.done
        found.scorable[unit] = bool(state.todo) and not state.done and not state.gone
