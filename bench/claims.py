"""Claims: two runs at once on one results folder share the work instead of doing it twice.

A unit is claimed before it is worked on and released in the transaction that records it. A claim whose process is
gone, or whose machine has been silent for `SILENCE` seconds, is anybody's.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence

from bench.store import Store

SILENCE = 600
"""A claim of another machine whose owner has not been heard of for so many seconds is taken over."""


class Claims:
    """The claims in one store, as this process sees them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._host, self._pid = socket.gethostname(), os.getpid()
        self._born = _born(self._pid)

    def take(self, keys: Sequence[bytes]) -> set[bytes]:
        """Take the keys that no living run holds; returns those that are now ours."""
        now = time.time()
        ours: set[bytes] = set()
        with self.store.transaction():
            held = self.store.claims(keys)
            for key in keys:
                owner = held.get(key)
                if owner is None or owner[:2] == (self._host, self._pid) or _abandoned(*owner, here=self._host):
                    ours.add(key)
                    self.store.put_claim(key, self._host, self._pid, self._born, now)
        return ours

    def drop_abandoned(self) -> None:
        """Forget the claims of runs that were killed; what they finished before is never claimed again."""
        with self.store.transaction():
            for owner in self.store.claimants():
                if _abandoned(*owner, here=self._host):
                    self.store.drop_claimant(*owner[:3])

    def busy(self) -> bool:
        """True while a living run works on this store."""
        return any(not _abandoned(*owner, here=self._host) for owner in self.store.claimants())

    def beat(self) -> None:
        """Say that this process still works on what it claimed."""
        self.store.beat(self._host, self._pid, time.time())


def _born(pid: int) -> float:
    """Start time of a process, so that a recycled process number is not taken for its former owner; 0 if gone."""
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return 0.0


def _abandoned(host: str, pid: int, started: float, beat: float, *, here: str) -> bool:
    if host == here:
        return abs(_born(pid) - started) > 1.0
    return time.time() - beat > SILENCE
