"""Distances between two sets of feature vectors: Fréchet's between Gaussians, and the polynomial mean discrepancy.

Pure numbers in float64: where features come from, and which set is compared with which, is no business of this module.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bench.errors import BenchError, ItemError

_ENTRIES = 1 << 23
"""Entries of a kernel matrix that are held at once: 64 MiB."""


class Gaussian(NamedTuple):
    """A mean and a covariance, the latter as a factor: `root.T @ root`."""

    mean: np.ndarray
    """[d]"""
    root: np.ndarray
    """[k,d]; k may be far below d, and then everything is done in k dimensions."""

    @classmethod
    def of_samples(cls, samples: np.ndarray) -> Gaussian:
        """Mean and unbiased covariance of [n,d]. Raises `ItemError` for fewer than two samples, which have none."""
        if len(samples) < 2:
            raise ItemError(f"a covariance needs 2 images or more, there is {len(samples)}")
        mean = samples.mean(axis=0, dtype=np.float64)
        return cls(mean, (samples - mean) / np.sqrt(len(samples) - 1))

    @classmethod
    def of_moments(cls, mean: np.ndarray, covariance: np.ndarray) -> Gaussian:
        """From a mean [d] and a covariance [d,d]. Raises `BenchError` where they are no such thing."""
        mean, covariance = (np.asarray(part, dtype=np.float64) for part in (mean, covariance))
        if mean.ndim != 1 or covariance.shape != (mean.size, mean.size):
            shapes = f"{list(mean.shape)} and {list(covariance.shape)}"
            raise BenchError(f"a mean and a covariance have the shapes [d] and [d,d], not {shapes}")
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise BenchError("the mean or the covariance has values that are not finite")
        scale = np.abs(covariance).max(initial=0.0)
        if np.abs(covariance - covariance.T).max(initial=0.0) > 1e-5 * scale:
            raise BenchError("the covariance is not symmetric")
        with _one_thread():
            values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
        if values.size and values[0] < -1e-5 * scale:
            raise BenchError(f"the covariance has the negative eigenvalue {values[0]:.3g}")
        # What lies below the rounding of the largest eigenvalue is noise; its square root would not be small.
        kept = values > mean.size * np.finfo(np.float64).eps * values[-1:].max(initial=0.0)
        return cls(mean, np.sqrt(values[kept])[:, None] * vectors[:, kept].T)


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """Squared 2-Wasserstein distance, |μ₁ − μ₂|² + tr(S₁ + S₂ − 2 (S₁S₂)^½), which is what FID is.

    With S = RᵀR the last trace is the sum of the singular values of R₁R₂ᵀ: no square root of a matrix is taken, so
    that singular covariances (fewer images than dimensions) are as exact as others, and cost only their rank. The usual
    `sqrtm(S₁ @ S₂)` is off by 6e-5 for equal sets of 15. (Dowson and Landau 1982; Heusel et al. 2017.)
    """
    if first.mean.shape != second.mean.shape:
        raise BenchError(f"features of {first.mean.size} and of {second.mean.size} dimensions cannot be compared")
    shift = first.mean - second.mean
    spread = np.square(first.root).sum() + np.square(second.root).sum()
    with _one_thread():
        small, large = (_reduced(gaussian.root) for gaussian in (first, second))
        overlap = np.linalg.svd(small @ large.T, compute_uv=False).sum()
    return max(float(shift @ shift + spread - 2 * overlap), 0.0)  # never negative, but for the last bits


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Factorise on one thread: then the bits do not depend on the machine's cores.

    On a busy machine it is also many times faster, because these are small steps between which threads wait for each
    other; on an idle one little is lost.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        yield


def _reduced(root: np.ndarray) -> np.ndarray:
    """The same covariance's factor with at most d rows."""
    return np.asarray(np.linalg.qr(root, mode="r")) if root.shape[0] > root.shape[1] else root


class Subsets(NamedTuple):
    """How KID draws: `draws` times `size` of each set, without replacement within a draw."""

    draws: int
    size: int
    seed: int


def polynomial_mmd(first: np.ndarray, second: np.ndarray, subsets: Subsets | None = None) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x·y / d + 1)³, which is what KID is.

    [n,d] and [m,d] → one value, which may be negative. Over all samples, or as the mean over random subsets, drawn by
    `numpy.random.Generator(PCG64(seed))`: for each subset first from `first`, then from `second`. Raises `ItemError`
    where there are fewer samples than a draw or the estimator needs. (Bińkowski et al., ICLR 2018.)
    """
    if first.shape[1] != second.shape[1]:
        raise BenchError(f"features of {first.shape[1]} and of {second.shape[1]} dimensions cannot be compared")
    fewest = min(len(first), len(second))
    need = 2 if subsets is None else subsets.size
    if fewest < need:
        hint = "" if subsets is None else ": subsets: 0 uses all images once"
        raise ItemError(f"KID needs {need} images or more in each set, there {_are(fewest)}{hint}")
    ones, others = _chosen(len(first), len(second), subsets)
    m = need if subsets is not None else len(first)
    n = need if subsets is not None else len(second)
    within = _block_sums(first, first, ones, ones, diagonal=False) / (m * (m - 1))
    within += _block_sums(second, second, others, others, diagonal=False) / (n * (n - 1))
    across = _block_sums(first, second, ones, others, diagonal=True) / (m * n)
    return float(np.mean(within - 2 * across))


def _are(count: int) -> str:
    return f"is {count}" if count == 1 else f"are {count}"


def _chosen(first: int, second: int, subsets: Subsets | None) -> tuple[np.ndarray, np.ndarray]:
    """Which samples each subset holds: two arrays of 0 and 1, [subsets,n] and [subsets,m]."""
    if subsets is None:
        return np.ones((1, first)), np.ones((1, second))
    draw = np.random.Generator(np.random.PCG64(subsets.seed))
    chosen = np.zeros((subsets.draws, first)), np.zeros((subsets.draws, second))
    for row in range(subsets.draws):
        for marks in chosen:
            marks[row, draw.choice(marks.shape[1], subsets.size, replace=False)] = 1
    return chosen


def _block_sums(
    left: np.ndarray, right: np.ndarray, rows: np.ndarray, columns: np.ndarray, *, diagonal: bool
) -> np.ndarray:
    """Sum of the kernel over each subset's block of the kernel matrix: every entry is computed once for all subsets."""
    total = np.zeros(len(rows))
    for part in _slices(len(left), max(1, _ENTRIES // len(right))):
        kernel = (left[part] @ right.T / left.shape[1] + 1) ** 3
        if not diagonal:
            np.fill_diagonal(kernel[:, part], 0)
        total += np.einsum("sj,sj->s", rows[:, part] @ kernel, columns)
    return total


def _slices(count: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, count)) for start in range(0, count, step))
