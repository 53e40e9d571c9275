"""The stages of RAR: a recipe from images to a small file, resumable bit for bit; each part learns in its own stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from safetensors.torch import load_file
from support.recipes import trained_by, written
from torch.nn import functional as F

from iqpir.cli.train import command
from iqpir.errors import IQPIRError
from iqpir.rar import RAR
from iqpir.rar.assessor import Assessment
from iqpir.rar.kinds import DEGRADATIONS
from iqpir.training.image_check import check_images
from iqpir.training.rar import terms
from iqpir.training.rar.stages import RARAssessorStage
from iqpir.training.rar.unrolled import RARBehindStage, RARJointStage
from iqpir.training.settings import load
from iqpir.training.stages import make_stage

LATENT = {"image_size": 32, "latent_channels": 4, "latent_width": 8, "latent_blocks": 1, "groups": 2, "codes": 8}
ASSESSOR = {"assessor_width": 16, "assessor_layers": 1, "heads": 2, "queries": 2}
STEPS = 4
STAGES = (
    "rar-latent",
    "rar-assessor",
    "rar-restorer",
    "rar-joint",
    "rar-overview",
    "rar-rounds",
    "rar-filler",
    "rar-judge",
    "rar-behind",
)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sections = {
        "common": {
            "steps": STEPS, "batch": 2, "held_out": 2, "save_every": 2, "sample_every": 4, "rate": 1e-3,
            "data": {"source": "photographs", "workers": 0, "degradation": "composite", "scores": "none", "crop": 32},
        },
        "rar-latent": {"changes": LATENT, "revive": 2},
        "rar-assessor": {"changes": ASSESSOR},
        "rar-restorer": {"changes": {"widths": [8, 8, 16], "blocks": 1}},
        "rar-joint": {"weights": [0.5, 1.0]},
        "rar-overview": {"changes": {"overview_width": 4, "overview_blocks": 1}},
        "rar-rounds": {"weights": [1.0], "begun": 0.25},
        "rar-filler": {
            "changes": {"fill_widths": [4, 8]},
            "data": {
                "source": "photographs", "workers": 0, "scores": "none", "crop": 32,
                "degradation": {"kind": "choice", "of": [
                    {"kind": "composite", "kinds": ["snow", "rain"], "counts": [0, 1, 1, 0], "behind": True},
                    {"kind": "composite-cdd11", "behind": True},
                ]},
            },
        },
        "rar-judge": {"apart": 0.001},
        "rar-behind": {"weights": [1.0, 0.5], "begun": 0.25},
    }  # fmt: skip
    return written(tmp_path_factory.mktemp("recipe"), (64, 48), sections)


@pytest.fixture(scope="module")
def trained(recipe: Path) -> Path:
    return trained_by(recipe)


def test_a_recipe_ends_with_a_system_that_restores(trained: Path):
    system = RAR.from_checkpoint(trained / "mine.safetensors")
    assert system.config.parts == ("latent", "assessor", "flow", "code")
    made = system(torch.rand(1, 3, 37, 50))
    assert made.image.shape == (1, 3, 37, 50) and len(made.traces) == 1
    assert all(each.dtype == torch.float16 for each in load_file(trained / "mine.safetensors").values())


def test_what_is_worth_a_look_is_written(trained: Path):
    expected = {
        "rar-latent": {"l1", "codebook", "held-out psnr gt", "held-out coded psnr gt"},
        "rar-assessor": {"kinds", "rank", "held-out average precision", "held-out ranked right"},
        "rar-restorer": {"flow", "image", "code", "held-out flow psnr 4", "held-out steps right"},
        "rar-joint": {"flow 2", "quality", "held-out adaptive psnr", "held-out rounds"},
        "rar-overview": {"kinds", "held-out average precision rain", "held-out average precision snow"},
        "rar-rounds": {"flow 1", "quality", "held-out adaptive psnr"},
        "rar-filler": {"image", "held-out psnr", "held-out psnr before", "held-out filled right"},
        "rar-judge": {"rank", "held-out average precision", "held-out filled right", "held-out whole right"},
        "rar-behind": {"flow 2", "image 1", "held-out adaptive psnr"},
    }
    for stage, columns in expected.items():
        assert columns <= set((trained / stage / "losses.csv").read_text().splitlines()[0].split(",")), stage
        assert (trained / stage / "samples" / "00000004.png").is_file()
    assert (trained / "rar-joint" / "samples" / "00000004-photographs.png").is_file()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_was_cut_off_ends_with_the_same_bits(stage: str, recipe: Path, trained: Path, tmp_path: Path):
    for name in STAGES:
        if name != stage:
            (tmp_path / name).symlink_to(trained / name)
    for steps in (2, STEPS):
        arguments = [stage, str(recipe), "-o", str(tmp_path), "--steps", str(steps)]
        CliRunner().invoke(command, arguments, catch_exceptions=False)
    first, second = (load_file(root / stage / f"{stage}.safetensors") for root in (trained, tmp_path))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_each_stage_trains_its_own_parts(trained: Path):
    states = [load_file(trained / name / f"{name}.safetensors") for name in STAGES]
    for before, after, learned in (
        (states[0], states[1], set()), (states[1], states[2], set()),
        (states[2], states[3], {"assessor", "adapter", "flow", "code"}), (states[3], states[4], {"assessor"}),
        (states[4], states[5], {"assessor", "adapter", "flow", "code"}), (states[5], states[6], set()),
        (states[6], states[7], {"assessor"}), (states[7], states[8], {"flow"}),
    ):  # fmt: skip
        changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
        assert changed == learned


def test_a_share_of_the_beginning_is_in_what_is_saved_and_not_in_what_learns(trained: Path):
    folder = trained / "rar-rounds"
    begun, saved = (load_file(trained / name / f"{name}.safetensors") for name in ("rar-overview", "rar-rounds"))
    (state,) = folder.glob("state-*.safetensors")
    learned = {name.removeprefix("average/"): value for name, value in load_file(state).items() if "average/" in name}
    moved = 0
    for name, value in saved.items():
        torch.testing.assert_close(value, 0.25 * begun[name] + 0.75 * learned[name], rtol=1e-5, atol=1e-7)
        moved += not torch.equal(begun[name], learned[name])
    assert moved > 10


def test_an_overview_is_given_to_an_assessor_that_has_none(trained: Path):
    joint, overview = (load_file(trained / name / f"{name}.safetensors") for name in ("rar-joint", "rar-overview"))
    new = {name for name in overview if name not in joint}
    assert new and all(name.startswith("assessor.overview.") for name in new)
    forgotten = [DEGRADATIONS.index(name) for name in ("rain", "snow")]  # what was said of these so far
    for name, before in joint.items():
        if name.startswith("assessor.head."):
            assert not overview[name][forgotten].any() and before[forgotten].any()
            overview[name][forgotten] = before[forgotten]
        assert torch.equal(overview[name], before), name
    assert overview["assessor.overview.answers.weight"].abs().max() > 0


def test_an_overview_is_not_trained_where_there_is_none(recipe: Path, trained: Path):
    with pytest.raises(IQPIRError, match="overview_width: 64"):
        make_stage(replace(load("rar-overview", recipe, trained), changes={}), trained)


def test_what_fills_in_is_all_that_its_stage_adds(trained: Path):
    rounds, filler = (load_file(trained / name / f"{name}.safetensors") for name in ("rar-rounds", "rar-filler"))
    new = {name for name in filler if name not in rounds}
    assert new and all(name.startswith("filler.") for name in new) and rounds.keys() < filler.keys()
    assert filler["filler.head.weight"].abs().max() > 0


def test_a_judge_changes_answers_and_nothing_that_a_restorer_is_told(trained: Path):
    filler, judge = (load_file(trained / name / f"{name}.safetensors") for name in ("rar-filler", "rar-judge"))
    changed = {name for name in filler if not torch.equal(filler[name], judge[name])}
    layers = ("assessor.head", "assessor.overview.answers")
    assert changed == {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    learned = [DEGRADATIONS.index(name) for name in ("rain", "snow")] + [2 * len(DEGRADATIONS) + 2]  # utility is last
    for name in changed:
        moved = (filler[name] != judge[name]).reshape(len(filler[name]), -1).any(dim=1)
        assert moved.nonzero().flatten().tolist() == learned


def test_a_judge_needs_something_to_judge(recipe: Path, trained: Path):
    settings = load("rar-judge", recipe, trained)
    with pytest.raises(IQPIRError, match="this system fills nothing in"):
        make_stage(replace(settings, begin=str(trained / "rar-rounds" / "rar-rounds.safetensors")), trained)
    with pytest.raises(IQPIRError, match="goes on with the system that it is given"):
        make_stage(replace(settings, changes={"heads": 4}), trained)


def test_the_flow_learns_on_what_is_filled_in_in_each_round(recipe: Path, trained: Path):
    stage = make_stage(load("rar-behind", recipe, trained), trained / "rar-behind")
    assert isinstance(stage, RARBehindStage) and stage.settings.weights == (1.0, 0.5)
    begins: list[torch.Tensor] = []
    ends: list[torch.Tensor] = []
    stage.averaged.flow.register_forward_hook(
        lambda _, given, end: (begins.append(given[0].detach()), ends.append(end.detach()), None)[-1]
    )
    stage.averaged.filled = lambda latent, seen: (latent + 1, seen)
    batch = _batch()
    found = {name: value.item() for name, value in stage.losses("network", batch, 0).items()}
    bad, clean = stage.latents(batch)
    assert torch.allclose(begins[0], bad + 1) and torch.equal(begins[1], ends[0] + 1) and len(ends) == 2
    assert [found[f"flow {turn}"] for turn in (1, 2)] == pytest.approx(
        [(end - clean).square().mean().item() for end in ends], rel=1e-5
    )
    errors = [stage.settings.flow * found[f"flow {turn}"] + found[f"image {turn}"] for turn in (1, 2)]
    assert found["total"] == pytest.approx(errors[0] / 1.5 + errors[1] * 0.5 / 1.5, rel=1e-5)


def test_a_flow_behind_what_fills_in_needs_both(recipe: Path, trained: Path):
    settings = load("rar-behind", recipe, trained)
    with pytest.raises(IQPIRError, match="one of them is missing"):
        make_stage(replace(settings, begin=str(trained / "rar-rounds" / "rar-rounds.safetensors")), trained)


def test_what_fills_in_needs_a_view_and_pairs_that_differ_by_rain_and_snow_alone(recipe: Path, trained: Path):
    settings = load("rar-filler", recipe, trained)
    with pytest.raises(IQPIRError, match="fill_widths: \\[48, 80\\]"):
        make_stage(replace(settings, changes={}), trained)
    with pytest.raises(IQPIRError, match="a view of the whole, which this system does not have"):
        make_stage(replace(settings, begin=str(trained / "rar-joint" / "rar-joint.safetensors")), trained)
    for degradation in ("composite", {"kind": "choice", "of": [{"kind": "composite", "behind": True}, "composite"]}):
        with pytest.raises(IQPIRError, match="each composite needs behind: true"):
            replace(settings, data=replace(settings.data, degradation=degradation))


def test_a_stage_between_two_systems_refuses_one_that_is_not_whole(recipe: Path, trained: Path):
    settings = load("rar-overview", recipe, trained)
    with pytest.raises(IQPIRError, match="a stage of RAR without assessor and restorer"):
        make_stage(replace(settings, begin=str(trained / "rar-latent" / "rar-latent.safetensors")), trained)


def _batch(side: int = 32) -> dict[str, torch.Tensor]:
    from iqpir.training.degrade import Composite

    made = [Composite()(torch.rand(3, side, side), np.random.default_rng(seed)) for seed in range(2)]
    steps = torch.stack([each.steps for each in made if each.steps is not None]) * 2 - 1
    severity = torch.stack([torch.from_numpy(each.params.severity) for each in made])
    return {"steps": steps, "severity": severity, "gt": steps[:, 0], "lq": steps[:, -1]}


def test_the_assessor_is_taught_states_that_get_better_towards_the_clean_image(recipe: Path, trained: Path):
    stage = make_stage(load("rar-assessor", recipe, trained), trained / "rar-assessor")
    assert isinstance(stage, RARAssessorStage)
    latent, severity, quality = stage._states(_batch())
    assert latent.shape[0] == 8 and severity.shape == (6, len(DEGRADATIONS)) and quality.shape == (4, 2)
    assert torch.allclose(quality[0], torch.ones(2), atol=1e-5)  # the clean latent shows the best there is
    assert (quality[1:] <= quality[0] + 1e-5).all() and not severity[:2].any()


def test_no_round_of_the_joint_stage_begins_with_a_state_that_knows_the_target(recipe: Path, trained: Path):
    """With a restorer that changes nothing, every round's input is the LQ latent, whatever the target is."""
    stage = make_stage(load("rar-joint", recipe, trained), trained / "rar-joint")
    assert isinstance(stage, RARJointStage)
    seen: list[torch.Tensor] = []
    own = stage.averaged.assess
    stage.averaged.assess = lambda latent: (seen.append(latent.detach()), own(latent))[1]
    for layer in (stage.averaged.flow.head, stage.averaged.flow.grade):
        for parameter in layer.parameters():
            parameter.data.zero_()
    batch = _batch()
    stage.losses("network", batch, 0)
    bad, clean = stage.latents(batch)
    assert len(seen) > 2 and all(torch.allclose(each, bad) for each in seen[:-1]) and torch.allclose(seen[-1], clean)


