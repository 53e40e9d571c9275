"""Scenes: light with headroom, cameras that meter, and targets that keep as much of the damage as their score says.

Expected values are those of 76 real pairs of photographs (SICE) and 23 of the sea (EUVP): exposure 2 to 4 stops apart,
0.66 stops of spread within an image, 99th percentile of the dark one 0.58, targets with a mean of 0.395 to 0.485.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from iqpir.errors import IQPIRError
from iqpir.image_files import to_tensor
from iqpir.training.crop_dataset import recolour
from iqpir.training.degrade import Scene, SceneParams, degradation
from iqpir.training.degrade.base import to_linear
from iqpir.training.degrade.radiance import Tone, compress, count, exposure, radiance
from iqpir.training.degrade.scene import FULL, KINDS
from iqpir.training.synthetic import generate

PLAIN = Tone()


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    """Crops of 64² of whole compositions, recoloured as the recipe does; four sheets are enough, and take seconds."""
    rng = np.random.default_rng(3)
    sheets = [generate.draw_sheet(3, number) for number in range(4)]
    made = []
    for number in range(128):
        side = int(64 * 8 ** rng.random())
        top, left = rng.integers(0, generate.SIDE - side + 1, 2)
        part = sheets[number % 4][top : top + side, left : left + side]
        small = to_tensor(cv2.resize(part, (64, 64), interpolation=cv2.INTER_AREA))
        crop = recolour(small, float(2.2 ** rng.random()), float(rng.uniform(0.9, 1.5)))
        made.append(np.ascontiguousarray(crop.numpy().transpose(1, 2, 0)))
    return made


def pairs(kind: str, images: list[np.ndarray], score: float = 1.0, **changes: object):
    scene = Scene(**changes)  # type: ignore[arg-type]
    for place, image in enumerate(images):
        params = SceneParams(float(KINDS.index(kind)), score, 0.0, 0.0)
        yield scene.pair(image, params, np.random.default_rng([place, 7]))


def test_radiance_has_no_upper_end_and_keeps_black_black(images: list[np.ndarray]):
    brightest = [radiance(image, np.random.default_rng(place)).max() for place, image in enumerate(images)]
    assert np.mean(np.array(brightest) > 1) > 0.5
    black = radiance(np.zeros((32, 48, 3), np.float32), np.random.default_rng(0))
    assert black.shape == (32, 48, 3) and not black.any()


@pytest.mark.parametrize("wanted", [0.1, 0.44, 0.7])
def test_a_camera_meters_to_the_mean_that_it_is_set_to(wanted: float):
    light = np.random.default_rng(0).random((80, 120, 3)).astype(np.float32) ** 2.2
    tone = Tone(1.1, 0.4)
    for brighter in (0.01, 1.0, 30.0):
        gain = exposure(light * brighter, wanted, tone)
        assert abs(tone(light * brighter * np.float32(gain)).mean() - wanted) < 0.01
    # Twice the light, half the exposure.
    assert exposure(2 * light, wanted, tone) == pytest.approx(exposure(light, wanted, tone) / 2, rel=1e-3)


def test_tone_curves_keep_black_white_and_order():
    light = np.linspace(0, 1, 50, dtype=np.float32)[:, None, None].repeat(3, axis=2)
    for tone in (PLAIN, Tone(0.85, 0.6), Tone(1.18, 0.0)):
        value = tone(light)
        assert value[0].max() == 0 and value[-1].min() == pytest.approx(1, abs=1e-6)
        assert (np.diff(value[:, 0, 0]) > 0).all()
    assert PLAIN(np.full((1, 1, 3), 0.2140, np.float32))[0, 0, 0] == pytest.approx(0.5, abs=1e-3)  # IEC 61966-2-1


def test_a_shoulder_bends_what_would_be_white_and_keeps_the_dark():
    tone = Tone(shoulder=0.8)
    light = np.array([0.01, 0.5, 1.0, 2.0, 8.0], np.float32)[:, None, None].repeat(3, axis=2)
    value = tone(light)[:, 0, 0]
    assert (np.diff(value) > 0).all() and value[-1] < 1
    # (1 − .8)·min(L,1) + .8·L/(1+L) at L = 1 and 2, by hand: .6 and .7333; sRGB of them (IEC 61966-2-1) .7977 and .8721
    assert value[2:4] == pytest.approx([0.7977, 0.8721], abs=2e-4)
    assert value[0] == pytest.approx(PLAIN(light)[0, 0, 0], rel=0.02)


def test_clean_pictures_have_the_light_of_the_bad_ones_and_none_of_their_noise(images: list[np.ndarray]):
    for kind in ("dark", "backlit", "water"):
        for pair in pairs(kind, images[:12], shot=(2e-3, 2e-3), read=(1e-3, 1e-3), black=(0.0, 0.0), pool=0.0):
            rest = np.clip(pair.bad, 0, 1) - np.clip(pair.clean, 0, 1)
            assert abs(rest.mean()) < 0.02 and 0.002 < rest.std() < 0.2
    for pair in pairs("camera", images[:12]):
        assert pair.clean is pair.target
    some = next(pairs("dark", images, score=0.1))
    full = next(pairs("dark", images, score=1.0))
    assert np.abs(some.clean - some.bad).mean() < np.abs(full.clean - full.bad).mean()


def test_compression_makes_the_range_smaller_and_keeps_detail():
    light = np.full((128, 128, 3), 0.02, np.float32)
    light[:, 64:] = 0.64  # five stops brighter
    light[60:64, 20:24] *= 1.5
    changed = compress(light, 0.5)
    stops = np.log2(changed[20, 110, 0] / changed[20, 10, 0])
    assert stops == pytest.approx(2.5, abs=0.15)
    assert changed[61, 21, 0] / changed[61, 30, 0] == pytest.approx(1.5, rel=0.05)
    assert compress(light, 0.0) is light


def test_noise_has_the_variance_that_is_asked_for():
    light = np.full((400, 400, 3), 0.25, np.float32)
    noisy = count(light, 1e-3, 2e-2, np.random.default_rng(0))
    assert noisy.mean() == pytest.approx(0.25, abs=5 * 0.0256 / 693)
    assert noisy.var() == pytest.approx(1e-3 * 0.25 + 4e-4, rel=0.02)  # 480,000 samples: 0.2 % standard error


def test_dark_photographs_are_like_real_ones(images: list[np.ndarray]):
    found = list(pairs("dark", images, stops=(2.0, 4.0)))
    targets = np.array([pair.target.mean() for pair in found])
    assert 0.395 < targets.mean() < 0.485
    assert targets.std() < 0.08
    bad = np.array([np.clip(pair.bad, 0, 1).mean() for pair in found])
    assert 0.05 < bad.mean() < 0.20  # 0.128 of the real ones
    highlights = np.array([np.quantile(np.clip(pair.bad, 0, 1), 0.99) for pair in found])
    assert 0.4 < highlights.mean() < 0.75
    assert highlights.std() > 0.15  # so it does not tell the exposure
    stops = np.array([pair.stops for pair in found])
    assert stops.min() >= 2 and stops.max() <= 4


def test_the_brightest_pixel_does_not_tell_the_exposure(images: list[np.ndarray]):
    """Where a picture is darkened, log2 of its maximum is the exposure, but for noise; of a scene it says little."""
    found = list(pairs("dark", images, stops=(2.0, 4.0)))
    stops = np.array([pair.stops for pair in found])
    brightest = np.array([np.quantile(to_linear(np.clip(pair.bad, 1e-3, 1)), 0.999) for pair in found])
    told = np.corrcoef(stops, np.log2(brightest))[0, 1] ** 2
    assert told < 0.4
    from iqpir.training.degrade import LowLight

    darkened, exposures = [], []
    for place, image in enumerate(images):
        rng = np.random.default_rng([place, 8])
        old = LowLight(exposure=(1 / 16, 1 / 4), gamma=(1.0, 1.0), cast=(1.0, 1.0))
        params = old.draw(rng, 64)
        bright = np.clip(image / image.max(), 0, 1).astype(np.float32)
        darkened.append(np.quantile(to_linear(np.clip(old.apply(bright, params, rng), 1e-3, 1)), 0.999))
        exposures.append(np.log2(params.exposure))
    assert np.corrcoef(exposures, np.log2(darkened))[0, 1] ** 2 > 0.8


def test_backlit_subjects_are_dark_and_what_is_behind_them_is_not(images: list[np.ndarray]):
    found = []
    for pair in pairs("backlit", images[:40]):
        target, bad = pair.target.mean(axis=2), np.clip(pair.bad, 0, 1).mean(axis=2)
        part = bad[target > 0.1] / target[target > 0.1]
        found.append((np.quantile(part, 0.05), np.quantile(part, 0.98)))
    shaded, glaring = np.array(found).T
    assert np.median(shaded) < 0.55 and (shaded < 0.8).mean() > 0.9
    assert np.median(glaring) > 0.95 and (glaring > 0.8).mean() > 0.9


def test_water_takes_red_away_and_targets_have_it_back(images: list[np.ndarray]):
    found = list(pairs("water", images))
    bad = np.array([np.clip(pair.bad, 0, 1).mean(axis=(0, 1)) for pair in found])
    good = np.array([pair.target.mean(axis=(0, 1)) for pair in found])
    red = np.log2(to_linear(bad[:, 0] + 1e-3) / to_linear(bad[:, 1:].max(axis=1)))
    restored = np.log2(to_linear(good[:, 0]) / to_linear(good[:, 1:].max(axis=1)))
    assert -3.0 < np.median(red) < -1.0  # the real ones lack 1.9 stops of red
    assert np.median(restored) > np.median(red) + 0.7
    assert 0.33 < good.mean() < 0.5 and 0.3 < bad.mean() < 0.5


def test_what_is_bright_under_water_is_so_afterwards(images: list[np.ndarray]):
    """Of 23 real pairs: correlation .95 of the means, spread .057 under water and .078 of the targets."""
    found = list(pairs("water", images, pool=0.0))
    bad, good = (np.array([np.clip(getattr(pair, side), 0, 1).mean() for pair in found]) for side in ("bad", "target"))
    assert np.corrcoef(bad, good)[0, 1] > 0.82
    assert 0.04 < bad.std() < good.std() < 0.1


def test_mist_makes_pictures_paler_and_stays_in_them(images: list[np.ndarray]):
    def spread(image: np.ndarray) -> float:
        return float(np.quantile(image, 0.99) - np.quantile(image, 0.01))

    clear, misty = ([spread(pair.target) for pair in pairs("good", images, hazy=hazy)] for hazy in (0.0, 1.0))
    errors = [np.square(pair.bad - pair.target).mean() for pair in pairs("good", images, hazy=1.0)]
    assert np.mean(-10 * np.log10(np.maximum(errors, 1e-9))) > 35
    assert np.mean(misty) < 0.85 * np.mean(clear)


def test_good_photographs_stay_as_they_are(images: list[np.ndarray]):
    errors = [np.square(pair.bad - pair.target).mean() for pair in pairs("good", images)]
    assert np.mean(-10 * np.log10(np.maximum(errors, 1e-9))) > 35


@pytest.mark.parametrize("kind", ["dark", "backlit", "water", "camera"])
def test_the_lower_the_score_the_nearer_is_the_target_to_the_bad_picture(kind: str, images: list[np.ndarray]):
    distances = []
    for score in (0.0, 0.3, 0.6, 0.89, FULL):
        found = pairs(kind, images[:48], score)
        distances.append(
            np.mean([np.abs(np.clip(pair.bad, 0, 1) - np.clip(pair.target, 0, 1)).mean() for pair in found])
        )
    assert (np.diff(distances) > 0).all()
    assert distances[0] < 0.6 * distances[-1]


def test_a_full_score_leaves_nothing_of_the_damage():
    scene = Scene()
    assert scene.left(FULL) == scene.left(1.0) == 0
    assert scene.left(0.0) == scene.damage
    assert scene.left(0.45) == pytest.approx(scene.damage / 2)


def test_samples_are_a_function_of_image_and_seed_and_their_shares_are_the_settings():
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    scene = degradation({"kind": "scene", "shares": [0.5, 0, 0, 0, 0.5], "top": 0.25})
    made = [scene(image, np.random.default_rng([1, each])) for each in range(400)]
    again = scene(image, np.random.default_rng([1, 5]))
    assert torch.equal(again.image, made[5].image) and torch.equal(again.target, made[5].target)
    kinds = np.array([each.params.kind for each in made])
    assert set(kinds) == {0.0, 4.0} and abs((kinds == 0).mean() - 0.5) < 0.125  # five standard errors
    scores = np.array([each.score for each in made])
    assert abs((scores >= FULL).mean() - 0.25) < 0.11
    for each in made[:20]:
        levels = each.target * 255
        assert torch.equal(levels, levels.round()) and float(each.target.min()) >= 0 and float(each.target.max()) <= 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([{"kind": "scene"}, "face"], "it stands alone"),
        ({"kind": "choice", "of": ["scene", "face"]}, "it stands alone"),
        ({"kind": "scene", "stops": [3, 1]}, "stops is"),
        ({"kind": "scene", "_camera": 3}, "has no '_camera'"),
    ],
)
def test_what_cannot_be_is_refused(settings: object, message: str):
    with pytest.raises(IQPIRError, match=message):
        degradation(settings)  # type: ignore[arg-type]
