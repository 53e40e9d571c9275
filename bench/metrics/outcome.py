"""What becomes of a value: one word for it, and what a number says by itself.

Why a run has no value of a unit at all is decided where its rows are read (`bench.results.status`).
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import NamedTuple

import numpy as np


class Status(StrEnum):
    """What became of a value."""

    OK = "ok"
    INF = "inf"
    """A score as well: identical images have no finite PSNR."""
    NAN = "nan"
    FAILED = "failed"
    """Something broke; the next run tries it again."""
    INPUT = "input"
    """An input or a reference cannot be used; tried again when the file has changed."""
    NOT_APPLICABLE = "n/a"
    """Was never due."""
    PENDING = "pending"
    """Not worked on yet."""
    UNAVAILABLE = "unavailable"
    """What it takes is not on this machine."""


SCORED = frozenset({Status.OK, Status.INF})
"""Of a value that enters a mean."""
SETTLED = frozenset({Status.OK, Status.INF, Status.INPUT})
"""Not tried again while the inputs stay the same."""
LOST = frozenset({Status.FAILED, Status.NAN, Status.INPUT})
"""Of a value that was due and is missing because something went wrong."""


def of_number(value: float | None) -> Status:
    """What a number is; None stands for not a number."""
    if value is None or math.isnan(value):
        return Status.NAN
    return Status.INF if math.isinf(value) else Status.OK


class Outcome(NamedTuple):
    """What one metric made of one image."""

    index: int  # type: ignore[assignment]  # tuple.index, which nobody calls
    """The metric's place in the scorer's list."""
    status: Status
    value: float | None
    """Present for `ok`, and ±inf for `inf`; None for set metrics."""
    features: np.ndarray | None
    """What a set metric extracted."""
    reason: str | None
    """One line where there is no value."""
    seconds: float
    """Time in the metric itself, views and transfers included where it was the first to need them."""
