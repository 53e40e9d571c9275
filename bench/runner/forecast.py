"""What a run would do, before it does it: units, what the store answers, what is missing, time and bytes.

A plan is made whatever is missing: what would run, what is blocked with its reason, and the command that brings the
rest. Times come from restorations of the same method in the store, bytes from the sizes of the inputs.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.catalog.registry import registry
from bench.errors import BenchError, ImageError, one_line
from bench.fetch.assets import Asset
from bench.latency import suite_timing
from bench.machine import check_device
from bench.methods.base import Method
from bench.planning.bind import Missing, assets_of
from bench.planning.jobs import Job
from bench.planning.missing import screen
from bench.planning.plan import Plan, make_plan
from bench.results.store import FILE_NAME, Store
from bench.runner.request import Request, missing_of, rehearse_request, resolve_request

_SAMPLED = 3
"""Inputs of a dataset whose headers are read for an estimate of sizes."""
_REASONS = 8
"""Reasons of blocked units that are told one by one."""
_TEXT = ("markdown", "terminal")


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
    bytes: int | None
    """What its outputs take on disk at most, uncompressed; None where the sizes of its inputs are not known."""


def summarise(plan: Plan, store: Store) -> list[JobPlan]:
    """One line per job."""
    found: list[JobPlan] = []
    sizes = {job.dataset_index: _pixels(job) for job in plan.jobs}
    for job in plan.jobs:
        if not job.method.is_for(job.dataset.label):
            continue
        standing = plan.standings[job.index]
        absent = job.method.method is None
        mine = standing.mine
        units = int(mine.sum()) if job.units else _published_count(job)
        blocked = units if absent or not job.units else int((standing.blocked & mine).sum())
        cached, score = int((standing.done & mine).sum()), int((standing.scorable & mine).sum())
        restore = units - blocked - cached - score
        found.append(
            JobPlan(
                job.dataset.label, job.method.label, units, cached, score, restore, blocked,
                _estimate(job, plan, restore), _bytes(job, sizes[job.dataset_index], restore),
            )
        )  # fmt: skip
    return found


def _published_count(job: Job) -> int:
    """Units on a dataset that is not here, by the number of images that the catalogue gives it."""
    if job.dataset.unavailable is None or job.dataset.name not in registry("dataset"):
        return 0
    count = registry("dataset").get(job.dataset.name).fields.get("count")
    return int(count) * job.method.repeats if isinstance(count, int) else 0


def _estimate(job: Job, plan: Plan, units: int) -> float | None:
    """Seconds for so many restorations, at the mean of what this method took anywhere in this plan."""
    if not units:
        return 0.0
    alike = (plan.standings[other.index].seconds for other in plan.jobs if other.method.label == job.method.label)
    times = np.concatenate([seconds[~np.isnan(seconds)] for seconds in alike])
    return units * float(times.mean()) if times.size else None


def _pixels(job: Job) -> float | None:
    """Pixels of an input of its dataset, by the first few; None where none says its size."""
    found = []
    for item in job.dataset.dataset.items[:_SAMPLED]:
        try:
            height, width = item.lq.size() if item.lq is not None else (0, 0)
        except ImageError:
            continue
        found.append(height * width)
    return sum(found) / len(found) if any(found) else None


def _bytes(job: Job, pixels: float | None, units: int) -> int | None:
    method = job.method.method
    if not units or not isinstance(method, Method):  # outputs that somebody has made already stay where they are
        return 0
    each = 12 if job.quantise == "none" else 3
    return None if pixels is None else round(units * pixels * method.scale**2 * each)


def render_plan(request: Request, *, fresh: bool = False, every: bool = False, style: str = "markdown") -> str:
    """The plan of a request as text. A results folder that does not exist yet is not created.

    `every`: a line per dataset and method, where datasets on which a method has the same to do share one otherwise.
    `style` "json": an object of jobs (one per dataset and method; times in seconds, null where nothing is known), what
    is blocked, what is missing with the command that brings it, and remarks.
    Raises `BenchError` where the request is wrong; what is only missing is part of the plan.
    """
    if style not in (*_TEXT, "json"):
        raise BenchError(f"a plan is no table of scores, and has no format {style!r}: take --format json or markdown")
    lacks = _lacking_device(request)
    file = request.folder / FILE_NAME
    known = file.is_file() and file.stat().st_size > 0
    rehearse_request(replace(request, available=True))
    missing = missing_of(request)
    resolved = resolve_request(replace(request, available=True), empty=True) if missing else resolve_request(request)
    with (
        tempfile.TemporaryDirectory() as empty,
        Store.reading(request.folder) if known else Store(Path(empty)) as store,
    ):
        plan = make_plan(resolved, store, request.device, fresh=request.fresh, shard=request.shard)
        jobs = summarise(plan, store)
        timed = suite_timing.wanted(resolved, store, request.device, fresh=fresh)
    if style == "json":
        told = {
            "jobs": [job._asdict() for job in jobs],
            "blocked": [{"count": count, "reason": reason} for reason, count in _reasons(plan).most_common()],
            "missing": [one._asdict() for one in missing],
            "remarks": [*([] if timed is None else [timed.line()]), *lacks],
        }
        return json.dumps(told, indent=2, ensure_ascii=False) + "\n"
    lines = [_table(jobs if every else list(_shared(jobs)), jobs), *_blocked(plan)]
    if timed is not None:
        lines.append(timed.line())
    if missing:
        lines += ["", *_missing(request, missing)]
    lines += ["", *lacks] if lacks else []
    return "\n".join(lines) + "\n"


def _lacking_device(request: Request) -> list[str]:
    """What a run would be refused for where this machine lacks its device. Raises `BenchError` for no device at all."""
    if request.cluster is not None:  # the cluster's machines have it, or not
        return []
    try:
        check_device(request.device)
    except BenchError as error:
        if not re.fullmatch(r"cuda(:[0-9]+)?", request.device):
            raise
        return [f"{error}: plan and run on one that has it, or with --device cpu"]
    return []


def _shared(jobs: Sequence[JobPlan]) -> Iterator[JobPlan]:
    """Jobs of one method that have the same to do, as one line."""
    groups: dict[tuple[object, ...], list[JobPlan]] = {}
    for job in jobs:
        groups.setdefault((job.method, *(bool(count) for count in job[3:7])), []).append(job)
    for group in groups.values():
        seconds, size = _sum(job.seconds for job in group), _sum(job.bytes for job in group)
        dataset = group[0].dataset if len(group) == 1 else f"{len(group)} datasets"
        units, cached, score, restore, blocked = (
            sum(column) for column in zip(*(job[2:7] for job in group), strict=True)
        )
        size = None if size is None else round(size)
        yield JobPlan(dataset, group[0].method, units, cached, score, restore, blocked, seconds, size)


def _sum(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)


def _table(shown: Sequence[JobPlan], jobs: Sequence[JobPlan]) -> str:
    from tabulate import tabulate

    body = [[*map(str, job[:7]), _time(job.seconds), _size(job.bytes)] for job in shown]
    totals = [str(sum(column)) for column in zip(*(job[2:7] for job in jobs), strict=True)] or ["0"] * 5
    body.append(
        [
            "total", "", *totals,
            _at_least(_time, [job.seconds for job in jobs]), _at_least(_size, [job.bytes for job in jobs]),
        ]
    )  # fmt: skip
    header = ["dataset", "method", "units", "cached", "to score", "to restore", "blocked", "restoring takes", "writes"]
    return tabulate(body, header, tablefmt="simple", disable_numparse=True, colalign=("left", "left", *["right"] * 7))


def _at_least(told: object, values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "unknown" if values else "0"
    text = _time(sum(known)) if told is _time else _size(round(sum(known)))
    return ("≥ " if len(known) < len(values) else "") + text


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds else "0"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _size(count: int | None) -> str:
    if count is None:
        return "unknown"
    return "0" if not count else f"≤ {count / 1e9:.1f} GB" if count >= 1e9 else f"≤ {max(count / 1e6, 0.1):.1f} MB"


def _reasons(plan: Plan) -> Counter[str]:
    """Why units cannot be worked on, where it is their own files: what is missing altogether is told apart."""
    return Counter(
        f"{job.dataset.label}: {one_line(fact.problem)}"
        for job in plan.jobs
        if job.method.method is not None
        for fact in plan.facts[job.index]
        if fact.problem is not None
    )


def _blocked(plan: Plan) -> Iterator[str]:
    reasons = _reasons(plan)
    for reason, count in reasons.most_common(_REASONS):
        yield f"blocked: {count} × {reason}"
    if len(reasons) > _REASONS:
        yield f"blocked: {len(reasons) - _REASONS} more reasons; bench run makes a row of each"


def _missing(request: Request, missing: Sequence[Missing]) -> Iterator[str]:
    yield screen(request.suite, missing)
    wanted = {one.label for one in missing}
    try:
        absent = [asset for asset in assets_of(request.suite) if not asset.path.is_file() and asset.owner in wanted]
    except BenchError:
        return
    if absent:
        yield _download(absent)


def _download(assets: Sequence[Asset]) -> str:
    by_hand = sum(asset.url is None for asset in assets)
    sizes = [asset.bytes for asset in assets if asset.url is not None]
    known = [size for size in sizes if size is not None]
    parts = [f"to download: {len(sizes)} files, {sum(known) / 1e6:.1f} MB"] if sizes else []
    if len(known) < len(sizes):
        parts.append(f"of which {len(sizes) - len(known)} do not say their size")
    if by_hand:
        parts.append(f"{by_hand} files that a person has to bring")
    return ", ".join(parts)
