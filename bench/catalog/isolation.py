"""What strangers' code does to the process ends with its call: the one place where that is decided.

Methods, metrics and detectors share one process with each other, with decoding and with the driver. Some of what they
can change is the whole process's: random generators, default dtype, threads, working directory, environment, locale,
warnings filters, standard streams, signal handlers, switches of torch. A `Guard` knows how all of it stood when work
began, looks after every call whether it still stands so, and puts it back where it does not. Random generators begin
every call at the same fixed state, so that what draws from them depends neither on the order of work nor on the
process.

A call that ran while another one had changed something may have seen it, and is done again alone. Code that changes
things twice runs alone from then on. Not looked at, because it cannot be seen or is dear to read: thread pools of
BLAS, flush-to-zero, what a library keeps to itself, and a GPU's generators where work began without a GPU.
"""

from __future__ import annotations

import ctypes
import gc
import locale
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn, Self, TypeVar

from bench.catalog.streams import STREAMS, Stream, put_files_back, results_apart, standard_files
from bench.errors import from_keyboard

Result = TypeVar("Result")

_SEED = 0
_PATIENCE = 2
"""After so many calls that changed something, a piece of code runs alone."""
_MT19937_BYTES = 624 * 4 + 4
"""numpy's struct of the generator: 624 words and the position among them."""


@dataclass(frozen=True)
class _Setting:
    """Something of the process, or of the thread, that code can change for others."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]


@contextmanager
def _forks_ended() -> Iterator[None]:
    """A process that is forked inside ends where it would come out: it would do the work of this one a second time."""
    owner = os.getpid()
    try:
        yield
    finally:
        if os.getpid() != owner:
            os._exit(1)


@contextmanager
def exits_raised(what: str | None = None) -> Iterator[None]:
    """Inside, `os._exit` raises `SystemExit`: a stranger's code cannot end this process without a word.

    A process that was forked inside still ends by it, as it has to, or where it would come out. `what` says what runs,
    for who watches. What it prints goes to standard error: standard output carries results alone.
    """
    original, owner = os._exit, os.getpid()

    def refuse(status: int = 0) -> NoReturn:
        if os.getpid() != owner:
            original(status)
        raise SystemExit(f"os._exit({status})")

    os._exit = refuse
    _running.append(what)
    _tell()
    try:
        with _forks_ended(), results_apart():
            yield
    finally:
        os._exit = original
        _running.pop()
        _tell()


_watchers: list[Callable[[str | None], object]] = []
_running: list[str | None] = []


def _tell() -> None:
    for watcher in _watchers:
        watcher(_running[-1] if _running else None)


@contextmanager
def watched(watcher: Callable[[str | None], object]) -> Iterator[None]:
    """Inside, `watcher` is told what of strangers' code begins to run, and None where it has ended."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


class Guard:
    """Calls of code that is not the harness's own, between which the process stays as it was when work began.

    `with guard:` around the work; a call outside is one piece of work of its own. Any number of threads may call.
    """

    def __init__(self) -> None:
        self._turns = _Turns()
        self._offences: Counter[Hashable] = Counter()
        self._lock = threading.RLock()
        self._depth = 0
        self._process: tuple[_Setting, ...] = ()
        self._generators: tuple[_Setting, ...] = ()
        self._thread: tuple[_Setting, ...] = ()
        self._outside: tuple[Any, ...] = ()
        """How the process stood before the work."""
        self._home: tuple[Any, ...] = ()
        """How it stands at the beginning of every call."""
        self._quick: tuple[Any, ...] = ()

    def __enter__(self) -> Self:
        with self._lock:
            self._depth += 1
            if self._depth == 1:
                self._process, self._generators, self._thread = _process(), tuple(_generators()), _thread()
                self._outside = self._stand()
                _seed()
                self._home = self._stand()
                self._quick = self._glance()
                self._python, self._numpy, self._torch = random.getstate(), _numpy_bytes(), _torch_bytes()
        return self

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                self._put_back(self._outside)

    def call(self, owner: Hashable, action: Callable[[], Result]) -> Result:
        """`action()`, and the process as before. Done twice where another call disturbed it or it disturbed others.

        `owner` stands for the code that is called; what it raises is raised.
        """
        with self:
            return self._call(owner, action)

    def _call(self, owner: Hashable, action: Callable[[], Result]) -> Result:
        if self._offences[owner] < _PATIENCE:
            with self._turns.shared() as turn:
                disturbed = self._glance() != self._quick
                outcome = self._run(action)
                disturbed = disturbed or self._changed()
            if not disturbed:
                return outcome.result()
            alone = turn.alone
        else:
            outcome, alone = None, False
        with self._turns.alone():
            self._put_back(self._home)
            if outcome is None or not alone:
                outcome = self._run(action)
                alone = self._changed()
                self._put_back(self._home)
            if alone:  # nobody else can have done it
                self._offences[owner] += 1
            return outcome.result()

    def _run(self, action: Callable[[], Any]) -> _Outcome:
        """What the action returned or raised; what it did to this thread is undone."""
        before = [each.read() for each in self._thread]
        try:
            with _forks_ended():
                return _Outcome(action(), None)
        except BaseException as error:
            if from_keyboard(error):
                raise
            return _Outcome(None, error)
        finally:
            for each, value in zip(self._thread, before, strict=True):
                if each.read() != value:
                    with suppress(Exception):
                        each.write(value)

    def _stand(self) -> tuple[Any, ...]:
        return tuple(each.read() for each in (*self._process, *self._generators))

    def _glance(self) -> tuple[Any, ...]:
        """Everything of the process but its generators."""
        return tuple([each.read() for each in self._process])

    def _changed(self) -> bool:
        return (
            self._glance() != self._quick
            or _numpy_bytes() != self._numpy
            or _torch_bytes() != self._torch
            or random.getstate() != self._python
        )

    def _put_back(self, values: tuple[Any, ...]) -> None:
        for each, value in zip((*self._process, *self._generators), values, strict=True):
            if not _equal(each.read(), value):
                # What cannot be put back (a folder that was deleted, say) fails where it is needed, with its reason.
                with suppress(Exception):
                    each.write(value)


