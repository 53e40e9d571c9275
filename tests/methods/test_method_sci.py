"""SCI against a plain NumPy computation of the same equations, and the official weights where they are at hand."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.catalog.registry import registry
from bench.methods.build import build_method
from bench.methods.networks.sci import Sci

MIRROR = os.environ.get("BENCH_TEST_MIRROR")
NAMES = ["sci-easy", "sci-medium", "sci-difficult"]


def convolve(image, weight, bias):
    """3×3 correlation with zero padding, by its definition: [C,H,W] → [O,H,W]."""
    channels, height, width = image.shape
    padded = np.zeros((channels, height + 2, width + 2))
    padded[:, 1:-1, 1:-1] = image
    output = np.zeros((len(weight), height, width))
    for o in range(len(weight)):
        for y in range(height):
            for x in range(width):
                output[o, y, x] = np.sum(padded[:, y : y + 3, x : x + 3] * weight[o]) + bias[o]
    return output


def sci(image, state):
    """Ma et al. 2022, one stage, with BatchNorm as at test time: float64 [3,H,W] → the same."""
    w = {key.removeprefix("enhance."): np.asarray(value, dtype=np.float64) for key, value in state.items()}
    column = lambda key: w[key][:, None, None]  # noqa: E731
    features = np.maximum(convolve(image, w["in_conv.0.weight"], w["in_conv.0.bias"]), 0)
    hidden = convolve(features, w["conv.0.weight"], w["conv.0.bias"])
    hidden = (hidden - column("conv.1.running_mean")) / np.sqrt(column("conv.1.running_var") + 1e-5)
    features = features + np.maximum(hidden * column("conv.1.weight") + column("conv.1.bias"), 0)
    residual = 1 / (1 + np.exp(-convolve(features, w["out_conv.0.weight"], w["out_conv.0.bias"])))
    return np.clip(image / np.clip(residual + image, 1e-4, 1), 0, 1)


def procedural_state():
    """Weights from sines, so that no random generator's version matters; shapes as in the official file."""
    state, step = {}, 0
    for name, shape in {
        "in_conv.0.weight": (3, 3, 3, 3), "in_conv.0.bias": (3,),
        "conv.0.weight": (3, 3, 3, 3), "conv.0.bias": (3,),
        "conv.1.weight": (3,), "conv.1.bias": (3,), "conv.1.running_mean": (3,), "conv.1.running_var": (3,),
        "out_conv.0.weight": (3, 3, 3, 3), "out_conv.0.bias": (3,),
    }.items():  # fmt: skip
        values = np.sin(np.arange(step, step + np.prod(shape)) * 1.7) * 0.5
        step += int(np.prod(shape))
        state[f"enhance.{name}"] = (np.abs(values) + 0.1 if name.endswith("var") else values).reshape(shape)
    state["enhance.out_conv.0.bias"] = np.array([-1.0, -2.0, -3.0])  # dark enough that the clamp does not hide the rest
    return state


def as_tensors(state):
    tensors = {key: torch.tensor(value, dtype=torch.float32) for key, value in state.items()}
    shared = {key.replace(".conv.", ".blocks.0."): value for key, value in tensors.items() if ".conv." in key}
    count = {f"enhance.{part}.1.num_batches_tracked": torch.tensor(3) for part in ("conv", "blocks.0")}
    return {**tensors, **shared, **count}


@pytest.mark.parametrize("size", [(6, 6), (1, 1), (5, 2)])
def test_sci_equals_its_equations(size):
    network = Sci().eval()
    network.load_state_dict(as_tensors(procedural_state()))
    image = np.abs(np.sin(np.arange(3 * size[0] * size[1]) * 0.37)).reshape(3, *size) * 0.4
    expected = sci(image, procedural_state())
    with torch.inference_mode():
        output = network(torch.tensor(image, dtype=torch.float32)[None])[0]
    assert (0 < np.mean(expected) < 0.95 and np.std(expected) > 0.01) or size == (1, 1)
    np.testing.assert_allclose(output.numpy(), expected, atol=1e-6)


def test_sci_has_the_papers_258_parameters():
    assert sum(parameter.numel() for parameter in Sci().parameters()) == 258


def test_black_stays_black_and_white_stays_white():
    network = Sci().eval()
    network.load_state_dict(as_tensors(procedural_state()))
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 4, 4)).max() == 0
        assert network(torch.ones(1, 3, 4, 4)).min() == 1


@pytest.mark.parametrize("name", NAMES)
def test_the_catalogue_pins_the_weights_and_truncates_as_the_authors_do(name):
    method = build_method(registry("method").get(name), {}, None)
    (asset,) = method.assets()
    assert asset.sha256 is not None and len(asset.sha256) == 64 and asset.bytes == 43967
    assert asset.url.endswith(f"/weights/{name.removeprefix('sci-')}.pt")
    assert method.quantise == "truncate"


def test_each_sci_has_weights_of_its_own():
    hashes = {registry("method").get(name).fields["weights"]["sha256"] for name in NAMES}
    assert len(hashes) == 3


@pytest.mark.skipif(not MIRROR, reason="BENCH_TEST_MIRROR names no folder of official files")
@pytest.mark.parametrize("name", NAMES)
def test_the_official_weights_fit_and_give_their_equations(name, monkeypatch):
    from PIL import Image

    monkeypatch.setenv("BENCH_HOME", str(MIRROR))
    method = build_method(registry("method").get(name), {}, None)
    method.load("cpu", "float32")
    state = torch.load(method.assets()[0].path, weights_only=True, map_location="cpu")
    photo = sorted((Path(str(MIRROR)) / "data/sice/low").glob("*.jpg"))[0]
    crop = np.asarray(Image.open(photo).convert("RGB"), dtype=np.float64)[200:212, 200:216].transpose(2, 0, 1) / 255
    expected = sci(crop, {key: value.numpy() for key, value in state.items() if key.startswith("enhance.")})
    with torch.inference_mode():
        output = method.restore(torch.tensor(crop, dtype=torch.float32)[None])[0]
    np.testing.assert_allclose(output.numpy(), expected, atol=1e-5)


@pytest.mark.skipif(not MIRROR, reason="BENCH_TEST_MIRROR names no folder of official files")
def test_sci_medium_brightens_real_photographs_as_the_authors_code_does(monkeypatch):
    """Known from the authors' code on similar SICE pairs: input 9.1 dB, medium 19.7 dB (RGB, 8 bits, truncated)."""
    from PIL import Image

    monkeypatch.setenv("BENCH_HOME", str(MIRROR))
    method = build_method(registry("method").get("sci-medium"), {}, None)
    method.load("cpu", "float32")
    psnr = []
    for low in sorted((Path(str(MIRROR)) / "data/sice/low").glob("*.jpg")):
        dark, bright = (
            np.asarray(Image.open(path).convert("RGB")) for path in (low, low.parents[1] / "high" / low.name)
        )
        with torch.inference_mode():
            output = method.restore(torch.from_numpy(dark.astype(np.float32) / 255).permute(2, 0, 1)[None])[0]
        saved = (output.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        pairs = [(dark, bright), (saved, bright)]
        psnr.append([10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)) for a, b in pairs])
    assert len(psnr) == 76
    assert np.mean(psnr, axis=0) == pytest.approx([9.1, 19.7], abs=0.25)
