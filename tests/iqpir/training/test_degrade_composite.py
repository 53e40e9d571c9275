"""Composite degradations: the order and the labels are what was done, ranges are the test sets', physics can be read
back from the pixels."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from iqpir.errors import IQPIRError
from iqpir.rar.kinds import DEGRADATIONS, level
from iqpir.training.degrade import Composite, camera, degradation, weather
from iqpir.training.degrade.base import quantise, to_linear
from iqpir.training.degrade.composite import CDD11, MIO100

SIDE = 64


def picture(seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    rough = rng.random((3, 8, 8), dtype=np.float32) * 0.8 + 0.1
    image = torch.nn.functional.interpolate(torch.from_numpy(rough)[None], (SIDE, SIDE), mode="bicubic")[0]
    return (image.clamp(0, 1) * 255).round() / 255


def flat(value: float, side: int = 96) -> np.ndarray:
    return np.full((side, side, 3), value, np.float32)


def names(order: np.ndarray) -> tuple[str, ...]:
    return tuple(DEGRADATIONS[place] for place in order if place >= 0)


def test_labels_are_what_was_done_and_images_in_between_are_one_step_apart():
    made = Composite(counts=(0, 0, 0, 1))
    for seed in range(12):
        found = made(picture(seed), np.random.default_rng(seed))
        order, severity = found.params.order, found.params.severity
        assert found.steps is not None and found.steps.shape == (4, 3, SIDE, SIDE)
        assert torch.equal(found.steps[0], picture(seed)) and torch.equal(found.steps[-1], found.image)
        assert len(set(order)) == 3 and (severity[0] == 0).all()
        for turn in range(1, 4):
            gained = np.flatnonzero(severity[turn] != severity[turn - 1])
            assert gained.tolist() == [order[turn - 1]]
            assert not torch.equal(found.steps[turn], found.steps[turn - 1])
    assert severity.min() >= 0
    assert severity.max() <= 1


def test_with_fewer_kinds_the_last_image_repeats_and_nothing_is_invented():
    found = Composite(counts=(1, 0, 0, 0))(picture(), np.random.default_rng(0))
    assert found.steps is not None
    assert (found.params.order == -1).all() and not found.params.severity.any()
    assert all(torch.equal(each, picture()) for each in found.steps)


def test_the_shares_of_counts_and_the_order_are_as_asked():
    made, rng = Composite(counts=(0.1, 0.2, 0.3, 0.4)), np.random.default_rng(0)
    drawn = [names(made.draw(rng, SIDE).order) for _ in range(4000)]
    shares = np.bincount([len(each) for each in drawn], minlength=4) / len(drawn)
    assert shares == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.03)
    assert all(sum("blur" in name for name in each) <= 1 for each in drawn)
    # Haze comes before noise as often as after it.
    both = [each.index("haze") < each.index("noise") for each in drawn if {"haze", "noise"} <= set(each)]
    assert np.mean(both) == pytest.approx(0.5, abs=0.12) and len(both) > 100
    assert {name for each in drawn for name in each} == set(DEGRADATIONS)


def test_presets_have_the_mixtures_of_the_test_sets_from_left_to_right():
    rng = np.random.default_rng(0)
    cdd = {names(Composite.cdd11().draw(rng, SIDE).order) for _ in range(400)}
    assert cdd == set(CDD11) and len(CDD11) == 11
    mio = {names(Composite.mio100().draw(rng, SIDE).order) for _ in range(2000)}
    assert all(any(_matches(each, mixture) for mixture in MIO100) for each in mio)
    assert ("motion blur", "defocus blur", "noise") in mio and ("defocus blur", "motion blur", "noise") in mio
    assert not any(each[:2] == ("motion blur", "motion blur") for each in mio)


def _matches(drawn: tuple[str, ...], mixture: tuple[str, ...]) -> bool:
    return len(drawn) == len(mixture) and all(
        name == asked or (asked == "blur" and name in ("motion blur", "defocus blur"))
        for name, asked in zip(drawn, mixture, strict=True)
    )


def test_haze_is_koschmieders_and_thickens_with_distance():
    distance = np.tile(np.linspace(0, 1, 96, dtype=np.float32)[:, None], (1, 96))
    made = weather.haze(flat(0.2), distance, 1.5, np.array([0.9]))
    assert made[0, 0, 0] == pytest.approx(0.2) and made[-1, 0, 0] == pytest.approx(
        0.2 * np.exp(-1.5) + 0.9 * (1 - np.exp(-1.5))
    )
    found = weather.depth(np.ascontiguousarray(picture().numpy().transpose(1, 2, 0)), np.random.default_rng(0))
    assert found.min() == 0 and found.max() == 1 and found.dtype == np.float32


def test_noise_blur_and_cast_have_the_strength_that_they_are_asked_for():
    rng = np.random.default_rng(0)
    assert (camera.noisy(flat(0.5, 300), 25, rng) - 0.5).std() * 255 == pytest.approx(25, rel=0.02)
    # The variance of Poisson noise of 256 levels at ½, three times as strong: 9·0.5/256.
    assert camera.poisson(flat(0.5, 300), 3, rng).var() == pytest.approx(9 * 0.5 / 256, rel=0.03)
    point = flat(0, 65)
    point[32, 32] = 1
    rows = np.arange(65) - 32
    for made, variance in ((camera.blurred(point, 3), 9.0), (camera.defocused(point, 5), 5.0**2 / 4)):
        weight = made[:, :, 0].astype(np.float64)
        assert weight.sum() == pytest.approx(1, abs=1e-3)
        assert (weight.sum(axis=1) * rows**2).sum() == pytest.approx(variance, rel=0.12)
    weight = camera.moved(point, 4, 0)[:, :, 0]
    assert weight.sum() == pytest.approx(1, abs=1e-3) and weight[32].sum() == pytest.approx(1, abs=1e-3)
    # Half a Gaussian: its mean lies σ·√(2/π) to one side.
    assert abs((weight[32] * rows).sum()) == pytest.approx(4 * (2 / np.pi) ** 0.5, rel=0.12)
    light = to_linear(camera.tinted(flat(0.4), 2.0, rng)[0, 0].astype(np.float64)) / to_linear(np.float64(0.4))
    assert light.max() / light.min() == pytest.approx(2.0, rel=1e-3) and np.prod(light) == pytest.approx(1, rel=1e-3)


def test_the_stops_of_low_light_are_read_back():
    made = camera.darkened(flat(0.6), "linear", 2.0, 0.5, np.random.default_rng(0))
    assert camera.stops_lost(flat(0.6), made) == pytest.approx(2.0, abs=0.05)
    assert camera.stops_lost(flat(0.3), flat(0.6)) == 0


def test_any_darkness_is_each_of_the_three():
    """On gray 0.5 each kind leaves its own: the linear one at least 0.8 stops of light less, MiO100's shift, power or
    range, CDD-11's with noise of 0.03 or more."""
    image = torch.full((3, 48, 48), 0.5)
    spread, value = [], []
    for seed in range(60):
        made = Composite(kinds=("low light",), counts=(0, 1, 0, 0), dark="any")(
            image, np.random.default_rng(seed)
        ).image
        spread.append(float(made.std()))
        value.append(float(made.mean()))
    noisy, smooth = sum(each > 0.025 for each in spread), sum(each < 0.002 for each in spread)
    assert noisy >= 10 and smooth >= 10 and 60 - noisy - smooth >= 10
    assert max(value) < 0.5


