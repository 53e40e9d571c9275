"""A slow-down measured again before it fails: chance that deceived once in forty must do so twice.

What was slower and is not any more becomes an inconclusive finding with both answers; what is slower again fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.gate.findings import Comparison, Finding
from bench.latency import suite_timing
from bench.planning.bind import Selection, resolve
from bench.results import view
from bench.results.store import Store
from bench.results.view import RunView
from bench.suite import definition

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


def joined(first: Comparison, second: Comparison) -> Comparison:
    """The first answer, in which a slow-down stands only where the second has it too."""
    again = {(one.method, one.metric): one for one in second.findings if one.metric.startswith("ms per call")}
    return first._replace(findings=tuple(_settled(one, again) for one in first.findings))


def _settled(one: Finding, again: dict[tuple[str, str], Finding]) -> Finding:
    if one.kind != "slower":
        return one
    other = again.get((one.method, one.metric))
    if other is not None and other.kind == "slower":
        chance = f"by chance in 1 of {CHANCE**2} comparisons at most, not 1 of {CHANCE}"
        return one._replace(detail=f"{one.detail}; measured again: {other.detail}: {chance}")
    told = "within the limit" if other is None else other.detail or other.kind
    return one._replace(kind="inconclusive", detail=f"{one.detail}; measured again: {told}")


def newest(run: RunView, results: Path) -> RunView:
    """The same run with the times that are stored now."""
    with Store.reading(results) as store:
        return view.read_cells(store, run.number)
