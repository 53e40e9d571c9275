"""Many machines: a Ray cluster whose actors are the members of a pool.

An actor holds the method that it has loaded, and decodes, restores and scores. It opens no store: what a unit has
already it asks the driver, which is the only one to read and to write the SQLite file, so that this may lie on the
driver's own disk. Outputs go straight into the results folder where an actor sees it, as content-addressed files put in
place by a rename, and else travel to the driver in the object store. Tasks and rows are small and few are in flight, so
that nothing spills.

Ray's own retries are off (`max_restarts=0`, `max_task_retries=0`): they would give a unit that kills its process to the
next one for ever, and would not tell which of an actor's units it was. The pool replaces actors, and does again only
what the lost one had not finished; every write is idempotent, because an actor may die after a write and before its
answer. A unit is to blame only when two actors have died alone with it: on a cluster, processes are lost to
preemption and to the memory of their neighbours too. With a machine that is gone, no unit is.
"""

from __future__ import annotations

import itertools
import logging
import math
import os
import pickle
import platform
import queue
import re
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from bench import files, provenance
from bench.errors import BenchError, one_line
from bench.identity import digest
from bench.machine import check_device, usable_cores
from bench.planning.jobs import Facts, Job, State, Task
from bench.results import artefacts
from bench.runner.engines.base import Engine, JobRecipe, Work, check_importable
from bench.runner.engines.pool import Death, Host, Lost, Member, Pool
from bench.runner.engines.serving import Inbox, failure_of, serve
from bench.runner.messages import OutputAsked, Restored, Result, StateAsked, WorkerSettings
from bench.runner.request import Cluster, Keep

_OBJECT_STORE = 200_000_000
"""Bytes of the object store of a Ray that is started for a run: it holds what is in flight, and nothing else."""
_PORT = 6379
"""Where the head of a cluster listens, unless somebody says otherwise."""
_STARTS = 3
"""So many actors in a row that die before they can work end the run, where no other is at work."""
_PAUSE = 10.0
"""Seconds to wait after one of them, while others are at work: they may have the memory that it lacked."""
_CALLS = 4
"""Methods of an actor that may run at once: one waits for news all the time."""


class RayEngine(Engine):
    """The actors of a cluster, or of a Ray on this machine that begins and ends with the run.

    `workers`: how many; 0: as many as there is room for now. `units`: more than these are never of use. Raises
    `BenchError` where Ray is not installed, the cluster is not there or has no room, or its machines could not come by
    the methods.
    """

    def __init__(self, work: Work, cluster: Cluster, workers: int, units: int, keep: Keep) -> None:
        check_importable(work.jobs, "--engine ray has")
        self._ray = _imported(own=_address(cluster) is None)
        self._work, self._cluster, self._workers, self._units, self._keep = work, cluster, workers, units, keep
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(_connected(self._ray, _address(self._cluster)))
            token = stack.enter_context(_token(self._work.settings.results))
            self._brief = _brief(self._work, token, self._keep)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def map(self, tasks: Iterable[Task], count: int) -> Generator[list[Result], None, None]:
        given = iter(tasks)
        first = next(given, None)
        if first is not None:  # else no actor is worth its start
            workers = min(self._units, self._workers or self._room())
            host = _Actors(self._ray, self._brief, self._cluster)
            yield from Pool(host, self._work, workers).map(itertools.chain([first], given), count)

    def _room(self) -> int:
        count = room(self._ray.nodes(), self._cluster.cpus, self._cluster.gpus)
        if not count:
            gpus = f" and {self._cluster.gpus:g} GPU" if self._cluster.gpus else ""
            raise BenchError(
                f"--engine ray: no machine of the cluster has {self._cluster.cpus} CPU{gpus} for a worker; where "
                "machines join later, --workers N waits for them"
            )
        return count