def test_mio100_darkens_by_shift_gamma_or_range():
    """HSV's value of two gray levels, by hand."""
    image = flat(0.8)
    image[:48] = 0.4
    found = {}
    for seed in range(30):
        made = camera.darkened(image, "mio100", 0.0, 1.0, np.random.default_rng(seed))
        found[tuple(np.round(made[[0, -1], 0, 0], 3))] = True
    expected = [[0.0, 100 / 255], [0.4**2, 0.8**2], [0.4 - 49 / 255, 0.8 - 49 / 255]]
    assert len(found) == 3
    assert np.allclose(sorted(found), expected, atol=2e-3)


@pytest.mark.parametrize(("kind", "made"), [("rain", weather.rain), ("snow", weather.snow)])
def test_rain_and_snow_lighten_parts_and_more_of_it_covers_more(kind: str, made):
    def covered(amount: float) -> float:
        images = [made(flat(0.3, 128), amount, np.random.default_rng(seed)) for seed in range(12)]
        assert all((each >= 0.3 - 1e-5).all() for each in images)
        return float(np.mean([(each.mean(axis=2) > 0.42).mean() for each in images]))

    assert 0.002 < covered(0.2) < covered(0.9) < 0.6


@pytest.mark.parametrize("made", [weather.rain, weather.snow])
def test_one_amount_is_a_few_drops_or_many(made):
    """Test sets have a dozen flakes as well as storms: what covers a tenth of the other must both occur."""
    images = [made(flat(0.3, 128), 0.5, np.random.default_rng(seed)) for seed in range(40)]
    covered = np.sort([(each.mean(axis=2) > 0.42).mean() for each in images])
    assert covered[0] > 0 and covered[-4] > 5 * covered[3]


