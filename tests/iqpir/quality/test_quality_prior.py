"""Normalisation (Eq. 15), ensemble (Eq. 4), bins and HQ+, each against a hand calculation."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from iqpir.errors import IQPIRError
from iqpir.quality.prior import QualityPrior, bin_scores, ensemble, normalise

TYPES = {
    "float": float,
    "numpy-float64": lambda value: np.array([value], np.float64),
    "numpy-float32": lambda value: np.array([value], np.float32),
    "numpy-float16": lambda value: np.array([value], np.float16),
    "numpy-scalar": np.float32,
    "torch-float64": lambda value: torch.tensor([value], dtype=torch.float64),
    "torch-float32": lambda value: torch.tensor([value], dtype=torch.float32),
    "torch-float16": lambda value: torch.tensor([value], dtype=torch.float16),
    "torch-bfloat16": lambda value: torch.tensor([value], dtype=torch.bfloat16),
}


def test_normalisation_is_min_max_with_eps_added_to_the_range():
    found = normalise(np.array([2.0, 4.0, 6.0]), eps=1.0)
    np.testing.assert_allclose(found, [0, 2 / 5, 4 / 5], rtol=1e-15)


def test_the_default_eps_is_the_papers():
    np.testing.assert_allclose(normalise(np.array([0.0, 1.0])), [0, 1 / 1.00001], rtol=1e-15)


def test_the_range_is_that_of_the_finite_scores_and_others_have_none():
    found = normalise(np.array([10.0, math.nan, 30.0, math.inf, 20.0, -math.inf]), eps=1.0)
    np.testing.assert_allclose(found, [0, math.nan, 20 / 21, math.nan, 10 / 21, math.nan], rtol=1e-15)


def test_a_lower_is_better_member_is_inverted_so_that_its_best_is_below_one_and_its_worst_zero():
    found = normalise(np.array([10.0, 30.0, 15.0]), eps=1.0, lower_better=True)
    np.testing.assert_allclose(found, [20 / 21, 0, 15 / 21], rtol=1e-15)


def test_scores_without_a_finite_one_cannot_be_normalised():
    with pytest.raises(IQPIRError, match="no finite score among 2"):
        normalise(np.array([math.nan, math.inf]))


def test_equal_scores_normalise_to_zero_and_not_to_nan():
    np.testing.assert_array_equal(normalise(np.array([5.0, 5.0])), [0, 0])


def test_the_ensemble_is_the_mean_and_a_missing_member_is_not_averaged_away():
    found = ensemble([np.array([0.2, 0.4, math.nan]), np.array([0.6, 1.0, 0.5])])
    np.testing.assert_allclose(found, [0.4, 0.7, math.nan], rtol=1e-15)


def test_a_prior_of_two_members_by_hand():
    raw = {"good": np.array([1.0, 2.0, 5.0]), "bad": np.array([40.0, 20.0, 0.0])}
    prior = QualityPrior.fit(raw, lower_better=["bad"], eps=1.0)
    np.testing.assert_allclose(
        prior.score(raw), [(0 + 0) / 2, (1 / 5 + 20 / 41) / 2, (4 / 5 + 40 / 41) / 2], rtol=1e-15
    )
    good, bad = prior.members
    assert (good.lower_better, bad.lower_better) == (False, True)
    assert (good.count, good.minimum, good.maximum) == (3, 1.0, 5.0)
    assert good.mean == pytest.approx(8 / 3)
    assert good.deviation == pytest.approx(math.sqrt((1 + 4 + 25) / 3 - (8 / 3) ** 2))
    assert good.quantiles[2] == 2.0


def test_other_images_are_placed_by_the_fitted_range_and_go_on_beyond_it():
    prior = QualityPrior.fit({"m": np.array([0.0, 10.0])}, eps=1e-9)
    others = {"m": np.array([-5.0, 5.5, 15.0, math.nan])}
    np.testing.assert_allclose(prior.score(others), [-0.5, 0.55, 1.5, math.nan], atol=1e-8)
    assert prior.bin(prior.score(others)[:3]).tolist() == [0, 5, 9]
    assert prior.outside(others) == {"m": 2}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    ("score", "expected"),
    [(k / 10, k) for k in range(10)]
    + [(0.29, 2), (0.57, 5), (0.91, 9), (0.95, 9), (1.0, 9), (1.7, 9), (-0.004975, 0), (-3.0, 0)],
)
def test_bins_are_the_same_in_every_type(kind: str, score: float, expected: int):
    found = bin_scores(TYPES[kind](score))
    assert int(np.asarray(found).reshape(())) == expected


def test_bins_of_tensors_are_integers_of_their_shape():
    found = bin_scores(torch.tensor([[0.05, 0.99], [0.5, 0.2]]), 20)
    assert found.dtype == torch.int64
    assert found.tolist() == [[1, 19], [10, 4]]


@pytest.mark.parametrize("score", [math.nan, np.array([0.5, math.inf]), torch.tensor([math.nan])])
def test_a_score_that_is_not_finite_belongs_to_no_bin(score: object):
    with pytest.raises(ValueError, match="no bin"):
        bin_scores(score)  # type: ignore[type-var]


def test_hq_is_strictly_above_the_threshold():
    prior = QualityPrior.fit({"m": np.array([0.0, 1.0])}, threshold=0.5)
    assert prior.is_hq(np.array([0.5, np.nextafter(0.5, 1), math.nan])).tolist() == [False, True, False]


def test_statistics_come_back_from_their_file_as_they_were(tmp_path: Path):
    raw = {"a": np.array([0.1, 0.30000000000000004, 0.7]), "b": np.array([3.0, 1.0, 2.0])}
    prior = QualityPrior.fit(raw, lower_better=["b"], signatures={"a": "a|weights:1234"}, threshold=0.87, bins=20)
    prior.save(tmp_path / "deep" / "statistics.json")
    assert QualityPrior.load(tmp_path / "deep" / "statistics.json") == prior
    assert prior.members[1].signature == "b"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda body: body.pop("schema"), "'schema'"),
        (lambda body: body.update(eps="small"), "the prior: 'eps'"),
        (lambda body: body.update(bins=0), "the prior: 'bins'"),
        (lambda body: body["members"].clear(), "one member or more"),
        (lambda body: body["members"][0].pop("minimum"), "member 1: 'minimum'"),
        (lambda body: body["members"][0].update(minimum=9), "member 1: minimum 9.0 is above"),
        (lambda body: body["members"][0].update(lower_better="no"), "member 1: 'lower_better'"),
        (lambda body: body["members"][0].update(surprise=1), "member 1 has the unknown key 'surprise'"),
        (lambda body: body["members"].append(body["members"][0]), "each member once"),
    ],
)
def test_statistics_that_are_wrong_say_where(tmp_path: Path, change, message: str):
    file = tmp_path / "statistics.json"
    QualityPrior.fit({"a": np.array([0.0, 1.0])}).save(file)
    body = json.loads(file.read_text())
    change(body)
    file.write_text(json.dumps(body))
    with pytest.raises(IQPIRError) as caught:
        QualityPrior.load(file)
    assert str(caught.value).startswith(str(file))
    assert message in str(caught.value)


def test_statistics_that_are_no_json_or_no_file(tmp_path: Path):
    file = tmp_path / "statistics.json"
    file.write_text('{"schema": 1,\n oops}')
    with pytest.raises(IQPIRError, match=r"statistics\.json:2: not JSON"):
        QualityPrior.load(file)
    with pytest.raises(IQPIRError, match="cannot be read"):
        QualityPrior.load(tmp_path / "none.json")


def test_scores_of_a_member_that_is_missing_are_asked_for_by_name():
    prior = QualityPrior.fit({"a": np.array([0.0, 1.0]), "b": np.array([0.0, 1.0])})
    with pytest.raises(IQPIRError, match="needs scores of b"):
        prior.score({"a": np.array([0.5])})
