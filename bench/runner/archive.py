"""What a worker asks of the results folder: what a unit already has, and the pixels of an output made before.

A worker beside the folder reads it for itself. One on another machine must not: SQLite's locks and shared memory do not
work over a network's file system. It asks the driver instead (`bench.runner.engines.ray_actors`).
"""

from __future__ import annotations

import threading
from typing import Protocol

import numpy as np

from bench.planning.jobs import Facts, Job, State, examine
from bench.results import artefacts
from bench.results.store import Store


class Archive(Protocol):
    """Read by a worker from any of its threads."""

    def state(self, job: Job, unit: int, facts: Facts) -> State:
        """What is stored of a unit."""

    def pixels(self, output: bytes, suffix: str) -> np.ndarray | None:
        """A stored output; None where its file is gone or no longer holds it."""


class StoreArchive:
    """The folder of a store that is open on this machine."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()

    def state(self, job: Job, unit: int, facts: Facts) -> State:
        with self._lock:
            return examine(self._store, job, [unit], [facts])[0]

    def pixels(self, output: bytes, suffix: str) -> np.ndarray | None:
        return artefacts.read(self._store.folder, output, suffix)
