"""Progress on standard error: a bar on a terminal, a line every few seconds in a log, nothing where it is not wanted.

A bar has the rate, the time left and what is being worked on. A pipe gets the same as lines, first every five seconds,
then as seldom as they are worth reading: a log of ten hours has some hundreds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol

EVERY = 5.0
"""Seconds between two lines of a log."""
_SHARE = 0.05
"""Of the time that has passed, what may pass without a line."""


class Progress(Protocol):
    """What work tells while it goes on; a tqdm bar fits."""

    total: Any

    def reset(self, total: int) -> object: ...

    def update(self, n: int = 1) -> object: ...

    def set_description_str(self, text: str) -> object: ...

    def close(self) -> object: ...


class LogProgress(AbstractContextManager["LogProgress"]):
    """Lines for a log: `12/40 images, 3.1 images/s, 9 s left · METHOD on DATASET`."""

    def __init__(
        self, unit: str, total: int | None = None, *, write: Callable[[str], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.total = total
        self.n = 0
        self.leave = True
        self._unit, self._what = unit, ""
        self._write = write or (lambda line: print(line, file=sys.stderr, flush=True))
        self._clock = clock
        self._began = self._said = clock()

    def reset(self, total: int) -> None:
        self.total, self.n = total, 0
        self._began = self._said = self._clock()

    def update(self, n: int = 1) -> None:
        self.n += n
        self._tell()

    def set_description_str(self, text: str) -> None:
        self._what = text
        self._tell()

    def _tell(self) -> None:
        now = self._clock()
        if now - self._said < max(EVERY, (now - self._began) * _SHARE) or self.n == self.total:
            return
        self._said = now
        self._write(self.line(now - self._began))

    def line(self, seconds: float) -> str:
        """How far the work is after so many seconds."""
        of = f"/{self.total}" if self.total else ""
        said = [f"{self.n}{of} {self._unit.removesuffix('s') if self.n == 1 and not of else self._unit}"]
        if self.n and seconds > 0:
            rate = self.n / seconds
            said.append(f"{rate:.3g} {self._unit}/s" if rate >= 1 else f"{1 / rate:.3g} s each")
            if self.total:
                said.append(f"{_told(max(self.total - self.n, 0) / rate)} left")
        return ", ".join(said) + (f" · {self._what}" if self._what else "")

    def close(self) -> None:
        """Nothing: what came of the work is said by whoever did it."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _told(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes, hours = round(seconds / 60), seconds / 3600
    return f"{minutes} min" if minutes < 120 else f"{hours:.1f} h"


def bar(unit: str, total: int | None = None) -> Any:
    """A `Progress` and context manager: a tqdm bar on a terminal, lines in a log, silent after `--quiet`."""
    from iqpir.console import is_quiet

    if is_quiet():
        return LogProgress(unit, total, write=lambda line: None)
    if not sys.stderr.isatty():
        return LogProgress(unit, total)
    from tqdm import tqdm

    return tqdm(total=total, unit=f" {unit}", dynamic_ncols=True, smoothing=0.1)


def above_bar(line: str) -> None:
    """A line on standard error that does not run into a bar."""
    from tqdm import tqdm

    with tqdm.external_write_mode():
        print(line, file=sys.stderr, flush=True)
