"""NIQE, the natural image quality evaluator (Mittal, Soundararajan and Bovik, SPL 2013), as LIVE released it.

The distance between the statistics of an image's 96×96 blocks and those of pristine photographs; 0 is natural. Not the
`niqe` of MATLAB's Image Processing Toolbox, whose model was fitted to other photographs (`niqe_matlab` is pyiqa's).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import BenchError, ItemError, one_line
from bench.metrics.live import LiveMetric
from bench.metrics.primitives import basicsr, nss
from bench.metrics.primitives.matlab import imresize

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

VARIANTS = {
    "live": "float64 as in MATLAB, with MATLAB's rounding in flat areas",
    "basicsr": "float32 as in BasicSR's niqe.py, with its order of sums (with gray: y)",
}

_BLOCK = 96
_FEATURES = 36


class _Gaussian(NamedTuple):
    mean: np.ndarray
    """[36]."""
    covariance: np.ndarray
    """[36,36]."""


@dataclass(frozen=True)
class Niqe(LiveMetric):
    """NIQE with LIVE's parameters (125 photographs, sharpness above 0.75). BasicSR's file holds the same numbers."""

    variant: str = "live"
    """One of `VARIANTS`."""

    family = "niqe"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("variant", self.variant, VARIANTS)

    @property
    def version(self) -> int:
        return 2 if self.variant == "basicsr" else 1  # 1 summed in float64: 0.05 % off on dark photographs

    def own_fields(self) -> list[tuple[str, object]]:
        return [("block", _BLOCK), ("resize", "matlab"), ("variant", self.variant)]

    def read(self, files: Mapping[str, Path]) -> _Gaussian:
        import numpy as np
        from scipy.io import loadmat

        path = files["modelparameters.mat"]
        try:
            found = loadmat(path, variable_names=["mu_prisparam", "cov_prisparam"])
            return _Gaussian(
                np.asarray(found["mu_prisparam"], dtype=np.float64).reshape(_FEATURES),
                np.asarray(found["cov_prisparam"], dtype=np.float64).reshape(_FEATURES, _FEATURES),
            )
        except Exception as error:  # the reader raises whatever a broken file makes it raise
            raise BenchError(
                f"niqe: {path} does not hold NIQE's parameters: {type(error).__name__}: {one_line(error, 120)}"
            ) from error

    def one(self, model: _Gaussian, levels: np.ndarray) -> float:
        return self._distance(model, block_features(levels, single=self.variant == "basicsr"))

    def features_on_device(self, gray: Tensor) -> list[np.ndarray] | None:
        return None if self.variant == "basicsr" else block_features_on_device(gray)

    def of_features(self, model: _Gaussian, features: np.ndarray) -> float:
        return self._distance(model, features)

    def _distance(self, model: _Gaussian, features: np.ndarray) -> float:
        import numpy as np

        whole = features[~np.isnan(features).any(axis=1)]
        if len(whole) < 2:
            raise ItemError("niqe is undefined: fewer than two of the image's 96×96 blocks have any texture")
        # Blocks that are partly undefined count for the mean of their defined features, and not for the covariance.
        mean = np.nanmean(features, axis=0)
        centred = whole - whole.mean(axis=0)
        # einsum, because a matrix product may be summed in another order when there are more threads.
        covariance = np.einsum("ki,kj->ij", centred, centred) / (len(whole) - 1)
        inverse = np.linalg.pinv((model.covariance + covariance) / 2, rcond=_FEATURES * np.finfo(float).eps)
        away = model.mean - mean
        return float(np.sqrt(away @ inverse @ away))


def block_features(levels: np.ndarray, *, single: bool = False) -> np.ndarray:
    """Gray levels [H,W] → features [blocks, 36], NaN where a block has none; 18 at full and 18 at half size.

    `single` computes in float32 what BasicSR does. Raises `ItemError` for fewer than two blocks.
    """
    import numpy as np

    rows, columns = _grid(*levels.shape)
    image = np.ascontiguousarray(levels[: rows * _BLOCK, : columns * _BLOCK])
    scales = []
    for block in (_BLOCK, _BLOCK // 2):
        field = _normalised_single(image) if single else nss.normalised(image, border="replicate")
        strips = field.reshape(rows, block, columns, block).transpose(0, 2, 1, 3)
        scales.append(np.concatenate([_features(basicsr.fits(s) if single else nss.fits(s)[0]) for s in strips]))
        if block == _BLOCK:
            image = basicsr.halved(image.astype(np.float32)) if single else imresize(image, 0.5)
    return np.concatenate(scales, axis=1)


def block_features_on_device(gray: Tensor) -> list[np.ndarray]:
    """`block_features` of each image of [B,H,W], their moments summed by torch where they lie."""
    import numpy as np

    from bench.metrics import batched

    rows, columns = _grid(*gray.shape[1:])
    image, scales = gray[:, : rows * _BLOCK, : columns * _BLOCK], []
    for block in (_BLOCK, _BLOCK // 2):
        field = batched.normalised(image, "replicate").unfold(1, block, block).unfold(2, block, block)
        moments = batched.moments(field.flatten(0, 2))
        scales.append(_features(nss.fits_of(moments, block * block)[0]).reshape(len(gray), rows * columns, -1))
        if block == _BLOCK:
            image = batched.halved(image)
    return list(np.concatenate(scales, axis=2))


def _grid(height: int, width: int) -> tuple[int, int]:
    rows, columns = height // _BLOCK, width // _BLOCK
    if rows * columns < 2:
        raise ItemError(f"niqe needs two blocks of {_BLOCK}×{_BLOCK} (192×96 pixels), the view is {width}×{height}")
    return rows, columns


def _features(found: nss.Asymmetric) -> np.ndarray:
    """Fits of [5,K] → [K,18]: shape and scale of the coefficients, four parameters of each of the four products."""
    import numpy as np

    one, two, three = nss.gammas(found.shape)
    left, right = (side * np.sqrt(one / three) for side in (found.left, found.right))
    mean = (right - left) * (two / one)
    products = np.stack([found.shape, mean, left, right])[:, 1:]
    return np.concatenate(
        [found.shape[:1], (left + right)[:1] / 2, products.transpose(1, 0, 2).reshape(16, -1)], axis=0
    ).T


def _normalised_single(image: np.ndarray) -> np.ndarray:
    """`nss.normalised` with each image rounded to float32; flat areas are exactly 0."""
    import numpy as np

    image = image.astype(np.float32)
    mean, power = (nss.smoothed(one.astype(np.float64), border="replicate") for one in (image, np.square(image)))
    mean, power = mean.astype(np.float32), power.astype(np.float32)
    return (image - mean) / (np.sqrt(np.abs(power - np.square(mean))) + np.float32(1))
