"""Quality priors: how good an image is by an ensemble of no-reference metrics, as a score in [0,1] and a bin."""

from __future__ import annotations

from iqpir.quality.files import ScoreFile, read_scores, write_scores
from iqpir.quality.prior import MemberStatistics, QualityPrior, bin_scores, ensemble, normalise

__all__ = [
    "MemberStatistics",
    "QualityPrior",
    "ScoreFile",
    "bin_scores",
    "ensemble",
    "normalise",
    "read_scores",
    "write_scores",
]