def test_the_rounds_are_weighted_as_asked(recipe: Path, trained: Path):
    stage = make_stage(load("rar-joint", recipe, trained), trained / "rar-joint")
    torch.manual_seed(0)
    found = {name: value.item() for name, value in stage.losses("network", _batch(), 0).items()}
    settings = stage.settings
    rounds = [
        settings.flow * found[f"flow {turn}"] + found[f"image {turn}"] + settings.code * found.get(f"code {turn}", 0)
        for turn in (1, 2)
    ]
    told = settings.kinds * (found["kinds"] + found["clean"]) + settings.severity * found["severity"]
    told += settings.quality * found["quality"] + settings.rank * found["rank"]
    expected = rounds[0] * 0.5 / 1.5 + rounds[1] / 1.5 + settings.assess * told
    assert found["total"] == pytest.approx(expected, rel=1e-4)


def test_an_image_that_is_nearly_clean_counts_as_much_as_one_that_is_lost(recipe: Path, trained: Path):
    """By hand, of a flow that changes nothing: 6·L1 and half of the mean of ln(MSE + 4e-4)."""
    stage = make_stage(load("rar-restorer", recipe, trained), trained / "rar-restorer")
    stage.settings = replace(stage.settings, image=6.0, decibels=0.5, start=1.0)
    for layer in (stage.averaged.flow.head, stage.averaged.flow.grade):
        for parameter in layer.parameters():
            parameter.data.zero_()
    batch = _batch()
    with torch.no_grad():
        bad, clean = stage.latents(batch)
        _, image = stage.flow_terms(bad, clean, batch["gt"], stage.told(stage.averaged.assess(bad), 0.0))
        off = stage.averaged.latent.decode(bad) - batch["gt"]
    by_hand = 6 * off.abs().mean() + 0.5 * sum(float(np.log((each**2).mean() + 4e-4)) for each in off.numpy()) / len(
        off
    )
    assert float(image) == pytest.approx(float(by_hand), rel=1e-4)


