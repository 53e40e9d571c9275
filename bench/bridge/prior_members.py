"""The harness's no-reference metrics as members of an IQPIR quality prior (`iqpir assess --member bench:NAME`).

A provider of the entry points `iqpir.scorers`. Values are those of `bench score` for the same 8-bit pixels; it is the
only place where the harness speaks of the restorer's priors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import folder_scores
from bench.errors import BenchError
from bench.metrics.base import ImageMetric
from bench.metrics.scorer import Scorer
from iqpir.errors import ImageFailure, IQPIRError

if TYPE_CHECKING:
    import torch


class BenchScorer:
    """One metric of the harness. `name` is `bench:` and the metric with its options, as in `niqe[gray=y]`."""

    def __init__(self, name: str, device: str) -> None:
        [asked] = folder_scores.ask([name])
        metric = asked.metric
        if metric.mode != "NR" or not isinstance(metric, ImageMetric):
            what = "compares with a reference" if metric.mode != "NR" else "is a property of a whole set"
            raise IQPIRError(f"{name} {what}: a member scores one image alone (bench list metrics)")
        self.name = f"bench:{name}"
        self.lower_better = not metric.higher_is_better
        self.signature = asked.signature
        self._scorer = Scorer([metric], device)
        self._scorer.load()

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """float32 RGB [B,3,H,W] in [0,1] → float64 [B]. Raises `ImageFailure` with the metric's reason."""
        import torch

        return torch.tensor([self._one(image) for image in images], dtype=torch.float64)

    def _one(self, image: torch.Tensor) -> float:
        [outcome] = self._scorer.score(image.permute(1, 2, 0).cpu().numpy(), None)
        if outcome.value is None:
            raise ImageFailure(outcome.reason or outcome.status)
        return outcome.value


def scorer(name: str, device: str) -> BenchScorer:
    """The provider. Raises `IQPIRError` with the line that `bench score` would print."""
    try:
        return BenchScorer(name, device)
    except BenchError as error:
        raise IQPIRError(str(error)) from error
