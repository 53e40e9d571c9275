"""One image, many metrics: conversion once, views shared, failures kept apart, threads without effect."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from bench.errors import BenchError, ItemError, MissingFile
from bench.metrics.base import ImageMetric, Signature
from bench.metrics.psnr import Psnr
from bench.metrics.psnr_pooled import PsnrPooled
from bench.metrics.scorer import Scorer, as_floats
from bench.metrics.ssim import Ssim
from bench.metrics.view import View


@dataclass(frozen=True)
class Stub(ImageMetric):
    """A metric that does what a test says."""

    view: View = field(default_factory=View)
    does: object = 1.0
    mode: str = "NR"  # type: ignore[assignment]
    learned: bool = False
    name = "stub"

    def signature(self) -> Signature:
        return Signature.of("stub", [("does", self.does)])

    def load(self, device: str) -> None:
        if isinstance(self.does, BenchError):
            raise self.does

    def score(self, restored, reference):
        if callable(self.does):
            return self.does(restored, reference)
        if isinstance(self.does, Exception):
            raise self.does
        return torch.tensor([self.does], dtype=torch.float64)


def outcomes(metrics, restored, reference, wanted=None):
    return Scorer(metrics, "cpu").score(restored, reference, wanted)


def test_values_are_those_of_the_metric_on_its_view(pair):
    metrics = [Psnr(), Ssim(View(space="y", crop=4))]
    for outcome, metric in zip(outcomes(metrics, *pair), metrics, strict=True):
        assert outcome.status == "ok" and outcome.reason is None and outcome.seconds > 0
        assert outcome.value == float(metric.score(*metric.view.apply(*pair.tensors())))


def test_only_wanted_metrics_are_scored(pair):
    metrics = [Psnr(), Stub(does=RuntimeError("not asked for")), Ssim()]
    assert [outcome.index for outcome in outcomes(metrics, *pair, wanted=[2, 0])] == [2, 0]


def test_metrics_with_equal_views_share_one(pair, monkeypatch):
    seen = {"apply": [], "levels": []}
    for name, calls in seen.items():
        plain = getattr(View, name)
        monkeypatch.setattr(
            View, name, lambda self, *a, plain=plain, calls=calls, **k: calls.append(self) or plain(self, *a, **k)
        )
    outcomes([Psnr(), Ssim(), Psnr(View(space="y")), Ssim(View(space="y"))], *pair)
    assert seen == {"apply": [View(space="y")], "levels": [View(), View(space="y")]}
    seen["apply"].clear()
    outcomes([Psnr(), Ssim(), Psnr(View(space="y")), Ssim(View(space="y"))], *(each / 255.0 for each in pair))
    assert seen["apply"] == [View(), View(space="y")]


def test_a_failing_metric_stops_no_other(pair):
    failing = Stub(does=RuntimeError("weights are\nmade of cheese"))
    first, second, third = outcomes([failing, Psnr(), Stub(does=ItemError("too small"))], *pair)
    assert (first.status, first.value) == ("failed", None)
    assert first.reason == "RuntimeError: weights are made of cheese"
    assert second.status == "ok"
    assert (third.status, third.reason) == ("failed", "too small")


def test_identical_images_are_inf_and_keep_the_value(pair):
    (outcome,) = outcomes([Psnr()], pair.reference, pair.reference)
    assert (outcome.status, outcome.value) == ("inf", math.inf)


def test_nan_is_not_a_score(pair):
    (outcome,) = outcomes([Stub(does=math.nan)], *pair)
    assert (outcome.status, outcome.value) == ("nan", None)


def test_without_a_reference_fr_is_not_applicable_and_nr_is_scored(pair):
    first, second, third = outcomes([Psnr(), Stub(does=3.0), PsnrPooled()], pair.restored, None)
    assert (first.status, first.reason) == ("n/a", "no GT")
    assert (second.status, second.value) == ("ok", 3.0)
    assert third.status == "n/a"


def test_a_reference_of_another_size_fails_fr_with_both_sizes_and_leaves_nr(pair):
    first, second = outcomes([Psnr(), Stub(does=3.0)], pair.restored[:50, :40], pair.reference)
    assert first.status == "failed" and "40×50" in first.reason and "223×201" in first.reason
    assert second.status == "ok"


def test_a_resize_rule_scores_a_reference_of_another_size(pair):
    (outcome,) = outcomes([Psnr(View(resize="pil-bicubic"))], pair.restored[:50, :40], pair.reference)
    assert outcome.status == "ok"


def test_a_set_metric_gives_features_and_no_value(pair):
    (outcome,) = outcomes([PsnrPooled()], *pair)
    assert (outcome.status, outcome.value) == ("ok", None)
    error = np.square(pair.restored / 255.0 - pair.reference / 255.0).sum()
    np.testing.assert_allclose(outcome.features, [error, pair.restored.size])


def test_pixels_of_every_kind_become_the_same_floats():
    levels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    expected = levels.transpose(2, 0, 1)[None] / 255
    for image in (levels, levels.astype(np.uint16) * 257, (levels / 255).astype(np.float32), levels / 255):
        floats = as_floats(image)
        assert floats.dtype == torch.float64
        np.testing.assert_allclose(floats.numpy(), expected, atol=3e-8)


def test_8_bit_images_and_the_same_floats_score_alike(pair):
    metrics = [Psnr(), Ssim(View(space="y")), Psnr(View(gtmean="gray"))]
    floats = [image / 255.0 for image in pair]
    for eight_bit, as_float in zip(outcomes(metrics, *pair), outcomes(metrics, *floats), strict=True):
        assert eight_bit.value == as_float.value


@pytest.mark.parametrize(
    "image, message",
    [
        (np.zeros((4, 4), np.uint8), r"\[H,W,3\]"),
        (np.zeros((4, 4, 4), np.uint8), r"\[H,W,3\]"),
        (np.zeros((4, 4, 3), np.int32), "int32"),
        (np.full((4, 4, 3), np.nan, np.float32), "NaN"),
    ],
)
def test_what_is_no_image_fails_every_metric(image, message):
    first, second = outcomes([Stub(), Psnr()], image, np.zeros((4, 4, 3), np.uint8))
    assert first.status == second.status == "failed"
    with pytest.raises(ItemError, match=message):
        as_floats(image)


def test_loading_names_every_metric_that_cannot_be_loaded():
    broken = [Stub(does=MissingFile("a needs a.pth: bench fetch a")), Psnr(), Stub(does=MissingFile("b needs b.pth"))]
    with pytest.raises(MissingFile, match=r"2 metrics cannot be loaded: a needs a.pth: bench fetch a; b needs b.pth"):
        Scorer(broken, "cpu").load()


def test_native_metrics_overlap_and_learned_ones_never_do(pair):
    running, most = {"native": 0, "learned": 0}, {"native": 0, "learned": 0}
    lock, meeting = threading.Lock(), threading.Barrier(2, timeout=20)

    def watch(kind):
        def score(restored, reference):
            with lock:
                running[kind] += 1
                most[kind] = max(most[kind], running[kind])
            if kind == "native":
                meeting.wait()
            with lock:
                running[kind] -= 1
            return torch.ones(1, dtype=torch.float64)

        return score

    scorer = Scorer([Stub(does=watch("native")), Stub(does=watch("learned"), learned=True)], "cpu")
    with ThreadPoolExecutor(2) as pool:
        results = [future.result() for future in [pool.submit(scorer.score, pair.restored, None) for _ in range(2)]]
    assert all(outcome.status == "ok" for outcome in (one for result in results for one in result))
    assert most == {"native": 2, "learned": 1}


def test_threads_change_no_bit(pair):
    images = [np.roll(pair.restored, shift, axis=1) for shift in range(8)]
    scorer = Scorer([Psnr(), Ssim(), Ssim(View(space="yiq"))], "cpu")

    def values(image):
        return [outcome.value for outcome in scorer.score(image, pair.reference)]

    alone = [values(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(values, images)) == alone
