"""What a run would do, before it does it: units, what the store answers, and an estimate from measured times."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.latency import suite_timing
from bench.planning.jobs import Job
from bench.planning.plan import Plan
from bench.results.store import FILE_NAME, Store


class JobPlan(NamedTuple):
    """One job's units by what has to be done with them."""

    dataset: str
    method: str
    units: int
    cached: int
    """Done; nothing will be decoded."""
    score: int
    """Restored before; only some scores are missing."""
    restore: int
    """To be restored and scored, as far as it is known without decoding the items."""
    blocked: int
    """Cannot be worked on: missing pair or file, or a method that is not on this machine."""
    seconds: float | None
    """Estimate from restorations of the same method in this store; None without any."""


def summarise(plan: Plan, store: Store) -> list[JobPlan]:
    """One line per job."""
    found: list[JobPlan] = []
    for job in plan.jobs:
        if not job.method.is_for(job.dataset.label):
            continue
        standing = plan.standings[job.index]
        absent = job.method.method is None
        units, mine = int(standing.mine.sum()), standing.mine
        blocked = units if absent else int((standing.blocked & mine).sum())
        cached, score = int((standing.done & mine).sum()), int((standing.scorable & mine).sum())
        restore = units - blocked - cached - score
        found.append(
            JobPlan(
                job.dataset.label, job.method.label, units, cached, score, restore, blocked,
                _estimate(job, plan, store, restore),
            )
        )  # fmt: skip
    return found


def _estimate(job: Job, plan: Plan, store: Store, units: int) -> float | None:
    """Seconds for so many restorations, at the mean of what this method took anywhere in this plan."""
    if not units:
        return 0.0
    alike = (plan.standings[other.index].seconds for other in plan.jobs if other.method.label == job.method.label)
    times = np.concatenate([seconds[~np.isnan(seconds)] for seconds in alike])
    return units * float(times.mean()) if times.size else None


def render_plan(folder: Path, make: Callable[[Store], Plan], device: str = "cpu", *, fresh: bool = False) -> str:
    """The plan as a table. A results folder that does not exist yet is not created."""
    from tabulate import tabulate

    file = folder / FILE_NAME
    known = file.is_file() and file.stat().st_size > 0
    with tempfile.TemporaryDirectory() as empty, Store.reading(folder) if known else Store(Path(empty)) as store:
        plan = make(store)
        jobs = summarise(plan, store)
        timed = suite_timing.wanted(plan.resolved, store, device, fresh=fresh)
    body = [[*job[:7], "unknown" if job.seconds is None else f"{job.seconds:.1f} s"] for job in jobs]
    totals = [sum(job[index] for job in jobs) for index in range(2, 7)]  # type: ignore[misc]
    estimates = [job.seconds for job in jobs if job.seconds is not None]
    body.append(["total", "", *totals, ("≥ " if len(estimates) < len(jobs) else "") + f"{sum(estimates):.1f} s"])
    header = ["dataset", "method", "units", "cached", "to score", "to restore", "blocked", "restoring takes"]
    return (
        tabulate(body, header, tablefmt="simple", disable_numparse=True, colalign=("left", "left", *["right"] * 6))
        + "\n"
        + ("" if timed is None else timed.line() + "\n")
    )
