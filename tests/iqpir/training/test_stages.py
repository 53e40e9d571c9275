"""The three stages: what learns, what does not, and that a run taken up again is the run that was not interrupted."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from iqpir.checkpoint import load_autoencoder, load_restorer, save_checkpoint
from iqpir.errors import IQPIRError
from iqpir.network.autoencoder import VQAutoEncoder
from iqpir.network.config import AutoEncoderConfig
from iqpir.network.model import IQPIR
from iqpir.training import losses
from iqpir.training.codes import CodeCache, gt_codes
from iqpir.training.engine import train
from iqpir.training.settings import (
    AutoencoderSettings,
    Data,
    FidelitySettings,
    RestorerSettings,
    load,
)
from iqpir.training.stages import FidelityStage, RestorerStage, make_stage

NETWORK = {
    "image_size": 32, "channels": 8, "groups": 8, "multipliers": [1, 2], "blocks": 1, "attention_sizes": [],
    "latent_channels": 16, "codebook": 16, "hq_codebook": 16, "width": 16, "heads": 2, "layers": 1, "mlp": 32,
    "connect": [32],
}  # fmt: skip
QUICK = {"steps": 4, "batch": 2, "log_every": 1, "save_every": 2, "sample_every": 4, "held_out": 2}
DATA: dict[str, Any] = {"workers": 0, "degradation": "low-light", "flawed": 0.5}


@pytest.fixture(scope="module", autouse=True)
def photographs(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A folder of smooth small images: generated sheets take seconds to draw."""
    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(6):
        rough = np.random.default_rng(seed).integers(30, 220, (5, 5, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / f"{seed}.png"), cv2.resize(rough, (48, 48), interpolation=cv2.INTER_CUBIC))
    DATA["source"] = str(folder)


def autoencoder(**changes: Any) -> AutoencoderSettings:
    given = {"changes": NETWORK, "data": DATA, **QUICK, **changes}
    return AutoencoderSettings.from_dict(given)


