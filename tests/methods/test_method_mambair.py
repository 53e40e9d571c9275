"""MambaIR: the scan against the recurrence written out, the network against its authors' code, pieces, other types.

`networks_normals.npz` holds outputs of the authors' code in double precision, its compiled scan replaced by the
recurrence, for the weights of `normals` and a picture of waves; some of the pixels, HWC.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from support.networks import assert_float32_is_near, defaults, make_official, picture
from support.normals import normals

from bench.catalog.registry import Entry, registry
from bench.errors import BenchError
from bench.methods.build import build_method
from bench.methods.networks.mambair import MambaIR, cuts
from bench.methods.networks.selective_scan import CHUNK, selective_scan

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "networks_normals.npz")
SIZES = {"mambair": (9, 13), "mambair-x3": (6, 7), "mambair-x4": (7, 6), "mambair-light-x2": (15, 11)}
NAMES = {
    "mambair": "c38e421c261301cd", "mambair-denoise-15": "c38e421c261301cd", "mambair-denoise-25": "c38e421c261301cd",
    "mambair-denoise-50": "c38e421c261301cd", "mambair-x2": "548d62b0729d0440", "mambair-x3": "cc333c71cc770af4",
    "mambair-x4": "1b0d4070c575836d", "mambair-light-x2": "6422ed555d3d6821", "mambair-light-x3": "069adfe25e4c9ef4",
    "mambair-light-x4": "ae193ec5ed2a6814",
}  # fmt: skip
"""First digits of SHA-256 over the sorted lines `name (shape)` of the authors' own state dicts."""
SMALL = {"width": 30, "groups": 1, "depth": 1, "states": 2}


def filled(**options) -> MambaIR:
    network = MambaIR(**options).eval()
    network.load_state_dict({name: normals(name, tuple(held.shape)) for name, held in network.state_dict().items()})
    return network.requires_grad_(False)


def recurrence(inputs, delta, a, b, c, skip):
    """The definition, a position and a channel at a time."""
    outputs = torch.zeros_like(inputs)
    for place in np.ndindex(inputs.shape[1:]):
        group, channel = place[-2:]
        state = torch.zeros(a.shape[-1], dtype=inputs.dtype)
        for t in range(len(inputs)):
            step, value = delta[t][place], inputs[t][place]
            state = torch.exp(step * a[group, channel]) * state + step * b[t][place[:-1]] * value
            outputs[t][place] = c[t][place[:-1]] @ state + skip[group, channel] * value
    return outputs


def arguments(length, dtype=torch.float64):
    """Two images, three orders, four channels, five states; steps from none at all to ones that forget everything."""
    generator = torch.Generator().manual_seed(length)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    delta = torch.logspace(-6, 2, length * 24, dtype=torch.float64).to(dtype).reshape(length, 2, 3, 4)
    return (
        normal(length, 2, 3, 4), delta.flip(0), -normal(3, 4, 5).exp(), normal(length, 2, 3, 5),
        normal(length, 2, 3, 5), normal(3, 4),
    )  # fmt: skip


@pytest.mark.parametrize("length", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 5])
def test_the_scan_is_the_recurrence(length):
    expected = recurrence(*arguments(length))
    scale = float(expected.abs().max())
    assert float((selective_scan(*arguments(length)) - expected).abs().max()) < 1e-13 * scale
    single = selective_scan(*arguments(length, torch.float32))
    assert single.dtype == torch.float32
    assert float((single - expected).abs().max()) < 1e-5 * scale


def test_the_scans_gradient_is_the_recurrences():
    given = [each.requires_grad_() for each in arguments(CHUNK + 3)]
    weights = torch.linspace(-1, 1, given[0].numel(), dtype=torch.float64).reshape(given[0].shape)
    ours = torch.autograd.grad((selective_scan(*given) * weights).sum(), given)
    state, outputs = torch.zeros(2, 3, 4, 5, dtype=torch.float64), []
    inputs, delta, a, b, c, skip = given
    for t in range(len(inputs)):
        driven = (delta[t] * inputs[t])[..., None] * b[t][:, :, None]
        state = torch.exp(delta[t][..., None] * a) * state + driven
        outputs.append((c[t][:, :, None] * state).sum(-1) + skip * inputs[t])
    expected = torch.autograd.grad((torch.stack(outputs) * weights).sum(), given)
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_names_and_shapes_are_those_of_the_authors_code(name):
    entry = registry("method").get(name)
    with torch.device("meta"):
        network = entry.load()(**defaults(entry))
    lines = sorted(f"{key} {tuple(held.shape)}" for key, held in network.state_dict().items())
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == NAMES[name]
    assert sum(held.numel() for held in network.parameters()) == entry.fields["parameters"]
    assert network.upscale == entry.fields.get("scale", 1)


