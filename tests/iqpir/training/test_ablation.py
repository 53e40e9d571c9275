"""An ablation's arms: they differ in what they say and in nothing else, share what they can, and are trained once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml

from iqpir.errors import IQPIRError
from iqpir.network.config import preset
from iqpir.network.model import IQPIR
from iqpir.training.ablation import Ablation, load, run
from iqpir.training.pursuit import join, pursue, split

NETWORK = {
    "image_size": 32, "channels": 8, "groups": 8, "multipliers": [1, 2], "blocks": 1, "attention_sizes": [],
    "latent_channels": 16, "codebook": 16, "hq_codebook": 16, "connect": [],
}  # fmt: skip
RECIPE: dict[str, Any] = {
    "seeds": [0, 1],
    "common": {
        "data": {"source": "photographs", "workers": 0, "degradation": "low-light", "flawed": 0.5},
        "steps": 2, "batch": 2, "save_every": 1, "held_out": 0,
    },
    "quality": {"source": "photographs", "steps": 1, "batch": 2, "crop": 48, "workers": 0},
    "autoencoder": {"network": "small", "changes": NETWORK},
    "restorer": {"network": "small", "changes": {"width": 16, "heads": 2, "layers": 1, "mlp": 32, "connect": []}},
    "arms": {
        "a": {"autoencoder": {"changes": {"hq_codebook": 0}}, "restorer": {"changes": {"conditioning": "none"}}},
        "b": {"autoencoder": {"changes": {"hq_codebook": 0}}},
        "c": {},
        "d": {"from": "c", "restorer": {"quality": 0.5, "quality_grad": "soft"}},
        "small": {"group": "size", "against": "c", "seeds": [0], "autoencoder": {"changes": {"hq_codebook": 8}}},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ablation")
    (folder / "photographs").mkdir()
    for seed in range(4):
        rough = np.random.default_rng(seed).integers(30, 220, (5, 5, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / "photographs" / f"{seed}.png"), cv2.resize(rough, (64, 64)))
    recipe = json.loads(json.dumps(RECIPE))
    recipe["quality"]["source"] = str(folder / "photographs")
    (folder / "small.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    return folder / "small.yaml"


@pytest.fixture(scope="module")
def ablation(config: Path) -> Ablation:
    return load(config)


def flat(content: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= flat(value, f"{place}{key}.") if isinstance(value, Mapping) else {place + key: value}
    return found


def differs(ablation: Ablation, one: str, other: str) -> dict[str, set[str]]:
    """The settings in which two arms differ for the same seed, by stage."""
    arms = [ablation.arm(name) for name in (one, other)]
    settings = {
        "autoencoder": [ablation.autoencoder(arm, 0) for arm in arms],
        "restorer": [ablation.restorer(arm, 0, Path("root")) for arm in arms],
    }
    found = {}
    for stage, pair in settings.items():
        ours, theirs = (flat(asdict(each)) for each in pair)
        found[stage] = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
    return found


@pytest.mark.parametrize(
    ("one", "other", "stage_1", "stage_2"),
    [
        ("a", "b", set(), {"changes.conditioning"}),
        ("b", "c", {"changes.hq_codebook"}, {"autoencoder"}),
        ("c", "d", set(), {"quality", "quality_grad", "quality_prior"}),
        ("c", "small", {"changes.hq_codebook"}, {"autoencoder"}),
    ],
)
def test_arms_differ_in_what_they_say_and_in_nothing_else(
    ablation: Ablation, one: str, other: str, stage_1: set[str], stage_2: set[str]
) -> None:
    assert differs(ablation, one, other) == {"autoencoder": stage_1, "restorer": stage_2}


def test_a_seed_changes_the_beginning_and_the_images_and_nothing_else(ablation: Ablation) -> None:
    first, second = (flat(asdict(ablation.autoencoder(ablation.arm("c"), seed))) for seed in (0, 1))
    assert {key for key in first if first[key] != second[key]} == {"seed", "data.seed"}


def test_arms_with_one_stage_1_share_it_and_the_whole_arms_come_first(ablation: Ablation) -> None:
    names = [job.name for job in ablation.jobs(Path("root"))]
    assert names == [
        "prior", "stage 1 of a, seed 0", "a, seed 0", "b, seed 0", "stage 1 of c, seed 0", "c, seed 0", "d, seed 0",
        "stage 1 of a, seed 1", "a, seed 1", "b, seed 1", "stage 1 of c, seed 1", "c, seed 1", "d, seed 1",
        "stage 1 of small, seed 0", "small, seed 0",
    ]  # fmt: skip
    by_name = {job.name: job for job in ablation.jobs(Path("root"))}
    assert by_name["d, seed 0"].needs == (by_name["stage 1 of c, seed 0"], by_name["prior"])
    assert by_name["c, seed 0"].needs == (by_name["stage 1 of c, seed 0"],)


def test_what_is_finished_is_not_trained_again(ablation: Ablation, tmp_path: Path) -> None:
    jobs = ablation.jobs(tmp_path, ["a", "d"])
    jobs = [job for job in jobs if "seed 1" not in job.name]
    first = list(run(jobs, threads=1))
    assert [done.job.name for done in first] == [job.name for job in jobs]
    assert all(done.seconds > 0 for done in first)
    written = {job.file: job.file.stat().st_mtime_ns for job in jobs}

    (jobs[2].folder / "done.json").unlink()  # a, seed 0: as if it had been cut off after its last step
    again = {done.job.name: done.seconds for done in run(jobs, threads=1)}
    assert [name for name, seconds in again.items() if seconds > 0] == ["a, seed 0"]
    assert all(job.file.stat().st_mtime_ns == written[job.file] for job in jobs if job.name != "a, seed 0")


def test_other_settings_are_another_training(config: Path, tmp_path: Path) -> None:
    recipe = yaml.safe_load(config.read_text())
    job = load(config).jobs(tmp_path)[0]
    job.folder.mkdir(parents=True)
    job.file.write_bytes(b"")
    (job.folder / "done.json").write_text(json.dumps({"digest": job.digest}))
    assert job.finished()
    recipe["quality"]["steps"] = 2
    (config.parent / "other.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    other = load(config.parent / "other.yaml")
    assert not other.jobs(tmp_path)[0].finished()
    # What is trained with the prior is another network too, and what is not stays what it was.
    before, after = ({job.name: job.digest for job in each.jobs(tmp_path)} for each in (load(config), other))
    assert {name for name in before if before[name] != after[name]} == {"prior", "d, seed 0", "d, seed 1"}


def test_where_a_folder_lies_does_not_matter(ablation: Ablation) -> None:
    here, there = ([job.digest for job in ablation.jobs(Path(root))] for root in ("here", "/some/where/else"))
    assert here == there


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"arm": {}}, "unknown key 'arm'; did you mean 'arms'?"),
        ({"arms": {"a": {"against": "z"}}}, "arms.a.against: no arm 'z' stands before it"),
        ({"arms": {"A b": {}}}, "the name becomes a folder's"),
        ({"seeds": [1, 1]}, "seeds is [1, 1], not a list of different whole numbers"),
        ({"arms": {"a": {"restorer": {"qualty": 1}}}}, "unknown key 'qualty'; did you mean 'quality'?"),
    ],
)
def test_a_file_that_makes_no_sense_is_one_line(config: Path, change: dict[str, Any], told: str) -> None:
    recipe = yaml.safe_load(config.read_text()) | change
    path = config.parent / "wrong.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    with pytest.raises(IQPIRError) as raised:
        load(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_shipped_file_is_read(tmp_path: Path) -> None:
    found = load(Path(__file__).parents[3] / "configs" / "ablation-tiny.yaml")
    assert [arm.name for arm in found.arms][:4] == ["a", "b", "c", "d"]
    assert all(arm.seeds == (0, 1, 2) for arm in found.arms[:4])
    assert len(found.jobs(tmp_path)) > len(found.arms)


# Climbing a prior


@pytest.fixture(scope="module")
def network() -> IQPIR:
    torch.manual_seed(0)
    size = {"width": 16, "heads": 2, "layers": 1, "mlp": 32}
    return IQPIR(preset("small", **{**NETWORK, **size, "score_init": "zero"})).eval().requires_grad_(False)


def test_squares_are_put_together_as_they_were() -> None:
    images = torch.arange(2 * 3 * 8 * 12, dtype=torch.float32).reshape(2, 3, 8, 12)
    squares = split(images, 4)
    assert squares.shape == (12, 3, 4, 4)
    assert torch.equal(squares[1], images[0, :, :4, 4:8])
    assert torch.equal(join(squares, images), images)


@pytest.mark.parametrize("space", ["continuous", "discrete"])
def test_an_ascent_climbs_from_the_prediction(network: IQPIR, space: Any) -> None:
    images = torch.rand(1, 3, 64, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1

    def bright(made: torch.Tensor) -> torch.Tensor:
        return made.mean(dim=(1, 2, 3))

    first, last = pursue(network, images, 0.9, bright, space=space, rate=0.3, steps=(0, 20))
    with torch.no_grad():
        made = network(split(images, 32), 0.9, adain=False).image
    torch.testing.assert_close(first.images, join(((made + 1) / 2).clamp(0, 1), images))
    assert float(first.moved[0]) == 0 < float(last.moved[0])
    assert float(last.quality[0]) > float(first.quality[0])


def test_a_discrete_ascent_ends_in_images_of_whole_codes(network: IQPIR) -> None:
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2)) * 2 - 1
    seen: list[torch.Tensor] = []
    books = network.quantize.embedding.weight, network.quantize_aesthetic.embedding.weight
    whole = (books[0][:, None] + network.alpha * books[1][None]).flatten(0, 1)
    keep = network.generator.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    try:
        list(
            pursue(network, images, 0.9, lambda made: made.mean(dim=(1, 2, 3)), space="discrete", rate=0.3, steps=(9,))
        )
        last = seen[-1].permute(0, 2, 3, 1).flatten(0, 2)
    finally:
        keep.remove()
    assert float(torch.cdist(last.double(), whole.double()).amin(dim=1).max()) < 1e-6


def test_a_setting_that_is_added_at_its_default_retires_nothing() -> None:
    """Two versions of one class, the later with another setting: equal digests unless the setting is used."""
    from dataclasses import dataclass, field

    from iqpir.training.ablation import _changed

    @dataclass(frozen=True)
    class Inner:
        count: int = 3

    @dataclass(frozen=True)
    class Before:
        steps: int = 10
        data: Inner = field(default_factory=Inner)

    @dataclass(frozen=True)
    class InnerLater:
        count: int = 3
        window: tuple[float, float] = (1.0, 2.0)

    @dataclass(frozen=True)
    class Later:
        steps: int = 10
        data: InnerLater = field(default_factory=InnerLater)
        front: str = ""

    for steps, count in ((10, 3), (20, 4)):
        assert _changed(Before(steps, Inner(count))) == _changed(Later(steps, InnerLater(count)))
    assert _changed(Later(data=InnerLater(window=(1.0, 3.0)))) == {"data": {"window": (1.0, 3.0)}}
