"""Running again is resuming: only what is missing or has changed is worked on, and the answer is the same."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.workplace import PLUGIN, Workplace, photograph

TRACED = "[{method: traced}]"


def worked_on(err: str) -> int:
    """Units that a run worked on, as it says at its end."""
    found = re.search(r"(\d+) worked on", err)
    assert found is not None, err
    return int(found.group(1))


@pytest.fixture
def job(workplace: Workplace) -> str:
    """A suite of six pairs whose run has finished."""
    workplace.pairs(6)
    suite = workplace.suite("[traced, gamma]", "[psnr, psnr-pooled]")
    done = workplace.run(suite)
    assert done.code == 0, done.err
    workplace.log.unlink()
    return suite


# Nothing to do


def test_a_finished_run_is_answered_from_the_store(workplace: Workplace, job: str) -> None:
    first = workplace.table("csv")
    done = workplace.run(job, "--format", "csv")
    assert done.code == 0 and done.out == first
    assert worked_on(done.err) == 0 and not workplace.traced()
    assert workplace.count("run") == 1


def test_a_finished_run_needs_neither_torch_nor_a_decoder(workplace: Workplace) -> None:
    """In a fresh interpreter, where importing torch or reading an image would fail."""
    workplace.pairs(4)
    job = workplace.suite("[identity, gamma]", "[psnr, ssim, psnr-pooled]")
    assert workplace.bench("run", job).code == 0
    program = workplace.write(
        "again.py",
        "import sys\n"
        "for name in ('torch', 'cv2', 'pandas', 'pyiqa', 'datasets', 'skimage', 'scipy', 'torchvision'):\n"
        "    sys.modules[name] = None  # importing it raises ImportError\n"
        "from bench.data import images\n"
        "from bench.runner.worker import Worker\n"
        "def never(*given, **named): raise AssertionError('called')\n"
        "images.decode = images.decode_bytes = images.FileSource.load = Worker.process = never\n"
        "from bench.cli import main\n"
        "main(['run', 'suite.yaml'])\n",
    )
    before = os.times()
    done = subprocess.run(
        [sys.executable, program],
        cwd=workplace.root,
        env={**os.environ, **workplace.env},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "8 units, 0 worked on" in done.stderr and done.stdout.count("4/4") == 2
    after = os.times()  # of the processor, so that a busy machine does not fail the test
    assert (after.children_user + after.children_system) - (before.children_user + before.children_system) < 3


def test_a_renamed_suite_with_other_labels_and_order_is_answered_from_the_store(workplace: Workplace, job: str) -> None:
    renamed = workplace.suite(
        "[{method: gamma, label: G}, {method: traced, label: Mine}]", "[psnr-pooled, {psnr: {label: dB}}]",
        "[{dataset: folder, label: photos, options: {gt: data/high/*.png, lq: data/low/*.png}}]", name="renamed",
    )  # fmt: skip
    done = workplace.run(renamed, "--format", "json")
    assert done.code == 0 and not workplace.traced() and worked_on(done.err) == 0
    values = {(row["method"], row["metric"]): row["value"] for row in json.loads(done.out)}
    before = {(row["method"], row["metric"]): row["value"] for row in json.loads(workplace.table("json", run=job))}
    assert values["Mine", "dB"] == before["traced", "psnr"]
    assert values["G", "psnr-pooled"] == before["gamma", "psnr-pooled"]


def test_moved_files_with_equal_pixels_are_decoded_but_not_restored_again(workplace: Workplace, job: str) -> None:
    (workplace.root / "data").rename(workplace.root / "moved")
    moved = workplace.suite("[traced]", "[psnr]", "[{dataset: folder, options: {lq: moved/low, gt: moved/high}}]")
    done = workplace.run(moved)
    assert done.code == 0 and "6/6" in done.out and not workplace.traced()


# Only what is missing


def test_a_metric_added_later_is_computed_on_the_stored_outputs(workplace: Workplace, job: str) -> None:
    wider = workplace.suite("[traced, gamma]", "[psnr, psnr-pooled, ssim]")
    done = workplace.run(wider)
    assert done.code == 0 and worked_on(done.err) == 12
    assert not workplace.traced(), "the method was loaded or restored again"
    assert workplace.count("restoration") == 12


def test_a_method_added_later_is_the_only_one_that_is_restored(workplace: Workplace, job: str) -> None:
    wider = workplace.suite(
        "[{method: traced, options: {gain: 2.0, name: second}}, traced, gamma]", "[psnr, psnr-pooled]"
    )
    done = workplace.run(wider)
    assert done.code == 0 and worked_on(done.err) == 6
    assert workplace.restored() == {"second:load": 1, "second": 6}


def test_a_limited_run_is_a_part_of_the_full_one(workplace: Workplace) -> None:
    workplace.pairs(9)
    job = workplace.suite(TRACED)
    assert "3/3" in workplace.run(job, "--limit", 3).out
    assert workplace.restored()["traced"] == 3
    done = workplace.run(job)
    assert "9/9" in done.out and worked_on(done.err) == 6
    assert workplace.restored()["traced"] == 9


# What has changed


def test_a_changed_input_is_worked_on_again_and_makes_another_run(workplace: Workplace, job: str) -> None:
    before = workplace.table("csv", run="1")
    workplace.pair("002", seed=77)
    done = workplace.run(job)
    assert done.code == 0 and worked_on(done.err) == 2
    assert workplace.restored()["traced"] == 1
    assert workplace.count("run") == 2
    assert workplace.table("csv", run="1") == before, "the first run's record was altered"
    assert workplace.table("csv", run="2") != before


def test_a_changed_reference_is_scored_again_without_restoring(workplace: Workplace, job: str) -> None:
    low, high = (workplace.root / "data" / kind / "002.png" for kind in ("low", "high"))
    Image.open(low).save(high)
    done = workplace.run(job)
    assert done.code == 0 and worked_on(done.err) == 2 and not workplace.traced()
    assert workplace.count("run") == 2


def test_a_touched_file_with_the_same_pixels_changes_nothing(workplace: Workplace, job: str) -> None:
    before = workplace.table("csv")
    for file in (workplace.root / "data").rglob("*.png"):
        os.utime(file, (1, 1))
    done = workplace.run(job, "--format", "csv")
    assert done.code == 0 and done.out == before and not workplace.traced()


def test_other_weights_are_never_answered_from_the_store(workplace: Workplace) -> None:
    workplace.pairs(3)
    weights = workplace.write("gain.txt", "1.5")
    job = workplace.suite("[{method: from-file, options: {path: gain.txt}}]")
    first = workplace.run(job).out
    weights.write_text("2.5")
    second = workplace.run(job).out
    assert workplace.restored()["from-file"] == 6 and first != second
    weights.write_text("1.5")
    third = workplace.run(job)
    assert third.out == first and worked_on(third.err) == 0


def test_other_source_of_a_plugin_is_never_answered_from_the_store(workplace: Workplace) -> None:
    workplace.pairs(3)
    job = workplace.suite("[mine]")
    source = (
        "import bench, torch\n"
        "from bench.methods.module import from_module\n"
        "class Net(torch.nn.Module):\n"
        "    def forward(self, images): return images * 2\n"
        "bench.register_method('mine', lambda: from_module(Net()))\n"
    )
    plugin = workplace.write("mine.py", source)
    first = workplace.bench("run", job, "--plugin", plugin)
    assert first.code == 0, first.err
    again = workplace.bench("run", job, "--plugin", plugin, env={"PYTHONHASHSEED": "7"})
    assert worked_on(again.err) == 0 and again.out == first.out
    plugin.write_text(source.replace("* 2", "* 3"))
    other = workplace.bench("run", job, "--plugin", plugin)
    assert worked_on(other.err) == 3 and other.out != first.out


def test_a_reference_that_vanished_is_a_failure_of_another_run(workplace: Workplace, job: str) -> None:
    (workplace.root / "data/high/003.png").unlink()
    done = workplace.run(job)
    assert done.code == 1 and "5/6" in done.out and "no GT" in done.out
    assert workplace.table("markdown", run="1").count("6/6") == 2
    assert workplace.run(job).out == done.out and workplace.count("run") == 2


# Outputs that are gone


@pytest.mark.parametrize("damage", ["deleted", "cut short", "other pixels", "same length"])
def test_an_output_that_is_gone_or_damaged_is_made_again_when_it_is_needed(
    workplace: Workplace, job: str, damage: str
) -> None:
    outputs = sorted((workplace.results / "outputs").glob("*/*.png"))
    whole = {file: file.read_bytes() for file in outputs}
    for file in outputs:
        if damage == "deleted":
            file.unlink()
        elif damage == "cut short":
            file.write_bytes(whole[file][:-40])
        elif damage == "other pixels":
            Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(file)
        else:
            file.write_bytes(bytes([value ^ 1 if index == 60 else value for index, value in enumerate(whole[file])]))
    done = workplace.run(workplace.suite("[traced, gamma]", "[psnr, psnr-pooled, ssim]"))
    assert done.code == 0, done.err
    assert workplace.restored()["traced"] == 6
    assert {file: file.read_bytes() for file in (workplace.results / "outputs").glob("*/*.png")} == whole
    fresh = workplace.run("suite.yaml", "--results", workplace.root / "fresh")
    assert fresh.out == done.out


# The way it is done does not matter


def test_batches_and_workers_do_not_change_the_table(workplace: Workplace) -> None:
    workplace.pairs(7)
    workplace.pair("tall", (80, 48))
    workplace.pair("wide", (48, 80))
    job = workplace.suite("[traced, clahe]", "[psnr, ssim, psnr-pooled]")
    one = workplace.run(job, "--results", workplace.root / "one")
    assert one.code == 0, one.err
    for name, *options in (("batch", "--batch", 3), ("workers", "--workers", 2, "--batch", 2)):
        other = workplace.run(job, *options, "--results", workplace.root / name)
        assert other.code == 0 and other.out == one.out, other.err
        outputs = [sorted(f.name for f in (workplace.root / each / "outputs").glob("*/*")) for each in ("one", name)]
        assert outputs[0] == outputs[1]


def test_images_of_equal_size_but_other_depth_do_not_share_a_batch(workplace: Workplace) -> None:
    """8- and 16-bit pixels in one array would make the 8-bit image black."""
    import cv2

    workplace.pairs(2)
    for kind in ("low", "high"):
        file = workplace.root / "data" / kind / "001.png"
        cv2.imwrite(str(file), cv2.imread(str(file)).astype(np.uint16) * 257)
    job = workplace.suite("[identity]")
    one = workplace.run(job, "--results", workplace.root / "one")
    two = workplace.run(job, "--batch", 2, "--results", workplace.root / "two")
    assert one.code == 0 and one.out == two.out


def test_a_method_without_memory_for_the_batch_gets_smaller_ones(workplace: Workplace) -> None:
    workplace.pairs(9)
    for python in ("true", "false"):
        results = workplace.root / python
        job = workplace.suite(f"[{{method: greedy, options: {{python: {python}}}}}]")
        done = workplace.run(job, "--batch", 8, "--results", results)
        assert done.code == 0 and "9/9" in done.out, done.err
        assert set(workplace.rows("SELECT batch FROM restoration", results)) == {(2,), (1,)}


def test_out_of_memory_at_batch_one_is_a_failure_that_says_so(workplace: Workplace) -> None:
    workplace.pairs(2)
    done = workplace.run(workplace.suite("[{method: greedy, options: {most: 0}}, identity]"), "--batch", 2)
    assert done.code == 1 and "out of memory at batch 1" in done.out and "2/2" in done.out
    assert workplace.rows("SELECT count(*) FROM restoration WHERE status='failed'") == [(2,)]


# Stochastic methods


def noisy(workplace: Workplace, results: str, *options: object) -> dict[tuple[object, object], object]:
    done = workplace.run("noisy.yaml", *options, "--results", workplace.root / results)
    assert done.code == 0, done.err
    workplace.results = workplace.root / results
    return {(row["item"], row["repeat"]): row["value"] for row in workplace.export()}


def test_seeds_repeat_a_stochastic_method_reproducibly_in_any_order(workplace: Workplace) -> None:
    workplace.pairs(4)
    workplace.suite("[noisy]", more="seeds: 3", name="noisy")
    values = noisy(workplace, "one")
    assert len(values) == 12 and len(set(values.values())) == 12
    assert "4/4 × 3 repeats" in workplace.table("markdown")
    assert noisy(workplace, "batched", "--batch", 5) == values
    workplace.suite(
        "[noisy]", datasets="[{dataset: folder, options: {lq: 'data/low/*[31].png', gt: data/high}}]", more="seeds: 2",
        name="noisy",
    )  # fmt: skip
    some = noisy(workplace, "some")
    assert len(some) == 4 and some.items() <= values.items()
    workplace.suite("[noisy]", more="seeds: 3\nseed: 1", name="noisy")
    assert not set(noisy(workplace, "one").values()) & set(values.values())


def test_repeats_are_laid_out_as_images_of_their_own(workplace: Workplace) -> None:
    workplace.pairs(1)
    workplace.run(workplace.suite("[{method: noisy, seeds: 2}]"))
    done = workplace.bench("export", "--images", "laid")
    assert done.code == 0 and {file.name for file in (workplace.root / "laid").rglob("*.png")} == {
        "000.png",
        "000#2.png",
    }


# What kinds of outputs there are


def psnr(restored: np.ndarray, reference: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((restored / 255.0 - reference / 255.0) ** 2)))


def pixels(workplace: Workplace, kind: str, name: str = "000") -> np.ndarray:
    return np.asarray(Image.open(workplace.root / "data" / kind / f"{name}.png"))


def test_a_valid_crop_is_cut_from_the_reference_too(workplace: Workplace) -> None:
    workplace.pairs(3, (40, 56))
    done = workplace.run(workplace.suite("[cropping]", "[psnr, psnr-pooled]"), "--batch", 2)
    assert done.code == 0, done.err
    values = {(row["item"], row["metric"]): row["value"] for row in workplace.export()}
    low, high = (pixels(workplace, kind)[8:, 4:] for kind in ("low", "high"))
    assert values["000", "psnr"] == pytest.approx(psnr(low, high), abs=1e-9)
    assert set(workplace.rows("SELECT height, width, batch FROM restoration")) == {(32, 52, 2), (32, 52, 1)}


def test_a_method_that_doubles_the_size_is_compared_with_a_reference_of_that_size(workplace: Workplace) -> None:
    workplace.pairs(1, (20, 30))
    Image.fromarray(photograph(40, 60, 5).astype(np.uint8)).save(workplace.root / "data/high/000.png")
    done = workplace.run(
        workplace.suite("[doubling]", datasets="[{dataset: folder, options: {lq: data/low, gt: data/high, scale: 2}}]")
    )
    assert done.code == 0, done.err
    expected = psnr(pixels(workplace, "low").repeat(2, axis=0).repeat(2, axis=1), pixels(workplace, "high"))
    assert workplace.export()[0]["value"] == pytest.approx(expected, abs=1e-9)


def test_unrounded_outputs_are_kept_and_scored_as_floats(workplace: Workplace) -> None:
    workplace.pairs(1)
    done = workplace.run(workplace.suite("[unrounded]", "[{psnr: {rounding: none}}, psnr]"))
    assert done.code == 0, done.err
    low, high = pixels(workplace, "low"), pixels(workplace, "high")
    floats, rounded = (row["value"] for row in workplace.export())
    assert floats == pytest.approx(psnr(low.astype(np.float32) * np.float32(0.777), high), abs=1e-5)
    assert rounded == pytest.approx(psnr(np.rint(low * 0.777), high), abs=1e-9)
    stored = [file.suffix for file in (workplace.results / "outputs").glob("*/*")]
    assert stored == [".npy"]
    again = workplace.run(workplace.suite("[unrounded]", "[{psnr: {rounding: none}}, psnr, ssim]"))
    assert again.code == 0 and workplace.restored()["unrounded"] == 1


def test_a_rounded_output_never_answers_a_protocol_that_wants_floats(workplace: Workplace) -> None:
    workplace.pairs(2)
    assert workplace.run(workplace.suite(TRACED)).code == 0
    done = workplace.run(workplace.suite(TRACED, more="protocol: retinexformer/lol"))
    assert done.code == 0 and workplace.restored()["traced"] == 4
    assert {Path(file).suffix for file in (workplace.results / "outputs").glob("*/*")} == {".png", ".npy"}


def test_sixteen_bit_inputs_keep_their_depth(workplace: Workplace) -> None:
    import cv2

    draw = np.random.default_rng(3)
    deep = {kind: draw.integers(0, 65536, (32, 32, 3), dtype=np.uint16) for kind in ("low", "high")}
    for kind, values in deep.items():
        (workplace.root / "data" / kind).mkdir(parents=True)
        cv2.imwrite(str(workplace.root / "data" / kind / "a.png"), values[:, :, ::-1])
    done = workplace.run(workplace.suite("[unrounded]", "[{psnr: {rounding: none}}]"))
    assert done.code == 0, done.err
    low, high = (deep[kind] / 65535 for kind in ("low", "high"))
    expected = -10 * np.log10(np.mean((low * 0.777 - high) ** 2))
    assert workplace.export()[0]["value"] == pytest.approx(expected, abs=1e-5)


def test_outputs_of_somebody_else_are_scored_where_they_lie(workplace: Workplace) -> None:
    workplace.pairs(3)
    outputs = workplace.root / "theirs"
    outputs.mkdir()
    for name in ("000", "001", "002"):
        Image.fromarray(pixels(workplace, "high", name) // 2).save(outputs / f"{name}.png")
    job = workplace.suite("[{method: folder, options: {path: theirs}}]")
    done = workplace.run(job)
    assert done.code == 0 and "3/3" in done.out
    assert worked_on(workplace.run(job).err) == 0
    Image.fromarray(pixels(workplace, "high", "001") // 3).save(outputs / "001.png")
    assert worked_on(workplace.run(job).err) == 1
    (outputs / "002.png").unlink()
    gone = workplace.run(job)
    assert gone.code == 1 and "2/3" in gone.out and "no output" in gone.out


def test_the_plugin_of_these_tests_passes_the_selftest(workplace: Workplace) -> None:
    done = workplace.bench("selftest", "traced", "--plugin", PLUGIN)
    assert done.code == 0, done.out + done.err


def test_twenty_repeats_of_three_photographs_are_three_values_in_tables_tests_and_comparisons(
    workplace: Workplace,
) -> None:
    workplace.pairs(3, 32)
    suite = workplace.suite("[identity, {method: noisy, seeds: 20}]", "[psnr]")
    workplace.run(suite)
    assert len([row for row in workplace.export() if row["method"] == "noisy"]) == 60
    done = workplace.bench(
        "table", "--results", workplace.results, "--ci", "--paired-with", "identity", "--format", "json"
    )
    rows = {row["method"]: row for row in json.loads(done.out)}
    assert (rows["noisy"]["n"], rows["noisy"]["expected"], rows["noisy"]["repeats"]) == (3, 3, 20)
    assert rows["noisy"]["p"] >= 2 / 2**3  # what three signs can tell at most
    text = workplace.bench("table", "--results", workplace.results, "--paired-with", "identity").out
    assert "3/3 × 20 repeats" in text and "exact randomisation" in text and "trials" not in text
    workplace.suite("[identity, {method: noisy, seeds: 20}]", "[psnr]", more="seed: 1")
    workplace.run(suite)
    both = workplace.bench("compare", "1", "2", "--results", workplace.results, "--format", "json")
    [noisy] = [row for row in json.loads(both.out) if row["method"] == "noisy"]
    assert noisy["test"]["n"] == 3 and noisy["test"]["p_randomisation"] >= 2 / 2**3
