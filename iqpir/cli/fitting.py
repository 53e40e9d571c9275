"""Whether what was asked on the command line has an effect on the network at hand: refused before any work, not
passed over in silence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from iqpir.errors import IQPIRError

if TYPE_CHECKING:
    from iqpir.network.model import IQPIR
    from iqpir.network.photo import PhotoIQPIR


def check(network: IQPIR | PhotoIQPIR, weights: str, asked: Mapping[str, Any]) -> None:
    """Raise `IQPIRError` for an option that this network cannot follow. `asked`: values by name, None by default."""
    if network.for_photographs:
        if asked["adain"]:
            raise IQPIRError(f"--adain has no effect on {weights}, a network for photographs: leave it out")
        _one_score(weights, asked["score"])
        return
    config = cast("IQPIR", network).config
    score = asked["score"]
    if config.conditioning == "none":
        if score is not None:
            raise IQPIRError(f"--score has no effect on {weights}, which is not conditioned on quality: leave it out")
    elif config.conditioning != "add-list":
        _one_score(weights, score)
    elif isinstance(score, tuple) and len(score) != len(config.bins):
        raise IQPIRError(f"{len(score)} scores were given, and {weights} takes one, or {len(config.bins)}")
    if asked["alpha"] is not None and not config.hq_codebook:
        raise IQPIRError(f"--alpha has no effect on {weights}, which has one codebook: leave it out")
    if asked["fidelity"] and not config.connect:
        raise IQPIRError(f"--fidelity has no effect on {weights}, which has no fidelity blocks: leave it out")


def finite(option: str, value: float | None) -> None:
    """Raise `IQPIRError` for `nan` and `inf`, which are numbers to a parser."""
    if value is not None and not math.isfinite(value):
        raise IQPIRError(f"--{option} {value}: not a finite number")


def _one_score(weights: str, score: Any) -> None:
    if isinstance(score, tuple) and len(score) > 1:
        raise IQPIRError(f"{len(score)} scores were given, and {weights} takes one: --score {score[0]:g}")
