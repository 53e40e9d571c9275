"""Recipes: one file for all stages, which find each other's files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from iqpir.checkpoint import load_restorer
from iqpir.cli.train import command
from iqpir.errors import IQPIRError
from iqpir.training.settings import load, recipe

STAGE_1 = {
    "changes": {
        "image_size": 32, "channels": 8, "groups": 8, "multipliers": [1, 2], "blocks": 1, "attention_sizes": [],
        "latent_channels": 16, "codebook": 16, "hq_codebook": 16, "connect": [32],
    },
}  # fmt: skip
STAGE_2 = {"network": "small", "changes": {"width": 16, "heads": 2, "layers": 1, "mlp": 32}}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    rough = np.random.default_rng(0).integers(30, 220, (5, 5, 3)).astype(np.uint8)
    (tmp_path / "photographs").mkdir()
    cv2.imwrite(str(tmp_path / "photographs" / "0.png"), cv2.resize(rough, (48, 48), interpolation=cv2.INTER_CUBIC))
    sections = {
        "common": {
            "steps": 2, "batch": 2, "held_out": 2,
            "data": {"source": "photographs", "workers": 0, "degradation": "low-light", "flawed": 0.5},
        },
        "quality": {"steps": 2, "batch": 2, "crop": 48, "source": "photographs", "workers": 0},
        "autoencoder": STAGE_1,
        "restorer": {**STAGE_2, "quality": 0.1},
        "fidelity": {"index": 0.1, "steps": 1},
    }  # fmt: skip
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(sections))
    return path


def test_stages_take_what_is_common_and_find_each_others_files(written: Path):
    root = written.parent / "runs"
    stage_3 = load("fidelity", written, root)
    assert (stage_3.steps, stage_3.batch, stage_3.data.flawed) == (1, 2, 0.5)
    assert stage_3.data.source == str(written.parent / "photographs")
    assert stage_3.restorer == str(root / "restorer/restorer.safetensors")
    assert stage_3.autoencoder == str(root / "autoencoder/autoencoder.safetensors")
    assert load("restorer", written, root).quality_prior == (str(root / "quality/quality.safetensors"),)


def test_all_trains_every_stage_once_and_ends_with_a_small_file(written: Path):
    out = written.parent / "runs"
    first = CliRunner().invoke(command, ["all", str(written), "-o", str(out)], catch_exceptions=False)
    assert first.exit_code == 0, first.output
    made = out / "fidelity" / "fidelity.safetensors"
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*/*.safetensors")}
    assert {path.parent.name for path in before} == {"quality", "autoencoder", "restorer", "fidelity"}
    halves, whole = load_file(out / "mine.safetensors"), load_file(made)
    assert {tensor.dtype for tensor in halves.values() if tensor.is_floating_point()} == {torch.float16}
    assert all(torch.equal(halves[name], tensor.to(halves[name].dtype)) for name, tensor in whole.items())
    network = load_restorer(out / "mine.safetensors")
    assert network.fidelity_trained and network.position_emb.dtype == torch.float32
    again = CliRunner().invoke(command, ["all", str(written), "-o", str(out)], catch_exceptions=False)
    assert again.output.count("nothing to do") == 3
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize("name", ["tiny", "rar-tiny"])
def test_the_repositorys_recipes_are_readable(name: str):
    path = Path(__file__).parents[3] / "configs" / f"{name}.yaml"
    sections = recipe(path)
    assert sections is not None
    stages = [stage for stage in sections if stage not in ("common", "quality")]
    assert len(stages) >= 3
    for stage in stages:
        load(stage, path, Path("runs"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("common: {}\nrestorrer: {}", "unknown section 'restorrer'.*restorer"),
        ("common: {}\nrestorer: 3", "restorer is 3, not a mapping"),
        ("common: {steps: 3}", "no section 'restorer'"),
        ("restorer: {stepps: 3, autoencoder: x}", "unknown key 'stepps'"),
    ],
)
def test_a_recipe_of_the_wrong_kind_is_one_line(tmp_path: Path, content: str, message: str):
    (tmp_path / "x.yaml").write_text(content)
    with pytest.raises(IQPIRError, match=message):
        load("restorer", tmp_path / "x.yaml", tmp_path)


def test_a_stage_whose_file_is_missing_names_the_command(written: Path):
    found = CliRunner().invoke(command, ["restorer", str(written), "-o", str(written.parent / "none")])
    assert isinstance(found.exception, IQPIRError) and "iqpir train autoencoder makes one" in str(found.exception)


def test_what_later_stages_began_with_must_not_change_behind_them(written: Path):
    out = written.parent / "runs"

    def train() -> Exception | None:
        return CliRunner().invoke(command, ["all", str(written), "-o", str(out)]).exception  # type: ignore[return-value]

    assert train() is None
    made = out / "mine.safetensors"
    made.unlink()
    sections = yaml.safe_load(written.read_text())
    longer = {**sections, "autoencoder": {**sections["autoencoder"], "steps": 3}}
    written.write_text(yaml.safe_dump(longer))
    found = train()
    assert isinstance(found, IQPIRError) and "restorer holds a run that began with another" in str(found)
    assert "autoencoder.safetensors, which has changed since" in str(found) and not made.exists()
    written.write_text(yaml.safe_dump({**sections, "quality": {**sections["quality"], "rate": 0.01}}))
    found = train()
    assert isinstance(found, IQPIRError) and "quality.safetensors was trained with another rate" in str(found)


def test_fewer_steps_than_are_done_are_refused_and_change_nothing(written: Path):
    out = written.parent / "one"

    def train(steps: int) -> Exception | None:
        arguments = ["autoencoder", str(written), "-o", str(out), "--steps", str(steps)]
        return CliRunner().invoke(command, arguments).exception  # type: ignore[return-value]

    assert train(3) is None
    kept = (out / "autoencoder" / "settings.json").read_bytes()
    found = train(2)
    assert isinstance(found, IQPIRError) and "has 3 steps done: ask for more than 2" in str(found)
    assert (out / "autoencoder" / "settings.json").read_bytes() == kept


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("restorer: {data: {degradation: low-lihgt}}", "restorer: data.degradation: no degradation 'low-lihgt'"),
        ("restorer: {data: {degradation: 5}}", "restorer: data.degradation: a degradation is a name"),
        ("restorer: {clip: -1.0}", "clip must be positive"),
        ("restorer: {seed: -1}", "seed must not be negative"),
        ("restorer: {quality: -0.5}", "quality must not be negative"),
        ("restorer: {data: {scores: target, degradation: scene, source: x, lq: x}}", "lq takes its place"),
        ("restorer: {precision: fp16}\nrestorer: {steps: 1}", "written twice"),
    ],
)
def test_a_later_stages_mistake_is_found_before_the_first(section: str, message: str, tmp_path: Path):
    file = tmp_path / "r.yaml"
    file.write_text(f"autoencoder: {{network: small, steps: 1000000}}\n{section}\n", "utf-8")
    ended = CliRunner().invoke(command, ["all", str(file), "-o", str(tmp_path / "out")])
    assert isinstance(ended.exception, IQPIRError) and message in str(ended.exception), ended.exception
    assert not (tmp_path / "out").exists()


def test_a_negative_weight_within_a_later_stages_loss_is_found_before_the_first(tmp_path: Path):
    file = tmp_path / "r.yaml"
    file.write_text("quality: {steps: 1000000}\nautoencoder: {network: small, adversary: {weight: -1.0}}\n", "utf-8")
    ended = CliRunner().invoke(command, ["all", str(file), "-o", str(tmp_path / "out")])
    assert isinstance(ended.exception, IQPIRError), ended
    assert "adversary.weight must not be negative" in str(ended.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("crop", ["crop: 80", "", "crop: 5000"])
def test_images_that_are_too_small_are_found_before_the_first_stage(crop: str, tmp_path: Path):
    """The second stage's; the first is a quality network, on other images."""
    (tmp_path / "photos").mkdir()
    for name, side in (("a", 40), ("b", 300)):
        Image.fromarray(np.zeros((side, 400, 3), np.uint8)).save(tmp_path / "photos" / f"{name}.png")
    source = "generated" if "5000" in crop else "photos"
    file = tmp_path / "r.yaml"
    file.write_text(
        f"quality: {{steps: 1000}}\nautoencoder:\n  network: small\n  data: {{source: {source}, {crop}}}\n", "utf-8"
    )
    ended = CliRunner().invoke(command, ["all", str(file), "-o", str(tmp_path / "out")])
    assert isinstance(ended.exception, IQPIRError), ended
    said = str(ended.exception)
    if source == "photos":
        assert said.startswith("autoencoder: a crop of ") and "does not fit into a.png" in said and "40 or less" in said
    else:
        assert said.startswith("autoencoder: crop is 5000")
    assert not (tmp_path / "out").exists()