def test_rain_is_added_or_takes_the_place_of_what_is_behind():
    """Added light leaves a bright wall's contrast with a dark one as it is; blended light lessens it."""
    kept = []
    for seed in range(40):
        dark, light = (weather.rain(flat(value), 0.1, np.random.default_rng(seed)) for value in (0.2, 0.4))
        where = np.unravel_index(int(dark[..., 0].argmax()), dark.shape[:2])
        kept.append(float(light[where].mean() - dark[where].mean()) / 0.2)
    added = sum(each > 0.97 for each in kept)
    assert 8 <= added <= 25 and sum(each < 0.9 for each in kept) == 40 - added


def test_rain_is_as_severe_as_it_can_be_seen():
    for kind in ("rain", "snow"):
        made = Composite(kinds=(kind,), counts=(0, 1, 0, 0))
        place = DEGRADATIONS.index(kind)
        dark, white = (
            made.steps(flat(value), made.draw(np.random.default_rng(3), SIDE), np.random.default_rng(4))
            for value in (0.1, 0.9)
        )
        assert dark.severity[-1, place] > 2 * white.severity[-1, place]
        change = float(np.sqrt(np.mean((dark.images[-1] - dark.images[0]) ** 2)))
        assert dark.severity[-1, place] == pytest.approx(min(1, change / {"rain": 0.25, "snow": 0.15}[kind]), rel=1e-3)


def test_streaks_fall_along_their_angle():
    kernel = weather.streak(30, 1.0, 0)
    assert (kernel.max(axis=1) > 0.05).sum() > 4 * (kernel.max(axis=0) > 0.05).sum()
    leaning = weather.streak(30, 1.0, 45)
    assert np.allclose(leaning, leaning.T, atol=1e-5)
    hard, soft = (weather.streak(30, 1.0, 0, fading).max(axis=1) for fading in (0.2, 1.0))
    assert (hard > 0.9).sum() > 20 and (soft > 0.9).sum() < 8


def test_severity_is_one_scale_for_all_ranges():
    """σ of 25 is half of the worst, whatever range it was drawn from; JPEG of quality 55 likewise."""
    place = DEGRADATIONS.index("noise")
    for changes in ({"noise": (25.0, 25.0)}, {"noise": (0.0, 50.0)}):
        made = Composite(kinds=("noise",), counts=(0, 1, 0, 0), poisson=0, **changes)
        params = made.draw(np.random.default_rng(0), SIDE)
        params.amount[place] = 0.5
        assert made.steps(flat(0.5), params, np.random.default_rng(0)).severity[-1, place] == pytest.approx(0.5)
    made = Composite(kinds=("jpeg",), counts=(0, 1, 0, 0), quality=(55, 55))
    assert made(picture(), np.random.default_rng(0)).params.severity[-1].max() == pytest.approx(0.5)


