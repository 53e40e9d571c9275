"""Claims: two runs at once on one results folder share the work instead of doing it twice.

A unit is claimed before it is worked on and released in the transaction that records it. A claim whose process is
gone, or whose machine has been silent for `leases.SILENCE` seconds, is anybody's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

from bench.errors import BenchError
from bench.results.leases import Owner, abandoned, me
from bench.results.store import Store


class Claims:
    """The claims in one store, as this process sees them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._me = me()

    def take(self, keys: Sequence[bytes]) -> set[bytes]:
        """Take the keys that no living run holds; returns those that are now ours."""
        now = time.time()
        ours: set[bytes] = set()
        with self.store.transaction():
            held = self.store.claims(keys)
            for key in keys:
                owner = held.get(key)
                if owner is None or owner[:3] == self._me or abandoned(Owner(*owner[:3]), owner[3]):
                    ours.add(key)
                    self.store.put_claim(key, *self._me, now)
        return ours

    def drop_abandoned(self) -> None:
        """Forget the claims of runs that were killed; what they finished before is never claimed again."""
        with self.store.transaction():
            for owner in self.store.claimants():
                if abandoned(Owner(*owner[:3]), owner[3]):
                    self.store.drop_claimant(*owner[:3])

    def release_all(self) -> None:
        """Whoever stops for whatever reason holds nothing more."""
        with suppress(BenchError):  # on a full disk; the claims end with this process
            self.store.drop_claimant(*self._me)