def room(nodes: Iterable[Mapping[str, Any]], cpus: int, gpus: float) -> int:
    """Workers that fit on the machines of a cluster, as `ray.nodes()` lists them, when nobody else is there.

    Shares of GPUs are whole on each GPU: of two that are shared by 0.6 each, there are two workers and not three.
    """
    count = 0
    for node in nodes:
        resources = node["Resources"] if node["Alive"] else {}
        fits = int(resources.get("CPU", 0) // cpus)
        if gpus:
            fits = min(fits, int(resources.get("GPU", 0)) * int(1 / gpus + 1e-9))
        count += fits
    return count


# Coming to a cluster


def _address(cluster: Cluster) -> str | None:
    """Where the cluster is that is asked for; None: none is, and a Ray begins for the run."""
    return cluster.address or os.environ.get("RAY_ADDRESS")


def _imported(own: bool) -> Any:
    """Ray, which looks at some of the environment only once, when it is imported."""
    if own and "ray" not in sys.modules:
        if not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
            # It listens to the network, and does without this what anybody there says.
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        # Ray would let its actors wait for everything else on the machine (15), as workers of `local` need not.
        os.environ.setdefault("RAY_worker_niceness", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise BenchError("--engine ray needs the package ray: pip install 'iqpir-bench[ray]'") from error
    return ray


@contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """Inside, this process drives a cluster: the one it drives already, that at the address, or one of its own."""
    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    with ExitStack() as stack:
        if address is None:
            quiet |= _own(stack)
        else:
            quiet["address"] = where(address)
        stack.callback(ray.shutdown)  # also where it fails half way
        try:
            ray.init(**quiet)
        except Exception as error:  # a Ray that does not come up in time raises no class of its own
            place = f"no cluster at {address}" if address else "Ray does not start here"
            raise BenchError(f"--engine ray: {place}: {one_line(error)}") from error
        yield


def _own(stack: ExitStack) -> dict[str, Any]:
    """How a Ray begins that is for this run alone, and goes with it."""
    # Its sockets lie in there, whose paths a system limits to about a hundred characters; TMPDIR may be a long one.
    short = "/tmp" if Path("/tmp").is_dir() else None  # noqa: S108 – a folder of its own is made in there
    folder = tempfile.mkdtemp(prefix="ray-", dir=os.environ.get("RAY_TMPDIR") or short)
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return {
        "address": "local", "num_cpus": usable_cores(), "object_store_memory": _OBJECT_STORE,
        "include_dashboard": False, "_temp_dir": folder,
    }  # fmt: skip


def where(address: str) -> str:
    """An address as Ray wants it. Raises `BenchError` for one of a client, whose driver is not part of the cluster."""
    if "://" in address:
        raise BenchError(
            f"--address {one_line(address, 60)}: the run drives the cluster from one of its machines, never as a "
            "client: log in to one, or send the command with ray job submit, and say --address auto"
        )
    return address if address == "auto" or re.search(r":[0-9]+$", address) else f"{address}:{_PORT}"


class _Token(NamedTuple):
    """A file in the results folder, by which others know that they see the same folder."""

    path: Path
    text: str

    def seen(self) -> bool:
        try:
            return self.path.read_text() == self.text
        except OSError:
            return False


@contextmanager
def _token(results: Path) -> Iterator[_Token]:
    token = _Token(results / f".seen-{secrets.token_hex(8)}", secrets.token_hex(16))
    files.write(token.path, token.text.encode())
    try:
        yield token
    finally:
        token.path.unlink(missing_ok=True)


# What is the same on every machine


class _Brief(NamedTuple):
    """What an actor is told before any task."""

    recipe: JobRecipe
    settings: WorkerSettings
    token: _Token
    placing: bool
    """Whether outputs are put in place by who makes them, in a folder that is shared."""
    folder: str
    """Where relative paths begin."""
    search: list[str]
    """Where modules are looked for."""
    environment: dict[str, str]
    packages: dict[str, str]
    parts: dict[str, str]


def _brief(work: Work, token: _Token, keep: Keep) -> _Brief:
    environment = {name: value for name, value in os.environ.items() if name.startswith("BENCH_")}
    return _Brief(
        work.recipe, work.settings, token, keep == "all", str(Path.cwd()), list(sys.path), environment,
        provenance.packages(), parts(work.jobs),
    )  # fmt: skip


def parts(jobs: Sequence[Job]) -> dict[str, str]:
    """What jobs consist of, each part with a digest of everything that its numbers depend on, as far as names tell."""
    told: dict[str, str] = {}
    for job in jobs:
        dataset, method = job.dataset, job.method
        signatures = [str(metric.signature) for metric in dataset.metrics]
        if (name := f"dataset {dataset.label}") not in told:
            ids = [item.id for item in dataset.dataset.items]
            told[name] = digest([ids, signatures, dataset.protocol.name]).hex()
        if (name := f"method {method.label}") not in told:
            told[name] = digest([dict(one) for one in method.identities]).hex()
    return told


def check_same(brief: _Brief, packages: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Raise `BenchError` where this machine would make other numbers than the driver's."""
    for name in sorted({*brief.packages, *packages}):
        ours, theirs = packages.get(name), brief.packages.get(name)
        if ours != theirs:
            raise BenchError(f"{name} is {ours or 'not there'} here, and {theirs or 'not there'} where the run began")
    for name in {**brief.parts, **found}:
        if found.get(name) != brief.parts.get(name):
            raise BenchError(f"{name} is another one here than where the run began: its files or weights differ")


# The driver's end


class _Actors(Host):
    """Actors of a cluster."""

    chances = 2

    def __init__(self, ray: Any, brief: _Brief, cluster: Cluster) -> None:
        self._ray = ray
        self._working: set[_Remote] = set()
        self._unborn = 0
        self._last = -math.inf
        self._brief = ray.put(brief)  # once for all actors
        self._class = ray.remote(_Actor).options(
            num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_restarts=0, max_task_retries=0, max_concurrency=_CALLS,
            scheduling_strategy="SPREAD",
        )  # fmt: skip

    def start(self) -> Member:
        return _Remote(self._ray, self._class.remote(self._brief), self)

    def promising(self) -> bool:
        return time.monotonic() - self._last > _PAUSE * bool(self._unborn)

    def begun(self, member: _Remote) -> None:
        """An actor works."""
        self._working.add(member)
        self._unborn = 0

    def ended(self, member: _Remote) -> None:
        """An actor works no more."""
        self._working.discard(member)

    def stillborn(self, why: str) -> None:
        """An actor died before it worked. Raises `BenchError` where the next one would fare alike."""
        self._unborn, self._last = self._unborn + 1, time.monotonic()
        if not self._working and self._unborn >= _STARTS:
            raise BenchError(f"--engine ray: a worker does not start: {why}")

    def wait(self, members: Sequence[Member], timeout: float | None) -> list[Member]:
        by_answer = {member.answered: member for member in members if isinstance(member, _Remote)}
        pending = list(by_answer)
        if self._ray.wait(pending, num_returns=1, timeout=timeout)[0]:
            ready, _ = self._ray.wait(pending, num_returns=len(pending), timeout=0)
            return [by_answer[one] for one in ready]
        return []

    def wait_for_end(self, members: Sequence[Member], timeout: float) -> None:
        ends = [one.closed for one in members if isinstance(one, _Remote) and one.closed is not None]
        if ends:
            self._ray.wait(ends, num_returns=len(ends), timeout=timeout)


class _Hello(NamedTuple):
    """An actor has begun, on this machine."""

    node: str


class _Remote(Member):
    """An actor, of which one answer is awaited all the time: its next news."""

    def __init__(self, ray: Any, actor: Any, host: _Actors) -> None:
        super().__init__()
        self._ray = ray
        self._host = host
        self._actor = actor
        self._node: str | None = None
        self._error: BaseException | None = None
        self.ready = False
        self.answered = actor.news.remote()
        self.closed: Any = None

    def send(self, tasks: list[Task]) -> None:
        self._actor.give.remote(pickle.dumps(tasks))

    def answer(self, number: int, answer: Any) -> None:
        self._actor.answer.remote(number, pickle.dumps(answer))

    def receive(self) -> list[Any]:
        try:
            news = pickle.loads(self._ray.get(self.answered))  # noqa: S301 – from our own actor
        except self._ray.exceptions.RayError as error:
            self._error = error
            raise Lost from error
        self.answered = self._actor.news.remote()
        for hello in (one for one in news if isinstance(one, _Hello)):
            self._node, self.ready = hello.node, True
            self._host.begun(self)
        return [one for one in news if not isinstance(one, _Hello)]

    def has_news(self) -> bool:
        return bool(self._ray.wait([self.answered], timeout=0)[0])

    def dismiss(self) -> None:
        if self.ready:
            self.closed = self._actor.close.remote()

    def kill(self) -> None:
        self._host.ended(self)
        if self._ray.is_initialized():  # else it is gone with the cluster, and asking would begin another one
            self._ray.kill(self._actor)

    stop = kill

    def death(self) -> Death:
        self.kill()  # it may live, and only its answer be lost: what it does now is done again elsewhere
        said = _cause(str(self._error))
        if self._node is None:
            self._host.stillborn(said)
            return Death(said, ours=False)
        alive = {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}
        return Death(f"worker actor died ({said})", ours=self._node in alive)


def _cause(said: str) -> str:
    """The line of Ray's many that says why."""
    if "running low on memory" in said:
        return "its machine ran low on memory"
    for pattern in (r"Worker exit detail: ([^\n]*?)(?:\. |$|\n)", r"\n(\w*(?:Error|Exception): [^\n]*)\s*$"):
        if match := re.search(pattern, said):
            return one_line(match[1], 160)
    return one_line(said, 160)


# The actor's end


class _Actor:
    """A worker on some machine: its loop runs in a thread, and these methods carry what goes in and out."""

    def __init__(self, brief: _Brief) -> None:
        import ray

        self._news: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._inbox: Inbox = queue.SimpleQueue()
        self._brief = brief
        self._asked: dict[int, Future[Any]] = {}
        self._numbers = itertools.count()
        self._shared = brief.token.seen()
        os.environ.update(brief.environment)
        with suppress(OSError):  # a machine without that folder may still have all that the suite names
            os.chdir(brief.folder)
        sys.path.extend(place for place in brief.search if place not in sys.path)
        self._news.put(_Hello(ray.get_runtime_context().get_node_id()))
        self._thread = threading.Thread(target=self._work, name="worker", daemon=True)
        self._thread.start()

    # Called by the driver

    def news(self) -> bytes:
        """Everything there is to say since the last time, once there is anything."""
        told = [self._news.get()]
        with suppress(queue.Empty):
            while True:
                told.append(self._news.get_nowait())
        return pickle.dumps(told)  # arrays that Ray unpacks itself are views into its store, and keep it full

    def give(self, tasks: bytes) -> None:
        self._inbox.put(pickle.loads(tasks))  # noqa: S301 – from our own driver

    def answer(self, number: int, answer: bytes) -> None:
        self._asked.pop(number).set_result(pickle.loads(answer))  # noqa: S301 – from our own driver

    def close(self) -> None:
        """There are no more tasks: let the method close what it has opened."""
        self._inbox.put(None)
        self._thread.join()

    # The archive of its worker

    def state(self, job: Job, unit: int, facts: Facts) -> State:
        return self._ask(StateAsked(next(self._numbers), job.index, unit, facts))

    def pixels(self, output: bytes, suffix: str) -> np.ndarray | None:
        if self._shared:
            return artefacts.read(self._brief.settings.results, output, suffix)
        payload = self._ask(OutputAsked(next(self._numbers), output, suffix))
        return None if payload is None else artefacts.decode(payload, output, suffix)

    def _ask(self, asked: StateAsked | OutputAsked) -> Any:
        future = self._asked[asked.number] = Future()
        self._news.put(asked)
        return future.result()

    # The worker

    def _work(self) -> None:
        def work() -> None:
            import torch  # noqa: F401 – minutes on a cold network disk, which are not a stranger's under --timeout

            check_device(self._brief.settings.device)
            serve(self._brief.recipe, self._brief.settings, self, self._inbox, self._tell, self._check)

        if (failed := failure_of(work)) is not None:
            self._news.put(f"{platform.node()}: {failed}")

    def _check(self, jobs: tuple[Job, ...]) -> None:
        check_same(self._brief, provenance.packages(), parts(jobs))

    def _tell(self, said: Any) -> None:
        if self._shared and self._brief.placing and isinstance(said, list):
            said = [Result(job, self._placed(news) if isinstance(news, Restored) else news) for job, news in said]
        self._news.put(said)

    def _placed(self, news: Restored) -> Restored:
        """A row whose images lie where the row says; where they cannot, the driver tries, and says why not."""
        if news.payload is None or news.output is None:
            return news
        results = self._brief.settings.results
        try:
            artefacts.write(results, news.output, news.suffix or "png", news.payload)
            for stage in news.stages:
                artefacts.write(results, stage.picture, stage.suffix, stage.payload)
        except OSError:
            return news
        return news._replace(payload=None, stages=tuple(stage._replace(payload=b"") for stage in news.stages))
