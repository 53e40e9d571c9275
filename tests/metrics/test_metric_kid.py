"""KID's own options: all images or seeded subsets, what is signed and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from bench.catalog.registry import registry
from bench.errors import BenchError, ItemError
from bench.metrics.build import build_metric
from bench.metrics.primitives.frechet import Subsets, polynomial_mmd


def kid(**options):
    return build_metric(registry("metric").get("kid"), options, {"view": {}, "metrics": {}})


def sets(ours: int = 12, theirs: int = 9) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(0)
    return chance.uniform(size=(ours, 20)), chance.uniform(size=(theirs, 20)) + 0.1


def test_all_images_are_the_default_and_subsets_are_in_the_signature():
    assert "|subsets:all|v:1" in str(kid().signature())
    assert "|subsets:100x1000|seed:0|v:1" in str(kid(subsets=100).signature())
    assert "|subsets:100x50|seed:7|v:1" in str(kid(subsets=100, size=50, seed=7).signature())


def test_the_options_reach_the_estimator():
    ours, theirs = sets()
    assert kid().aggregate(ours, theirs) == polynomial_mmd(ours, theirs)
    assert kid(subsets=5, size=4, seed=2).aggregate(ours, theirs) == polynomial_mmd(ours, theirs, Subsets(5, 4, 2))


def test_the_same_seed_gives_the_same_bits():
    ours, theirs = sets()
    values = {kid(subsets=5, size=4, seed=seed).aggregate(ours, theirs) for seed in (0, 0, 1)}
    assert len(values) == 2


def test_an_equal_set_is_slightly_negative_as_the_estimator_has_it():
    ours, _ = sets()
    assert -0.2 < kid().aggregate(ours, ours.copy()) < 0


def test_a_subset_larger_than_the_set_is_one_line():
    with pytest.raises(ItemError, match="KID needs 10 images or more in each set, there are 9") as caught:
        kid(subsets=5, size=10).aggregate(*sets())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"subsets": -1}, "others at 0"),
        ({"subsets": 3, "size": 1}, "sizes start at 2"),
        ({"size": 50}, "set subsets as well"),
        ({"seed": 1}, "set subsets as well"),
        ({"subsets": "many"}, "must be a whole number"),
        ({"subset": 3}, "did you mean 'subsets'"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(BenchError, match=message):
        kid(**options)
