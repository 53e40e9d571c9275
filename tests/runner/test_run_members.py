"""A method with repeats that the suite lists is worked on member by member, and is one method everywhere after."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from support.workplace import Workplace

GROUP = "{method: gamma, label: both, repeats: [{gamma: 0.5}, {gamma: 0.8}]}"
ALONE = "{method: gamma, label: half, options: {gamma: 0.5}}, {method: gamma, label: most, options: {gamma: 0.8}}"


def worked_on(err: str) -> int:
    found = re.search(r"(\d+) worked on", err)
    assert found is not None, err
    return int(found[1])


@pytest.fixture
def finished(workplace: Workplace) -> str:
    workplace.pairs(3)
    suite = workplace.suite(f"[{GROUP}, {ALONE}]", "[psnr, ssim, psnr-pooled]")
    done = workplace.bench("run", suite)
    assert done.code == 0, done.err
    return suite


def test_a_group_is_the_mean_of_what_its_members_are_alone(workplace: Workplace, finished: str) -> None:
    rows = [row for row in json.loads(workplace.table("json")) if row["metric"] == "psnr"]
    means = {row["method"]: row["value"] for row in rows}
    assert means["both"] == pytest.approx((means["half"] + means["most"]) / 2, abs=1e-9)
    assert {row["method"]: (row["n"], row["repeats"]) for row in rows} == {
        "both": (3, 2),
        "half": (3, 1),
        "most": (3, 1),
    }


def test_a_member_and_the_same_method_alone_share_their_outputs(workplace: Workplace, finished: str) -> None:
    assert workplace.count("restoration") == 6, "two members and three images, however often a suite names them"


def test_running_again_resumes_and_another_member_is_the_only_work(workplace: Workplace, finished: str) -> None:
    assert worked_on(workplace.bench("run", finished).err) == 0
    more = workplace.suite(
        "[" + GROUP.replace("{gamma: 0.8}", "{gamma: 0.8}, {gamma: 1.2}") + "]", "[psnr]", name="more"
    )
    done = workplace.bench("run", more)
    assert done.code == 0 and worked_on(done.err) == 3
    plan = workplace.bench("run", more, "--plan")
    assert re.search(r"both +9 +9 +0 +0 ", plan.out), plan.out


def test_members_are_loaded_one_after_the_other_whatever_the_batch(workplace: Workplace) -> None:
    workplace.pairs(4)
    suite = workplace.suite("[{method: traced, label: both, repeats: [{gain: 1.2}, {gain: 2.0}]}]")
    done = workplace.run(suite, "--batch", "3")
    assert done.code == 0, done.err
    kinds = [one.method for one in workplace.traced()]
    assert kinds == ["traced:load", *["traced"] * 4] * 2
    first = workplace.table("json")
    shutil.rmtree(workplace.results)
    assert workplace.run(suite, "--workers", "2").code == 0
    assert workplace.table("json") == first


def test_a_baseline_holds_every_repeat_and_a_changed_one_is_found(workplace: Workplace, finished: str) -> None:
    assert workplace.bench("baseline", "suite", "-o", "kept.json").code == 0
    assert workplace.bench("check", "suite", "--baseline", "kept.json").code == 0
    kept = json.loads((workplace.root / "kept.json").read_text())
    [dataset] = kept["datasets"].values()
    assert sorted(dataset["methods"]["both"]["items"]) == [f"00{n}#{k}" for n in range(3) for k in (1, 2)]
    workplace.suite(f"[{GROUP.replace('0.8', '0.9')}, {ALONE}]", "[psnr, ssim, psnr-pooled]")
    assert workplace.bench("run", "suite.yaml").code == 0
    found = workplace.bench("check", "suite", "--baseline", "kept.json")
    assert found.code == 1 and "both" in found.out and "half" not in found.out


def test_folders_of_outputs_can_be_repeats(workplace: Workplace, finished: str) -> None:
    assert workplace.bench("export", "suite", "--images", "out").code == 0
    made = workplace.root / "out/mine"
    assert {path.name for path in (made / "both").iterdir()} == {
        f"00{n}{mark}.png" for n in range(3) for mark in ("", "#2")
    }
    line = "{method: folder, label: found, repeats: [{path: out/mine/half}, {path: out/mine/most}]}"
    suite = workplace.suite(f"[{line}]", "[psnr]", name="stored")
    done = workplace.bench("run", suite, "--format", "json")
    assert done.code == 0, done.err
    [row] = json.loads(done.out)
    means = {one["method"]: one["value"] for one in json.loads(workplace.table("json", run="suite"))
             if one["metric"] == "psnr"}  # fmt: skip
    assert row["value"] == pytest.approx(means["both"], abs=1e-9)


def test_repeats_that_cannot_be_one_method_are_refused_in_one_line(workplace: Workplace) -> None:
    workplace.pairs(1)
    suite = workplace.suite("[identity, {method: gamma, repeats: [{gamma: 0.5}, {gama: 1}]}]")
    done = workplace.bench("run", suite)
    assert done.code == 2 and len(done.errors) == 1
    assert done.errors[0].startswith("error: suite.yaml:3: ") and "unknown option 'gama'" in done.errors[0]
    missing = workplace.suite("[{method: iqpir-tiny, repeats: [{weights: iqpir-tiny}, {weights: no.safetensors}]}]")
    done = workplace.bench("run", missing)
    assert done.code == 2 and len(done.errors) == 1 and "no.safetensors" in done.errors[0]
    odd = workplace.suite("[{method: sometimes, repeats: [{scale: 1}, {scale: 2}]}]")
    workplace.write(
        "odd.py",
        "import bench\nfrom bench.methods.base import Method\n"
        "class Odd(Method):\n"
        "    def __init__(self, scale): self.scale = scale\n"
        "    def load(self, device, dtype): pass\n"
        "    def restore(self, images, seeds=None): return images\n"
        "    def identity(self): return {'scale': self.scale}\n"
        "bench.register_method('sometimes', lambda scale=1: Odd(scale))\n",
    )
    done = workplace.bench("run", odd, "--plugin", "odd.py")
    assert done.code == 2 and "repeats 1 and 2 differ in scale (1 and 2)" in done.errors[0], done.err
