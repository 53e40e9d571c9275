"""What is asked of a measurement: sizes, number types, batches, the order of turns, and when there are enough samples.

Everything here is plain data that can be written down beside the numbers, and needs no torch.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from bench.errors import BenchError, suggest

Mode = Literal["synchronised", "dispatch"]
"""Whether the clock stops when the device has finished, or when it has been told what to do."""
Order = Literal["interleaved", "sequential"]

DTYPES = {
    "float32": "float32", "fp32": "float32", "bfloat16": "bfloat16", "bf16": "bfloat16", "float16": "float16",
    "fp16": "float16",
}  # fmt: skip
STAGES = ("decode", "preprocess", "transfer", "model", "postprocess", "encode", "untracked")
"""`preprocess`: 8 bits to floats. `transfer`: to the device and back. `postprocess`: floats to 8 bits."""
_MOST_PIXELS = 2**28


class Size(NamedTuple):
    """Of the input, in pixels."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height}×{self.width}"


class Setting(NamedTuple):
    """One point at which methods are compared."""

    size: Size
    batch: int
    dtype: str
    """As torch calls it."""
    device: str
    """cpu, cuda or cuda:N."""
    mode: Mode
    threads: int
    """Of torch, on the CPU."""

    @property
    def kind(self) -> str:
        """cpu or cuda: which of several equal devices it was does not matter."""
        return self.device.partition(":")[0]

    @property
    def short(self) -> str:
        dispatch = ", dispatch" if self.mode == "dispatch" else ""
        return f"{self.size}, batch {self.batch}, {self.dtype}, {self.kind}{dispatch}"


@dataclass(frozen=True)
class Rules:
    """When a method is warm, and when it has been measured long enough."""

    samples: int = 64
    """Samples that are enough, once `seconds` are over as well."""
    seconds: float = 10.0
    spread: float = 0.005
    """Standard deviation divided by the mean, below which fewer samples are enough."""
    spread_samples: int = 11
    """…but not fewer than these: the floor of an honest median."""
    limit: float = 60.0
    """Seconds of a method's own time after which it stops with what there is."""
    warm_calls: int = 10
    warm_change: float = 0.02
    """Warm when the running median has moved less than this over the last five calls."""
    warm_limit: float = 10.0
    """Seconds after which warming stops in any case (and the row says so)."""
    exact: bool = False
    """Whether `samples` or `seconds` were asked for and nothing else stops the measurement."""

    @classmethod
    def asked(cls, samples: int | None, seconds: float | None) -> Rules:
        """The rules, or the user's own: so many samples, so many seconds, or whichever comes first."""
        if samples is None and seconds is None:
            return cls()
        few = 10 if samples is None else min(10, samples)
        long = 60.0 if seconds is None else seconds
        return cls(
            samples=samples or 2**40, seconds=0.0, limit=long, warm_calls=few, warm_limit=min(10.0, long), exact=True
        )

    def stop(self, count: int, seconds: float, spread: float) -> str | None:
        """Which rule says that there are enough samples; None while none does."""
        if self.exact:
            if count >= self.samples:
                return f"{count} samples, as asked"
            return f"{self.limit:g} s, as asked ({count} samples)" if seconds >= self.limit else None
        if count >= self.samples and seconds >= self.seconds:
            return f"≥ {self.samples} samples and ≥ {self.seconds:g} s"
        if count >= self.spread_samples and spread < self.spread:
            return f"relative spread {spread:.2%} < {self.spread:.1%}"
        if seconds >= self.limit:
            unmet = [f"{count} < {self.samples} samples"] if count < self.samples else []
            return f"{self.limit:g} s; unmet: {', '.join([*unmet, f'relative spread {spread:.2%}'])}"
        return None

    def left(self, count: int, seconds: float) -> float:
        """The longest that a method with so many samples in so many seconds can still take, in seconds."""
        wanted = max(0, self.samples - count) * seconds / max(count, 1)
        return max(0.0, min(max(wanted, self.seconds - seconds), self.limit - seconds))

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def parse_sizes(text: str | int) -> tuple[Size, ...]:
    """`512`, `480x640` or several with commas. Raises `BenchError`."""
    return tuple(_size(part.strip()) for part in str(text).split(","))


def _size(text: str) -> Size:
    found = re.fullmatch(r"(\d{1,6})(?:[x×*](\d{1,6}))?", text)
    size = Size(int(found[1]), int(found[2] or found[1])) if found else Size(0, 0)
    if not 0 < size.height * size.width <= _MOST_PIXELS:
        raise BenchError(f"size {text!r} is not a side such as 512, or HxW such as 480x640, in pixels")
    return size


def parse_dtype(text: str) -> str:
    """torch's name of a number type. Raises `BenchError` with the nearest known name."""
    if text not in DTYPES:
        raise BenchError(f"unknown dtype {text!r}{suggest(text, DTYPES)} (float32, bf16 or fp16)")
    return DTYPES[text]


def parse_batches(text: str | int) -> tuple[int, ...]:
    """`1` or several with commas. Raises `BenchError`."""
    parts = [part.strip() for part in str(text).split(",")]
    if not all(part.isdecimal() and 0 < int(part) <= 4096 for part in parts):
        raise BenchError(f"batch {text!r} is not a whole number from 1 on, or several such as 1,4")
    return tuple(dict.fromkeys(int(part) for part in parts))
