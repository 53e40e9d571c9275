"""LIBSVM's text models and ranges, read and evaluated: RBF regression, and RBF classification with probabilities.

What `svm-scale -r` and `svm-predict -b 1` do to one vector of features, roundings of the text files in between included
where asked. Training is not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError

if TYPE_CHECKING:
    import numpy as np

_KINDS = ("c_svc", "epsilon_svr", "nu_svr")
_LEAST = 1e-7
"""LIBSVM keeps pairwise probabilities this far from 0 and 1."""


@dataclass(frozen=True, eq=False)
class Range:
    """The limits of each feature in the training set, and the interval that they are mapped to."""

    low: float
    high: float
    least: np.ndarray
    most: np.ndarray

    def scale(self, features: np.ndarray, *, text: bool) -> np.ndarray:
        """Features [F] → [F]; with `text`, to the six digits (`%g`) that svm-scale prints."""
        import numpy as np

        spread = self.most - self.least
        scaled = self.low + (self.high - self.low) * (features - self.least) / np.where(spread == 0, 1, spread)
        # Limits map exactly, and a feature that never varied is left out, as in svm-scale.
        scaled = np.where(features == self.least, self.low, np.where(features == self.most, self.high, scaled))
        scaled = np.where(spread == 0, 0.0, scaled)
        return printed(scaled, "g") if text else scaled


@dataclass(frozen=True, eq=False)
class Model:
    """A trained machine with a radial basis kernel."""

    kind: str
    """One of c_svc, epsilon_svr, nu_svr."""
    gamma: float
    rho: np.ndarray
    """One per pair of classes, or one."""
    labels: tuple[int, ...]
    """Classes in the order of the model; empty for regression."""
    slope: np.ndarray
    """`probA` and `probB` of each pair's sigmoid; empty where the model has none."""
    offset: np.ndarray
    members: tuple[int, ...]
    """Support vectors of each class."""
    coefficients: np.ndarray
    """[S, classes − 1], or [S, 1]."""
    vectors: np.ndarray
    """[S, F], absent features 0."""

    def predict(self, scaled: np.ndarray) -> float:
        """The regression's value for scaled features [F]."""
        return float((self.coefficients[:, 0] * self._kernel(scaled)).sum() - self.rho[0])

    def probabilities(self, scaled: np.ndarray) -> np.ndarray:
        """Probability of each class, in the order of `labels`, for scaled features [F]."""
        import numpy as np
        from scipy.special import expit

        kernel = self._kernel(scaled)
        ends = np.cumsum((0, *self.members))
        pairwise = np.zeros((len(self.members), len(self.members)))
        for index, (one, other) in enumerate(_pairs(self.members)):
            ours, theirs = slice(ends[one], ends[one + 1]), slice(ends[other], ends[other + 1])
            value = (self.coefficients[ours, other - 1] * kernel[ours]).sum()
            value += (self.coefficients[theirs, one] * kernel[theirs]).sum()
            chance = expit(-self.slope[index] * (value - self.rho[index]) - self.offset[index])
            pairwise[one, other] = np.clip(chance, _LEAST, 1 - _LEAST)
            pairwise[other, one] = 1 - pairwise[one, other]
        return _coupled(pairwise) if len(pairwise) > 2 else pairwise.sum(axis=1)

    def _kernel(self, scaled: np.ndarray) -> np.ndarray:
        import numpy as np

        return np.exp(-self.gamma * ((self.vectors - scaled) ** 2).sum(axis=1))


def _coupled(pairwise: np.ndarray) -> np.ndarray:
    """Class probabilities from pairwise ones: the second method of Wu, Lin and Weng (JMLR 2004), as LIBSVM iterates it.

    Its stopping rule is part of the answer: the iteration ends at 0.005 / classes, well before the last digit.
    """
    import numpy as np

    count = len(pairwise)
    matrix = -pairwise.T * pairwise
    np.fill_diagonal(matrix, (pairwise**2).sum(axis=0))
    found = np.full(count, 1 / count)
    for _ in range(max(100, count)):
        product = matrix @ found
        power = found @ product
        if np.abs(product - power).max() < 0.005 / count:
            break
        for one in range(count):
            change = (power - product[one]) / matrix[one, one]
            found[one] += change
            power = (power + change * (change * matrix[one, one] + 2 * product[one])) / (1 + change) ** 2
            product = (product + change * matrix[one]) / (1 + change)
            found /= 1 + change
    return found


