"""BIQI, the blind image quality index (Moorthy and Bovik, SPL 17(5) 2010), as LIVE released it: "BIQE" in some papers.

A classifier says how likely each of five distortions is, a regressor of each says how bad it would be, and the value is
the expectation: 0 is best, 100 worst, values outside are real. Agrees with a port that runs LIBSVM's own programs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import ItemError
from bench.metrics.live import LiveMetric
from bench.metrics.primitives import libsvm, nss, wavelet

if TYPE_CHECKING:
    import numpy as np

DISTORTIONS = ("jp2k", "jpeg", "wn", "blur", "ff")
"""JPEG 2000, JPEG, white noise, blur, fast fading: the classes of LIVE's database, in the classifier's order."""

PARTS = {
    "quality": "the index: Σ probability × score",
    **{name: f"the score of {name} alone" for name in DISTORTIONS},
    **{f"prob_{name}": f"the probability of {name}, 0 to 1" for name in DISTORTIONS},
}
FEATURES = {
    "text": "through text files as in the release: features to six decimals, scaled and probabilities to six digits",
    "float": "as they are",
}

_COUNT = 18
_SMALLEST = 16
_LEVELS = 3
# Fitted by the authors of BIQI; the published JPEG score of Wang, Sheikh and Bovik (2002) has other constants.
_ALPHA, _BETA, _POWERS = -927.4240, 850.8986, (235.4451e-4, 128.7548e-4, -341.4790e-4)


class _Machine(NamedTuple):
    limits: libsvm.Range
    model: libsvm.Model


@dataclass(frozen=True)
class Biqi(LiveMetric):
    """BIQI with the machines that LIVE trained on its whole database."""

    features: str = "text"
    """One of `FEATURES`."""
    part: str = "quality"
    """One of `PARTS`."""

    family = "biqi"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("features", self.features, FEATURES)
        self.check("part", self.part, PARTS)

    def own_fields(self) -> list[tuple[str, object]]:
        part = [("part", self.part)] if self.part != "quality" else []
        return [("wavelet", "db9"), ("features", self.features), *part]

    def read(self, files: Mapping[str, Path]) -> dict[str, _Machine]:
        """The classifier under the empty name, and the regressors under their distortions."""
        return {
            name: _Machine(libsvm.read_range(files[f"range2{end}"]), libsvm.read_model(files[f"model_89{end}"], _COUNT))
            for name, end in [("", ""), *((name, f"_{name}") for name in DISTORTIONS if name != "jpeg")]
        }

    def one(self, model: dict[str, _Machine], levels: np.ndarray) -> float:
        import numpy as np

        height, width = levels.shape
        if min(height, width) < _SMALLEST:
            raise ItemError(f"biqi needs {_SMALLEST}×{_SMALLEST} pixels or more, the view is {width}×{height}")
        text = self.features == "text"
        found = image_features(levels)
        found = libsvm.printed(found, "f") if text else found

        def score(name: str) -> float:
            if name == "jpeg":
                return jpeg_score(levels)
            return model[name].model.predict(model[name].limits.scale(found, text=text))

        if self.part in DISTORTIONS:
            return score(self.part)
        chances = model[""].model.probabilities(model[""].limits.scale(found, text=text))
        chances = libsvm.printed(chances, "g") if text else chances
        if self.part != "quality":
            return float(chances[DISTORTIONS.index(self.part.removeprefix("prob_"))])
        return float(np.sum(chances * [score(name) for name in DISTORTIONS]))


def image_features(levels: np.ndarray) -> np.ndarray:
    """Gray levels [H,W] → 18 features: variances, then shapes, of horizontal, vertical, diagonal details by level."""
    import numpy as np

    bands = [band.ravel() for bands in zip(*wavelet.details(levels, _LEVELS), strict=True) for band in bands]
    centred = [band - band.mean() for band in bands]
    variances = np.array([np.square(band).mean() for band in centred])
    with np.errstate(divide="ignore", invalid="ignore"):
        shapes = nss.symmetric_shape(variances / np.array([np.abs(band).mean() for band in centred]) ** 2)
    return np.concatenate([variances, shapes])


def jpeg_score(levels: np.ndarray) -> float:
    """Score from blockiness, activity and zero crossings (Wang, Sheikh and Bovik, ICIP 2002) of gray levels [H,W].

    Raises `ItemError` where a power would be infinite or complex.
    """
    import numpy as np

    totals = np.zeros(3)
    for image in (levels, levels.T):
        steps = np.diff(image, axis=1)
        size = np.abs(steps)
        last = 8 * (image.shape[1] // 8 - 1)
        blocking = size[:, 7:last:8].mean()
        signs = np.sign(steps)
        crossings = (signs[:, :-1] * signs[:, 1:] < 0).mean()
        totals += (blocking, (8 * size.mean() - blocking) / 7, crossings)
    if totals[1] < 0 or totals[2] == 0:
        what = "its gray levels never turn" if totals[2] == 0 else "it changes at the borders of 8×8 blocks only"
        raise ItemError(f"biqi is undefined: {what}, and the JPEG score takes a power of that")
    return float(_ALPHA + _BETA * np.prod((totals / 2) ** np.array(_POWERS)))
