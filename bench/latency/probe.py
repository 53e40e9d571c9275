"""How fast the machine is just now, beside every measured time: the same small work before and after it.

A method that takes longer while the probe does too has met a slower machine, and has not become slower. The work is a
hash of a block that fits no first-level cache: one core, no library that the methods use, nothing that a release of
theirs can change.
"""

from __future__ import annotations

import hashlib
import time

_BLOCK = bytes(range(256)) * 2048
REPEATS = 15


def probe(repeats: int = REPEATS) -> list[int]:
    """Nanoseconds of each repetition, after one that does not count."""
    hashlib.sha256(_BLOCK).digest()
    found = []
    for _ in range(repeats):
        start = time.perf_counter_ns()
        hashlib.sha256(_BLOCK).digest()
        found.append(time.perf_counter_ns() - start)
    return found
