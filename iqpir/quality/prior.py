"""The quality prior: raw scores of several no-reference models → one score, a bin, and whether an image is HQ+.

Pure arithmetic on arrays (IQPIR Eq. 4, IQPFR Eq. 15). Where raw scores come from is the business of `scorers` and
`files`. Nothing here imports torch; tensors are binned by their own methods.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from iqpir import files
from iqpir.errors import IQPIRError, one_line

if TYPE_CHECKING:
    import torch

Scores = TypeVar("Scores", float, np.ndarray, "torch.Tensor")

EPS = 1e-5
"""Added to a member's range (IQPFR Eq. 15), so that the best image of the set scores just below 1."""
THRESHOLD = 0.90
"""An image is HQ+ when its score is greater than this (IQPIR Eq. 1)."""
BINS = 10
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_SCHEMA = 1


@dataclass(frozen=True)
class MemberStatistics:
    """What the prior keeps of one member: the raw scores of the images it was fitted to, over the finite ones."""

    name: str
    lower_better: bool
    count: int
    """Images with a finite score."""
    minimum: float
    maximum: float
    mean: float
    deviation: float
    """Standard deviation of the set itself (divided by `count`)."""
    quantiles: tuple[float, ...]
    """At 5, 25, 50, 75 and 95 %."""
    signature: str
    """What fixes the meaning of the raw score; the member's name where its scorer states nothing more."""

    @classmethod
    def of(cls, name: str, raw: np.ndarray, *, lower_better: bool = False, signature: str = "") -> MemberStatistics:
        """Of raw scores [N], NaN or infinite where there is none. Raises `IQPIRError` when none is finite."""
        values = np.asarray(raw, dtype=np.float64)
        finite = values[np.isfinite(values)]
        if not len(finite):
            raise IQPIRError(f"member {name!r} has no finite score among {len(values)}: nothing to normalise by")
        return cls(
            name=name,
            lower_better=lower_better,
            count=len(finite),
            minimum=float(finite.min()),
            maximum=float(finite.max()),
            mean=float(finite.mean()),
            deviation=float(finite.std()),
            quantiles=tuple(float(value) for value in np.quantile(finite, QUANTILES)),
            signature=signature or name,
        )

    def normalise(self, raw: np.ndarray, eps: float = EPS) -> np.ndarray:
        """Raw scores [N] → float64 [N], 0 for the worst image of the fitted set and just below 1 for its best.

        Eq. 15: (s − min) / (max − min + eps). A lower-is-better member is negated first, so that its worst image is 0
        and its best one below 1 as well. Scores outside the fitted range go on linearly (`bin_scores` clamps);
        what is not finite becomes NaN.
        """
        values = np.asarray(raw, dtype=np.float64)
        values = np.where(np.isfinite(values), values, np.nan)
        above = self.maximum - values if self.lower_better else values - self.minimum
        return above / (self.maximum - self.minimum + eps)


def normalise(scores: np.ndarray, eps: float = EPS, *, lower_better: bool = False) -> np.ndarray:
    """Min-max normalisation of one model's scores [N] by their own finite range (Eq. 15) → float64 [N].

    What is not finite stays out of the range and becomes NaN. Raises `IQPIRError` when no score is finite.
    """
    return MemberStatistics.of("scores", scores, lower_better=lower_better).normalise(scores, eps)


def ensemble(normalised: Sequence[np.ndarray]) -> np.ndarray:
    """Mean over the members (Eq. 4): M arrays [N] → float64 [N]; NaN where a member has no score.

    A mean over fewer members would be another quantity, so a missing member is not averaged away.
    """
    if not normalised:
        raise IQPIRError("an ensemble needs one member or more")
    return np.stack([np.asarray(one, dtype=np.float64) for one in normalised]).mean(axis=0)


def bin_scores(scores: Scores, bins: int = BINS) -> Any:
    """clamp(⌊score·bins⌋, 0, bins−1): a float → int, an array or tensor of floats → int64 of its shape.

    The product is taken in the scores' own type, as a network would take it. Raises `ValueError` for a score that is
    not finite, which belongs to no bin.
    """
    if isinstance(scores, float | int):
        if not math.isfinite(scores):
            raise ValueError(f"a score of {scores} belongs to no bin")
        return min(max(math.floor(scores * bins), 0), bins - 1)
    if isinstance(scores, np.ndarray | np.generic):
        values = np.asarray(scores)
        if not np.isfinite(values).all():
            raise ValueError(f"{int((~np.isfinite(values)).sum())} scores are not finite and belong to no bin")
        return np.clip(np.floor(values * bins), 0, bins - 1).astype(np.int64)
    if not bool(scores.isfinite().all()):
        raise ValueError(f"{int((~scores.isfinite()).sum())} scores are not finite and belong to no bin")
    return (scores * bins).floor().clamp(0, bins - 1).long()