@pytest.mark.parametrize("name", SIZES)
def test_it_gives_what_its_authors_code_gives_with_the_same_weights(name, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    method = build_method(make_official(name, tmp_path, normals), {}, None)
    method.load("cpu", "float64")
    with torch.inference_mode():
        output = method.restore(picture(*SIZES[name], 0.3))
    expected = GOLDEN[name]
    found = output[0].permute(1, 2, 0)[1::2, 1::2].numpy()
    assert np.abs(found - expected).max() < 1e-6 * np.abs(expected).max()


def test_float32_is_as_near_as_the_networks_condition_lets_it(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    method = build_method(make_official("mambair-x4", tmp_path, normals), {}, None)
    method.load("cpu", "float32")
    assert_float32_is_near(method, picture(*SIZES["mambair-x4"], 0.3))


def test_a_larger_image_is_restored_in_the_authors_pieces():
    network, image = filled(**SMALL).double(), picture(203, 405, 0.3).double()
    output = network(image)
    assert output.shape == image.shape
    expected = GOLDEN["mambair|partition"]
    assert np.abs(output[0].permute(1, 2, 0)[1::7, 1::11].numpy() - expected).max() < 1e-6 * np.abs(expected).max()
    network.partition = 0
    assert float((network(image) - output).abs().max()) > 0.1


def test_pieces_tile_a_side_and_see_a_tenth_of_their_neighbours():
    assert cuts(200, 1) == [(0, 200, 0, 200)]
    assert cuts(410, 2) == [(0, 225, 0, 205), (185, 410, 20, 205)]
    assert cuts(402, 3) == [(0, 147, 0, 134), (121, 281, 13, 134), (255, 402, 13, 134)]


def test_in_half_precision_the_scan_runs_in_single():
    image = picture(12, 10, 0.3)
    exact, rough = filled(**SMALL)(image), filled(**SMALL).to(torch.bfloat16)(image.to(torch.bfloat16))
    assert rough.dtype == torch.bfloat16
    assert float((rough.float() - exact).abs().max()) < 0.05 * float(exact.abs().max())


def test_images_of_a_batch_do_not_mix_and_one_pixel_is_enough():
    network = filled(**SMALL, upscale=2).double()
    images = torch.cat([picture(9, 14, 0.3), picture(9, 14, 0.3).flip(3) * 0.5]).double()
    together = network(images)
    for number in range(2):
        torch.testing.assert_close(together[number : number + 1], network(images[number : number + 1]))
    assert network(picture(1, 1).double()).shape == (1, 3, 2, 2)
    assert network(picture(201, 1).double()).shape == (1, 3, 402, 2)


def test_where_no_weights_are_published_it_says_so_and_takes_those_of_any_size(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    entry = registry("method").get("mambair")
    with pytest.raises(BenchError, match="none are published for these tasks: save a checkpoint of your own"):
        build_method(entry, {}, None).load("cpu", "float32")
    path = tmp_path / entry.fields["weights"]["file"]
    path.parent.mkdir(parents=True)
    torch.save({"params": filled(**SMALL).state_dict()}, path)
    method = build_method(entry, SMALL, None)
    method.load("cpu", "float32")
    torch.testing.assert_close(method.restore(picture(9, 7)), filled(**SMALL)(picture(9, 7)))
    with pytest.raises(BenchError, match="does not fit MambaIR: missing layers"):
        build_method(entry, {**SMALL, "depth": 2}, None).load("cpu", "float32")
    named = {**entry.fields, "options": {**entry.fields["options"], "partition": 100}}
    assert build_method(Entry("mambair", "method", named, ""), {}, None).identity() != method.identity()