def test_settings_that_cannot_be_are_refused(recipe: Path, trained: Path, tmp_path: Path):
    content = yaml.safe_load(recipe.read_text())
    for section, key, value, said in (
        ("rar-latent", "data", {"degradation": "face"}, "composite"),
        ("rar-latent", "changes", {"parts": ["latent"]}, "parts follow"),
        ("rar-latent", "changes", {"groups": 3}, "groups must divide"),
        ("rar-restorer", "changes", {"widths": 8}, "widths is a list"),
        ("rar-restorer", "restorers", ["gan"], "flow, code or both"),
        ("rar-restorer", "code_share", 0, "code_share is a share"),
        ("rar-joint", "weights", [], "one for each round"),
        ("rar-latent", "data", {"degradation": "composite", "source": "x", "lq": "y"}, "data.lq: RAR learns what"),
        ("rar-judge", "severity", 1.0, "unknown key 'severity'"),
        ("rar-judge", "apart", 1.5, r"in \[0,1\)"),
        ("rar-judge", "of", ["rain", "rain"], "each of them once"),
        ("rar-overview", "of", ["rain", "rain"], "each of them once"),
        ("rar-overview", "of", [], "some of low light"),
        ("rar-filler", "data", {"degradation": _filling(kinds=["haze"])}, "none of it draws rain or snow"),
        ("rar-filler", "data", {"degradation": _filling(counts=[1, 0, 0, 0])}, "none of it draws rain or snow"),
        ("rar-filler", "data", {"degradation": _filling(mixtures=[["haze", "jpeg"]])}, "none of it draws"),
    ):
        path = tmp_path / "wrong.yaml"
        path.write_text(yaml.safe_dump({**content, section: {**content[section], key: value}}))
        with pytest.raises(IQPIRError, match=said):
            load(section, path, trained)
    with pytest.raises(IQPIRError, match="iqpir train rar-latent makes one"):
        make_stage(load("rar-assessor", recipe, tmp_path), tmp_path)


