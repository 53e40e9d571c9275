"""How many threads restore fastest here, by trying: all cores, as many as there are cores of silicon, or one.

Two threads on one busy core take turns and wait for each other. Only commands that restore for somebody ask this: what
the harness measures runs on the threads that it was told.
"""

from __future__ import annotations

import functools
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from iqpir.devices import usable_cores

_TOLD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Who sets one of these has chosen."""
_WORTH = 0.9
"""Of the usual number's time: what another may take at most to be chosen."""
_TURNS = 9
_SECONDS = 0.6
"""After so many no further turn begins."""


class Choice(NamedTuple):
    """A number of threads, and why."""

    threads: int
    reason: str
    """One line for whoever restores."""


@contextmanager
def settled(asked: int | None, device: str) -> Iterator[str | None]:
    """Have torch compute on `asked` threads, or on as many as are fastest; gives what is worth saying of it.

    Nothing is tried where the user has said a number, or where another device computes.
    """
    import torch

    usual, reason = torch.get_num_threads(), None
    if asked is not None:
        torch.set_num_threads(asked)
    elif device == "cpu" and not any(os.environ.get(name) for name in _TOLD):
        found = choice(usual)
        torch.set_num_threads(found.threads)
        reason = found.reason if found.threads != usual else None
    try:
        yield reason
    finally:
        torch.set_num_threads(usual)


@functools.cache
def choice(usual: int) -> Choice:
    """The fastest number on this machine as it is now, tried once per process.

    Not kept on disk: how busy a machine is changes by the hour.
    """
    import torch

    before = torch.get_num_threads()
    try:
        return fastest(candidates(usual), _convolution())
    finally:
        torch.set_num_threads(before)


def candidates(usual: int) -> list[int]:
    """Numbers to try; the usual one first."""
    return list(dict.fromkeys([usual, min(usual, _silicon()), 1]))


def fastest(numbers: Sequence[int], seconds: Callable[[int], float]) -> Choice:
    """The number whose turns take least, by their median: what disturbs one turn in two belongs to the machine.

    `seconds` tells what a turn on so many threads takes. The first number stays unless another is clearly faster.
    """
    usual = numbers[0]
    if len(numbers) == 1:
        return Choice(usual, f"threads: {usual}, there is no other number to try")
    turns: dict[int, list[float]] = {number: [] for number in numbers}
    for number in numbers:
        seconds(number)  # the first turn makes threads and kernels
    spent = 0.0
    for _ in range(_TURNS):
        for number in numbers:
            turns[number].append(seconds(number))
            spent += turns[number][-1]
        if spent > _SECONDS:
            break
    medians = {number: statistics.median(taken) for number, taken in turns.items()}
    best = min(numbers, key=medians.__getitem__)
    ratio = medians[best] / medians[usual]
    if best == usual or ratio > _WORTH:
        return Choice(usual, f"threads: {usual}, no other number is clearly faster here")
    return Choice(best, f"threads: {best}, a convolution takes {ratio:.2f} × its time on {usual} here")


def _convolution() -> Callable[[int], float]:
    """Seconds of a 3×3 convolution of 64 channels at 96² on so many threads."""
    import torch

    generator = torch.Generator().manual_seed(0)
    given, weight = (
        torch.rand(shape, generator=generator).contiguous(memory_format=torch.channels_last)
        for shape in ((1, 64, 96, 96), (64, 64, 3, 3))
    )

    def seconds(threads: int) -> float:
        torch.set_num_threads(threads)
        start = time.perf_counter()
        with torch.inference_mode():
            torch.nn.functional.conv2d(given, weight, padding=1)
        return time.perf_counter() - start

    return seconds


def _silicon() -> int:
    """Cores of silicon among those this process may use; all of them where the system does not tell."""
    places = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    siblings = set()
    for place in places:
        try:
            told = Path(f"/sys/devices/system/cpu/cpu{place}/topology/thread_siblings_list").read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            return usable_cores()
        siblings.add(told.strip())
    return len(siblings) or usable_cores()
