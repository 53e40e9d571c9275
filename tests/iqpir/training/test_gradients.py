"""What each loss teaches, tensor by tensor, with the parts that a stage really lets learn; and that held-out losses
fall, whatever the seed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from iqpir.checkpoint import save_checkpoint
from iqpir.network.autoencoder import VQAutoEncoder
from iqpir.network.config import AutoEncoderConfig
from iqpir.training import losses
from iqpir.training.batch_loading import training_loader
from iqpir.training.engine import HELD_OUT_SEED, train
from iqpir.training.settings import AutoencoderSettings, Common, RestorerSettings
from iqpir.training.stage_data import collate, paired
from iqpir.training.stages import RestorerStage, make_stage

NETWORK: dict[str, Any] = {
    "image_size": 32,
    "channels": 8,
    "groups": 4,
    "multipliers": [1, 2],
    "blocks": 1,
    "attention_sizes": [16],
    "latent_channels": 16,
    "codebook": 16,
    "hq_codebook": 16,
}  # fmt: skip
RESTORER = {**NETWORK, "connect": [32]}
PARTS = (
    "encoder", "score_embed", "feat_emb", "position_emb", "ft_layers", "idx_pred_layer",
    "quantize", "quantize_aesthetic", "generator",
)  # fmt: skip


@pytest.fixture(scope="module")
def stage_1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = VQAutoEncoder(AutoEncoderConfig(**NETWORK))
    with torch.no_grad():  # codes of the latent's size: they matter in the output
        for book in (network.quantize, network.quantize_aesthetic):
            book.embedding.weight.normal_()
    path = tmp_path_factory.mktemp("stage-1") / "autoencoder.safetensors"
    save_checkpoint(network, path)
    return path


def energy(images: Tensor) -> Tensor:
    return images.square().mean(dim=(1, 2, 3))


def restorer(stage_1: Path, **changes: Any) -> RestorerStage:
    """As the authors train it: everything learns but the generator, the codebooks by name only."""
    given = {
        "autoencoder": str(stage_1), "network": "small", "changes": {"width": 16, "heads": 2, "layers": 2, "mlp": 32},
        "train": [part for part in PARTS if part != "generator"], "quality": 0.1, "quality_prior": "a metric",
        **changes,
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(losses, "named_quality", lambda name, device: energy)
        stage = make_stage(RestorerSettings.from_dict(given), stage_1.parent)
    assert isinstance(stage, RestorerStage)
    with torch.no_grad():
        stage.averaged.position_emb.normal_(generator=torch.Generator().manual_seed(3))
    return stage


def gradients(stage: RestorerStage, loss: str) -> dict[str, Tensor]:
    """Those that are there and not zero, by tensor. Every score bin is asked for."""
    draw = torch.Generator().manual_seed(1)
    gt, lq = (torch.rand(10, 3, 32, 32, generator=draw) * 2 - 1 for _ in range(2))
    batch = {"gt": gt, "lq": lq, "score": torch.arange(10) / 10, "index": torch.arange(10)}
    stage.averaged.zero_grad(set_to_none=True)
    stage.losses("network", batch, 0)[loss].backward()
    found = {name: each.grad for name, each in stage.averaged.named_parameters() if each.grad is not None}
    return {name: grad for name, grad in found.items() if bool(grad.abs().sum() > 0)}


CONDITIONED = {"encoder", "score_embed"}
TRANSFORMER = {"feat_emb", "position_emb", "ft_layers", "idx_pred_layer"}
REACH = {
    ("quality", "ste"): CONDITIONED,
    ("quality", "soft"): CONDITIONED | TRANSFORMER,
    ("quality", "gumbel"): CONDITIONED | TRANSFORMER,
    ("feature", "ste"): CONDITIONED,
    ("index", "ste"): CONDITIONED | TRANSFORMER,
    ("total", "ste"): CONDITIONED | TRANSFORMER,
}
"""The table that was measured with the authors' network, and the two ways that make the quality teach the transformer.
Codebooks and generator learn nothing in any."""


@pytest.mark.parametrize(("loss", "grad"), list(REACH))
def test_each_loss_reaches_every_tensor_of_its_parts_and_no_other(stage_1, loss, grad):
    stage = restorer(stage_1, quality_grad=grad)
    found = gradients(stage, loss)
    assert {name.split(".")[0] for name in found} == REACH[loss, grad]
    parameters = dict(stage.averaged.named_parameters())
    expected = {name for name in parameters if name.split(".")[0] in REACH[loss, grad]}
    # Attention takes no notice of its keys' bias.
    assert {name for name in expected - found.keys() if not name.endswith(".k.bias")} == set()


def test_the_quality_term_is_added_with_its_weight(stage_1):
    total = {}
    for weight in (0.1, 0.3):
        stage = restorer(stage_1, quality=weight, quality_grad="soft")
        total[weight], quality = gradients(stage, "total"), gradients(stage, "quality")
    for name in ("encoder.blocks.0.weight", "ft_layers.1.linear1.weight"):
        found = total[0.3][name] - total[0.1][name]
        torch.testing.assert_close(found, 0.2 * quality[name], rtol=1e-3, atol=1e-6)


def autoencoder(folder: Path, **changes: Any) -> AutoencoderSettings:
    data = {"source": str(folder), "flawed": 0.5, "workers": 0}
    return AutoencoderSettings.from_dict({"changes": RESTORER, "data": data, "batch": 4, "ema": 0.0, **changes})


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(6):
        rough = np.random.default_rng(seed).integers(30, 220, (5, 5, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / f"{seed}.png"), cv2.resize(rough, (48, 48), interpolation=cv2.INTER_CUBIC))
    return folder


def test_beta_in_the_settings_weighs_the_term_that_it_names(photographs, tmp_path):
    """The commitment as printed, the codebook in the authors' code: their codebook gets β = ¼ of the gradient."""
    batch = {"gt": torch.rand(2, 3, 32, 32) * 2 - 1, "score": torch.tensor([0.95, 0.5]), "index": torch.arange(2)}
    found: dict[str, dict[str, Tensor]] = {}
    for beta_on in ("commitment", "codebook"):
        stage = make_stage(autoencoder(photographs, changes={**RESTORER, "beta_on": beta_on}, l1=0.0), tmp_path)
        stage.losses("network", batch, 0)["total"].backward()
        found[beta_on] = {name: each.grad for name, each in stage.averaged.named_parameters() if each.grad is not None}
    for book in ("quantize", "quantize_aesthetic"):
        printed, authors = (found[on][f"{book}.embedding.weight"] for on in ("commitment", "codebook"))
        assert printed.abs().max() > 0
        torch.testing.assert_close(authors, 0.25 * printed)
    torch.testing.assert_close(
        found["commitment"]["encoder.blocks.0.weight"], 0.25 * found["codebook"]["encoder.blocks.0.weight"]
    )