@dataclass(frozen=True)
class QualityPrior:
    """An ensemble whose normalisation is fixed: what `iqpir assess` writes as statistics.json, and training reads."""

    members: tuple[MemberStatistics, ...]
    eps: float = EPS
    threshold: float = THRESHOLD
    bins: int = BINS

    def __post_init__(self) -> None:
        names = self.names
        if not names:
            raise IQPIRError("a quality prior needs one member or more")
        if len(set(names)) < len(names):
            raise IQPIRError(f"a quality prior names each member once, not {', '.join(names)}")
        if not (math.isfinite(self.eps) and self.eps > 0):
            raise IQPIRError(f"eps of a quality prior is positive, not {self.eps}")
        if not (isinstance(self.bins, int) and self.bins >= 1):
            raise IQPIRError(f"a quality prior has one bin or more, not {self.bins}")
        if not math.isfinite(self.threshold):
            raise IQPIRError(f"the HQ+ threshold is a number, not {self.threshold}")

    @classmethod
    def fit(
        cls,
        raw: Mapping[str, np.ndarray],
        *,
        lower_better: Collection[str] = (),
        signatures: Mapping[str, str] | None = None,
        eps: float = EPS,
        threshold: float = THRESHOLD,
        bins: int = BINS,
    ) -> QualityPrior:
        """From raw scores [N] by member; NaN where an image has none. `lower_better`: the members to invert."""
        stated = signatures or {}
        members = tuple(
            MemberStatistics.of(name, values, lower_better=name in lower_better, signature=stated.get(name, ""))
            for name, values in raw.items()
        )
        return cls(members, eps, threshold, bins)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(member.name for member in self.members)

    def normalise(self, raw: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Raw scores [N] of every member → normalised float64 [N] of each, NaN where there was none."""
        missing = [name for name in self.names if name not in raw]
        if missing:
            raise IQPIRError(f"the quality prior needs scores of {', '.join(missing)}")
        return {member.name: member.normalise(raw[member.name], self.eps) for member in self.members}

    def score(self, raw: Mapping[str, np.ndarray]) -> np.ndarray:
        """Raw scores [N] of every member → the ensemble's score, float64 [N]; NaN where a member has none."""
        return ensemble(list(self.normalise(raw).values()))

    def bin(self, scores: Scores) -> Any:
        """`bin_scores` with this prior's number of bins."""
        return bin_scores(scores, self.bins)

    def is_hq(self, scores: Scores) -> Any:
        """score > threshold, strictly; False for NaN."""
        return scores > self.threshold

    def outside(self, raw: Mapping[str, np.ndarray]) -> dict[str, int]:
        """How many finite scores of each member lie outside the range that the prior was fitted to."""
        return {
            member.name: int(((values < member.minimum) | (values > member.maximum))[np.isfinite(values)].sum())
            for member in self.members
            for values in [np.asarray(raw[member.name], dtype=np.float64)]
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write strict JSON, atomically."""
        body = {"schema": _SCHEMA, **asdict(self)}
        files.write(Path(path), json.dumps(body, indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> QualityPrior:
        """Read what `save` wrote. Raises `IQPIRError`, one line that begins with the path."""
        try:
            body = json.loads(files.read_text(Path(path)))
            return _from_json(body)
        except OSError as error:
            raise IQPIRError(f"{path}: cannot be read: {error.strerror or error}") from error
        except json.JSONDecodeError as error:
            raise IQPIRError(f"{path}:{error.lineno}: not JSON: {error.msg}") from error
        except (IQPIRError, ValueError) as error:  # ValueError: bytes that are not UTF-8
            raise IQPIRError(f"{path}: not the statistics of a quality prior: {one_line(error)}") from error


def _from_json(body: Any) -> QualityPrior:
    if not isinstance(body, dict) or body.get("schema") != _SCHEMA:
        raise IQPIRError(f"it needs the key 'schema' with the value {_SCHEMA} (iqpir assess writes such files)")
    listed = body.get("members")
    if not isinstance(listed, list):
        raise IQPIRError("'members' is not a list")
    members = tuple(_member(one, f"member {place}") for place, one in enumerate(listed, start=1))
    return QualityPrior(
        members,
        eps=_number(body, "eps", "the prior"),
        threshold=_number(body, "threshold", "the prior"),
        bins=_whole(body, "bins", "the prior"),
    )


def _member(one: Any, where: str) -> MemberStatistics:
    if not isinstance(one, dict):
        raise IQPIRError(f"{where} is not a mapping")
    unknown = set(one) - {field.name for field in fields(MemberStatistics)}
    if unknown:
        raise IQPIRError(f"{where} has the unknown key {sorted(unknown)[0]!r}")
    for key, kind in (("name", str), ("signature", str), ("lower_better", bool), ("quantiles", list)):
        if not isinstance(one.get(key), kind):
            raise IQPIRError(f"{where}: {key!r} is missing or not a {kind.__name__}")
    values = {key: _number(one, key, where) for key in ("minimum", "maximum", "mean", "deviation")}
    if values["minimum"] > values["maximum"]:
        raise IQPIRError(f"{where}: minimum {values['minimum']} is above maximum {values['maximum']}")
    quantiles = tuple(_number({"quantiles": value}, "quantiles", where) for value in one["quantiles"])
    return MemberStatistics(
        name=one["name"],
        lower_better=one["lower_better"],
        count=_whole(one, "count", where),
        quantiles=quantiles,
        signature=one["signature"],
        **values,
    )


def _number(body: Mapping[str, Any], key: str, where: str) -> float:
    value = body.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise IQPIRError(f"{where}: {key!r} is missing or not a finite number")
    return float(value)


def _whole(body: Mapping[str, Any], key: str, where: str) -> int:
    value = body.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise IQPIRError(f"{where}: {key!r} is missing or not a positive whole number")
    return value
