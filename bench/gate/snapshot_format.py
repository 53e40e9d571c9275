"""What the gate compares, as it is written down: every value with its signature, and a short hash of every image.

A run becomes a `Snapshot` through the store, a baseline is one in a file; nothing here reads, compares or prints.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Status = Literal["ok", "inf", "-inf", "nan", "failed", "input", "n/a", "unavailable", "pending", "no items"]
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Bound = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]

_INFINITE = {"inf": math.inf, "-inf": -math.inf}


def item_of(key: str, keys: Collection[str], inputs: Collection[str]) -> tuple[str, int]:
    """(item, repeat from 0) of a row of a method: `id#2` is a repeat where `id` is an input and it is none itself.

    Nothing was made of an input that is not listed: its repeats are told by there being two of them.
    """
    item, sign, number = key.rpartition("#")
    if not sign or key in inputs or not number.isdecimal():
        return key, 0
    repeated = item in inputs or (f"{item}#1" in keys and f"{item}#2" in keys)
    return (item, int(number) - 1) if repeated else (key, 0)


class Strict(BaseModel):
    """A mapping with exactly these keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Tolerance(Strict):
    """Two numbers are equal when they differ by no more than either bound; the relative one is of the larger."""

    absolute: Bound = 1e-6
    relative: Bound = 1e-6

    def holds(self, first: float, second: float) -> bool:
        if first == second:
            return True
        return abs(first - second) <= max(self.absolute, self.relative * max(abs(first), abs(second))) < math.inf

    def wider(self, other: Tolerance) -> Tolerance:
        return Tolerance(absolute=max(self.absolute, other.absolute), relative=max(self.relative, other.relative))

    def __str__(self) -> str:
        return f"{self.relative:g} of the value" if self.relative else f"{self.absolute:g}"


class Limits(Strict):
    """How far the values of every kind of metric may move."""

    deterministic: Tolerance
    learned: Tolerance
    metrics: dict[str, Tolerance] = {}
    """By a metric's label or its whole signature, in place of the two above."""

    def of(self, label: str, metric: SnapshotMetric) -> Tolerance:
        named = self.metrics.get(metric.signature) or self.metrics.get(label)
        return named or (self.learned if metric.learned else self.deterministic)


class Tolerances(Strict):
    """A user's to edit, and kept when a baseline is written anew."""

    here: Limits = Limits(deterministic=Tolerance(), learned=Tolerance(relative=1e-3))
    """On the processor, device and packages that the baseline was made with."""
    elsewhere: Limits = Limits(deterministic=Tolerance(relative=1e-3), learned=Tolerance(relative=1e-3))
    """With any others; never narrower than `here`."""
    latency: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 1.15
    """Ratio of medians above which a method has become slower."""

    def of(self, label: str, metric: SnapshotMetric, *, here: bool) -> Tolerance:
        """What holds for a metric."""
        near = self.here.of(label, metric)
        return near if here else near.wider(self.elsewhere.of(label, metric))


class SnapshotOrigin(Strict):
    """Where and with what the numbers were made."""

    created: str
    processor: str
    device: str
    device_model: str
    platform: str
    python: str
    packages: dict[str, str]
    commit: str | None = None
    instructions: str | None = None
    """The CPU's vector instructions, and what the environment forbids of them; None where nobody wrote them down."""
    threads: int | None = None
    """Per worker; None where nobody wrote them down."""


class SnapshotMetric(Strict):
    """A metric on one dataset."""

    signature: str
    better: Literal["higher", "lower"]
    digits: Count
    learned: bool = False
    of_sets: bool = False
    """True where the value is a property of the whole set and no mean."""


class SnapshotValue(Strict):
    """A cell's value. `n` of the cell's `expected` rows (items, or their repeats) entered it."""

    value: Finite | None
    status: Status
    n: Count
    reason: str | None = None
    """Why it is missing or incomplete."""

    @property
    def number(self) -> float | None:
        """The value, infinite ones included; None where there is none."""
        return _INFINITE.get(self.status, self.value)


class SnapshotItem(Strict):
    """One item of a method: what came out, what it was compared with, and what that was worth."""

    output: Hash | None = None
    reference: Hash | None = None
    values: dict[str, Annotated[Finite | Status, Field(union_mode="left_to_right")]]
    """By metric label: the value, or the word for why there is none."""

    def number(self, metric: str) -> float | None:
        """A metric's value, infinite ones included; None where there is none."""
        given = self.values.get(metric)
        return _INFINITE.get(given) if isinstance(given, str) else given


class SnapshotMethod(Strict):
    """One method on one dataset."""

    expected: Count
    outputs: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 over every item with its whole output hash."""
    values: dict[str, SnapshotValue]
    items: dict[str, SnapshotItem]
    """By item id; `id#2` is the second repeat of a stochastic method."""


class SnapshotDataset(Strict):
    """One dataset with the methods that ran on it."""

    inputs: dict[str, Hash]
    """By item id, of its decoded pixels, where something was made of it."""
    metrics: dict[str, SnapshotMetric]
    methods: dict[str, SnapshotMethod]


class SnapshotTiming(Strict):
    """What one call of a method took in one setting."""

    method: str
    setting: str
    """Everything that must be equal for two times to be comparable, such as `512×512, batch 1, float32, cpu`."""
    machine: str
    """Fingerprint of the machine; times of different ones are never compared."""
    n: Count
    """Calls that were timed; 0 where the method failed."""
    reason: str | None = None
    """Why it failed, or what disturbed the measurement."""
    samples: list[Annotated[float, Field(gt=0, allow_inf_nan=False)]]
    """Seconds per call, sorted; of many calls evenly spaced ranks."""
    probe: list[Annotated[float, Field(gt=0, allow_inf_nan=False)]] | None = None
    """Seconds of the same small work before and after the calls, sorted; None in older baselines."""


class Snapshot(Strict):
    """All cells of a run: in its order where it comes from a store, sorted in a file."""

    baseline: Literal[1] = 1
    """Version of this form."""
    suite: str
    title: str = ""
    made: SnapshotOrigin
    tolerances: Tolerances = Tolerances()
    datasets: dict[str, SnapshotDataset]
    timings: list[SnapshotTiming] = []
