"""BRISQUE (Mittal, Moorthy and Bovik, TIP 2012) as LIVE released it: 36 statistics and a support vector machine.

About 0 is best and 100 worst; values outside are real and kept. Not the `brisque` of MATLAB's Image Processing Toolbox,
whose machine was trained on other scores (`brisque_matlab` is pyiqa's), nor OpenCV's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import ItemError
from bench.metrics.live import LiveMetric
from bench.metrics.primitives import libsvm, nss
from bench.metrics.primitives.matlab import imresize

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

FEATURES = {
    "text": "through text files as in the release: features to six decimals, scaled ones to six digits",
    "float": "as they are",
}

_COUNT = 36
_SMALLEST = 14
"""At half of it the 7×7 window still fits."""


class _Machine(NamedTuple):
    limits: libsvm.Range
    model: libsvm.Model


@dataclass(frozen=True)
class Brisque(LiveMetric):
    """BRISQUE with the machine that LIVE trained on its whole database."""

    features: str = "text"
    """One of `FEATURES`."""

    family = "brisque"

    @property
    def version(self) -> int:
        return 2  # 1 gave images of a single level about 113 or nothing, as that level's sign had it

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("features", self.features, FEATURES)

    def own_fields(self) -> list[tuple[str, object]]:
        return [("resize", "matlab"), ("features", self.features)]

    def read(self, files: Mapping[str, Path]) -> _Machine:
        return _Machine(libsvm.read_range(files["allrange"]), libsvm.read_model(files["allmodel"], _COUNT))

    def one(self, model: _Machine, levels: np.ndarray) -> float:
        return self.of_features(model, image_features(levels))

    def features_on_device(self, gray: Tensor) -> list[np.ndarray]:
        return image_features_on_device(gray)

    def of_features(self, model: _Machine, found: np.ndarray) -> float:
        import numpy as np

        if not np.isfinite(found).all():
            raise ItemError("brisque is undefined: the image has no texture to take statistics of")
        text = self.features == "text"
        return model.model.predict(model.limits.scale(libsvm.printed(found, "f") if text else found, text=text))


def image_features(levels: np.ndarray) -> np.ndarray:
    """Gray levels [H,W] → 36 features, 18 at full and 18 at half size. Raises `ItemError` for a very small image."""
    import numpy as np

    _check(*levels.shape)
    scales = (levels, imresize(levels, 0.5))
    return np.concatenate([_features(*nss.fits(nss.normalised(image, border="zero")[None])) for image in scales])


def image_features_on_device(gray: Tensor) -> list[np.ndarray]:
    """`image_features` of each image of [B,H,W], their moments summed by torch where they lie."""
    import numpy as np

    from bench.metrics import batched

    _check(*gray.shape[1:])
    scales = []
    for image in (gray, batched.halved(gray)):
        moments = batched.moments(batched.normalised(image, "zero"))
        size = image[0].numel()
        scales.append([_features(*nss.fits_of(moments[:, :, [k]], size)) for k in range(len(gray))])
    return [np.concatenate(pair) for pair in zip(*scales, strict=True)]


def _check(height: int, width: int) -> None:
    if min(height, width) < _SMALLEST:
        raise ItemError(f"brisque needs {_SMALLEST}×{_SMALLEST} pixels or more, the view is {width}×{height}")


def _features(found: nss.Asymmetric, mean: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Shape and variance of the coefficients, then shape, mean and both variances of each of the four products."""
    import numpy as np

    one, two, three = (gamma[1:, 0] for gamma in nss.gammas(found.shape))
    left, right = found.left[1:, 0], found.right[1:, 0]
    centre = (right - left) * (two / one) * (np.sqrt(one) / np.sqrt(three))
    with np.errstate(divide="ignore", invalid="ignore"):
        shape = nss.symmetric_shape(power[:1, 0] / mean[:1, 0] ** 2)
    products = np.stack([found.shape[1:, 0], centre, left**2, right**2], axis=1)
    return np.concatenate([shape, power[:1, 0], products.ravel()])
