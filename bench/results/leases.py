"""Leases: who works with a results folder, so that nothing is collected that somebody is about to name or to read.

A run holds one from before it looks at the store until its table has been read; an export while it copies. `bench gc`
gets its own only where nobody holds any, decides and deletes under it, and whoever comes meanwhile waits for it. A
lease whose process is gone, or whose machine has been silent for `SILENCE` seconds, holds nothing.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple

from bench.errors import BenchError
from bench.results.store import FILE_NAME, LeaseRow, Store

Kind = Literal["run", "export", "gc"]
SILENCE = 600
"""A lease or claim of another machine that has not been heard of for so many seconds holds nothing."""
BEAT = 30.0
"""Seconds between two signs of life."""
WAIT = 600.0
"""Seconds to wait for a collection to end."""
_DOES = {"run": "a run is working on", "export": "an export is reading", "gc": "bench gc is collecting in"}


class Owner(NamedTuple):
    """A process, told from every other one that had or will have its number."""

    host: str
    pid: int
    started: float
    """Seconds, in a clock that nobody can set where the system has one."""

    @property
    def gone(self) -> bool:
        return abs(_born(self.pid) - self.started) > 1.0


def me() -> Owner:
    """This process."""
    return Owner(_host(), os.getpid(), _born(os.getpid()))


def abandoned(owner: Owner, beat: float) -> bool:
    """True where whoever held something holds it no more. `beat`: when it was last heard of."""
    if owner.host == _host():
        return owner.gone
    return time.time() - beat > SILENCE


class Lease:
    """A context in which a results folder is not collected, or, for `gc`, in which nobody else works with it."""

    def __init__(self, store: Store, kind: Kind, note: Callable[[str], object] = lambda line: None) -> None:
        self.store = store
        self.kind = kind
        self._note = note
        self._id = 0
        self._owner = me()
        self._ended = threading.Event()

    def __enter__(self) -> Lease:
        deadline, told = time.monotonic() + WAIT, False
        while (holder := self._take()) is not None:
            who = f"{_DOES[holder.kind]} {self.store.path} (process {holder.pid} on {_shown(holder.host)})"
            if self.kind == "gc" or time.monotonic() > deadline:
                raise BenchError(f"{who}: wait for it to end")
            if not told:
                self._note(f"waiting: {who}")
                told = True
            time.sleep(0.05)
        threading.Thread(target=self._keep_alive, daemon=True, name="lease").start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with suppress(BenchError):  # on a full disk it stays, and holds nothing once this process has ended
            self.store.drop_lease(self._id)

    def name(self, run: int) -> None:
        """Say which run it is for."""
        self.store.lease_run(self._id, run)

    def check(self) -> None:
        """Inside a transaction that writes: raise `BenchError` where another machine took this process for dead."""
        if not self.store.has_lease(self._id):
            raise BenchError(
                f"{self.store.path}: this process was silent for {SILENCE} s and taken for dead by another machine; "
                "what was written before is kept, run again to go on"
            )

    def _take(self) -> LeaseRow | None:
        """Take it, or say who is in the way."""
        with self.store.transaction():
            for row in self.store.leases():
                if abandoned(Owner(row.host, row.pid, row.started), row.beat):
                    self.store.drop_lease(row.id)
                elif "gc" in (row.kind, self.kind):
                    return row
            if self.kind == "gc":
                # A run of an older bench, which opened the file before this one brought it up to date.
                for host, pid, started, beat in self.store.claimants():
                    if not abandoned(Owner(host, pid, started), beat):
                        return LeaseRow(0, "run", None, host, pid, started, beat)
            self._id = self.store.put_lease(self.kind, *self._owner, time.time())
        return None

    def _keep_alive(self) -> None:
        """Signs of life over a connection of its own, so that one long unit of work is not silence."""
        while not self._ended.wait(BEAT):
            with suppress(BenchError), Store(self.store.folder) as store:  # the next one may come through
                store.beat(self._owner.host, self._owner.pid, time.time())


@contextmanager
def reading(folder: Path, note: Callable[[str], object] = lambda line: None) -> Iterator[Store]:
    """A results folder for somebody who reads output files: neither rows nor files change under the reader."""
    if not os.access(folder, os.W_OK) or not (folder / FILE_NAME).is_file():
        with Store.reading(folder) as store:  # nobody else can write here either
            yield store
        return
    Store(folder, writable=False).close()  # what cannot be read is refused before anything is written
    with Store(folder) as writer, Lease(writer, "export", note), Store.reading(folder) as store:
        yield store


def _host() -> str:
    """The machine's name, and where the system keeps one its number: names such as `localhost` are not unique."""
    number = ""
    with suppress(OSError):
        number = Path("/etc/machine-id").read_text(encoding="ascii", errors="replace").strip()[:12]
    return f"{socket.gethostname()}/{number}" if number else socket.gethostname()


def _shown(host: str) -> str:
    return host.partition("/")[0]


def _born(pid: int) -> float:
    """Start of a process, so that a recycled process number is not taken for its former owner; 0 if gone.

    Linux counts from the machine's start. The date that psutil makes of it moves when the clock is set, and a living
    process would be taken for a dead one.
    """
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            # One that has ended and waits for its parent to notice is gone as well.
            return 0.0 if fields[0] in "ZXx" else int(fields[19]) / os.sysconf("SC_CLK_TCK")
        except (OSError, IndexError, ValueError):
            return 0.0
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return 0.0
