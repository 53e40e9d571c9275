"""What can be wrong with an image, by the names that labels, traces and commands use."""

from __future__ import annotations

from collections.abc import Mapping

DEGRADATIONS = (
    "low light", "haze", "rain", "snow", "noise", "gaussian blur", "motion blur", "defocus blur", "jpeg",
    "low resolution", "colour cast",
)  # fmt: skip
"""In the order of every vector of labels."""

LIGHT = ("low light", "haze", "rain", "colour cast")
"""Those that change an image's light and colour over whole regions; rain as its veil does."""

HIDING = ("rain", "snow")
"""What lies before the scene, and hides it."""

CLEAN = "clean"
"""What an image is that suffers from none of them."""

LEVELS = ("very low", "low", "medium", "high", "very high")
"""Five levels of severity, as AgenticIR's agents speak of it; each is a fifth of [0,1]."""


def level(severity: float) -> str:
    """The word for a severity in [0,1]."""
    return LEVELS[min(len(LEVELS) - 1, max(0, int(severity * len(LEVELS))))]


def described(odds: Mapping[str, float], severity: Mapping[str, float]) -> str:
    """`"haze 0.93 (high), noise 0.71 (low)"`: what is more likely there than not, likeliest first."""
    found = sorted((name for name in DEGRADATIONS if odds[name] > 0.5), key=lambda name: -odds[name])
    if found and odds[CLEAN] <= 0.5:
        return ", ".join(f"{name} {odds[name]:.2f} ({level(severity[name])})" for name in found)
    return f"clean {odds[CLEAN]:.2f}" if odds[CLEAN] > 0.5 else f"nothing named, clean {odds[CLEAN]:.2f}"