def changes(action: Callable[[], object]) -> list[str]:
    """What of the process and of this thread is otherwise after `action()`, by name; it is put back."""
    settings = (*_process(), *_generators(), *_thread())
    before = [each.read() for each in settings]
    found = []
    try:
        action()
    finally:
        for each, value in zip(settings, before, strict=True):
            if not _equal(each.read(), value):
                found.append(each.name)
                with suppress(Exception):
                    each.write(value)
    return found


class _Outcome:
    """What an action returned or raised, for whoever asked."""

    def __init__(self, value: Any, error: BaseException | None) -> None:
        self._value, self._error = value, error

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value


class _Turn:
    """One shared turn; `alone` is whether nobody else had one meanwhile."""

    alone = False


class _Turns:
    """Many at once, or one by itself. Who wants to be alone comes before those who come after."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._within = 0
        self._entered = 0
        self._single = 0
        """Threads that are alone or wait to be."""
        self._taken = False

    @contextmanager
    def shared(self) -> Iterator[_Turn]:
        turn = _Turn()
        with self._condition:
            while self._single:
                self._condition.wait()
            self._within += 1
            self._entered += 1
            first, number = self._within == 1, self._entered
        try:
            yield turn
        finally:
            with self._condition:
                turn.alone = first and self._entered == number
                self._within -= 1
                self._condition.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._condition:
            self._single += 1
            try:
                while self._within or self._taken:
                    self._condition.wait()
            except BaseException:
                self._single -= 1
                self._condition.notify_all()
                raise
            self._taken = True
        try:
            yield
        finally:
            with self._condition:
                self._taken = False
                self._single -= 1
                self._condition.notify_all()


def _equal(one: Any, other: Any) -> bool:
    """Equality, also of the tuples with arrays in which numpy tells the state of its generator."""
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        return all(_equal(a, b) for a, b in zip(one, other, strict=True))
    if hasattr(one, "tobytes") or hasattr(one, "numpy"):
        return _bytes(one) == _bytes(other)
    return bool(one == other)


def _bytes(array: Any) -> bytes:
    raw: bytes = (array.numpy() if hasattr(array, "numpy") else array).tobytes()
    return raw


# The random generators


def _seed() -> None:
    import numpy as np
    import torch

    random.seed(_SEED)
    np.random.seed(_SEED)
    torch.manual_seed(_SEED)


def _numpy_bytes() -> bytes:
    """The state of numpy's global generator: read from memory, since asking for it costs as much as a small metric."""
    import numpy as np

    generator = np.random.mtrand._rand._bit_generator
    if type(generator) is np.random.MT19937:
        return ctypes.string_at(generator.ctypes.state_address, _MT19937_BYTES)
    return repr(generator.state).encode()


def _torch_bytes() -> bytes:
    import torch

    states = [torch.get_rng_state()]
    if torch.cuda.is_initialized():
        states += torch.cuda.get_rng_state_all()
    return b"".join(map(_bytes, states))