def test_scores_at_the_threshold_or_below_give_the_hq_codebook_exactly_nothing(photographs, tmp_path):
    stage = make_stage(autoencoder(photographs), tmp_path)
    gt = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(2)) * 2 - 1
    weight = stage.averaged.quantize_aesthetic.embedding.weight

    def gradient(images: Tensor, scores: list[float]) -> Tensor:
        weight.grad = None
        batch = {"gt": images, "score": torch.tensor(scores), "index": torch.arange(len(images))}
        stage.losses("network", batch, 0)["total"].backward()
        assert weight.grad is not None
        return weight.grad

    assert not gradient(gt, [0.0, 0.5, 0.9]).any()
    # The mean is over the batch: beside two that are not HQ+, the third's gradient is a third of what it is alone.
    torch.testing.assert_close(gradient(gt, [0.0, 0.9, 0.901]), gradient(gt[2:], [0.901]) / 3)


# Learning


def held_out(stage: Any, settings: Common, degraded: bool) -> dict[str, float]:
    data = paired(settings.data, 32, degraded=degraded, seed_offset=HELD_OUT_SEED)
    (raw,) = training_loader(data, settings.held_out, 1, workers=0)
    with torch.no_grad():
        return stage.measures(collate(raw, settings.data, torch.device("cpu")))


@pytest.mark.parametrize("seed", range(8 if "BENCH_TEST_LONG" in os.environ else 2))
def test_the_held_out_losses_of_both_stages_fall(photographs, tmp_path, seed):
    """Stage 1: mean absolute error, by a third at least; stage 2: cross-entropy of the codes, by a fifth."""
    quick = {"steps": 60, "rate": 2e-3, "save_every": 60, "sample_every": 60, "held_out": 4, "seed": seed}
    first = autoencoder(photographs, **quick)
    first = AutoencoderSettings.from_dict({**first.as_dict(), "data": {**first.data.as_dict(), "seed": seed}})
    stage = make_stage(first, tmp_path)
    start = held_out(stage, first, degraded=False)["l1"]
    done = train(stage, tmp_path / "1")
    assert done.values["held-out l1"] < 2 / 3 * start
    second = RestorerSettings.from_dict(
        {
            "autoencoder": str(done.saved), "network": "small", "batch": 4, "ema": 0.0, **quick,
            "changes": {"width": 16, "heads": 2, "layers": 1, "mlp": 32},
            "data": {**first.data.as_dict(), "degradation": "low-light"},
        }
    )  # fmt: skip
    restoring = make_stage(second, tmp_path)
    start = held_out(restoring, second, degraded=True)["index"]
    end = train(restoring, tmp_path / "2").values["held-out index"]
    assert end < 4 / 5 * start
