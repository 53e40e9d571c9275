"""Whole real pictures: what the catalogue's networks make of them is what their authors' code made of them.

`BENCH_TEST_GOLDEN` names a folder with `outputs.npz`, outputs of the authors' code with the official weights (float16,
HWC, every fourth pixel, before anything is clipped or rounded; keys are a setting and a picture), and with the picture
`0057_low.jpg`. The other pictures and the weights are in the folder that `BENCH_TEST_MIRROR` names.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.catalog.registry import registry
from bench.methods.build import build_method

MIRROR = os.environ.get("BENCH_TEST_MIRROR")
GOLDEN = os.environ.get("BENCH_TEST_GOLDEN")
pytestmark = pytest.mark.skipif(
    not (MIRROR and GOLDEN), reason="BENCH_TEST_MIRROR and BENCH_TEST_GOLDEN name no official files and outputs"
)

SETTINGS = {
    "clip_lit": ("clip-lit", {}),
    "cue": ("cue", {}),
    "dctlsa_x4": ("dctlsa-x4", {}),
    "fapnet_alpha0.1": ("fa+net", {}),
    "fapnet_alpha0.4": ("fa+net-0.4", {"alpha": 0.1}),  # the code as it is published, with the other file
    "fapnet_alpha0.4_a04": ("fa+net-0.4", {}),
    "iat_exposure": ("iat-exposure", {}),
    "iat_lol": ("iat-lol", {}),
    "iat_lol_nonorm": ("iat-lol", {"centred": False}),
    "iat_lol_v1": ("iat-lol-v1", {}),
    "pairlie": ("pairlie", {}),
    "pairlie_lol014": ("pairlie", {"ratio": 0.14}),
    "rave_paired": ("rave-paired", {}),
    "rave_unpaired": ("rave-unpaired", {}),
    "rave_unpaired_shifted": ("rave-shifted", {}),
    "ruas_dark": ("ruas-dark", {}),
    "ruas_lol": ("ruas-lol", {}),
    "ruas_upe": ("ruas-upe", {}),
    "sci_difficult": ("sci-difficult", {}),
    "sci_easy": ("sci-easy", {}),
    "sci_medium": ("sci-medium", {}),
    "uretinex": ("uretinex-net", {}),
    "zero_dce": ("zero-dce", {}),
    "zero_dce_pp": ("zero-dce++", {}),
    "zero_dce_pp_scale1": ("zero-dce++", {"scale_factor": 1}),
}
"""Catalogue name and options for each setting that the authors' code was run in."""


def picture(name: str) -> torch.Tensor:
    from PIL import Image

    places = {
        "0057": Path(str(GOLDEN)) / "0057_low.jpg",
        "euvp_1": Path(str(MIRROR)) / "data/euvp/input/1.jpg",
        "set5_birdx4": Path(str(MIRROR)) / "data/set5/LR_x4/birdx4.png",
    }
    pixels = np.asarray(Image.open(places[name]).convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def test_every_output_of_the_folder_has_its_setting_here():
    with np.load(Path(str(GOLDEN)) / "outputs.npz") as held:
        assert {key.partition("/")[0] for key in held} == set(SETTINGS)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_network_gives_what_its_authors_code_gives_on_a_whole_picture(setting, monkeypatch):
    """To 1e-3, of which float16 takes up to a quarter; a method's output ends at 0 and 1, the authors' need not."""
    monkeypatch.setenv("BENCH_HOME", str(MIRROR))
    name, options = SETTINGS[setting]
    method = build_method(registry("method").get(name), options, None)
    method.load("cpu", "float32")
    with np.load(Path(str(GOLDEN)) / "outputs.npz") as held:
        (key,) = (one for one in held if one.partition("/")[0] == setting)
        expected = np.clip(held[key].astype(np.float32), 0, 1)
    with torch.inference_mode():
        output = method.restore(picture(key.partition("/")[2]))
    found = output[0].permute(1, 2, 0)[::4, ::4].clamp(0, 1).numpy()
    assert found.shape == expected.shape
    assert float(np.abs(found - expected).max()) <= 1e-3
