"""Planning in another process first, where strangers' code takes part in it and may hang, or end its process.

A plugin's file, its factories and its identities run in the driver itself, which has nobody to watch over it. So they
run once where they can do no harm; what they refuse with a message they will refuse again.
"""

from __future__ import annotations

from bench.catalog.helper_process import LEAST_PATIENCE, Helper, Lost
from bench.catalog.registry import registry
from bench.errors import BenchError, ItemError
from bench.runner.engines.local import Recipe


def rehearse(recipe: Recipe, plugins: tuple[str, ...], timeout: float | None) -> None:
    """Raise `BenchError` where strangers' code does not come back from planning within `timeout` seconds, or at all.

    Code that every process has to ask for is given `bench.catalog.helper_process.LEAST_PATIENCE` at least.
    """
    if not plugins and not _installed():
        return
    limit = None if timeout is None else max(timeout, LEAST_PATIENCE)
    with Helper("planning", recipe.make_cells, recipe.arguments) as helper:
        try:
            helper.call(_identities, timeout=limit)
        except Lost as lost:
            if lost.timeout:
                raise BenchError(f"{lost}, before any work: mend it, or give it a longer --timeout") from lost
            raise BenchError(f"{lost}, before any work: mend it") from lost
        except (BenchError, ItemError):
            return  # said again by the planning that counts


def _identities(cells: object) -> None:
    assert isinstance(cells, tuple)
    for cell in cells:
        cell.method.identities  # noqa: B018


def _installed() -> bool:
    """Whether an installed package has brought methods or metrics."""
    kinds = ("method", "metric")
    return any(entry.strange and not entry.factory for kind in kinds for entry in registry(kind))