@pytest.fixture(scope="module")
def stage_1(photographs: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stage-1")
    return train(make_stage(autoencoder(), folder), folder).saved


@pytest.fixture(scope="module")
def stage_2(stage_1: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stage-2")
    return train(make_stage(restorer(stage_1), folder), folder).saved


def restorer(stage_1: Path, **changes: Any) -> RestorerSettings:
    transformer = {"width": 16, "heads": 2, "layers": 1, "mlp": 32}
    given = {"autoencoder": str(stage_1), "changes": transformer, "data": DATA, **QUICK, **changes}
    return RestorerSettings.from_dict(given)


ADVERSARY = {"weight": 0.8, "start": 1, "channels": 4, "depth": 1}


@pytest.mark.parametrize("changes", [{}, {"adversary": ADVERSARY, "accumulate": 2, "schedule": "cosine", "warm_up": 1}])
def test_a_run_taken_up_again_ends_with_the_same_weights(tmp_path: Path, changes: dict[str, Any]) -> None:
    settings = autoencoder(**changes)
    whole, parts, again = (tmp_path / name for name in ("whole", "parts", "again"))
    train(make_stage(settings, whole), whole)
    train(make_stage(settings, again), again)
    train(make_stage(settings, parts), parts, steps=2)
    train(make_stage(settings, parts), parts)
    states = [load_file(folder / "state-4.safetensors") for folder in (whole, parts, again)]
    for other in states[1:]:
        assert other.keys() == states[0].keys()
        assert all(torch.equal(other[name], states[0][name]) for name in other)
    rows = [list(csv.DictReader((folder / "losses.csv").open())) for folder in (whole, parts)]
    assert rows[0] == rows[1] and [row["step"] for row in rows[0]] == ["1", "2", "3", "4"]
    assert (whole / "samples" / "00000004.png").is_file()


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    train(make_stage(autoencoder(), tmp_path), tmp_path, steps=1)
    with pytest.raises(IQPIRError, match="holds a run with another rate"):
        train(make_stage(autoencoder(rate=2e-4), tmp_path), tmp_path)


def test_stage_1_learns(tmp_path: Path) -> None:
    settings = autoencoder(steps=60, rate=2e-3, ema=0.0, save_every=60, log_every=60, batch=4, held_out=8)
    before = make_stage(settings, tmp_path)
    batch = next(iter_held_out(settings))
    with torch.no_grad():
        start = before.measures(batch)["l1"]
    end = train(before, tmp_path).values["held-out l1"]
    assert end < 0.6 * start


def iter_held_out(settings: AutoencoderSettings) -> Any:
    from iqpir.training.batch_loading import training_loader
    from iqpir.training.engine import HELD_OUT_SEED
    from iqpir.training.stage_data import collate, paired

    data = paired(settings.data, 32, degraded=False, seed_offset=HELD_OUT_SEED)
    for raw in training_loader(data, 8, 1, workers=0):
        yield collate(raw, settings.data, torch.device("cpu"))


def test_codes_that_nobody_uses_are_revived(tmp_path: Path) -> None:
    settings = autoencoder(steps=2, revive=2, hq="always")
    stage = make_stage(settings, tmp_path)
    with torch.no_grad():  # one code is near, the others are out of reach
        stage.averaged.quantize.embedding.weight[1:] = 1e3
    values = train(stage, tmp_path).values
    assert values["quantize dead"] == pytest.approx(15 / 16)
    far = (load_autoencoder(tmp_path / "autoencoder.safetensors").quantize.embedding.weight > 1).all(dim=1).sum()
    state = load_file(tmp_path / "state-2.safetensors")["network/module/quantize.embedding.weight"]
    assert int((state > 100).all(dim=1).sum()) == 13 and int(far) == 15  # an eighth moved; the average lags behind


def two_pairs() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {"gt": torch.rand(2, 3, 32, 32) * 2 - 1, "lq": torch.rand(2, 3, 32, 32) * 2 - 1,
            "score": torch.tensor([0.2, 0.95]), "index": torch.tensor([0, 1])}  # fmt: skip


def reach(stage: RestorerStage | FidelityStage, loss: str) -> set[str]:
    """The parts that a loss sends a gradient to."""
    network = stage.averaged.requires_grad_(True)
    network.zero_grad(set_to_none=True)
    stage.losses("network", two_pairs(), 0)[loss].backward()
    found = {name: value.grad for name, value in network.named_parameters()}
    return {name.split(".")[0] for name, grad in found.items() if grad is not None and bool(grad.abs().sum() > 0)}


def test_the_gradient_of_each_loss_reaches_what_the_authors_reaches(stage_1: Path, tmp_path: Path) -> None:
    conditioned = {"encoder", "score_embed"}
    transformer = {"feat_emb", "position_emb", "ft_layers", "idx_pred_layer"}
    for grad in ("ste", "soft", "gumbel"):
        stage = RestorerStage(restorer(stage_1, quality_grad=grad), torch.device("cpu"), tmp_path)
        stage._quality = lambda images: images.mean(dim=(1, 2, 3))
        torch.nn.init.normal_(stage.averaged.position_emb)
        assert reach(stage, "feature") == conditioned
        assert reach(stage, "index") == conditioned | transformer
        quality = reach(stage, "quality") - {"generator"}
        assert quality == (conditioned if grad == "ste" else conditioned | transformer)


def test_the_papers_feature_loss_leaves_the_score_out(stage_1: Path, tmp_path: Path) -> None:
    stage = RestorerStage(restorer(stage_1, feature_on="latent"), torch.device("cpu"), tmp_path)
    assert reach(stage, "feature") == {"encoder"}


def test_only_what_is_named_learns(stage_1: Path, tmp_path: Path) -> None:
    train(make_stage(restorer(stage_1, ema=0.0), tmp_path), tmp_path)
    before, after = load_autoencoder(stage_1), load_restorer(tmp_path / "restorer.safetensors")
    for part in ("generator", "quantize", "quantize_aesthetic"):
        pairs = zip(getattr(before, part).parameters(), getattr(after, part).parameters(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
    assert not torch.equal(before.encoder.blocks[0].weight, after.encoder.blocks[0].weight)


def test_below_the_threshold_the_hq_codebook_gets_no_gradient(tmp_path: Path) -> None:
    stage = make_stage(autoencoder(), tmp_path)
    gt = torch.rand(2, 3, 32, 32) * 2 - 1
    for scores, reached in (([0.1, 0.9], False), ([0.1, 0.91], True)):
        stage.averaged.zero_grad(set_to_none=True)
        batch = {"gt": gt, "score": torch.tensor(scores), "index": torch.tensor([0, 1])}
        stage.losses("network", batch, 0)["total"].backward()
        assert bool(stage.averaged.quantize_aesthetic.embedding.weight.grad.abs().sum() > 0) is reached


def test_kept_codes_are_the_encoders(stage_1: Path, tmp_path: Path) -> None:
    teacher, gt = load_autoencoder(stage_1), torch.rand(3, 3, 32, 32)
    data = Data(count=5)
    index = torch.tensor([4, 0, 2])
    cache = CodeCache(tmp_path / "codes.npy", data, teacher)
    made = cache.of(index, gt, teacher)
    assert torch.equal(made, gt_codes(teacher, gt)) and cache.made == 3
    again = CodeCache(tmp_path / "codes.npy", data, teacher)
    assert torch.equal(again.of(index, torch.zeros_like(gt), teacher), made) and again.made == 0
    other = VQAutoEncoder(teacher.config)
    assert CodeCache(tmp_path / "codes.npy", data, other).of(index, gt, other).shape == made.shape
    with pytest.raises(IQPIRError, match=r"lower data\.count"):
        CodeCache(tmp_path / "codes.npy", Data(count=1 << 40), teacher)


def test_stage_3_bends_the_generator_and_nothing_else(stage_2: Path, tmp_path: Path) -> None:
    settings = FidelitySettings.from_dict({"restorer": str(stage_2), "data": DATA, "ema": 0.0, **QUICK})
    done = train(make_stage(settings, tmp_path), tmp_path)
    before, after = load_restorer(stage_2), load_restorer(done.saved)
    assert after.fidelity_trained and not before.fidelity_trained
    same = {name for name, value in after.state_dict().items() if torch.equal(value, before.state_dict()[name])}
    moved = after.state_dict().keys() - same
    assert moved and all(name.startswith("fuse_convs_dict.") for name in moved)


def test_stage_3_teaches_the_transformer_what_the_image_needs_where_it_is_asked_to(
    stage_2: Path, tmp_path: Path
) -> None:
    predictor = ("encoder", "score_embed", "feat_emb", "position_emb", "ft_layers", "idx_pred_layer")
    for grad in ("none", "soft"):
        settings = FidelitySettings.from_dict(
            {"restorer": str(stage_2), "train": [*predictor, "fuse_convs_dict"], "codes_grad": grad, "data": DATA}
        )
        stage = make_stage(settings, tmp_path)
        torch.nn.init.normal_(stage.averaged.position_emb)
        assert reach(stage, "l1") - {"generator"} == {"fuse_convs_dict"} | (set(predictor) if grad == "soft" else set())
        batch = two_pairs()
        restored = stage.averaged(batch["lq"], batch["score"], settings.fidelity, adain=False).image
        torch.testing.assert_close(stage._restored(batch).image, restored, atol=1e-5, rtol=0)


def test_losses_by_hand() -> None:
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0])
    assert float(losses.discriminator_loss(real, fake)) == 0.25 + 0.5
    assert float(losses.generator_loss(fake)) == 1.5
    # σ(2) = 0.880797, σ(½) = 0.622459, σ(−3) = 0.0474259, σ(0) = ½: means of logarithms, as printed in Eq. 5
    assert float(losses.discriminator_loss(real, fake, "log")) == pytest.approx(0.3005025 + 0.3708674, abs=1e-6)
    assert float(losses.generator_loss(fake, "log")) == pytest.approx(-0.3708674, abs=1e-6)
    logits, codes = torch.zeros(1, 3, 4, 2), torch.zeros(1, 3, 2, dtype=torch.int64)
    assert float(losses.index_loss(logits, codes)) == pytest.approx(2 * 1.3862944)  # ln 4 for each codebook
    assert float(losses.index_loss(logits, codes, summed=True)) == pytest.approx(6 * 1.3862944)
    last = torch.ones(2, requires_grad=True)
    weight = losses.adaptive_weight((3 * last).sum(), (8 * last).sum(), last)
    assert float(weight) == pytest.approx(3 / 8, rel=1e-4) and not weight.requires_grad
    assert float(losses.adaptive_weight((8 * last).sum(), (3 * last).sum(), last)) == 1.0
    half = torch.zeros(1, 3, 4, 4)
    assert float(losses.quality_loss(half, lambda images: images.mean(dim=(1, 2, 3)), "hinge")) == 0.5
    assert float(losses.quality_loss(half, lambda images: images.mean(dim=(1, 2, 3)), "negative")) == -0.5


BAD = {
    "stepz: 3": "unknown key 'stepz'; did you mean 'steps'",
    "data: {degradashun: face}": "data.degradashun",
    "steps: 2.5": "steps is 2.5, not a whole number",
    "rate: .nan": "rate is nan, not a finite number",
    "accumulate: 3": "accumulate: 3 does not divide the batch of 8",
    "schedule: linear": "schedule is 'linear' (one of constant, cosine)",
    "network: smal": "no preset 'smal'; did you mean 'small'",
    "preset: author": "preset: 'author'; did you mean 'authors'",
    "changes: {chanels: 3}": "no setting chanels",
    "- 3": "settings are a mapping",
    "a: !!python/object/apply:os.system [true]": ":1: could not determine a constructor",
}


@pytest.mark.parametrize("text", list(BAD))
def test_bad_settings_are_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text + "\n", encoding="utf-8")
    with pytest.raises(IQPIRError) as caught:
        load("autoencoder", file)
    assert str(caught.value).startswith(str(file)) and BAD[text] in str(caught.value), caught.value
    assert "\n" not in str(caught.value)


def test_presets_say_what_code_and_paper_do(tmp_path: Path) -> None:
    file = tmp_path / "stage.yaml"
    file.write_text("preset: paper\nautoencoder: first.safetensors\nbatch: 2\n", encoding="utf-8")
    paper = load("restorer", file)
    assert isinstance(paper, RestorerSettings)
    assert (paper.betas, paper.quality, paper.quality_grad, paper.batch) == ((0.9, 0.999), 0.1, "soft", 2)
    assert paper.autoencoder == str(tmp_path / "first.safetensors")
    file.write_text("preset: authors\n", encoding="utf-8")
    authors = load("autoencoder", file)
    assert isinstance(authors, AutoencoderSettings)
    config = authors.config()
    assert (config.alpha, config.threshold, config.beta_on) == (0.8, 0.7, "codebook")
    assert authors.rate_at(0) == 7e-5 and authors.rate_at(authors.steps) == pytest.approx(6e-5)


def test_a_network_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    names = set(AutoEncoderConfig.__dataclass_fields__)
    config = AutoEncoderConfig(**{key: value for key, value in NETWORK.items() if key in names})  # type: ignore[arg-type]
    file = tmp_path / "autoencoder.safetensors"
    save_checkpoint(VQAutoEncoder(config), file)
    with pytest.raises(IQPIRError, match="there is no part 'encoderr'; did you mean 'encoder'"):
        make_stage(restorer(file, train=["encoderr"]), tmp_path)
    with pytest.raises(IQPIRError, match="needs scores"):
        make_stage(restorer(file, data={**DATA, "scores": "none"}), tmp_path)
    assert isinstance(make_stage(restorer(file), tmp_path).averaged, IQPIR)
    state = json.loads(json.dumps(restorer(file).as_dict()))
    assert RestorerSettings.from_dict(state) == restorer(file)


def test_the_command_trains_goes_on_and_says_what_it_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from iqpir.cli import main

    monkeypatch.chdir(tmp_path)
    settings = autoencoder(steps=2).as_dict()
    Path("small.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(settings))), encoding="utf-8")
    for steps in ("2", "4"):
        with pytest.raises(SystemExit) as ended:
            main(["train", "autoencoder", "small.yaml", "--steps", steps])
        assert ended.value.code == 0
        said = capsys.readouterr().out
        assert said.startswith("results/train/small/autoencoder.safetensors: ") and f"{steps} steps" in said
    with pytest.raises(SystemExit) as ended:
        main(["train", "restorer", "absent.yaml"])
    assert ended.value.code == 2 and "absent.yaml: cannot be read" in capsys.readouterr().err
