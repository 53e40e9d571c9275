"""What takes trained weights: of rar-tiny, where it comes along."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from bench.data import mixtures
from iqpir.image_files import decode, to_tensor
from iqpir.rar import RAR, LoopOptions
from iqpir.rar.kinds import DEGRADATIONS
from iqpir.training.degrade import Composite
from iqpir.training.degrade.base import jpeg, quantise
from iqpir.training.rar.terms import average_precision, closeness, psnr
from iqpir.weights import shipped

pytestmark = pytest.mark.skipif(shipped("rar-tiny") is None, reason="rar-tiny does not come along")
PHOTOGRAPHS = ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg")


@pytest.fixture(scope="module")
def tiny() -> RAR:
    return RAR.from_checkpoint("rar-tiny")


@pytest.fixture(scope="module")
def photographs() -> torch.Tensor:
    spec = find_spec("skimage")
    assert spec is not None and spec.submodule_search_locations
    home = Path(spec.submodule_search_locations[0]) / "data"
    made = []
    for name in PHOTOGRAPHS:
        pixels = decode((home / name).read_bytes())
        side = min(pixels.shape[:2])
        made.append(to_tensor(cv2.resize(pixels[:side, :side], (192, 192), interpolation=cv2.INTER_AREA)))
    return torch.stack(made)


def test_clean_photographs_get_one_round_at_most_and_lose_nothing_that_is_seen(tiny: RAR, photographs: torch.Tensor):
    stored = [torch.from_numpy(jpeg(image.permute(1, 2, 0).numpy(), 97).transpose(2, 0, 1)) for image in photographs]
    given = torch.stack(stored)
    made = tiny(given)
    assert all(trace.taken <= 1 for trace in made.traces)
    assert (psnr(made.image, photographs) > psnr(given, photographs) - 0.1).all()


@pytest.mark.parametrize(("kind", "gain"), [(mixtures.rain, 2.0), (mixtures.snow, 1.5)])
def test_rain_and_snow_of_other_code_go_and_what_they_hid_is_filled_in(
    tiny: RAR, photographs: torch.Tensor, kind: Callable[..., np.ndarray], gain: float
):
    pixels = photographs.permute(0, 2, 3, 1).double().numpy()
    drawn = [kind(each, np.random.default_rng(place)) for place, each in enumerate(np.concatenate([pixels, pixels]))]
    given = torch.from_numpy(quantise(np.stack(drawn)).transpose(0, 3, 1, 2)).float() / 255
    wanted = photographs.repeat(2, 1, 1, 1)
    before, after = psnr(given, wanted), psnr(tiny(given).image, wanted)
    assert (after >= before).float().mean() >= 0.75 and (after - before).mean() > gain
    unfilled = psnr(tiny(given, LoopOptions(hidden=1.0)).image, wanted)
    assert (after - unfilled).mean() > 1


@pytest.mark.parametrize("count", [2, 3])
def test_rounds_restore_composites_and_steps_that_are_taken_are_for_the_better(
    tiny: RAR, photographs: torch.Tensor, count: int
):
    made = Composite(counts=tuple(float(place == count) for place in range(4)))  # type: ignore[arg-type]
    before, after, odds, done = [], [], [], []
    for turn in range(3):
        spoilt = [made(image, np.random.default_rng([turn, place])) for place, image in enumerate(photographs)]
        given = torch.stack([each.image for each in spoilt])
        found = tiny(given)
        before += closeness(given, photographs).tolist()
        after += closeness(found.image, photographs).tolist()
        for each, trace in zip(spoilt, found.traces, strict=True):
            odds.append([trace.rounds[0].degradations[name] for name in DEGRADATIONS])
            done.append([place in each.params.order for place in range(len(DEGRADATIONS))])
    assert np.mean(after) > np.mean(before)
    assert np.mean(np.array(after) >= np.array(before) - 1e-6) >= 0.85
    chance = count / len(DEGRADATIONS)  # of an assessor that sees nothing
    assert average_precision(torch.tensor(odds), torch.tensor(done)) > 2 * chance