def test_everything_is_a_function_of_the_image_and_the_generator_and_collates():
    made = Composite()
    first, second = (made(picture(), np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(first.image, second.image) and np.array_equal(first.params.severity, second.params.severity)
    batch = default_collate([first.params, second.params])
    assert batch.order.shape == (2, 3) and batch.severity.shape == (2, 4, len(DEGRADATIONS))
    assert (quantise(first.image.numpy()) / np.float32(255) == first.image.numpy()).all()


def test_configurations_name_kinds_mixtures_and_ranges():
    made = degradation({"kind": "composite", "kinds": ["haze", "rain"], "haze": [1.0, 1.0]})
    assert isinstance(made, Composite) and made.kinds == ("haze", "rain")
    assert degradation("composite-cdd11") == Composite.cdd11()
    for wrong, said in (
        ({"kinds": ["hase"]}, "did you mean 'haze'"), ({"counts": [1, 2]}, "four shares"),
        ({"mixtures": [["haze"] * 4]}, "at most 3"), ({"dark": "night"}, "not linear"), ({"haze": [2, 1]}, "haze is"),
        ({"kinds": []}, "no kind"),
    ):  # fmt: skip
        with pytest.raises(IQPIRError, match=said):
            degradation({"kind": "composite", **wrong})
    for mixed in (["composite", "face"], {"kind": "choice", "of": ["composite", "face"]}):
        with pytest.raises(IQPIRError, match="stands alone"):
            degradation(mixed)


def test_a_choice_of_composites_has_the_labels_of_the_one_that_was_done():
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    one, other = {"kind": "composite", "mixtures": [["haze"]]}, {"kind": "composite", "mixtures": [["noise", "jpeg"]]}
    both = degradation({"kind": "choice", "of": [one, other], "shares": [3, 1]})
    done: Counter[tuple[str, ...]] = Counter()
    for seed in range(200):
        made = both(image, np.random.default_rng(seed))
        assert made.steps is not None and torch.equal(made.steps[-1], made.image)
        done[tuple(np.array(DEGRADATIONS)[made.params.severity[-1] > 0])] += 1
    assert done.keys() == {("haze",), ("noise", "jpeg")}
    assert 130 <= done["haze",] <= 170  # 150 ± 6 is its deviation


def test_what_is_behind_rain_and_snow_is_the_image_with_all_else_done_alike():
    image, kinds = picture(5), ("haze", "snow", "gaussian blur", "rain", "colour cast")
    asked, plain = (Composite(kinds=kinds, counts=(0, 1, 1, 1), behind=asked) for asked in (True, False))
    hidden = 0
    for seed in range(40):
        made, usual = (each(image, np.random.default_rng(seed)) for each in (asked, plain))
        assert torch.equal(made.image, usual.image) and usual.behind is None and made.behind is not None
        before = {"rain", "snow"} & set(names(made.params.order))
        hidden += bool(before)
        if not before:
            assert torch.equal(made.behind, made.image)
        elif len(before) == sum(place >= 0 for place in made.params.order):
            assert torch.equal(made.behind, image)
        elif names(made.params.order)[:2] in (("haze", "snow"), ("haze", "rain")) and made.params.order[2] < 0:
            torch.testing.assert_close(made.behind, made.steps[1])
    assert 20 < hidden < 40
    shown = Composite(mixtures=(("snow", "gaussian blur"),), behind=True)(image, np.random.default_rng(1))
    assert shown.steps is not None and shown.behind is not None
    sigma = 0.8 + 3.2 * float(shown.params.amount[DEGRADATIONS.index("gaussian blur")])
    blurred = camera.blurred(np.ascontiguousarray(image.numpy().transpose(1, 2, 0)), sigma)
    assert np.abs(quantise(blurred) / 255 - shown.behind.numpy().transpose(1, 2, 0)).max() < 1e-6


def test_levels_are_fifths():
    assert [level(each) for each in (0, 0.19, 0.21, 0.5, 0.79, 1.0)] == [
        "very low", "very low", "low", "medium", "high", "very high",
    ]  # fmt: skip
