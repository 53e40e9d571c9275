"""The times of a suite's methods, measured after its run: what is known already is not measured again.

A failure here is a row with its reason and changes no score.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bench.errors import BenchError
from bench.latency import selection, session
from bench.latency.session import TimedMethod
from bench.machine import fingerprint, machine_digest
from bench.methods.base import Method
from bench.methods.build import build_method, identity_of
from bench.planning.bind import BoundMethod, Resolved
from bench.results import timings
from bench.results.store import Store
from bench.suite.setting import Order, Rules, Setting


class Wanted(NamedTuple):
    """What a suite's `latency:` asks for, less what this machine has measured."""

    setting: Setting
    order: Order
    todo: tuple[TimedMethod, ...]
    rules: Rules
    known: tuple[str, ...]
    """Labels of methods whose times are stored: same identity, same setting, same machine."""

    def line(self) -> str:
        """For a plan."""
        what = f"{len(self.todo)} methods to be timed at {self.setting.short}" if self.todo else "nothing to be timed"
        return f"latency: {what}; {len(self.known)} known on this machine"


def wanted(resolved: Resolved, store: Store, device: str, *, fresh: bool = False) -> Wanted | None:
    """None where the suite has no `latency:`, or the selection is without it. Loads nothing and needs no torch.

    Timed are the chosen methods that are for a chosen dataset; with a limit, for a first look, only those that restore.
    """
    spec, limited = resolved.file.suite.latency, resolved.selection.limit is not None
    if spec is None or not resolved.selection.latency:
        return None
    (setting,) = selection.settings(str(spec.size), "1", spec.dtype, device)
    here = machine_digest(fingerprint(device))
    todo: dict[str, TimedMethod] = {}
    known: list[str] = []
    for bound in resolved.methods:
        if (limited and bound.method is None) or not any(bound.is_for(one.label) for one in resolved.datasets):
            continue
        method = _timed(bound, resolved)
        if method is None or bound.label in (*todo, *known):
            continue
        identity = timings.method_digest(identity_of(method, bound.entry))
        options = bound.repeated[0] if bound.repeated else bound.options
        rows = timings.find(store, methods=[identity])
        alike = [row for row in rows if row.machine == here and _same(row.setting, setting)]
        if not fresh and alike and alike[0].ok:  # the newest, which is what tables show
            known.append(bound.label)
        else:
            todo[bound.label] = TimedMethod(bound.label, bound.name, options, str(resolved.file.base))
    return Wanted(setting, spec.order, tuple(todo.values()), Rules.asked(spec.samples, spec.seconds), tuple(known))


def _same(one: Setting, other: Setting) -> bool:
    return one._replace(device=one.kind) == other._replace(device=other.kind)


def _timed(bound: BoundMethod, resolved: Resolved) -> Method | None:
    """What would be timed for a method: itself or its first member, or its network with random weights; None for what
    cannot be."""
    if bound.method is not None:
        return bound.method if isinstance(bound.method, Method) else None
    try:
        options = bound.repeated[0] if bound.repeated else bound.options
        method = build_method(bound.entry, options, resolved.file.base)
        if not isinstance(method, Method):
            return None
        return method if method.untrained else method.untrained_twin()
    except BenchError:
        return None  # its rows say why


def measure(
    asked: Wanted, store: Store, *, plugins: tuple[str, ...] = (), commands: bool = False,
    timeout: float | None = None, note: Callable[[str], None] = lambda line: None,
) -> None:  # fmt: skip
    """Measure what is wanted, and store it. `timeout`: see `session.TimingJob`."""
    if asked.todo:
        job = session.TimingJob(
            asked.todo, [asked.setting], asked.rules, order=asked.order, plugins=plugins, commands=commands,
            timeout=timeout,
        )  # fmt: skip
        session.measure(job, lambda timing: timings.put(store, timing), lambda line: note(f"latency: {line}"))
