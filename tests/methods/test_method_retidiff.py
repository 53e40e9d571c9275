"""Reti-Diff: against its authors' code on the same weights and noise, its seeds, the sizes of the official tests.

`networks_normals.npz` holds an output of the authors' code in double precision for the weights of `normals` and a
picture of waves, padded by their test, its noise given; and their decomposition, with the published weights, of a
part of a photograph. Some of the pixels, HWC.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from support.networks import LEVEL, picture
from support.normals import normals
from support.rounding import exactly

from bench.catalog.registry import Entry, registry
from bench.errors import BenchError
from bench.methods.build import build_method
from bench.methods.networks import retidiff
from bench.methods.networks.retidiff import RetiDiff, posterior, resized, starts

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "networks_normals.npz")
MIRROR = os.environ.get("BENCH_TEST_MIRROR")
NAMES = ["reti-diff-lol-v1", "reti-diff-lol-v2-real", "reti-diff-lol-v2-syn", "reti-diff-uieb", "reti-diff-baid"]
SMALL = {"width": 8, "blocks": 1}
TABLES = ("betas", "alphas_cumprod", "posterior_mean_coef1")


def filled(**options) -> RetiDiff:
    network = RetiDiff(**options).eval()
    network.load_state_dict(
        {
            name: normals(name.removeprefix("decomposition."), tuple(held.shape))
            for name, held in network.state_dict().items()
        }
    )
    return network.requires_grad_(False)


def published(name: str, home: Path, **sizes) -> Entry:
    """An entry of a small network with files of its own, laid out as the official ones: more in them than is used."""
    network = filled(**SMALL)
    entry = registry("method").get(name)
    whole = {key: held for key, held in network.state_dict().items() if not key.startswith("decomposition.")}
    for which in ("img", "rex"):
        for part, module in (("model", "denoise"), ("condition", "condition")):
            held = getattr(network, f"{which}_{module}").state_dict()
            whole |= {f"{which}_diffusion.{part}.{key}": value for key, value in held.items()}
        whole |= {f"{which}_diffusion.{table}": torch.zeros(4) for table in TABLES}
    whole["G.decom.decom.0.weight"] = torch.zeros(8, 8, 3, 3)
    contents = [network.decomposition.state_dict(), {"params": {}, "params_ema": whole}]
    files = []
    for file, content in zip(entry.fields["weights"], contents, strict=True):
        path = home / file["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, path)
        files.append({**file, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
    options = {**entry.fields.get("options", {}), **SMALL, **sizes}
    return Entry(name, "method", {**entry.fields, "weights": files, "options": options}, entry.origin)


@pytest.fixture
def method(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    made = build_method(published("reti-diff-lol-v1", tmp_path), {}, None)
    made.load("cpu", "float32")
    return made


def restored(method, images, *seeds):
    with torch.inference_mode():
        return method.restore(images, torch.tensor(seeds))


def test_names_and_shapes_are_those_of_the_authors_code():
    with torch.device("meta"):
        state = RetiDiff().state_dict()
    lines = sorted(f"{key} {tuple(held.shape)}" for key, held in state.items() if not key.startswith("decomposition."))
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == "c123b92b66484ee6"
    assert registry("method").get("reti-diff-uieb").fields["parameters"] == 26107831 + 20548


def test_it_gives_what_its_authors_code_gives_with_the_same_weights_and_noise(monkeypatch):
    noise = torch.tensor(np.sin(np.arange(512) * 0.7).reshape(2, 1, 256) * 1.5, dtype=torch.float32)
    monkeypatch.setattr(retidiff, "starts", lambda batch, seeds: noise)
    network, expected = filled(), GOLDEN["reti-diff"]
    small = picture(17, 22, 0.3)
    with torch.inference_mode():
        exact, limit = exactly(network, small, lambda network, images: network(images))
        assert float((network(small) - exact).abs().max()) <= limit < LEVEL
        found = network.double()(picture(37, 51, 0.3).double())
    assert found.shape == (1, 3, 37, 51)
    assert np.abs(found[0].permute(1, 2, 0)[1::3, 1::3].numpy() - expected).max() < 1e-6 * np.abs(expected).max()


def test_a_step_back_takes_the_mean_of_the_posterior():
    """Two variances by hand: β₁ = 0.1, and β₄ = 0.99, whose signal is all but gone."""
    weights = posterior()
    assert weights[0] == pytest.approx((1, 0), abs=1e-15)
    roots = np.linspace(np.sqrt(0.1), np.sqrt(0.99), 4)
    kept = np.cumprod(1 - roots**2)
    guess = np.sqrt(kept[2]) * roots[3] ** 2 / (1 - kept[3])
    noisy = np.sqrt(1 - roots[3] ** 2) * (1 - kept[2]) / (1 - kept[3])
    assert weights[3] == pytest.approx((guess, noisy), rel=1e-12)


def test_an_images_seed_decides_its_output_in_any_company(method):
    method.load("cpu", "float64")
    images = torch.cat([picture(17, 22, 0.3), picture(17, 22, 0.2).flip(2)])
    together = restored(method, images, 5, 6)
    assert torch.equal(together, restored(method, images, 5, 6))
    torch.testing.assert_close(together[1:], restored(method, images[1:], 6), atol=1e-6, rtol=0)
    assert float((restored(method, images, 6, 6)[0] - together[0]).abs().max()) > 1e-3
    assert torch.equal(starts(1, torch.tensor([6]))[:, 0], starts(2, torch.tensor([5, 6]))[:, 1])
    assert method.stochastic and method.quantise == "round"


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 3), (8, 16), (9, 31)])
def test_any_size_is_padded_to_multiples_of_8_and_comes_back(method, height, width):
    image = picture(height, width, 0.3)
    output = restored(method, image, 1)
    assert output.shape == image.shape and bool(output.isfinite().all())
    if (height, width) == (9, 31):
        padded = torch.from_numpy(np.pad(image.numpy(), ((0, 0), (0, 0), (0, 7), (0, 1)), mode="reflect"))
        torch.testing.assert_close(output, restored(method, padded, 1)[..., :9, :31])


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_black_and_white_stay_finite(method, level):
    assert bool(restored(method, torch.full((1, 3, 16, 16), level), 1).isfinite().all())


def test_the_resizing_of_the_official_tests_is_opencvs():
    image = picture(40, 61, 0.4)
    expected = cv2.resize(image[0].permute(1, 2, 0).numpy(), (32, 24), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_allclose(resized(image, 24, 32)[0].permute(1, 2, 0).numpy(), expected, atol=1e-5)
    assert resized(image, 40, 61) is image


def test_official_tests_restore_at_sizes_of_their_own(tmp_path, monkeypatch):
    plain, square, limited = RetiDiff(**SMALL), RetiDiff(side=256, **SMALL), RetiDiff(longest=2048, **SMALL)
    assert plain.working_size(900, 3000) == (900, 3000)
    assert square.working_size(900, 3000) == (256, 256)
    # int(h · 2048 / w) where a side is longer than 2048; the longer becomes 2048.
    assert limited.working_size(900, 3000) == (614, 2048) and limited.working_size(3001, 3000) == (2048, 2047)
    assert limited.working_size(2048, 17) == (2048, 17)
    options = {name: build_method(registry("method").get(name), {}, None)._options for name in NAMES}
    assert [options[name].get("side") for name in NAMES] == [None, None, None, 256, 0]
    assert options["reti-diff-baid"]["longest"] == 2048

    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    image = picture(21, 34, 0.3)
    method = build_method(published("reti-diff-uieb", tmp_path, side=24), {}, None)
    method.load("cpu", "float32")
    own = filled(**SMALL)(resized(image, 24, 24), torch.tensor([3]))
    torch.testing.assert_close(restored(method, image, 3), resized(own, 21, 34), atol=1e-5, rtol=1e-5)


def test_a_file_that_lacks_what_is_used_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    entry = published("reti-diff-lol-v1", tmp_path)
    path = tmp_path / entry.fields["weights"][1]["file"]
    content = torch.load(path, weights_only=True)
    del content["params_ema"]["rex_denoise.resmlp.0.weight"]
    torch.save(content, path)
    entry.fields["weights"][1]["sha256"] = None
    with pytest.raises(BenchError, match=r"does not fit RetiDiff: missing rex_denoise.resmlp.0.weight$"):
        build_method(entry, {}, None).load("cpu", "float32")


def test_every_variant_names_its_files_and_how_to_get_them():
    for name in NAMES:
        decomposition, other = build_method(registry("method").get(name), {}, None).assets()
        assert decomposition.sha256 and decomposition.url and other.url is None
        assert Path(other.file).name in str(other.instructions) and f"bench fetch {name} --pin" in str(
            other.instructions
        )


@pytest.mark.skipif(not MIRROR, reason="BENCH_TEST_MIRROR names no folder of official files")
def test_the_published_decomposition_fits_and_gives_what_its_authors_code_gives(monkeypatch):
    from PIL import Image

    from bench.methods.weights import Layout, read_weights

    monkeypatch.setenv("BENCH_HOME", str(MIRROR))
    entry = registry("method").get("reti-diff-lol-v1")
    asset = build_method(entry, {}, None).assets()[0]
    assert asset.verify().status == "verified" and asset.path.stat().st_size == asset.bytes
    state = Layout.from_fields("", entry.fields["weights"][0]).select(read_weights(asset.path), asset.path)
    network = RetiDiff(**SMALL)
    network.decomposition.load_state_dict({key.removeprefix("decomposition."): held for key, held in state.items()})
    photo = np.asarray(Image.open(Path(str(MIRROR)) / "data/sice/low/0002.jpg").convert("RGB"), dtype=np.float32) / 255
    image = torch.from_numpy(photo[100:196, 60:188]).permute(2, 0, 1)[None]
    with torch.inference_mode():
        reflectance, illumination = network.decomposition(image)
    found = torch.cat([reflectance, illumination], dim=1)[0].permute(1, 2, 0)[3::16, 3::16].numpy()
    np.testing.assert_allclose(found, GOLDEN["reti-diff|decomposition"], atol=1e-5)
    assert float((reflectance * illumination - image).abs().mean()) < 0.02  # what it is for
