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

HIDDEN = 0.1
"""A probability of one of `HIDING` above which a round fills in what it hides: on photographs an assessor that has seen
none finds snow by its rank, with probabilities below one half."""

CLEAN = "clean"
"""What an image is that suffers from none of them."""

LEVELS = ("very low", "low", "medium", "high", "very high")
"""Five levels of severity, as AgenticIR's agents speak of it; each is a fifth of [0,1]."""


def level(severity: float) -> str:
    """The word for a severity in [0,1]."""
    return LEVELS[min(len(LEVELS) - 1, max(0, int(severity * len(LEVELS))))]


def described(odds: Mapping[str, float], severity: Mapping[str, float], hidden: float = HIDDEN) -> str:
    """`"haze 0.93 (high), noise 0.71 (low), perhaps snow 0.14"`: what is more likely there than not, likeliest first,
    and what of `HIDING` is above the probability `hidden`; without any whether the image is clean."""
    likely = sorted(DEGRADATIONS, key=lambda name: -odds[name])
    found = [f"{name} {odds[name]:.2f} ({level(severity[name])})" for name in likely if odds[name] > 0.5]
    found += [f"perhaps {name} {odds[name]:.2f}" for name in likely if name in HIDING and hidden < odds[name] <= 0.5]
    if odds[CLEAN] > 0.5 or not found:
        found.append(f"{'' if found or odds[CLEAN] > 0.5 else 'nothing named, '}clean {odds[CLEAN]:.2f}")
    return ", ".join(found)
