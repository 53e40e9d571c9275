"""Whether what was asked on the command line has an effect on the network at hand: refused before any work, not
passed over in silence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from iqpir.errors import IQPIRError
from iqpir.restore import without_effect

if TYPE_CHECKING:
    from iqpir.network.model import IQPIR
    from iqpir.network.photo import PhotoIQPIR


def check(network: IQPIR | PhotoIQPIR, weights: str, asked: Mapping[str, Any]) -> None:
    """Raise `IQPIRError` for an option that this network cannot follow. `asked`: values by name, None by default."""
    idle = without_effect(network, asked)
    if idle is not None:
        option, what = idle
        raise IQPIRError(f"--{option} has no effect on {weights}, {what}: leave it out")
    score = asked["score"]
    if network.for_photographs or cast("IQPIR", network).config.conditioning != "add-list":
        _one_score(weights, score)
        return
    bins = cast("IQPIR", network).config.bins
    if isinstance(score, tuple) and len(score) != len(bins):
        raise IQPIRError(f"{len(score)} scores were given, and {weights} takes one, or {len(bins)}")


def finite(option: str, value: float | None) -> None:
    """Raise `IQPIRError` for `nan` and `inf`, which are numbers to a parser."""
    if value is not None and not math.isfinite(value):
        raise IQPIRError(f"--{option} {value}: not a finite number")


def _one_score(weights: str, score: Any) -> None:
    if isinstance(score, tuple) and len(score) > 1:
        raise IQPIRError(f"{len(score)} scores were given, and {weights} takes one: --score {score[0]:g}")
