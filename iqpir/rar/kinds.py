"""What can be wrong with an image, by the names that labels, traces and commands use."""

from __future__ import annotations

DEGRADATIONS = (
    "low light", "haze", "rain", "snow", "noise", "gaussian blur", "motion blur", "defocus blur", "jpeg",
    "low resolution", "colour cast",
)  # fmt: skip
"""In the order of every vector of labels."""

CLEAN = "clean"
"""What an image is that suffers from none of them."""

LEVELS = ("very low", "low", "medium", "high", "very high")
"""Five levels of severity, as AgenticIR's agents speak of it; each is a fifth of [0,1]."""


def level(severity: float) -> str:
    """The word for a severity in [0,1]."""
    return LEVELS[min(len(LEVELS) - 1, max(0, int(severity * len(LEVELS))))]
