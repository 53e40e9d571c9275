"""What is asked of a run, and what that stands for: resolved anew by every process that works on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from bench import paths
from bench.catalog.registry import registry
from bench.catalog.rehearsal import rehearse
from bench.errors import BenchError
from bench.machine import threads_per_worker
from bench.planning import finetuning
from bench.planning.bind import Missing, Resolved, Selection, resolve
from bench.planning.jobs import Job
from bench.planning.missing import screen
from bench.planning.plan import Shard, make_jobs
from bench.suite import definition


@dataclass(frozen=True)
class Cluster:
    """The Ray cluster that a run's workers are on."""

    address: str | None = None
    """`auto`, or the host of its head, with a port or without; None: a Ray on this machine, for this run alone."""
    gpus: float = 0
    """What a worker takes of a GPU: all of it, or a share for methods that leave it idle."""
    cpus: int = 1
    """Cores that a worker takes, and threads that it has."""


Keep = Literal["all", "failed", "none"]


def cluster_of(
    engine: str, device: str, address: str | None = None, cpus: int | None = None, gpus: float | None = None
) -> Cluster | None:
    """The cluster that an engine's name and its options stand for; None for `local`. Raises `BenchError`."""
    if engine == "local":
        given = {"--address": address, "--cpus-per-worker": cpus, "--gpus-per-worker": gpus}
        for option, value in given.items():
            if value is not None:
                raise BenchError(f"{option} is for --engine ray")
        return None
    if engine != "ray":
        raise BenchError(f"there is no engine {engine!r}: local or ray")
    if device not in ("cpu", "cuda"):
        raise BenchError(f"--device {device}: with --engine ray, Ray chooses the GPU: say cuda")
    if gpus is not None and device == "cpu":
        raise BenchError("--gpus-per-worker is for --device cuda")
    return Cluster(address, (gpus or 1.0) if device == "cuda" else 0, cpus or 1)


@dataclass(frozen=True)
class Request:
    """What the command line asks for; picklable, so that worker processes can resolve it again."""

    suite: str
    methods: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    limit: int | None = None
    device: str = "cpu"
    batch: int = 1
    workers: int = 1
    """Workers beside each other; 0: as many as the cluster has room for."""
    cluster: Cluster | None = None
    """Where they are, if not on this machine."""
    results: str | None = None
    plugins: tuple[str, ...] = ()
    available: bool = False
    commercial_safe: bool = False
    fresh: bool = False
    """Whether everything is computed anew that the store holds: restorations, features, values, times."""
    fresh_latency: bool = False
    """Whether the times of the suite's `latency:` are measured again where this machine has them."""
    timeout: float | None = None
    """Seconds that loading a method, restoring an image or scoring it with one metric may take; None: for ever."""
    latency: bool = True
    """Whether the methods of a suite with `latency:` are timed at all."""
    allow_commands: bool = False
    """Whether methods may start programs and import from clones that the suite names: a suite alone never runs code."""

    shard: Shard | None = None
    """The part of the work that is done; the record is that of the whole run, so that the parts can be merged."""
    keep: Keep = "all"
    """Which outputs are kept once they are scored: `failed` those that lack a value because something went wrong."""
    part: str = "test"
    """`train` for the images that `finetune:` trains detectors on."""
    trained: tuple[finetuning.TrainingOutcome, ...] = ()
    """The detectors that were."""

    @property
    def folder(self) -> Path:
        return paths.results(self.results)

    @property
    def threads(self) -> int:
        """Threads of each worker."""
        return threads_per_worker(self.workers) if self.cluster is None else self.cluster.cpus


def resolve_request(request: Request, *, empty: bool = False) -> Resolved:
    """Bind the request's names; with `--available`, what is missing becomes rows, otherwise it is an error.

    `empty`: not one dataset has to be here, for a plan.
    """
    resolved = _bound(request)
    if resolved.missing and not request.available:
        raise BenchError(screen(request.suite, resolved.missing))
    if not empty and all(bound.unavailable is not None for bound in resolved.datasets):
        raise BenchError(
            f"{request.suite}: no dataset of it is on this machine\n{screen(request.suite, resolved.missing)}"
        )
    return resolved


def missing_of(request: Request) -> tuple[Missing, ...]:
    """Everything that the request needs and this machine lacks, also in part."""
    return _bound(replace(request, available=False)).missing


def _bound(request: Request) -> Resolved:
    from bench.catalog.plugins import load_plugins

    load_plugins(request.plugins)
    chosen = Selection(
        request.methods, request.datasets, request.limit, request.commercial_safe, request.available,
        request.allow_commands, request.latency,
    )  # fmt: skip
    file = _with_methods_of_plugins(definition.load(definition.find(request.suite)), request.methods)
    resolved = resolve(finetuning.train_part(file) if request.part == finetuning.TRAIN else file, chosen)
    return finetuning.armed(resolved, request.trained)


def _with_methods_of_plugins(file: definition.SuiteFile, asked: Sequence[str]) -> definition.SuiteFile:
    """The suite, and behind its methods those that were asked for by name and that only the user's code knows.

    A suite that ships cannot name them, and a row beside its own is what is wanted of a method that was just written.
    """
    suite = file.suite
    named = {text for spec in suite.methods for text in (spec.method, spec.label)}
    known = registry("method")
    new = [name for name in dict.fromkeys(asked) if name not in named and name in known and known.get(name).factory]
    if not new:
        return file
    added = [definition.MethodSpec(method=name) for name in new]
    return replace(file, suite=suite.model_copy(update={"methods": [*suite.methods, *added]}))


def jobs_of(request: Request) -> tuple[Job, ...]:
    """The jobs of a request, as a worker process makes them."""
    return make_jobs(resolve_request(request), request.device)


def rehearse_request(request: Request) -> None:
    """Raise `BenchError` where strangers' code does not come back from being asked what it is."""
    rehearse("planning", _identify, (request,), request.plugins, request.timeout)


def _identify(request: Request) -> None:
    for job in jobs_of(request):
        job.method.identities  # noqa: B018
