"""The stages of a network for photographs: a recipe from images to a small file, resumable bit for bit."""

from __future__ import annotations

import re
from dataclasses import replace
from math import log
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner
from safetensors.torch import load_file
from support.recipes import CORE, SMALL, trained_by, written

from iqpir.checkpoint import load_photo
from iqpir.cli.train import command
from iqpir.errors import IQPIRError
from iqpir.network.front import Grade
from iqpir.network.photo import PhotoConfig, PhotoIQPIR
from iqpir.training.degrade.scene import KINDS
from iqpir.training.losses import box_ssim
from iqpir.training.photo import DetailStage, JointStage, Overview, decision, image_terms
from iqpir.training.settings import FrontSettings, load
from iqpir.training.stages import make_stage

STEPS = 4


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sections = {
        "common": {
            "steps": STEPS, "batch": 2, "held_out": 2, "save_every": 2, "sample_every": 4, "rate": 1e-3,
            "data": {
                "source": "photographs", "workers": 0, "degradation": {"kind": "scene"}, "scores": "target", "crop": 64,
            },
        },
        "front": {"changes": {"core": CORE, **SMALL}},
        "detail": {},
        "autoencoder": {"network": "small", "changes": CORE, "data": {"crop": 32}},
        "restorer": {"network": "small", "changes": {"width": 16, "heads": 2, "layers": 1, "mlp": 32}},
        "joint": {},
    }  # fmt: skip
    return written(tmp_path_factory.mktemp("recipe"), (96, 80), sections)


@pytest.fixture(scope="module")
def trained(recipe: Path) -> Path:
    return trained_by(recipe)


def test_a_recipe_ends_with_a_network_that_restores_any_size(trained: Path):
    network = load_photo(trained / "mine.safetensors")
    assert network.config.codes and network.config.core.image_size == 32
    assert network.restore(torch.rand(1, 3, 37, 90), 0.9).shape == (1, 3, 37, 90)
    assert all(each.dtype == torch.float16 for each in load_file(trained / "mine.safetensors").values())


def test_a_front_end_that_hands_over_another_size_is_one_line(recipe: Path, trained: Path):
    content = yaml.safe_load(recipe.read_text())
    content["autoencoder"]["changes"] = {**CORE, "image_size": 16, "connect": [8, 16]}
    other = recipe.parent / "other.yaml"
    other.write_text(yaml.safe_dump(content))
    first = replace(load("restorer", recipe, trained), autoencoder=str(_autoencoder(other, recipe.parent / "other")))
    with pytest.raises(IQPIRError, match=r"front\.safetensors: hands over 32 pixels, and .* codes 16"):
        make_stage(first, recipe.parent)


def _autoencoder(recipe: Path, folder: Path) -> Path:
    CliRunner().invoke(command, ["autoencoder", str(recipe), "-o", str(folder), "--steps", "1"], catch_exceptions=False)
    return folder / "autoencoder" / "autoencoder.safetensors"


def test_what_is_worth_a_look_is_written(trained: Path):
    front = trained / "front"
    rows = (front / "losses.csv").read_text().splitlines()
    assert {"l1", "ssim", "held-out psnr", "held-out exposed psnr"} <= set(rows[0].split(","))
    detail = (trained / "detail" / "losses.csv").read_text().splitlines()[0].split(",")
    assert {"held-out clean psnr", "held-out noisy psnr"} <= set(detail)
    pictures = sorted(path.name for path in (front / "samples").iterdir())
    assert pictures == ["00000004-photographs.png", "00000004.png"]


@pytest.mark.parametrize("stage", ["front", "detail", "joint"])
def test_a_stage_that_was_cut_off_ends_with_the_same_bits(stage: str, recipe: Path, trained: Path, tmp_path: Path):
    for name in ("front", "detail", "autoencoder", "restorer"):
        if name != stage:
            (tmp_path / name).symlink_to(trained / name)
    for steps in (2, STEPS):
        arguments = [stage, str(recipe), "-o", str(tmp_path), "--steps", str(steps)]
        CliRunner().invoke(command, arguments, catch_exceptions=False)
    first, second = (load_file(root / stage / f"{stage}.safetensors") for root in (trained, tmp_path))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_each_stage_trains_its_own_part(trained: Path):
    front, detail = (load_file(trained / name / f"{name}.safetensors") for name in ("front", "detail"))
    changed = {name.split(".")[0] for name in front if not torch.equal(front[name], detail[name])}
    assert changed == {"detail"}


def test_the_detail_branch_is_taught_by_the_clean_picture_in_the_light_that_the_front_end_gives(
    recipe: Path, trained: Path
):
    stage = make_stage(load("detail", recipe, trained), trained / "detail")
    assert isinstance(stage, DetailStage)
    clean = torch.rand(1, 3, 64, 64)
    batch = {"lq": clean * 2 - 1, "clean": clean * 2 - 1, "gt": torch.rand(1, 3, 64, 64), "score": torch.ones(1)}
    with torch.no_grad():
        for each in stage.averaged.detail.leave[-1].parameters():
            each.zero_()
        # Without noise there is nothing to do, however far the exposure is from the target's.
        assert float(stage.losses("network", batch, 0)["l1"]) < 1e-6


