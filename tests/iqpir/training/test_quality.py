"""The small quality network: its targets, its training, and the file it becomes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from iqpir.cli import group
from iqpir.errors import ImageFailure, IQPIRError
from iqpir.quality.scorers import load_scorer
from iqpir.quality.tiny import TinyQuality
from iqpir.training.crop_dataset import Flaw, TrainingImages
from iqpir.training.quality import (
    DISTORTIONS,
    DistortedImages,
    Distortion,
    QualitySettings,
    agreement,
    distort,
    draw_distortion,
    quality,
    similarity,
    train_quality,
)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Images with detail at several scales."""
    home = tmp_path / "images"
    home.mkdir()
    rng = np.random.default_rng(0)
    for place in range(4):
        coarse = rng.integers(20, 236, (6, 6, 3)).astype(np.uint8)
        fine = np.asarray(Image.fromarray(coarse).resize((72, 72), Image.Resampling.BICUBIC)).astype(int)
        fine = fine + 60 * (np.indices((72, 72)).sum(axis=0) // 3 % 2)[:, :, None] - 30
        Image.fromarray(fine.clip(0, 255).astype(np.uint8)).save(home / f"{place}.png")
    return home


def test_similarity_of_one_scale_is_that_of_scikit_image():
    from skimage.metrics import structural_similarity

    rng = np.random.default_rng(0)
    gray = rng.random((48, 48)).repeat(8, axis=0).repeat(8, axis=1)
    noisy = np.clip(gray + 0.2 * rng.standard_normal(gray.shape), 0, 1)
    ours = similarity(*(torch.tensor(each, dtype=torch.float32).expand(1, 3, -1, -1) for each in (noisy, gray)))
    scales = []
    for step in (1, 2, 4):
        x, y = (each.reshape(384 // step, step, 384 // step, step).mean(axis=(1, 3)) for each in (noisy, gray))
        _, full = structural_similarity(
            x, y, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
        )
        scales.append(full[5:-5, 5:-5].mean())
    assert ours.item() == pytest.approx(np.mean(scales), abs=1e-4)


def test_quality_falls_with_every_distortion_and_is_one_without(folder):
    image = TrainingImages(folder, crop=64, count=4)[0]["gt"]
    rng = np.random.default_rng(0)
    assert quality(image[None], image[None]).item() == 1
    for steps in (
        [Distortion(1.0, Flaw(sigma, 0.0, 100.0)) for sigma in (0.5, 1.0, 2.0)],
        [Distortion(1.0, Flaw(0.0, noise, 100.0)) for noise in (3.0, 12.0, 40.0)],
        [Distortion(1.0, Flaw(0.0, 0.0, q)) for q in (90.0, 40.0, 8.0)],
        [Distortion(ratio, Flaw(0.0, 0.0, 100.0)) for ratio in (1.5, 3.0, 6.0)],
    ):
        values = [quality(distort(image, step, rng)[None], image[None]).item() for step in steps]
        assert 1 > values[0] > values[1] > values[2] > 0


def test_a_tenth_of_the_draws_is_left_alone_and_kinds_can_be_asked_for():
    rng = np.random.default_rng(0)
    none = Distortion(1.0, Flaw(0.0, 0.0, 100.0))
    untouched = np.mean([draw_distortion(rng) == none for _ in range(3000)])
    assert abs(untouched - 0.1) < 0.03
    for kind in DISTORTIONS:
        ratio, flaw = draw_distortion(rng, (kind,))
        changed = {"blur": flaw.blur > 0, "noise": flaw.noise > 0, "jpeg": flaw.quality < 100, "resize": ratio > 1}
        assert [name for name, happened in changed.items() if happened] == [kind]


def test_the_network_takes_any_size_and_a_batch_is_its_images():
    torch.manual_seed(0)
    network = TinyQuality()
    assert sum(weight.numel() for weight in network.parameters()) < 120_000
    images = torch.rand(3, 3, 40, 56)
    with torch.no_grad():
        together = network(images)
        assert together.shape == (3,)
        assert torch.allclose(together, torch.cat([network(image[None]) for image in images]), atol=1e-6)
        assert torch.isfinite(network(torch.zeros(1, 3, 32, 32))).all()


def test_training_learns_to_tell_and_repeats_itself(folder):
    settings = QualitySettings(source=str(folder), steps=50, batch=8, crop=64, rate=3e-3, workers=0)
    trained = train_quality(settings)
    brief = replace(settings, steps=3)
    assert train_quality(brief).errors == train_quality(brief).errors
    other = DistortedImages(TrainingImages(folder, crop=64, count=48, seed=9))
    with torch.no_grad():
        guesses = trained.network(torch.stack([other[index]["image"] for index in range(48)]))
    targets = torch.stack([other[index]["target"] for index in range(48)])
    assert torch.corrcoef(torch.stack([guesses, targets]))[0, 1] > 0.6


def test_agreement_is_that_of_ranks(folder):
    photographs = {"one": TrainingImages(folder, crop=64, count=4)[1]["gt"]}
    seen: list[float] = []

    def blind(images: torch.Tensor) -> torch.Tensor:
        """Knows the answer, and says it on a bent scale."""
        seen.append(quality(images, photographs["one"][None]).item())
        return torch.tensor([seen[-1] ** 3])

    same = agreement(blind, photographs, {"q": lambda x, y: quality(x[None], y[None]).item()}, levels=6)
    assert same["q"]["mean"] == pytest.approx(1)
    assert same["q"]["pooled"] == pytest.approx(1)
    assert set(same["q"]["each"]) == {*DISTORTIONS, "mixed"}
    against = agreement(blind, photographs, {"q": lambda x, y: -quality(x[None], y[None]).item()}, levels=6)
    assert against["q"]["mean"] == pytest.approx(-1)


def test_the_command_writes_a_member_of_the_prior(folder, tmp_path):
    config = tmp_path / "quality.yaml"
    config.write_text(f"source: {folder.name}\nsteps: 2\nbatch: 2\ncrop: 48\nworkers: 0\n")
    out = tmp_path / "out" / "mine.safetensors"
    result = CliRunner().invoke(group, ["train", "quality", str(config), "-o", str(out)], standalone_mode=False)
    assert result.exception is None, result.output
    assert "mean absolute error of the last 2 steps" in result.output
    assert out.stat().st_size < 1_000_000
    scorer = load_scorer(f"iqpir:{out}")
    scores = scorer(torch.rand(2, 3, 64, 48))
    assert scores.dtype == torch.float64
    assert ((scores > 0) & (scores < 1)).all()
    assert not scorer.lower_better
    with pytest.raises(ImageFailure, match="too small"):
        scorer(torch.rand(1, 3, 64, 16))


def test_wrong_files_and_settings_are_refused_in_one_line(tmp_path):
    with pytest.raises(IQPIRError, match="not known: iqpir:FILE"):
        load_scorer("iqpir:huge")
    with pytest.raises(IQPIRError, match="no such file"):
        load_scorer(f"iqpir:{tmp_path}/none.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nothing")
    with pytest.raises(IQPIRError, match="damaged"):
        load_scorer(f"iqpir:{broken}")
    config = tmp_path / "quality.yaml"
    config.write_text("stepps: 3\n")
    with pytest.raises(IQPIRError, match="did you mean 'steps'"):
        QualitySettings.load(config)
    config.write_text("crop: 8\n")
    with pytest.raises(IQPIRError, match="crop is 8"):
        QualitySettings.load(config)