def _filling(**given: object) -> dict[str, object]:
    return {"kind": "composite", "behind": True, **given}


@pytest.mark.parametrize(
    ("stage", "weights"),
    [
        ("rar-latent", ("l1", "ssim")), ("rar-assessor", ("kinds", "severity", "quality", "rank")),
        ("rar-restorer", ("flow", "image", "decibels", "structure")), ("rar-restorer", ("code",)),
        ("rar-joint", ("flow", "code", "image", "decibels", "structure")),
        ("rar-filler", ("image", "decibels", "structure")), ("rar-judge", ("kinds", "rank")),
        ("rar-behind", ("flow", "image", "decibels", "structure")),
    ],
)  # fmt: skip
def test_a_stage_whose_losses_weigh_nothing_is_refused(
    stage: str, weights: tuple[str, ...], recipe: Path, trained: Path
):
    settings = load(stage, recipe, trained)
    with pytest.raises(IQPIRError, match=f"{', '.join(weights)}: one of them at least"):
        replace(settings, **dict.fromkeys(weights, 0.0))
    assert replace(settings, **{**dict.fromkeys(weights, 0.0), weights[-1]: 0.5})


def test_crops_that_make_no_latent_are_refused_before_the_first_stage(recipe: Path, trained: Path):
    """Pixels of 4 per latent position, at three sizes: a multiple of 16."""
    settings = load("rar-behind", recipe, trained)
    wrong = replace(settings, data=replace(settings.data, crop=40))
    with pytest.raises(IQPIRError, match=r"data\.crop is 40: latents of RAR need a multiple of 16"):
        make_stage(wrong, trained)
    with pytest.raises(IQPIRError, match=r"rar-behind: data\.crop is 40: latents of RAR need a multiple of 16"):
        check_images([load("rar-latent", recipe, trained), wrong])


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"heads": 4}, "assessor"), ({"assessor_layers": 2}, "assessor"), ({"steps": 9}, "restorer"),
        ({"blocks": 2}, "restorer"), ({"latent_blocks": 2}, "latent"), ({"overview_blocks": 2}, "overview"),
        ({"widths": [8, 8, 32]}, "restorer"),
    ],
)  # fmt: skip
def test_no_stage_changes_a_part_that_is_there(changes: dict[str, object], part: str, recipe: Path, trained: Path):
    """Not even where shapes agree: heads, steps, blocks that a file does not have."""
    settings = load("rar-filler", recipe, trained)
    (name,) = changes
    with pytest.raises(IQPIRError, match=rf"changes: {name} is .* has a part \({part}\) that was made with"):
        make_stage(replace(settings, changes={**settings.changes, **changes}), trained)
    same = {**settings.changes, "heads": 2, "widths": [8, 8, 16]}
    assert make_stage(replace(settings, changes=same), trained).averaged.filler is not None


