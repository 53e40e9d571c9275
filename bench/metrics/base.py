"""The contract of a metric, and the signature that fixes what its number means.

Per-image and set metrics are two types, because a mean of per-image values and a property of a whole set are not the
same thing and only the second needs its features stored.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from bench.catalog.user_code import code_of
from bench.errors import BenchError, one_line
from bench.metrics.kinds import Kind, PerImage, set_kind
from bench.metrics.view import Levels, View

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from torch import Tensor

    from bench.catalog.registry import Entry
    from bench.detection.detector import WeightFile
    from bench.fetch.assets import Asset


Made = TypeVar("Made")
Shared = dict[Hashable, Any]
"""What one metric made of a view and another may use; keys are tuples that say all that it depends on."""


@dataclass(frozen=True)
class Signature:
    """Ordered `key:value` fields after the metric's name; two numbers are comparable when the texts are equal."""

    metric: str
    fields: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, metric: str, pairs: Iterable[tuple[str, object]]) -> Signature:
        return cls(metric, tuple((key, _plain(value)) for key, value in pairs))

    def __str__(self) -> str:
        return "|".join([self.metric, *(f"{key}:{value}" for key, value in self.fields)])


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    if any(sign in text for sign in "|\n\r"):
        raise ValueError(f"{text!r} cannot stand in a signature")
    return text


class Metric(ABC):
    """What every metric declares. Implementations are frozen dataclasses: their fields are their options.

    Instances must be cheap to make and must not import torch until they score: planning makes all of them.
    """

    name: str
    mode: Literal["FR", "NR"] = "FR"
    """FR compares with a reference; NR sees the restored image alone."""
    higher_is_better: bool = True
    learned: bool = False
    """True for deep networks: they run in float32, and the numeric mode joins the score's key."""
    serial: bool = False
    """True when the code behind it must not score two images at once in one process."""
    spaces: tuple[str, ...] | None = None
    """Colour spaces the metric takes, None for any. A protocol's other space does not apply to it."""
    view: View

    @property
    @abstractmethod
    def kind(self) -> Kind:
        """What it applies to, and what is stored of an image."""

    @classmethod
    def from_entry(cls, entry: Entry, view: View, options: Mapping[str, Any]) -> Self:
        """Build from a catalogue entry and the metric's own options, already checked by name and type.

        An adapter that stands behind many entries overrides this to read what they say.
        """
        return cls(view=view, **options)  # type: ignore[call-arg]  # subclasses are dataclasses with a view

    @abstractmethod
    def signature(self) -> Signature:
        """Everything that fixes what the number means, derived from the view and the metric's own fields."""

    def full_signature(self) -> Signature:
        """`signature`, and for a metric that is not ours the digest of its code, which has no version that we know.

        Raises `BenchError` where it cannot be had.
        """
        return _stamped(self, "signature", self.signature)

    def based(self, base: Path | None) -> Self:
        """The same with the relative paths in its options taken from the suite file's folder. Raises `BenchError`."""
        return self

    def given(
        self, dataset: str, methods: Sequence[str], items: Sequence[str]
    ) -> tuple[Mapping[str, Sequence[float | None]] | None, str | None]:
        """Values that people gave, by method and in the order of the items, and why an item has none of them.

        None for what is computed; empty where nobody was asked.
        """
        return None, None

    def asked_of_people(self) -> Mapping[str, str] | None:
        """What is made of people's votes when a run is read (`bench.metrics.people.Asked`); None for what is not."""
        return None

    def looking_with(self, weights: WeightFile) -> Self:
        """The same with a detector's weights that were trained for one method; for a metric of boxes."""
        return self

    def assets(self) -> list[Asset]:
        """Weight files the metric needs; `bench fetch` brings them."""
        return []

    def load(self, device: str) -> None:  # noqa: B027 – optional hook
        """Bring weights to the device, once, before the first score. Raises `MissingFile`."""


