"""The checkpoint that comes with the package: what it is, and that it does what its card says."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import bench
from bench.catalog.registry import registry
from bench.data import builtin
from bench.errors import BenchError
from bench.methods.build import build_method
from bench.tables.statistics import paired
from iqpir import preset
from iqpir.checkpoint import load_photo, read_checkpoint
from iqpir.cli import main
from iqpir.errors import IQPIRError
from iqpir.image_files import to_tensor
from iqpir.network.model import IQPIR
from iqpir.network.photo import PhotoConfig, PhotoIQPIR
from iqpir.training.degrade.radiance import Tone, count, exposure, radiance
from iqpir.weights import shipped

FILE = shipped("iqpir-tiny")
CLASSICAL = (
    "auto-exposure", "auto-exposure-shoulder", "gamma", "clahe", "agcwd", "msr", "gray-world", "underwater-fusion",
    "nlm", "unsharp",
)  # fmt: skip
"""The quickstart's."""


@pytest.fixture(scope="module")
def network() -> PhotoIQPIR:
    assert FILE is not None
    return load_photo(FILE)


@cache
def photographs(kind: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """LQ and GT of a built-in set, [1,3,H,W] in [0,1]."""
    items = getattr(builtin, kind)(f"builtin-{kind}", None, side=256).items
    return [(to_tensor(item.lq.load())[None], to_tensor(item.gt.load())[None]) for item in items]


@cache
def restored(network: PhotoIQPIR, kind: str, score: float) -> list[torch.Tensor]:
    return [network.restore(lq, score) for lq, _ in photographs(kind)]


def psnr(image: torch.Tensor, target: torch.Tensor) -> float:
    return float(-10 * torch.log10((image - target).square().mean()))


def test_it_is_small_and_says_what_it_is(network: PhotoIQPIR):
    assert FILE is not None and FILE.stat().st_size <= 10e6
    checkpoint = read_checkpoint(FILE)
    assert isinstance(checkpoint.config, PhotoConfig)
    count_of = sum(tensor.numel() for tensor in checkpoint.state.values())
    assert registry("method").get("iqpir-tiny").fields["parameters"] == count_of
    assert network.config.codes and network.config.core.dual and network.config.core.conditioning == "add"
    assert FILE.with_suffix(".md").is_file()
    assert shipped("iqpir-huge") is None
    with pytest.raises(IQPIRError, match="iqpir-tinny: there is no such file; did you mean 'iqpir-tiny'"):
        read_checkpoint("iqpir-tinny")
    there = "iat-finetuned, iat-plus, iqpir-tiny, iqpir-tiny-quality, rar-tiny"
    with pytest.raises(IQPIRError, match=rf"my\.pth: there is no such file \({there} come along\)"):
        read_checkpoint("my.pth")


def test_it_needs_nothing_and_its_weights_are_its_identity():
    method = build_method(registry("method").get("iqpir-tiny"), {}, None)
    assert method.assets() == [] and method.unavailable() is None
    other = build_method(registry("method").get("iqpir-tiny"), {"score": 0.1}, None)
    assert method.identity()["weights"] == other.identity()["weights"] and method.identity() != other.identity()


def test_an_option_without_effect_is_refused_in_a_suite_as_on_the_command_line():
    entry = registry("method").get("iqpir-tiny")
    with pytest.raises(BenchError, match=r"'adain' has no effect on .*iqpir-tiny.*, a network for photographs"):
        build_method(entry, {"adain": True}, None)
    for options in ({"adain": False}, {}):
        build_method(entry, options, None)
    one_book = IQPIR(replace(preset("tiny"), hq_codebook=0, connect=()))
    for option, value in (("alpha", 0.5), ("fidelity", 0.5)):
        method = build_method(entry, {option: value}, None)
        method.network = lambda: one_book
        with pytest.raises(BenchError, match=f"'{option}' has no effect on .*iqpir-tiny"):
            method.load("cpu", "float32")


def test_the_command_uses_it_as_the_catalogue_does_unless_it_is_told_otherwise(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 80, (70, 90, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "dark.png")
    method = build_method(registry("method").get("iqpir-tiny"), {}, None)
    method.load("cpu", "float32")
    images = []
    for place, options in enumerate(([], ["--score", "0.1"])):
        target = str(tmp_path / f"{place}.png")
        with pytest.raises(SystemExit) as ended:
            main(["restore", str(tmp_path / "dark.png"), target, "--weights", "iqpir-tiny", *options])
        assert ended.value.code == 0
        images.append(np.asarray(Image.open(target)).astype(int))
    expected = (method.restore(to_tensor(pixels)[None])[0].permute(1, 2, 0) * 255).round().numpy()
    assert np.abs(images[0] - expected).max() <= 1
    assert np.abs(images[1] - expected).max() > 10


@pytest.mark.parametrize("kind", ["lowlight", "lowlight_headroom", "underwater"])
def test_the_score_says_how_much_is_restored(network: PhotoIQPIR, kind: str):
    """The more is asked, the nearer to the photograph, on average over six."""
    pairs = photographs(kind)
    means = [
        np.mean([psnr(image, gt) for image, (_, gt) in zip(restored(network, kind, score), pairs, strict=True)])
        for score in (0.1, 0.5, 0.9)
    ]
    assert (np.diff(means) > 0).all(), means
    inputs = np.mean([psnr(lq, gt) for lq, gt in pairs])
    assert means[-1] - inputs > 2


def test_clipped_highlights_change_little(network: PhotoIQPIR):
    """A network that reads the exposure off the brightest pixel is lost where a lamp is brighter than the white."""
    differences = []
    for place, (_, gt) in enumerate(photographs("lowlight")):
        rng = np.random.default_rng(place)
        light = radiance(gt[0].permute(1, 2, 0).numpy(), rng)
        gain = exposure(light, 0.44, Tone())
        target = to_tensor((Tone()(light * np.float32(gain)) * 255).round().astype(np.uint8))[None]
        found = []
        for seen in (light, np.minimum(light, 1 / gain)):  # with what is above the target's white, and without it
            dark = Tone()(count(seen * np.float32(gain / 8), 1e-4, 5e-4, np.random.default_rng(place)))
            given = to_tensor((dark * 255).round().astype(np.uint8))[None]
            found.append(psnr(network.restore(given, 0.9), target))
        differences.append(abs(found[0] - found[1]))
    assert np.mean(differences) < 1, differences


def test_no_pattern_of_four_pixels_is_left_in_the_image(network: PhotoIQPIR):
    """Energy at a period of four pixels beside that of its neighbours; of photographs it is 1."""
    for kind in ("lowlight", "underwater"):
        ratios = []
        for image in restored(network, kind, 0.9):
            luma = image[0].mean(dim=0).numpy()
            for lines in (luma, luma.T):
                steps = np.diff(lines, axis=1)
                steps = steps[:, : steps.shape[1] // 8 * 8]
                power = (np.abs(np.fft.rfft(steps * np.hanning(steps.shape[1]), axis=1)) ** 2).mean(axis=0)
                at = steps.shape[1] // 4
                near = np.concatenate([power[at - 6 : at - 2], power[at + 3 : at + 7]]).mean()
                ratios.append(power[at - 1 : at + 2].mean() / near)
        assert np.mean(ratios) < 1.1, kind


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (200, 40, 90)])
def test_flat_images_stay_flat_and_finite(network: PhotoIQPIR, colour: tuple[int, int, int]):
    image = (torch.tensor(colour).view(1, 3, 1, 1) / 255).expand(1, 3, 60, 80)
    restored = network.restore(image, 0.9)
    assert bool(torch.isfinite(restored).all())
    inner = restored[..., 8:-8, 8:-8]
    assert float(inner.std(dim=(2, 3)).max()) < 0.05


def test_it_does_what_its_card_says_against_every_classical_method(tmp_path: Path):
    """In low light it is ahead of each in PSNR, and of the best in SSIM beyond doubt, by the exact test."""
    suite = {
        "schema": 1,
        "datasets": ["builtin-lowlight"],
        "methods": ["iqpir-tiny", *CLASSICAL],
        "metrics": ["psnr", "ssim"],
    }
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite))
    bench.run(str(tmp_path / "suite.yaml"), results=str(tmp_path / "results"))
    frame = bench.load_results(str(tmp_path / "results"))
    for metric, rows in frame.groupby("metric"):
        values = {name: each.sort_values("item")["value"].tolist() for name, each in rows.groupby("method")}
        assert {len(each) for each in values.values()} == {6} and len(values) == 1 + len(CLASSICAL)
        assert all(paired(values[name], values["iqpir-tiny"]).difference > 0 for name in CLASSICAL), metric
        best = max(CLASSICAL, key=lambda name: sum(values[name]))
        assert metric == "psnr" or paired(values[best], values["iqpir-tiny"]).p_randomisation < 0.05, best