def test_the_joint_stage_begins_where_its_parts_ended(recipe: Path, trained: Path):
    settings = load("joint", recipe, trained)
    stage = make_stage(settings, trained / "joint")
    assert isinstance(stage, JointStage)
    front = load_photo(trained / "detail" / "detail.safetensors")
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        ours, theirs = stage.averaged(image, 0.9), front(image, 0.9)
        assert torch.allclose(ours.exposed, theirs.exposed, atol=1e-5)  # other layout in memory, other rounding
        # Codes come in through the gate, which is nearly shut, and through inputs whose weights are zero.
        stage.averaged.detail.leave[-1].bias[3] = -100
        assert torch.allclose(stage.averaged(image, 0.9).image, theirs.image, atol=1e-6)
        assert float(ours.gate.mean()) == pytest.approx(torch.sigmoid(torch.tensor(-2.0)).item(), abs=1e-6)


def test_the_core_sees_the_front_ends_overview_and_targets_at_its_size(trained: Path):
    seen = Overview(str(trained / "front" / "front.safetensors"), torch.device("cpu"))
    batch = {"lq": torch.rand(2, 3, 64, 64) * 2 - 1, "gt": torch.rand(2, 3, 64, 64) * 2 - 1, "score": torch.ones(2)}
    made = seen(batch)
    assert made["lq"].shape == made["gt"].shape == (2, 3, 32, 32)
    assert torch.allclose(
        made["gt"], batch["gt"].unflatten(2, (32, 2)).unflatten(4, (32, 2)).mean(dim=(3, 5)), atol=1e-6
    )


def test_ssim_as_a_loss_is_wangs():
    """scikit-image's, with a box of 7×7 and the population's variance, at every pixel."""
    from skimage.metrics import structural_similarity

    first, second = torch.rand(1, 3, 40, 40), torch.rand(1, 3, 40, 40)
    expected = structural_similarity(
        first[0].numpy(), second[0].numpy(), win_size=7, data_range=1.0, channel_axis=0, use_sample_covariance=False
    )
    assert float(box_ssim(first, second, stride=1)) == pytest.approx(expected, abs=1e-4)
    assert float(box_ssim(first, first)) == pytest.approx(1, abs=1e-6)


def test_the_terms_of_an_image_are_weighted_as_the_settings_say():
    settings = FrontSettings(l1=2.0, local=3.0, ssim=0.0)
    image, target = torch.full((1, 3, 40, 40), 0.75), torch.full((1, 3, 40, 40), 0.5)
    found = image_terms(image, target, settings)
    assert float(found["l1"]) == float(found["local"]) == pytest.approx(0.25)
    assert float(found["total"]) == pytest.approx(2 * 0.25 + 3 * 0.25)


def test_a_front_end_is_held_to_whether_the_light_is_wrong():
    # −log of what it should have said: 1 under water, half as much against the light, 0 where it is right, twice there.
    strengths = torch.tensor([0.9, 0.9, 0.9, 0.2, 0.2])
    grade = Grade(*(strengths[:, None],) * 6)
    found = decision(
        grade, torch.tensor([KINDS.index(each) for each in ("dark", "backlit", "water", "camera", "good")]), 2
    )
    assert float(found) == pytest.approx((-1.5 * log(0.9) - 2 * 2 * log(0.8)) / 5, rel=1e-5)


def test_the_decision_is_part_of_the_loss(recipe: Path, tmp_path: Path):
    losses = {}
    for weight in (0.0, 0.5):
        sections = yaml.safe_load(recipe.read_text())
        sections["front"]["decide"] = weight
        path = tmp_path / f"{weight}.yaml"
        path.write_text(yaml.safe_dump(sections))
        torch.manual_seed(0)
        stage = make_stage(load("front", path, tmp_path), tmp_path)
        batch = {
            "lq": torch.zeros(2, 3, 64, 64), "gt": torch.zeros(2, 3, 64, 64), "score": torch.ones(2),
            "kind": torch.tensor([2, 4]),
        }  # fmt: skip
        losses[weight] = stage.losses("network", batch, 0)
    assert "decide" not in losses[0.0]
    plain, with_it = (float(losses[weight]["total"].detach()) for weight in (0.0, 0.5))
    assert with_it - plain == pytest.approx(0.5 * float(losses[0.5]["decide"].detach()), rel=1e-4)


@pytest.mark.parametrize(
    ("stage", "changes", "message"),
    [
        ("joint", {"train": ["frnt"]}, "there is no part 'frnt'.*front"),
        ("joint", {"detail": "nowhere.safetensors"}, "iqpir train detail makes one"),
        ("detail", {"data": {"degradation": "face", "scores": "none"}}, "only the degradation scene knows"),
        ("detail", {"front": "nowhere.safetensors"}, "iqpir train front makes one"),
        ("front", {"data": {"scores": "none"}}, "knows nothing of what scene leaves"),
        ("front", {"decide": -0.1}, "decide must not be negative"),
        ("front", {"changes": {"colour": 1}}, "knows no setting colour"),
        ("front", {"data": {"degradation": "face"}}, "target goes with the degradation scene"),
        ("restorer", {"code_cache": True}, "makes new targets"),
    ],
)
def test_what_cannot_be_is_one_line(
    stage: str, changes: dict, message: str, recipe: Path, trained: Path, tmp_path: Path
):
    sections = yaml.safe_load(recipe.read_text())
    for key, value in changes.items():
        old = sections[stage].get(key)
        sections[stage][key] = {**old, **value} if isinstance(old, dict) else value
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump(sections))
    with pytest.raises(IQPIRError) as caught:
        make_stage(load(stage, path, trained), tmp_path)
    assert re.search(message, str(caught.value)) and "\n" not in str(caught.value)


def test_a_network_without_codes_is_what_front_trains(trained: Path):
    front = load_photo(trained / "front" / "front.safetensors")
    assert not front.config.codes and not hasattr(front, "core")
    assert isinstance(PhotoIQPIR(PhotoConfig(codes=False)), PhotoIQPIR)
