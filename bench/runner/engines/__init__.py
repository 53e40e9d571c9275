"""Where units run. An engine maps tasks to results; the numbers do not depend on which."""

from __future__ import annotations

from bench.runner.engines.base import Engine, Work
from bench.runner.request import Request


def engine_for(request: Request, work: Work, units: int) -> Engine:
    """The engine that a request asks for, for so many units. Raises `BenchError`."""
    if request.cluster is None:
        from bench.runner.engines.local import LocalEngine

        return LocalEngine(work, request.workers)
    from bench.runner.engines.ray_actors import RayEngine

    return RayEngine(work, request.cluster, request.workers, units, request.keep)
