"""An ablation's arms: they differ in what they say and in nothing else, share what they can, and are trained once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.recipes import smallest_ablation

from iqpir.errors import IQPIRError
from iqpir.training.ablation import Ablation, Job, load, run, seconds_left
from iqpir.training.ablation_suite import folder_dataset, write_suite


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return smallest_ablation(tmp_path_factory.mktemp("ablation"))


@pytest.fixture(scope="module")
def ablation(config: Path) -> Ablation:
    return load(config)


def named(ablation: Ablation, root: Path) -> dict[str, Job]:
    return {job.name: job for job in ablation.jobs(root)}


def flat(content: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= flat(value, f"{place}{key}.") if isinstance(value, Mapping) else {place + key: value}
    return found


def differs(ablation: Ablation, one: str, other: str) -> dict[str, set[str]]:
    """The settings in which two arms differ for the same seed, by stage."""
    pairs = [{job.stage: job.settings for job in ablation.trained(ablation.arm(name), 0, Path("root"))}
             for name in (one, other)]  # fmt: skip
    found = {}
    for stage in ("autoencoder", "restorer", "joint"):
        ours, theirs = (flat(asdict(each[stage])) for each in pairs)
        found[stage] = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
    return found


PRIOR = {"quality", "quality_prior"}


@pytest.mark.parametrize(
    ("one", "other", "differences"),
    [
        ("plain", "score", [set(), {"changes.conditioning"}, {"restorer", "changes.score"}]),
        ("score", "dual", [{"changes.hq_codebook"}, {"autoencoder"}, {"autoencoder", "restorer"}]),
        ("dual", "quality", [set(), PRIOR | {"quality_grad"}, PRIOR | {"restorer"}]),
        ("quality", "ste", [set(), {"quality_grad"}, {"restorer", "codes_grad"}]),
        ("dual", "small", [{"changes.hq_codebook"}, {"autoencoder"}, {"autoencoder", "restorer"}]),
    ],
)
def test_arms_differ_in_what_they_say_and_in_nothing_else(
    ablation: Ablation, one: str, other: str, differences: list[set[str]]
) -> None:
    assert list(differs(ablation, one, other).values()) == differences


def test_what_an_arm_says_in_common_holds_for_all_its_stages(ablation: Ablation) -> None:
    found = differs(ablation, "plain", "good")
    assert all("data.degradation.top" in each or "data.degradation" in each for each in found.values())


def test_all_arms_begin_with_the_same_front_end_and_detail_branch(ablation: Ablation, config: Path) -> None:
    jobs = ablation.jobs(Path("root"))
    for job in jobs:
        file = {"restorer": "front", "joint": "detail"}.get(job.stage)
        assert file is None or getattr(job.settings, file) == str(config.parent / "detail.safetensors")


def test_a_seed_changes_the_beginning_and_the_images_and_nothing_else(ablation: Ablation) -> None:
    first, second = (flat(asdict(ablation.trained(ablation.arm("dual"), seed, Path())[0].settings)) for seed in (0, 1))
    assert {key for key in first if first[key] != second[key]} == {"seed", "data.seed"}


def test_stages_with_equal_settings_are_trained_once_and_groups_come_whole(ablation: Ablation) -> None:
    names = [job.name for job in ablation.jobs(Path("root"))]
    first = [
        "plain, seed 0: autoencoder", "plain, seed 0: restorer", "plain, seed 0: joint",
        "score, seed 0: restorer", "score, seed 0: joint",
        "dual, seed 0: autoencoder", "dual, seed 0: restorer", "dual, seed 0: joint",
        "prior", "quality, seed 0: restorer", "quality, seed 0: joint",
    ]  # fmt: skip
    again = [name.replace("seed 0", "seed 1") for name in first if name != "prior"]
    assert names[: len(first + again)] == first + again, "all seeds of the main arms before any arm of another group"
    assert names[len(first + again) :] == [
        "ste, seed 0: restorer", "ste, seed 0: joint",
        "small, seed 0: autoencoder", "small, seed 0: restorer", "small, seed 0: joint",
        "good, seed 0: autoencoder", "good, seed 0: restorer", "good, seed 0: joint",
    ]  # fmt: skip
    jobs = named(ablation, Path("root"))
    assert jobs["quality, seed 0: joint"].needs == (
        jobs["dual, seed 0: autoencoder"]._replace(name="quality, seed 0: autoencoder"),
        jobs["quality, seed 0: restorer"], jobs["prior"],
    )  # fmt: skip


def test_other_settings_and_another_beginning_are_another_training(config: Path, tmp_path: Path) -> None:
    def changed(change: Mapping[str, Any]) -> set[str]:
        (config.parent / "other.yaml").write_text(yaml.safe_dump({**recipe, **change}, sort_keys=False))
        other = {name: job.digest for name, job in named(load(config.parent / "other.yaml"), tmp_path).items()}
        return {name for name in other if other[name] != before[name]}

    recipe = yaml.safe_load(config.read_text())
    before = {name: job.digest for name, job in named(load(config), tmp_path).items()}
    with_prior = {name for name in before if name.startswith(("quality", "ste"))}
    assert changed({"quality": {**recipe["quality"], "steps": 2}}) == {"prior", *with_prior}
    assert changed({"joint": {"l1": 2.0}}) == {name for name in before if name.endswith("joint")}
    assert changed({"title": "Another", "evaluation": {"score": 0.5}}) == set()
    (config.parent / "more.safetensors").write_bytes((config.parent / "detail.safetensors").read_bytes())
    assert changed({"detail": "more.safetensors"}) == set(), "the same file elsewhere"
    (config.parent / "more.safetensors").write_bytes(b"other weights")
    assert changed({"detail": "more.safetensors"}) == {name for name in before if name.endswith(("restorer", "joint"))}


def test_where_a_folder_lies_does_not_matter(ablation: Ablation) -> None:
    here, there = ([job.digest for job in ablation.jobs(Path(root))] for root in ("here", "/some/where/else"))
    assert here == there


def pretended(job: Job, seconds: float) -> None:
    """As if a job had been trained."""
    job.folder.mkdir(parents=True)
    job.file.write_bytes(b"")
    (job.folder / "done.json").write_text(json.dumps({"digest": job.digest, "seconds": seconds}))


def test_time_left_is_told_by_the_pace_of_each_stage(ablation: Ablation, tmp_path: Path) -> None:
    jobs = ablation.jobs(tmp_path, ["plain", "score"])  # two seeds: 2 autoencoders, 4 restorers, 4 joint, 2 steps each
    assert seconds_left(jobs) is None
    pretended(jobs[0], 10.0)
    assert seconds_left(jobs) == pytest.approx(9 * 10.0)
    pretended(jobs[1], 4.0)
    assert seconds_left(jobs) == pytest.approx(1 * 10.0 + 3 * 4.0 + 4 * 7.0)


def test_the_suite_names_what_is_finished_and_seeds_are_repeats(ablation: Ablation, tmp_path: Path) -> None:
    assert write_suite(ablation, tmp_path, "mine") is None
    jobs = named(ablation, tmp_path)
    for name in ("plain, seed 0: joint", "plain, seed 1: joint", "dual, seed 1: joint"):
        pretended(jobs[name], 1.0)
    path = write_suite(ablation, tmp_path, "mine", [folder_dataset(f"my={tmp_path}")])
    assert path == tmp_path / "mine.yaml"
    found = yaml.safe_load(path.read_text())
    assert found["datasets"][-1] == {"dataset": "folder", "label": "my", "options": {"lq": str(tmp_path)}}
    weights = {one["label"]: [each["weights"] for each in one["repeats"]] for one in found["methods"][1:]}
    assert weights == {
        "plain": ["arms/plain/seed-0/joint.safetensors", "arms/plain/seed-1/joint.safetensors"],
        "dual": ["arms/dual/seed-1/joint.safetensors"],
        "dual S={score}": ["arms/dual/seed-1/joint.safetensors"],
    }
    assert found["methods"][-1]["sweep"] == {"score": [0.1, 0.9]}
    assert found["methods"][1]["options"] == {"score": 0.9}


@pytest.mark.parametrize("text", ["mine", "=a", "mine=", "mine=/no/such/folder", "mine=.,/no/such/folder"])
def test_a_dataset_that_is_none_is_one_line(text: str) -> None:
    with pytest.raises(IQPIRError, match=r"is not NAME=LQ,GT|there is no such folder"):
        folder_dataset(text)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"arm": {}}, "unknown key 'arm'; did you mean 'arms'?"),
        ({"arms": {"a": {"from": "z"}}}, "arms.a.from: no arm 'z' stands before it"),
        ({"arms": {"a": {"title": "A"}}}, "arms.a: unknown key 'title'"),
        ({"arms": {"A b": {}}}, "the name becomes a folder's"),
        ({"seeds": [1, 1]}, "seeds is [1, 1], not a list of different whole numbers"),
        ({"arms": {"a": {"restorer": {"qualty": 1}}}}, "unknown key 'qualty'; did you mean 'quality'?"),
        ({"arms": {"a": {"joint": {"detail": "x"}}}}, "arms.a.joint.detail: an ablation links its stages by itself"),
        ({"detail": ""}, "the key 'detail' is missing"),
        ({"evaluation": {"scor": 1}}, "unknown key 'evaluation.scor'; did you mean 'score'?"),
        ({"evaluation": {"sweep": ["z"]}}, "no arm 'z'"),
        ({"evaluation": {"score": 2}}, "scores must lie in [0,1]"),
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


def test_a_missing_front_end_says_what_makes_one(config: Path, tmp_path: Path) -> None:
    (tmp_path / "lost.yaml").write_text(config.read_text())
    with pytest.raises(IQPIRError, match=r"detail\.safetensors: there is no such file; iqpir train front"):
        load(tmp_path / "lost.yaml").jobs(tmp_path)


def test_the_shipped_file_is_read(tmp_path: Path) -> None:
    found = load(Path(__file__).parents[3] / "configs" / "ablation-tiny.yaml")
    assert [arm.name for arm, _ in found.order()][:4] == ["plain", "score", "dual", "quality"]
    assert all(arm.seeds == (0, 1, 2) for arm in found.arms)


def test_what_is_finished_is_not_trained_again(ablation: Ablation, tmp_path: Path) -> None:
    jobs = [job for job in ablation.jobs(tmp_path, ["plain", "quality"]) if "seed 1" not in job.name]
    told: list[tuple[str, int]] = []
    first = list(run(jobs, threads=1, told=lambda job, step: told.append((job.name, step))))
    assert [done.job.name for done in first] == [job.name for job in jobs]
    assert all(done.seconds > 0 for done in first)
    assert {name for name, step in told if step == 2} == {job.name for job in jobs if job.stage != "quality"}
    losses = (next(job for job in jobs if job.name == "quality, seed 0: joint").folder / "losses.csv").read_text()
    assert "quality" in losses.splitlines()[0].split(",")
    written = {job.file: job.file.stat().st_mtime_ns for job in jobs}

    cut = next(job for job in jobs if job.name == "plain, seed 0: joint")
    (cut.folder / "done.json").unlink()  # as if it had been cut off after its last step
    again = {done.job.name: done.seconds for done in run(jobs, threads=1)}
    assert [name for name, seconds in again.items() if seconds > 0] == [cut.name]
    assert all(job.file.stat().st_mtime_ns == written[job.file] for job in jobs if job is not cut)


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
