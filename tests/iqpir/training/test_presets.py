"""Named settings: that every one of them can be trained by, and what the tasks' quality priors are made of."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from iqpir.checkpoint import save_checkpoint
from iqpir.errors import IQPIRError
from iqpir.network.autoencoder import VQAutoEncoder
from iqpir.network.config import AutoEncoderConfig, IQPIRConfig
from iqpir.training import losses
from iqpir.training.degrade import Scene, degradation
from iqpir.training.degrade.scene import KINDS
from iqpir.training.presets import PRESETS
from iqpir.training.settings import AutoencoderSettings, FidelitySettings, RestorerSettings, load
from iqpir.training.stages import _restorer_config, make_stage

TASKS = {"face": None, "lowlight": "dark", "underwater": "water", "backlit": "backlit"}
"""By preset, which scenes it takes; None: none, the degradation has its name."""
CPU = torch.device("cpu")


def loaded(tmp_path: Path, stage: str, name: str):
    named = {"preset": name, "autoencoder": "a.safetensors", "restorer": "r.safetensors"}
    kept = {"autoencoder": ("preset",), "restorer": ("preset", "autoencoder"), "fidelity": tuple(named)}[stage]
    path = tmp_path / "stage.yaml"
    path.write_text(yaml.safe_dump({key: named[key] for key in kept}))
    return load(stage, path)


@pytest.mark.parametrize("name", [*TASKS, "paper", "authors"])
def test_the_stages_of_a_preset_fit_together(name, tmp_path):
    first, second = loaded(tmp_path, "autoencoder", name), loaded(tmp_path, "restorer", name)
    assert isinstance(first, AutoencoderSettings) and isinstance(second, RestorerSettings)
    names = set(AutoEncoderConfig.__dataclass_fields__)
    stage_1 = AutoEncoderConfig(**{key: value for key, value in first.config().as_dict().items() if key in names})
    config = _restorer_config(second, stage_1)
    assert isinstance(config, IQPIRConfig) and config.latent_size == 16 and config.connect == (32, 64, 128, 256)
    degradation(second.data.degradation)
    if name != "paper":
        degradation(loaded(tmp_path, "fidelity", name).data.degradation)


@pytest.mark.parametrize("name", list(TASKS))
def test_every_task_has_its_degradation_and_its_prior(name, tmp_path):
    assert all(name in PRESETS[stage] for stage in ("autoencoder", "restorer", "fidelity"))
    second, third = loaded(tmp_path, "restorer", name), loaded(tmp_path, "fidelity", name)
    assert isinstance(second, RestorerSettings) and isinstance(third, FidelitySettings)
    assert second.data.degradation == third.data.degradation
    made = degradation(second.data.degradation)
    if TASKS[name] is None:
        assert second.data.degradation == name
    else:
        assert isinstance(made, Scene) and made.top == 1
        assert [kind for kind, share in zip(KINDS, made.shares, strict=True) if share] == [TASKS[name]]
    assert second.quality == 0.1 and second.quality_grad == "soft"
    if name != "face":
        assert second.quality_prior == ("musiq", "clipiqa", "brisque")
        assert third.fidelity == 1.0 and not third.detach_skips and "fuse_convs_dict" in third.train


@pytest.mark.parametrize("name", ["lowlight", "underwater", "backlit"])
def test_the_recipes_in_the_repository_can_be_read(name, tmp_path):
    recipe = Path(__file__).parents[3] / "configs" / f"{name}.yaml"
    for stage in ("autoencoder", "restorer", "fidelity"):
        settings = load(stage, recipe, tmp_path)
        assert settings.data.lq == str(recipe.parent / "../data/train/lq")
        assert settings.data.scores.endswith("scores.csv") and settings.precision == "auto"


def test_a_recipes_own_quality_network_takes_the_place_of_the_presets(tmp_path):
    path = tmp_path / "mine.yaml"
    sections = {"common": {"preset": "lowlight"}, "quality": {"steps": 2}, "autoencoder": {}, "restorer": {}}
    path.write_text(yaml.safe_dump(sections))
    second = load("restorer", path, tmp_path / "runs")
    assert second.quality_prior == (str(tmp_path / "runs/quality/quality.safetensors"),)
    path.write_text(yaml.safe_dump({**sections, "restorer": {"quality_prior": ["musiq", "own.safetensors"]}}))
    assert load("restorer", path, tmp_path / "runs").quality_prior == ("musiq", str(tmp_path / "own.safetensors"))


# Priors


def bright(images):
    return images.mean(dim=(1, 2, 3))


def rounded(images):
    return ((images * 255).round() / 255).mean(dim=(1, 2, 3))


def upside_down(images):
    """Darker is better, and the gradient says brighter."""
    return bright(images) - 2 * bright(images).detach()


FOUND = {"bright": bright, "rounded": rounded, "upside-down": upside_down, "high": lambda x: 3 + bright(x),
         "cut": lambda x: bright(x).detach()}  # fmt: skip


@pytest.fixture
def priors(monkeypatch):
    monkeypatch.setattr(losses, "named_quality", lambda name, device: FOUND[name])


@pytest.mark.parametrize(
    "name, climbed", [("bright", True), ("rounded", False), ("upside-down", False), ("cut", False)]
)
def test_a_prior_climbs_where_its_gradient_leads_upwards(name, climbed):
    assert losses.climbs(FOUND[name], CPU, 32) is climbed


def test_several_priors_are_their_mean_held_below_one(priors):
    images = torch.full((2, 3, 16, 16), 0.25)
    images[1] = 0.75
    quality, flat = losses.ensemble_quality(["bright", "high", "rounded"], CPU, 16)
    # (0.25 + 1 + 64/255) / 3; 0.25 · 255 = 63.75 and 0.75 · 255 = 191.25.
    expected = torch.tensor([(0.25 + 1 + 64 / 255) / 3, (0.75 + 1 + 191 / 255) / 3])
    torch.testing.assert_close(quality(images), expected)
    assert flat == ["rounded"]
    alone, _ = losses.ensemble_quality(["high"], CPU, 16)
    torch.testing.assert_close(alone(images), torch.tensor([3.25, 3.75]))
    with pytest.raises(IQPIRError, match="quality_prior: rounded, cut: no gradient raises it"):
        losses.ensemble_quality(["rounded", "cut"], CPU, 16)


def test_a_metric_for_which_lower_is_better_is_turned_over(monkeypatch):
    class Worse(torch.nn.Module):
        score_range, lower_better = "~0, ~150", True

        def forward(self, images):
            return 30 * torch.ones(len(images), 1)

    made = SimpleNamespace(create_metric=lambda name, as_loss, device: Worse())
    monkeypatch.setitem(sys.modules, "pyiqa", made)
    torch.testing.assert_close(losses.named_quality("brisque", CPU)(torch.zeros(2, 3, 8, 8)), torch.full((2,), 0.8))


def test_a_member_that_cannot_be_climbed_is_told_of_at_the_start(priors, tmp_path):
    config = {"image_size": 32, "channels": 8, "groups": 8, "multipliers": (1, 2), "blocks": 1, "attention_sizes": (),
              "latent_channels": 16, "codebook": 16, "hq_codebook": 16}  # fmt: skip
    save_checkpoint(VQAutoEncoder(AutoEncoderConfig(**config)), tmp_path / "a.safetensors")
    given = {
        "autoencoder": str(tmp_path / "a.safetensors"), "network": "small", "quality": 0.1,
        "quality_prior": ["bright", "rounded"],
    }  # fmt: skip
    stage = make_stage(RestorerSettings.from_dict(given), tmp_path)
    assert stage.notes == ["quality_prior: no gradient raises rounded: training climbs the others"]
    assert not make_stage(RestorerSettings.from_dict({**given, "quality_prior": "bright"}), tmp_path).notes