def _stamped(metric: Metric, what: str, ask: Callable[[], Signature]) -> Signature:
    code = code_of(type(metric))
    if code is None:
        return ask()
    try:
        own = ask()
        return Signature(own.metric, (*own.fields, ("code", code[:12])))
    except (BenchError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise BenchError(
            f"metric {metric.name!r}: {what}() failed: {type(error).__name__}: {one_line(error)}"
        ) from error


class ImageMetric(Metric):
    """One value per image; the number in a table is their mean."""

    @property
    def kind(self) -> Kind:
        return PerImage(self.mode == "FR")

    @abstractmethod
    def score(self, restored: Tensor, reference: Tensor | None) -> Tensor:
        """float64 [B,C,H,W] in [0,1] as the view left them (C is 3, or 1 after a luma view) → float64 [B].

        `reference` is None exactly for NR metrics. Raises `ItemError` with the reason where an image cannot be scored
        (smaller than the window, say). The value may not depend on the batch, the order or the number of threads.
        """

    def score_sharing(self, restored: Tensor, reference: Tensor | None, shared: Shared) -> float | None:
        """The same value of one image [C,H,W], with what metrics of equal view put into `shared`; None: by `score`."""
        return None

    def score_levels(self, levels: Levels, shared: Shared) -> float | None:
        """The same value, bit for bit, of one 8-bit image by a shorter way; None where there is none."""
        return None


class SharingMetric(ImageMetric):
    """Full-reference; on the CPU image by image, with what metrics of one view share, elsewhere a batch at a time."""

    def score(self, restored: Tensor, reference: Tensor | None) -> Tensor:
        """Two float64 [B,C,H,W] in [0,1], as the view left them → float64 [B]. `ItemError` for images too small."""
        import torch

        assert reference is not None
        if restored.device.type != "cpu":
            return self.score_batch(restored, reference)
        values = [self.score_sharing(*pair, {}) for pair in zip(restored, reference, strict=True)]
        return torch.tensor(values, dtype=torch.float64)

    @abstractmethod
    def score_sharing(self, restored: Tensor, reference: Tensor | None, shared: Shared) -> float: ...

    @abstractmethod
    def score_batch(self, restored: Tensor, reference: Tensor) -> Tensor:
        """As `score`, of a whole batch at once on its device, in torch."""


def of_pairs(restored: Tensor, reference: Tensor | None, value: Callable[[np.ndarray, np.ndarray], float]) -> Tensor:
    """What NumPy makes of each pair of images of two batches, float64 [B]."""
    import torch

    assert reference is not None
    pairs = zip(restored.cpu().numpy(), reference.cpu().numpy(), strict=True)
    return torch.tensor([value(*pair) for pair in pairs], dtype=torch.float64, device=restored.device)


def once(shared: Shared, key: Hashable, make: Callable[[], Made]) -> Made:
    """What is under the key, made where it is not there yet."""
    if key not in shared:
        shared[key] = make()
    found: Made = shared[key]
    return found


class SetMetric(Metric):
    """One value per set of images: features per image are stored once and aggregated at the end.

    With mode FR the features come from the pair (`psnr-pooled`), unless `two_sets` says that they do not.
    """

    two_sets: bool = False
    """FR only: the references are a set of their own, as for FID against the GT. Then `extract` sees every image,
    restored or reference, alone and under the NR view; a reference is stored once for all methods and metrics."""
    annotated: bool = False
    """The features are boxes [K,6], as many per image as there are, and are held against the dataset's annotation:
    `aggregate` gets both as lists, in the order of the items' ids. NR only."""

    @property
    def kind(self) -> Kind:
        return set_kind(self.mode == "FR", two_sets=self.two_sets, boxes=self.annotated)

    @abstractmethod
    def extractor(self) -> Signature:
        """What the stored features depend on; metrics with equal extractors share them."""

    def full_extractor(self) -> Signature:
        """As `full_signature`, of `extractor`."""
        return _stamped(self, "extractor", self.extractor)

    @abstractmethod
    def extract(self, restored: Tensor, reference: Tensor | None) -> np.ndarray:
        """Views as in `ImageMetric.score` → float64 features [B,…]. With `two_sets`, `reference` is None."""

    @abstractmethod
    def aggregate(self, features: np.ndarray, references: np.ndarray | None = None) -> float:
        """Features of all members [N,…], in the order of their content hashes, duplicates kept → the value.

        `references` are those of the references in the order of theirs, with `two_sets` and only then. Raises
        `ItemError` with the reason where the members are too few for a value.
        """

    def remark(self, references: Any) -> str | None:
        """What a reader of the value has to know of its references, in one line; None where nothing is unusual."""
        return None
