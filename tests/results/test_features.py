"""What the stored features of a set add up to, and what of them is no number."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from bench.errors import ItemError
from bench.metrics.base import SetMetric, Signature
from bench.metrics.view import View
from bench.results.features import pack, unpack, value_of
from bench.results.view import mean


@dataclass(frozen=True)
class Gives(SetMetric):
    """A stranger's metric whose sets have this value."""

    view: View = field(default_factory=View)
    what: Any = 0.0
    name = "gives"

    def signature(self) -> Signature:
        return Signature.of(self.name, [("v", 1)])

    extractor = signature

    def extract(self, restored: Any, reference: Any) -> Any:
        raise NotImplementedError

    def aggregate(self, features: Any, references: Any = None) -> Any:
        return self.what


@pytest.mark.parametrize("what", ["5", b"5", None, 1j, np.ones(2), 10**400])
def test_what_is_no_number_is_a_failure_with_its_reason(what: Any) -> None:
    score = value_of(Gives(what=what), np.ones((2, 3)), None)
    assert score.status == "failed" and score.value is None and score.reason


@pytest.mark.parametrize(("what", "status"), [(3, "ok"), (np.float32(3), "ok"), (np.nan, "nan"), (np.inf, "inf")])
def test_numbers_are_values(what: Any, status: str) -> None:
    score = value_of(Gives(what=what), np.ones((2, 3)), None)
    assert score.status == status and score.value == {"ok": 3.0, "inf": np.inf}.get(status)


def test_the_mean_of_the_largest_numbers_is_a_number() -> None:
    assert mean([1.5e308, 1.7e308]) == pytest.approx(1.6e308, rel=1e-15)
    assert mean([0.1] * 10) == 0.1 and mean([1.0, np.inf]) == np.inf and np.isnan(mean([-np.inf, np.inf]))


def test_features_come_back_as_they_were_and_damaged_ones_are_refused() -> None:
    features = np.array([1.5, 1 / 3])
    blob = pack(features)
    assert np.array_equal(unpack(blob), features)
    for damaged in (b"", b"abc", blob[:-3], b"\x00" * len(blob), blob[:20]):
        with pytest.raises(ItemError, match=r"stored features are damaged .* --fresh"):
            unpack(damaged)