def _generators() -> Iterator[_Setting]:
    import numpy as np
    import torch

    yield _Setting("random", random.getstate, random.setstate)
    yield _Setting("numpy.random", lambda: np.random.get_state(legacy=True), np.random.set_state)
    yield _Setting("torch's generator", torch.get_rng_state, torch.set_rng_state)
    if torch.cuda.is_initialized():
        for index in range(torch.cuda.device_count()):
            yield _Setting(
                f"the generator of cuda:{index}",
                lambda index=index: torch.cuda.get_rng_state(index),  # type: ignore[misc]
                lambda state, index=index: torch.cuda.set_rng_state(state, index),  # type: ignore[misc]
            )


# What else belongs to the whole process, and what to a thread


def _process() -> tuple[_Setting, ...]:
    import cv2
    import torch

    matmul, cudnn, mkldnn = torch.backends.cuda.matmul, torch.backends.cudnn, torch.backends.mkldnn

    def attribute(holder: Any, name: str) -> _Setting:
        return _Setting(name, lambda: getattr(holder, name), lambda value: setattr(holder, name, value))

    return (
        _Setting("working directory", _folder, os.chdir),
        # The mapping behind os.environ: reading it decoded costs thirty times as much.
        _Setting("environment", lambda: dict(os.environ._data), _set_environment),  # type: ignore[attr-defined]
        _Setting("locale", lambda: locale.setlocale(locale.LC_ALL), lambda name: locale.setlocale(locale.LC_ALL, name)),
        _Setting("warnings filters", lambda: tuple(warnings.filters), _set_filters),
        *(_Setting(f"sys.{stream.name}", stream.is_open, stream.put_back) for stream in map(Stream, STREAMS)),
        _Setting("file numbers 1 and 2", standard_files, put_files_back),
        _search_path(),
        _Setting("garbage collection", gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
        _Setting("logging", lambda: logging.root.manager.disable, logging.disable),
        _Setting("SIGINT", lambda: signal.getsignal(signal.SIGINT), lambda how: signal.signal(signal.SIGINT, how)),
        _Setting("recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
        _Setting("default dtype", torch.get_default_dtype, torch.set_default_dtype),
        _Setting("threads of OpenCV", cv2.getNumThreads, cv2.setNumThreads),
        _Setting("determinism", _determinism, lambda how: torch.use_deterministic_algorithms(how[0], warn_only=how[1])),
        _Setting("matmul precision", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        _Setting("anomaly detection", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
        attribute(matmul, "allow_tf32"),
        attribute(cudnn, "allow_tf32"),
        attribute(cudnn, "benchmark"),
        attribute(cudnn, "deterministic"),
        attribute(cudnn, "enabled"),
        attribute(mkldnn, "enabled"),
    )


def _thread() -> tuple[_Setting, ...]:
    import numpy as np
    import torch

    return (
        # OpenMP keeps the number by thread; torch gives new threads the one that was set last.
        _Setting("threads of torch", torch.get_num_threads, torch.set_num_threads),
        _Setting("grad mode", torch.is_grad_enabled, torch.set_grad_enabled),
        _Setting("numpy's errors", np.geterr, lambda how: np.seterr(**how)),
        _Setting(
            "autocast", lambda: torch.is_autocast_enabled("cpu"), lambda on: torch.set_autocast_enabled("cpu", on)
        ),
        _Setting("default device", torch.get_default_device, lambda device: torch.set_default_device(device)),
    )


def _search_path() -> _Setting:
    """Where modules are looked for: what code adds stays, and finds its own modules; what it takes away comes back."""
    before = tuple(sys.path)
    return _Setting(
        "sys.path",
        lambda: set(before).issubset(sys.path),
        lambda _: sys.path.extend(place for place in before if place not in sys.path),
    )


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 – as text, which is what is compared
    except OSError:
        return None  # it was deleted


def _set_environment(wanted: dict[Any, Any]) -> None:
    data = os.environ._data  # type: ignore[attr-defined]
    decode = os.environ.decodevalue
    for key in [key for key in data if key not in wanted]:
        del os.environ[os.environ.decodekey(key)]
    for key, value in wanted.items():
        if data.get(key) != value:
            os.environ[os.environ.decodekey(key)] = decode(value)


def _set_filters(wanted: tuple[Any, ...]) -> None:
    warnings.filters[:] = list(wanted)  # type: ignore[index]
    warnings._filters_mutated()  # type: ignore[attr-defined]


def _determinism() -> tuple[bool, bool]:
    import torch

    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
