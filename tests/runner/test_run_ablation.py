"""From the arms of an ablation to their table: trained, written as a suite, run, compared, drawn."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import torch
from click.testing import CliRunner, Result
from support.recipes import smallest_ablation
from support.workplace import Launcher, Workplace

from iqpir.cli.train import command
from iqpir.training import ablation


@pytest.fixture(scope="module", autouse=True)
def one_core() -> Iterator[None]:
    """Networks are so small here that more threads only wait for each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablation, "usable_cores", lambda: 1)
        yield


def train(workplace: Workplace, *arguments: str) -> Result:
    before = torch.get_num_threads()
    config = workplace.root / "mine.yaml"
    ended = CliRunner().invoke(
        command, ["ablation", str(config), "-o", str(workplace.root / "arms"), *arguments], catch_exceptions=False
    )
    torch.set_num_threads(before)
    assert ended.exit_code == 0, ended.output
    return ended


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, launcher: Launcher) -> Workplace:
    """Two arms of two seeds, trained once; each test runs the suite that was written of them."""
    workplace = Workplace(tmp_path_factory.mktemp("ablation"), launcher)
    workplace.pairs(3)
    smallest_ablation(workplace.root)
    ended = train(workplace, "--arm", "plain", "--arm", "dual")
    assert ended.stdout.splitlines()[-1] == str(workplace.root / "arms/mine.yaml")
    return workplace


def test_arms_become_rows_with_intervals_over_images_and_seeds(trained: Workplace) -> None:
    done = trained.bench("run", "arms/mine.yaml", "--format", "json")
    assert done.code == 0, done.err
    rows = [row for row in json.loads(done.out) if row["metric"] == "psnr"]
    assert {row["method"]: (row["n"], row["repeats"]) for row in rows} == {
        "identity": (3, 1), "plain": (3, 2), "dual": (3, 2), "dual S=0.1": (3, 2), "dual S=0.9": (3, 2),
    }  # fmt: skip
    values = {row["method"]: row["value"] for row in rows}
    assert values["dual"] == pytest.approx(values["dual S=0.9"], abs=1e-12)
    table = trained.bench("table", "mine", "--ci", "--paired-with", "plain").out
    assert table.count("3/3 × 2 repeats") == 4 and "differs from plain" in table
    assert "resampled are the items and, independently, the members" in table

    # The mean over seeds is that of each seed's network by itself.
    files = [f"arms/arms/plain/seed-{seed}/joint.safetensors" for seed in (0, 1)]
    lines = ", ".join(f"{{method: iqpir-tiny, options: {{weights: {file}}}}}" for file in files)
    alone = trained.bench("run", trained.suite(f"[{lines}]", "[psnr]"), "--format", "json")
    each = [row["value"] for row in json.loads(alone.out)]
    assert values["plain"] == pytest.approx(sum(each) / 2, abs=1e-9)
    assert each[0] != each[1], "two seeds are two networks"

    # What was trained since is the only work of the next run.
    assert "joint: " not in train(trained, "--arm", "plain", "--arm", "dual").stderr
    train(trained, "--arm", "score")
    again = trained.bench("run", "arms/mine.yaml")
    assert again.code == 0 and "6 worked on" in again.err, again.err


def test_an_ascent_is_drawn_of_an_arm(trained: Workplace) -> None:
    assert trained.bench("run", "arms/mine.yaml").code == 0
    done = trained.bench("figure", "ascent", "mine", "--method", "dual", "--items", "1", "-o", "ascent.svg")
    assert done.code == 0, done.err
    drawn = (trained.root / "ascent.svg").read_text()
    assert all(word in drawn for word in ("prior ↑", "PSNR ↑", "continuous", "discrete"))
    for arguments, told in (
        (
            ["--method", "identity"],
            "an ascent is that of one method with IQPIR's codes: --method (this run has plain, ",
        ),
        ([], "an ascent is that of one method"),
        (["--method", "dual", "--prior", "no.safetensors"], "no.safetensors"),
    ):
        wrong = trained.bench("figure", "ascent", "mine", *arguments, "-o", "wrong.svg")
        assert wrong.code == 2 and len(wrong.errors) == 1 and told in wrong.errors[0], wrong.err
    weights = trained.root / "arms/arms/dual/seed-0/joint.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(b"other")
    gone = trained.bench("figure", "ascent", "mine", "--method", "dual", "-o", "wrong.svg")
    weights.write_bytes(whole)
    assert gone.code == 2 and "not there any more, or have changed since" in gone.err