def printed(values: np.ndarray, form: str) -> np.ndarray:
    """Values as they come back from a text file that holds them as C's `%f` or `%g`."""
    import numpy as np

    return np.array([float(format(value, f".6{form}")) for value in values.tolist()])


def read_range(path: Path) -> Range:
    """A range file of svm-scale with the features 1, 2 … in order. Raises `BenchError`."""
    import numpy as np

    words = _text(path).split()
    try:
        if words[0] != "x":
            raise ValueError(f"it starts with {words[0]!r}, not 'x'")
        low, high = float(words[1]), float(words[2])
        rows = np.array([float(word) for word in words[3:]]).reshape(-1, 3)
        if not len(rows) or (rows[:, 0] != np.arange(1, len(rows) + 1)).any() or not np.isfinite(rows).all():
            raise ValueError("its features are not 1, 2 … with finite limits")
    except (ValueError, IndexError) as error:
        raise BenchError(f"{path} is not a range file of svm-scale: {error}") from None
    return Range(low, high, rows[:, 1], rows[:, 2])


def read_model(path: Path, features: int) -> Model:
    """A model file of svm-train over that many features. Raises `BenchError` for anything else."""
    import numpy as np

    head, mark, body = _text(path).partition("\nSV\n")
    try:
        if not mark:
            raise ValueError("it has no support vectors")
        fields = {line.split()[0]: line.split()[1:] for line in head.splitlines() if line.strip()}
        kind, kernel = fields["svm_type"][0], fields["kernel_type"][0]
        if kind not in _KINDS or kernel != "rbf":
            raise ValueError(f"{kind} with a {kernel} kernel is not read here")
        rows = [line.split() for line in body.splitlines() if line.strip()]
        classes = int(fields["nr_class"][0])
        members = tuple(int(word) for word in fields.get("nr_sv", ())) if kind == "c_svc" else ()
        if len(rows) != int(fields["total_sv"][0]) or (kind == "c_svc" and sum(members) != len(rows)):
            raise ValueError("it is cut short")
        own = classes - 1 if kind == "c_svc" else 1
        coefficients = np.array([[float(word) for word in row[:own]] for row in rows])
        vectors = np.zeros((len(rows), features))
        for vector, row in zip(vectors, rows, strict=True):
            for pair in row[own:]:
                index, value = pair.split(":")
                if not 1 <= int(index) <= features:
                    raise ValueError(f"feature {index} is not one of {features}")
                vector[int(index) - 1] = float(value)
        pairs = classes * (classes - 1) // 2 if kind == "c_svc" else 1
        rho, slope, offset = (np.array([float(w) for w in fields.get(name, ())]) for name in ("rho", "probA", "probB"))
        if len(rho) != pairs or (kind == "c_svc" and not len(slope) == len(offset) == pairs == len(_pairs(members))):
            raise ValueError("its parameters do not fit its classes")
        labels = tuple(int(word) for word in fields.get("label", ()))
        gamma = float(fields["gamma"][0])
    except (ValueError, KeyError, IndexError) as error:
        raise BenchError(f"{path} is not an RBF model of LIBSVM: {error}") from None
    return Model(kind, gamma, rho, labels, slope, offset, members, coefficients, vectors)


def _pairs(members: tuple[int, ...]) -> list[tuple[int, int]]:
    """Pairs of classes in LIBSVM's order: 0-1, 0-2 …, 1-2 …"""
    return [(one, other) for one in range(len(members)) for other in range(one + 1, len(members))]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} cannot be read: {error}") from error
