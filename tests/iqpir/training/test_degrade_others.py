"""Low light, backlight, water and colours: physics that can be read back from the pixels, and ranges that hold."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from iqpir.errors import IQPIRError
from iqpir.training.degrade import (
    KINDS,
    Backlit,
    BacklitParams,
    FaceColour,
    FaceColourParams,
    LowLight,
    LowLightParams,
    Underwater,
    UnderwaterParams,
    degradation,
)
from iqpir.training.degrade.base import sensor, to_linear, to_srgb

NO_NOISE = {"well": 1e9, "read": 1e-3}


def flat(value: float, side: int = 128) -> np.ndarray:
    return np.full((side, side, 3), value, dtype=np.float32)


def drawn(kind, count: int = 3000) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    records = [kind.draw(rng, 512) for _ in range(count)]
    return {name: np.array([getattr(each, name) for each in records]) for name in records[0]._fields}


def assert_fills(values: np.ndarray, limits: tuple[float, float], *, log: bool = False) -> None:
    """Uniform (or log-uniform) in the range: ends, and the three quartiles within five standard errors."""
    low, high = limits
    assert low <= values.min()
    assert values.max() <= high
    part = np.log(values / low) / np.log(high / low) if log else (values - low) / (high - low)
    for quartile in (0.25, 0.5, 0.75):
        error = 5 * np.sqrt(quartile * (1 - quartile) / len(values))
        assert abs((part < quartile).mean() - quartile) < error


def test_srgb_and_light_are_those_of_the_standard():
    assert to_linear(np.array([0.0, 0.04045, 0.5, 1.0])) == pytest.approx([0, 0.0031308, 0.2140411, 1], abs=1e-6)
    codes = np.linspace(0, 1, 256)
    assert to_srgb(to_linear(codes)) == pytest.approx(codes, abs=1e-6)


def test_the_sensor_keeps_the_mean_and_has_the_stated_variance():
    for level, well, read in ((0.5, 1000.0, 2.0), (0.02, 4000.0, 6.0), (0.2, 200.0, 1.0)):
        counted = sensor(np.full((400, 400), level), well, read, np.random.default_rng(0))
        assert counted.mean() == pytest.approx(level, rel=0.005)
        assert counted.var() == pytest.approx(level / well + (read / well) ** 2, rel=0.03)


# ---------------------------------------------------------------------------------------------------------------------


def test_low_light_draws_fill_their_ranges():
    kind, values = LowLight(), drawn(LowLight())
    for name in ("exposure", "well", "read"):
        assert_fills(values[name], getattr(kind, name), log=True)
    assert_fills(values["gamma"], kind.gamma)
    assert_fills(values["red"], kind.cast, log=True)
    assert_fills(values["blue"], kind.cast, log=True)


def test_low_light_leaves_the_stated_part_of_the_light_and_its_noise():
    params = LowLightParams(exposure=0.1, gamma=1.0, red=0.9, blue=1.1, well=2000.0, read=3.0)
    dark = LowLight().apply(flat(0.8, 300), params, np.random.default_rng(0))
    light = to_linear(dark)
    full = ((0.8 + 0.055) / 1.055) ** 2.4
    assert light.mean(axis=(0, 1)) == pytest.approx(full * 0.1 * np.array([0.9, 1, 1.1]), rel=0.01)
    assert light[:, :, 1].var() == pytest.approx(full * 0.1 / 2000 + (3 / 2000) ** 2, rel=0.05)
    bent = LowLight().apply(flat(0.8), params._replace(gamma=1.3, **NO_NOISE), np.random.default_rng(0))
    straight = LowLight().apply(flat(0.8), params._replace(**NO_NOISE), np.random.default_rng(0))
    assert bent.mean(axis=(0, 1)) == pytest.approx(straight.mean(axis=(0, 1)) ** 1.3, rel=1e-3)


# ---------------------------------------------------------------------------------------------------------------------


def test_backlit_draws_fill_their_ranges():
    kind, values = Backlit(), drawn(Backlit())
    for name in ("shade", "edge", "well", "read"):
        assert_fills(values[name], getattr(kind, name), log=True)
    for name in ("glare", "share", "follow"):
        assert_fills(values[name], getattr(kind, name))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_the_subject_is_as_large_and_as_dark_as_drawn_and_the_passage_is_smooth(share):
    params = BacklitParams(shade=0.1, glare=1.5, share=share, edge=0.05, follow=0.0, **NO_NOISE)
    for seed in range(4):
        light = to_linear(Backlit().apply(flat(0.5), params, np.random.default_rng(seed)))[:, :, 0] / 0.2140411
        assert light.min() == pytest.approx(0.1, rel=0.01)
        assert light.max() == pytest.approx(1.5, rel=0.01)
        subject = light < np.sqrt(0.1 * 1.5)  # half way in stops
        assert subject.mean() == pytest.approx(share, abs=0.02)
        stops = np.log2(light)
        passage = (stops > np.log2(0.1) + 0.05) & (stops < np.log2(1.5) - 0.05)
        assert 0.005 < passage.mean() < 0.25


def test_the_subject_is_found_where_the_image_is_dark_when_the_mask_follows():
    image = flat(0.2)
    image[:, 64:] = 0.9
    params = BacklitParams(shade=0.1, glare=1.0, share=0.5, edge=0.05, follow=8.0, **NO_NOISE)
    mask = Backlit().mask(image, params, np.random.default_rng(0))
    assert mask[:, :56].mean() > 0.95
    assert mask[:, 72:].mean() < 0.05


# ---------------------------------------------------------------------------------------------------------------------


def test_water_takes_red_first_and_draws_stay_in_sight():
    kind, values = Underwater(), drawn(Underwater())
    for name in ("veil", "scatter", "metering"):
        assert_fills(values[name], getattr(kind, name))
    assert_fills(values["well"], kind.well, log=True)
    # The three waters' own β, each within its spread; red is lost fastest except where spread turns the turbid water.
    assert values["red"].min() >= 0.217 * kind.spread[0]
    assert values["red"].max() <= 0.400 * kind.spread[1]
    assert values["green"].min() >= 0.040 * kind.spread[0]
    assert values["green"].max() <= 0.315 * kind.spread[1]
    assert (values["red"] > values["green"]).mean() > 0.95
    assert (values["near"] <= values["far"]).all()
    assert (values["far"] * values["green"] <= kind.visible + 1e-6).all()
    assert (values["depth"] * values["green"] <= kind.visible + 1e-6).all()
    assert (values["far"] <= kind.far[1]).all()


def test_light_falls_off_with_distance_at_each_colours_own_rate():
    params = UnderwaterParams(0.3, 0.1, 0.05, 1.0, 8.0, 2.0, 0.4, 0.0, 0.0, **NO_NOISE)
    kind = Underwater()

    def light(value: float) -> np.ndarray:
        return to_linear(kind.apply(flat(value), params, np.random.default_rng(5)))

    # The veil is in both pictures, so that their difference is the direct light alone.
    direct = light(0.9) - light(0.1)
    distance = kind.distance(128, 128, params, np.random.default_rng(5))
    scene = to_linear(np.array([0.9])) - to_linear(np.array([0.1]))
    assert distance.min() == pytest.approx(1)
    assert distance.max() == pytest.approx(8)
    for channel, beta in enumerate((0.3, 0.1, 0.05)):
        slope, start = np.polyfit(distance.ravel(), np.log(direct[:, :, channel].ravel()), 1)
        assert slope == pytest.approx(-beta, rel=0.01)
        assert start == pytest.approx(np.log(scene[0]) - beta * 2.0, abs=0.01)  # two metres of water above


def test_far_away_there_is_only_water():
    params = UnderwaterParams(0.3, 0.1, 0.05, 200.0, 300.0, 2.0, 0.4, 0.0, 0.0, **NO_NOISE)
    light = to_linear(Underwater().apply(flat(0.7), params, np.random.default_rng(0))).mean(axis=(0, 1))
    expected = [0.4 * np.exp(-0.3 * 2) * 0.05 / 0.3, 0.4 * np.exp(-0.1 * 2) * 0.05 / 0.1, 0.4 * np.exp(-0.05 * 2)]
    assert light == pytest.approx(expected, rel=0.01)


def test_a_metering_camera_keeps_the_mean_brightness():
    params = UnderwaterParams(0.3, 0.1, 0.05, 1.0, 4.0, 4.0, 0.2, 0.0, 1.0, **NO_NOISE)
    luma = np.array([0.2126, 0.7152, 0.0722])
    metered = to_linear(Underwater().apply(flat(0.5), params, np.random.default_rng(0))) @ luma
    assert metered.mean() == pytest.approx(0.2140411, rel=0.02)


# ---------------------------------------------------------------------------------------------------------------------


def test_colours_change_as_often_and_as_far_as_the_authors_say():
    kind, values = FaceColour(), drawn(FaceColour(), 6000)
    shifted, jittered = values["red"] != 0, values["brightness"] != 1
    for chance, happened in ((0.3, shifted), (0.3, jittered), (0.01, values["gray"] == 1)):
        assert abs(happened.mean() - chance) < 5 * np.sqrt(chance * (1 - chance) / 6000)
    for name in ("red", "green", "blue"):
        assert_fills(values[name][shifted], (-20, 20))
    for name in ("brightness", "contrast", "saturation", "hue"):
        assert_fills(values[name][jittered], getattr(kind, name))
    assert set(values["order"][jittered]) == set(range(24))


def test_jitter_is_that_of_torchvision():
    functional = pytest.importorskip("torchvision.transforms.functional")
    adjust = (
        functional.adjust_brightness,
        functional.adjust_contrast,
        functional.adjust_saturation,
        functional.adjust_hue,
    )
    image = np.random.default_rng(0).random((24, 20, 3), dtype=np.float32)
    none = FaceColourParams(0, 0, 0, 1, 1, 1, 0, 0, 0)
    for place, (name, factor) in enumerate(
        {"brightness": 1.4, "contrast": 0.6, "saturation": 1.3, "hue": 0.08}.items()
    ):
        ours = FaceColour().apply(image, none._replace(**{name: factor}), np.random.default_rng(0))
        theirs = adjust[place](torch.from_numpy(image.transpose(2, 0, 1)), factor).numpy().transpose(1, 2, 0)
        assert np.abs(ours - theirs).max() < 2e-5, name
    gray = FaceColour().apply(image, none._replace(gray=1.0), np.random.default_rng(0))
    theirs = functional.rgb_to_grayscale(torch.from_numpy(image.transpose(2, 0, 1))).numpy()[0]
    assert np.abs(gray - theirs[:, :, None]).max() < 1e-6
    shifted = FaceColour().apply(flat(0.5), none._replace(red=20.0), np.random.default_rng(0))
    assert shifted[0, 0] == pytest.approx([0.5 + 20 / 255, 0.5, 0.5])


# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_keeps_its_promises(name):
    kind = degradation(name)
    generator = torch.Generator().manual_seed(0)
    for shape in ((3, 64, 64), (3, 40, 72)):
        image = torch.rand(shape, generator=generator)
        before = image.clone()
        results = [kind(image, np.random.default_rng([1, index])) for index in range(6)]
        again = kind(image, np.random.default_rng([1, 3]))
        assert torch.equal(image, before)
        assert torch.equal(results[3].image, again.image)
        for result in results:
            assert result.image.shape == image.shape
            assert result.image.dtype == torch.float32
            assert result.image.min() >= 0
            assert result.image.max() <= 1
            assert all(isinstance(value, float | np.ndarray) for value in result.params)
        batch = default_collate([result.params for result in results])
        assert type(batch) is type(results[0].params)
        assert batch[0].shape[0] == 6
    assert {field.name for field in fields(kind)} >= set(kind.BOUNDS), "a bound belongs to a field"


def test_a_choice_does_one_of_its_degradations_by_their_shares():
    both = degradation({"kind": "choice", "of": ["low-light", {"kind": "photo"}], "shares": [3, 1]})
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    drawn = [both.draw(np.random.default_rng(seed), 32).which for seed in range(400)]
    assert 260 <= drawn.count(0) <= 340  # binomial with p = 3/4: 300 ± 4.6 standard deviations
    degraded, params = both(image, np.random.default_rng(5))[:2]
    rng = np.random.default_rng(5)
    again = both.draw(rng, 32)
    alone = both.of[again.which].apply(image.numpy().transpose(1, 2, 0), again.drawn[again.which], rng)
    assert again == params and np.abs(degraded.numpy().transpose(1, 2, 0) - alone.clip(0, 1)).max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "choice"}, "needs a list"),
        ({"kind": "choice", "of": ["photo"], "shares": [1, 2]}, "has 1 degradations, and the shares"),
        ({"kind": "choice", "of": ["photo"], "share": [1]}, "has no 'share'"),
        ({"kind": "choice", "of": ["foto"]}, "no degradation 'foto'"),
        ({"kind": "choice", "of": ["photo"], "shares": ["all"]}, "not all numbers"),
    ],
)
def test_a_choice_of_the_wrong_kind_is_refused(settings, message):
    with pytest.raises(IQPIRError, match=message):
        degradation(settings)
