"""Standard output carries results alone: what strangers' code prints goes to standard error, and streams stay open."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

STREAMS = {"stdin": "r", "stdout": "w", "stderr": "w"}
"""Python's standard streams, in the order of their file numbers, and their modes."""
_lock = threading.Lock()
_inside = 0
_results: Any = None
"""Standard output as it was before the first who is inside `results_apart`."""
_spare: list[int] = []
"""Another number of standard error, in a process of `no_results_here`: the next file that is opened takes the number of
one that was closed, and what is printed would be written into it."""


@contextmanager
def results_apart() -> Iterator[None]:
    """Inside, standard output is standard error. Threads may be inside together: the last one out puts it back."""
    global _inside, _results
    with _lock:
        if not _inside:
            _results, sys.stdout = sys.stdout, sys.stderr
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                sys.stdout, _results = _results, None


def no_results_here() -> None:
    """From now on standard output is standard error, for C libraries and programs that this process starts as well."""
    with suppress(OSError):
        os.dup2(2, 1)
        _spare.append(os.dup(2))


def standard_files() -> tuple[tuple[int, int] | None, ...] | None:
    """Which files standard output and standard error are; None where they are not looked after."""
    return tuple(map(_file_of, (1, 2))) if _spare else None


def _file_of(number: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(number)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def put_files_back(_: object) -> None:
    """Standard error under the numbers 1 and 2 again."""
    for number in (1, 2):
        os.dup2(_spare[-1], number)


class Stream:
    """One of Python's standard streams: who closes or replaces it does so for everybody who prints."""

    def __init__(self, name: str) -> None:
        self.name = name
        with _lock:
            self._ours = _results if name == "stdout" and _inside else getattr(sys, name)

    def is_open(self) -> bool:
        """Whether it is there and where it belongs, which of standard output `results_apart` changes."""
        with _lock:
            found = getattr(sys, self.name)
            return found is self._wanted() and not getattr(found, "closed", False)

    def put_back(self, was_open: bool) -> None:
        with _lock:
            if was_open and getattr(self._ours, "closed", False):
                # Closing the object leaves the system's file open.
                number, mode = list(STREAMS).index(self.name), STREAMS[self.name]
                encoding, errors = (getattr(self._ours, name, None) for name in ("encoding", "errors"))
                self._ours = open(number, mode, closefd=False, encoding=encoding, errors=errors)  # noqa: SIM115 – it stays
            setattr(sys, self.name, self._wanted())

    def _wanted(self) -> Any:
        return sys.stderr if self.name == "stdout" and _inside else self._ours