# Terms


def test_closeness_is_the_mean_of_ssim_and_of_the_decibels_between_8_and_40():
    image = torch.full((1, 3, 32, 32), 0.5)
    assert terms.closeness(image, image).item() == pytest.approx(1)
    # A step of 0.1 of flat images: 20 dB, and Wang's luminance term alone.
    luminance = (2 * 0.5 * 0.6 + 1e-4) / (0.25 + 0.36 + 1e-4)
    assert terms.closeness(image + 0.1, image).item() == pytest.approx((luminance + 12 / 32) / 2, abs=1e-4)


def test_average_precision_is_the_mean_of_the_precisions_at_each_hit():
    """By hand: hits at ranks 1, 3 and 4 of five."""
    scores = torch.tensor([[0.9, 0.1], [0.5, 0.7], [0.4, 0.2]])
    there = torch.tensor([[True, False], [True, False], [True, False]])
    assert terms.average_precision(scores, there) == pytest.approx((1 / 1 + 2 / 3 + 3 / 4) / 3)
    assert terms.average_precision(scores, torch.zeros_like(there)) == 0


def test_ranking_asks_for_pairs_that_differ_alone():
    quality = torch.tensor([[0.9], [0.5], [0.51]])
    utility = torch.tensor([[2.0], [0.0], [1.0]])
    by_hand = (F.softplus(torch.tensor(-2.0)) + F.softplus(torch.tensor(-1.0))) / 2
    assert terms.ranking(utility, quality).item() == pytest.approx(by_hand.item())
    assert terms.ranked_right(utility, quality) == 1
    assert terms.ranked_right(-utility, quality) == 0


def test_severity_counts_for_what_is_there_alone():
    kinds = len(DEGRADATIONS)
    severity = torch.zeros(2, kinds)
    severity[0, 3] = 0.5
    found = Assessment(
        torch.zeros(2, 1, 1),
        torch.zeros(2, kinds),
        torch.zeros(2),
        torch.full((2, kinds), 0.9),
        torch.ones(2),
        torch.zeros(2),
        torch.zeros(2, 0, 1, 1),
    )
    made = terms.assessor_terms(found, severity, torch.ones(1, 2), (1, 1, 1, 1))
    assert made["severity"].item() == pytest.approx(0.4 - 0.05)  # Huber: |e| − β/2
    assert made["kinds"].item() == pytest.approx(np.log(2), rel=1e-5)
