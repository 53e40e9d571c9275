"""A slow-down measured again before it fails: chance that deceived once in forty must do so twice.

What was slower and is not any more becomes an inconclusive finding with both answers; what is slower again fails.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.gate.findings import Comparison, Finding
from bench.gate.snapshot_format import Snapshot
from bench.latency import suite_timing
from bench.planning.bind import Selection, resolve
from bench.results.store import Store
from bench.results.view import RunView
from bench.suite import definition

_METRIC = "ms per call"
CHANCE = 40
"""An interval of 95 % lies above the limit by chance once in so many comparisons at most."""


def slower(found: Comparison) -> list[str]:
    """The methods whose slow-down waits for a second measurement."""
    return list(dict.fromkeys(one.method for one in found.findings if one.kind == "slower"))


def measure_again(
    run: RunView, methods: Sequence[str], results: Path, *, plugins: tuple[str, ...] = (), commands: bool = False,
    note: Callable[[str], None] = lambda line: None,
) -> None:  # fmt: skip
    """Time methods of a run at its suite's setting, and store it. Raises `BenchError` where the suite is not found."""
    from bench.catalog.plugins import load_plugins

    load_plugins(plugins)
    resolved = resolve(definition.load(suite_file(run)), Selection(methods=methods, commands=commands, available=True))
    with Store(results) as store:
        asked = suite_timing.wanted(resolved, store, str(run.provenance.get("device") or "cpu"), fresh=True)
        if asked is None or not asked.todo:
            raise BenchError(f"{run.record.suite} no longer asks for times, so that none can be measured again")
        suite_timing.measure(asked, store, plugins=plugins, commands=commands, note=note)


def suite_file(run: RunView) -> Path:
    """The file that a run was made from, where it was or by name."""
    base = (run.provenance.get("folders") or [None])[-1]
    kept = Path(str(base)) / f"{run.record.suite}.yaml" if base else None
    return kept if kept is not None and kept.is_file() else definition.find(run.record.suite)


def timed_anew(before: Snapshot, after: Snapshot) -> set[tuple[str, str]]:
    """(method, setting) of which something was measured between the two."""
    return {(row.method, row.setting) for row in after.timings if row not in before.timings}


def joined(first: Comparison, second: Comparison, timed: Collection[tuple[str, str]]) -> Comparison:
    """The first answer, in which a slow-down stands only where the second has it too. What cannot be called any more
    has failed; what was not measured again, by `timed`, has no second answer."""
    again = {(one.method, one.metric): one for one in second.findings if one.metric.startswith(_METRIC)}
    measured = {(method, f"{_METRIC}, {setting}") for method, setting in timed}
    return first._replace(findings=tuple(_settled(one, again, measured) for one in first.findings))


def _settled(one: Finding, again: Mapping[tuple[str, str], Finding], measured: Collection[tuple[str, str]]) -> Finding:
    place = one.method, one.metric
    if one.kind != "slower":
        return one
    if place not in measured:
        told = "its suite, code or setting is not what this run timed: bench run times it as it is now"
        return one._replace(kind="inconclusive", detail=f"{one.detail}; not measured again: {told}")
    other = again.get(place)
    if other is not None and other.kind == "slower":
        chance = f"by chance in 1 of {CHANCE**2} comparisons at most, not 1 of {CHANCE}"
        return one._replace(detail=f"{one.detail}; measured again: {other.detail}: {chance}")
    if other is not None and other.kind == "failed":
        return other._replace(detail=f"{one.detail}; measured again: {other.detail}")
    told = "within the limit" if other is None else other.detail or other.kind
    return one._replace(kind="inconclusive", detail=f"{one.detail}; measured again: {told}")
