"""Whatever the input is: one clear line or one failure row, the right exit code, nothing executed and nothing lost."""

from __future__ import annotations

import csv
import io
import os
import pickle
import struct
import time
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from support.workplace import Done, Launcher, Workplace, assert_calm, assert_refused, photograph

MARK = np.array([255, 0, 0], np.uint8)
"""First pixel of the images that the plugin's misbehaving methods misbehave on."""


# Files


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    blocks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" * 64)),
        (b"IEND", b""),
    )
    made = b"\x89PNG\r\n\x1a\n"
    for name, body in blocks:
        made += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return made


def encoded(kind: str, image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind)
    return buffer.getvalue()


class Corpus(NamedTuple):
    """One run over good and bad files, looked at by several tests."""

    done: Done
    again: Done
    rows: dict[tuple[str, str], dict[str, object]]
    workplace: Workplace


UNREADABLE = {
    "cut-png": "PNG is damaged (it ends early",
    "cut-jpeg": "JPEG is damaged",
    "empty": "0 bytes",
    "text": "not an image",
    "bomb": "400000000 pixels",
    "loop": "symbolic link",
    "dangling": "No such file",
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, launcher: Launcher) -> Corpus:
    workplace = Workplace(tmp_path_factory.mktemp("corpus"), launcher)
    low, high = workplace.root / "data/low", workplace.root / "data/high"
    workplace.pairs(2)
    image = photograph(64, 64, 9).astype(np.uint8)

    def pair(name: str, raw: bytes, suffix: str = "png", gt: np.ndarray = image) -> None:
        (low / f"{name}.{suffix}").write_bytes(raw)
        Image.fromarray(gt).save(high / f"{name}.png")

    pair("cut-png", encoded("PNG", image)[:-3000])
    pair("cut-jpeg", encoded("JPEG", image)[:-300], "jpg")
    pair("empty", b"")
    pair("text", b"I am a PNG, believe me\n")
    pair("bomb", png_header(20000, 20000))
    for name, target in (("loop", "loop.png"), ("dangling", "nowhere.png")):
        (low / f"{name}.png").symlink_to(target)
        Image.fromarray(image).save(high / f"{name}.png")
    (low / "again").symlink_to(low, target_is_directory=True)
    pair("gt-cut", encoded("PNG", image))
    (high / "gt-cut.png").write_bytes(encoded("PNG", image)[:-3000])
    pair("gt-larger", encoded("PNG", image), gt=photograph(70, 64, 1).astype(np.uint8))
    pair("gt-missing", encoded("PNG", image))
    (high / "gt-missing.png").unlink()
    Image.fromarray(image).save(high / "gt-extra.png")
    pair("one-pixel", encoded("PNG", image[:1, :1]), gt=image[5:6, 5:6])
    cmyk = io.BytesIO()
    Image.fromarray(image).convert("CMYK").save(cmyk, "JPEG")
    pair("cmyk", cmyk.getvalue(), "jpg")
    pair("sixteen", encoded("PNG", image.astype(np.uint16)[:, :, 0] * 257))
    pair("new\nline | ★ 日本", encoded("PNG", image))
    job = workplace.suite("[identity]", "[psnr, ssim, psnr-pooled]")
    done, again = workplace.bench("run", job), workplace.bench("run", job)
    rows = {(str(row["item"]), str(row["metric"])): row for row in workplace.export()}
    return Corpus(done, again, rows, workplace)


def test_bad_files_make_the_exit_code_one_without_a_traceback(corpus: Corpus) -> None:
    assert_calm(corpus.done, 1)


@pytest.mark.parametrize(("name", "reason"), UNREADABLE.items())
def test_an_unreadable_input_is_a_failure_row_with_its_reason(corpus: Corpus, name: str, reason: str) -> None:
    for metric in ("psnr", "ssim"):
        row = corpus.rows[name, metric]
        assert row["status"] == "input" and row["value"] is None
        assert reason in str(row["reason"]) and name in str(row["reason"]) and "\n" not in str(row["reason"])


@pytest.mark.parametrize("name", ["000", "001", "cmyk", "sixteen", "new\\nline | ★ 日本"])
def test_unusual_but_readable_inputs_are_scored(corpus: Corpus, name: str) -> None:
    assert {corpus.rows[name, metric]["status"] for metric in ("psnr", "ssim")} <= {"ok", "inf"}


def test_an_image_too_small_for_one_metric_still_has_the_others(corpus: Corpus) -> None:
    assert corpus.rows["one-pixel", "psnr"]["status"] == "ok"
    assert corpus.rows["one-pixel", "ssim"]["status"] == "failed"


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("gt-cut", "input", "reference cannot be read"),
        ("gt-larger", "failed", "sizes differ"),
        ("gt-missing", "input", "no GT file"),
    ],
)
def test_a_bad_reference_is_a_failure_row_with_its_reason(corpus: Corpus, name: str, status: str, reason: str) -> None:
    row = corpus.rows[name, "psnr"]
    assert row["status"] == status and reason in str(row["reason"])


def test_references_without_an_input_are_named_before_any_work(corpus: Corpus) -> None:
    assert "1 GT file has no LQ file: gt-extra.png" in corpus.done.err
    assert ("gt-extra", "psnr") not in corpus.rows


def test_a_loop_of_folders_is_walked_once(corpus: Corpus) -> None:
    assert not [item for item, _ in corpus.rows if item.startswith("again")]


def test_failures_are_counted_in_the_table(corpus: Corpus) -> None:
    items = {item for item, metric in corpus.rows if metric == "psnr"}
    good = [item for item in items if all(corpus.rows[item, m]["status"] in ("ok", "inf") for m in ("psnr", "ssim"))]
    assert len(good) == 5
    assert f"| {len(good)}/{len(items)} |" in corpus.done.out
    assert "**" not in corpus.done.out.split("\n", 2)[2], "an incomplete cell is ranked"


def test_a_strange_name_breaks_no_table(corpus: Corpus) -> None:
    done = corpus.workplace.bench("export", "--format", "csv")
    rows = list(csv.reader(io.StringIO(done.out)))
    assert len({len(row) for row in rows}) == 1 and len(done.out.splitlines()) == len(rows)


def test_unreadable_inputs_are_not_tried_again_while_they_stay_the_same(corpus: Corpus) -> None:
    assert corpus.again.code == 1 and corpus.again.out == corpus.done.out
    # Only the two that are not the fault of a file alone: a size that does not fit, an image too small for SSIM.
    assert "2 worked on" in corpus.again.err, corpus.again.err


def test_a_repaired_file_is_scored_by_the_next_run(workplace: Workplace) -> None:
    workplace.pairs(2)
    file = workplace.root / "data/low/001.png"
    whole = file.read_bytes()
    file.write_bytes(whole[:-500])
    job = workplace.suite("[identity]")
    assert "1/2" in workplace.bench("run", job).out
    file.write_bytes(whole)
    done = workplace.bench("run", job)
    assert done.code == 0 and "2/2" in done.out


def test_a_folder_in_which_nothing_is_readable_is_all_failures(workplace: Workplace) -> None:
    workplace.pairs(3)
    for file in (workplace.root / "data/low").iterdir():
        file.write_bytes(b"")
    done = workplace.bench("run", workplace.suite("[identity, gamma]", "[psnr, psnr-pooled]"))
    assert_calm(done, 1)
    assert done.out.count("0/3") == 2 and done.out.count("failed") >= 2


def test_allowed_failures_give_exit_code_zero(workplace: Workplace) -> None:
    workplace.pairs(4)
    (workplace.root / "data/low/001.png").write_bytes(b"")
    job = workplace.suite("[identity]")
    codes = [workplace.bench("run", job, "--allow-failures", share).code for share in ("0", "1", "0.25", "0.2")]
    assert codes == [1, 0, 0, 1]


# Methods


def mark(workplace: Workplace, name: str) -> None:
    file = workplace.root / "data/low" / f"{name}.png"
    pixels = np.array(Image.open(file))
    pixels[0, 0] = MARK
    Image.fromarray(pixels).save(file)


def incomplete(done: Done) -> int:
    """Rows of the table that lack one image of six, and no more."""
    return sum("| 5/6 |" in line for line in done.out.splitlines())


def test_what_a_method_does_to_one_image_is_one_failure_row(workplace: Workplace) -> None:
    workplace.pairs(6)
    mark(workplace, "003")
    reasons = {
        "nan": "output has 12288 non-finite values of 12288",
        "raise": "ValueError: no such luck",
        "shape": "output has shape (1, 3, 63, 64), expected (1, 3, 64, 64)",
        "type": "restore returned float32 array [1, 3, 64, 64], not a tensor; expected floats [1, 3, 64, 64] in [0,1]",
    }
    methods = [f"{{method: misbehaving, options: {{what: {what}}}, label: {what}}}" for what in reasons]
    job = workplace.suite(f"[{', '.join(methods)}, identity]", "[psnr, psnr-pooled]")
    done = workplace.run(job)
    assert_calm(done, 1)
    assert incomplete(done) == 4 and "6/6" in done.out
    for what, reason in reasons.items():
        assert f"failed: {what} on mine, 003: {reason}" in done.out
    batched = workplace.run(job, "--batch", 4, "--results", workplace.root / "batched")
    assert incomplete(batched) == 4, "one image spoiled the batch for the others"
    again = workplace.run(job)
    assert again.code == 1 and "4 worked on" in again.err and again.out == done.out


def test_a_method_that_ends_the_worker_process_loses_one_unit(workplace: Workplace) -> None:
    workplace.pairs(12)
    mark(workplace, "003")
    job = workplace.suite("[{method: misbehaving, options: {what: exit}, label: bad}, identity]")
    done = workplace.run(job, "--workers", 2)
    assert_calm(done, 1)
    reason = "worker process ended with exit code 9 while this unit was in its hands"
    assert f"failed: bad on mine, 003: {reason}" in done.out
    assert "11/12" in done.out and "12/12" in done.out
    assert workplace.rows("SELECT count(*) FROM restoration WHERE status='ok'") == [(23,)]
    # The unit is tried again by the next run, and nothing else is.
    again = workplace.run(job, "--workers", 2)
    assert again.code == 1 and "1 worked on" in again.err and again.out == done.out
    assert workplace.count("run") == 1


def test_a_method_that_always_ends_the_process_does_not_stop_the_others(workplace: Workplace) -> None:
    workplace.pairs(10)
    for index in range(10):
        mark(workplace, f"{index:03d}")
    job = workplace.suite("[{method: misbehaving, options: {what: exit}, label: bad}, identity]")
    done = workplace.run(job, "--workers", 2)
    assert_calm(done, 1)
    assert "10/10" in done.out and "0/10" in done.out and "not tried" in done.out


def test_a_method_that_ends_the_only_process_loses_one_unit(workplace: Workplace) -> None:
    workplace.pairs(12)
    mark(workplace, "011")
    job = workplace.suite("[identity, {method: misbehaving, options: {what: exit}, label: bad}]")
    done = workplace.run(job)
    assert_calm(done, 1)
    assert "worker process ended with exit code 9 while this unit was in its hands" in done.out
    assert "11/12" in done.out and "12/12" in done.out


def test_a_method_that_cannot_be_loaded_fails_each_item_with_the_reason(workplace: Workplace) -> None:
    workplace.pairs(3)
    done = workplace.run(workplace.suite("[unloadable, identity]"))
    assert_calm(done, 1)
    assert "0/3" in done.out and "3/3" in done.out
    assert "method cannot be loaded: RuntimeError: driver too old" in done.out


def test_a_plugin_that_fails_is_named(workplace: Workplace) -> None:
    workplace.pairs(1)
    plugin = workplace.write("broken.py", "import nothing_of_that_name\n")
    assert_refused(workplace.bench("run", workplace.suite(), "--plugin", plugin), "broken.py", "nothing_of_that_name")
    assert_refused(workplace.bench("run", workplace.suite(), "--plugin", "absent.py"), "no plugin file absent.py")


# Requests


SUITES = {
    "method": ("methods: [gama]", "suite.yaml:3: unknown method 'gama'; did you mean 'gamma'?"),
    "metric": ("metrics: [psnrr]", "suite.yaml:4: unknown metric 'psnrr'; did you mean 'psnr'?"),
    "dataset": ("datasets: [builtin-lowlite]", "suite.yaml:2: unknown dataset 'builtin-lowlite'; did you mean"),
    "key": ("metods: [gamma]", "suite.yaml:5: unknown key 'metods'; did you mean 'methods'?"),
    "protocol": ("protocol: basicsr/rbg", "suite.yaml:5: unknown protocol 'basicsr/rbg'; did you mean 'basicsr/rgb'?"),
    "method option": ("methods: [{method: gamma, options: {gama: 1}}]", "did you mean 'gamma'?"),
    "metric option": ("metrics: [{psnr: {spaces: y}}]", "did you mean 'space'?"),
    "dataset option": ("datasets: [{dataset: folder, options: {lq: data/low, gtt: x}}]", "did you mean 'gt'?"),
    "value": ("metrics: [{psnr: {space: yy}}]", "did you mean 'y'?"),
    "type": ("seeds: many", "suite.yaml:5: seeds: "),
    "label": ("methods: [{method: gamma, label: a}, {method: identity, label: a}]", "label 'a' is already used"),
    "no images": ("datasets: [{dataset: folder, options: {lq: data/lo}}]", "data/lo: does not exist"),
    "no pairs": (
        "datasets: [{dataset: folder, options: {lq: data/low, gt: other}}]",
        "no file of data/low (2 files) has the id of a file of other (1 file)",
    ),
    "include": ("include: absent.yaml", "absent.yaml does not exist"),
    "include loop": ("include: suite.yaml", "include loop"),
    "python object": (
        "title: !!python/object/apply:os.system ['touch executed']",
        "suite.yaml:5: no constructor for !!python",
    ),
    "twice": ("methods: [gamma]\nmethods: [gamma]", "written twice"),
    "not YAML": ("title: [", "suite.yaml:"),
    "no mapping": (None, "suite.yaml:1:"),
}


@pytest.mark.parametrize("wrong", SUITES)
def test_a_wrong_suite_is_refused_in_one_line_before_any_work(workplace: Workplace, wrong: str) -> None:
    fragment, message = SUITES[wrong]
    workplace.pairs(2)
    workplace.pair("zzz", folder="elsewhere")
    (workplace.root / "elsewhere/high").rename(workplace.root / "other")
    lines = [
        "schema: 1",
        "datasets: [{dataset: folder, options: {lq: data/low, gt: data/high}}]",
        "methods: [identity]",
    ]
    lines.append("metrics: [psnr]")
    if fragment is None:
        lines = ["- a list"]
    else:
        keys = [line.split(":")[0] for line in lines]
        key = fragment.split(":")[0]
        lines[keys.index(key) if key in keys else len(lines) :][:1] = []
        if key in keys:
            lines[keys.index(key)] = fragment
        else:
            lines.append(fragment)
    workplace.write("suite.yaml", "\n".join(lines) + "\n")
    assert_refused(workplace.bench("run", "suite.yaml"), message)
    assert not workplace.results.exists() and not (workplace.root / "executed").exists()


def test_a_bomb_of_yaml_aliases_is_refused_quickly(workplace: Workplace) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    workplace.write("bomb.yaml", "schema: 1\n" + "\n".join(levels) + "\n")
    start = time.monotonic()
    assert_refused(workplace.bench("run", "bomb.yaml"), "bomb.yaml", "values")
    assert time.monotonic() - start < 20


def test_every_mistake_of_a_suite_is_told_at_once(workplace: Workplace) -> None:
    workplace.pairs(1)
    done = workplace.bench("run", workplace.suite("[gama, identity, clahee]", "[psnr, sim]"))
    assert done.code == 2 and "Traceback" not in done.err
    lines = done.err.strip().splitlines()
    assert len(lines) == 3 and all("did you mean" in line for line in lines)


COMMANDS = {
    "option": (["run", "suite.yaml", "--metod", "x"], "--method"),
    "command": (["rum", "suite.yaml"], "did you mean 'run'?"),
    "suite": (["run", "quikstart"], "did you mean 'quickstart'?"),
    "suite file": (["run", "absent.yaml"], "no suite file absent.yaml"),
    "chosen method": (["run", "suite.yaml", "-m", "identiti"], "did you mean 'identity'?"),
    "chosen dataset": (["run", "suite.yaml", "-d", "mime"], "did you mean 'mine'?"),
    "device": (["run", "suite.yaml", "--device", "gpu"], "unknown device 'gpu'"),
    "device number": (["run", "suite.yaml", "--device", "cuda:x"], "unknown device 'cuda:x'"),
    "workers": (["run", "suite.yaml", "--workers", "0"], "0 is not in the range"),
    "limit": (["run", "suite.yaml", "--limit", "none"], "not a valid integer"),
    "format": (["run", "suite.yaml", "--format", "markdwon"], "did you mean 'markdown'?"),
    "no results": (["table"], "bench run SUITE"),
}


@pytest.mark.parametrize("wrong", COMMANDS)
def test_a_wrong_command_is_refused_in_one_line_and_leaves_no_run(workplace: Workplace, wrong: str) -> None:
    arguments, message = COMMANDS[wrong]
    workplace.pairs(1)
    workplace.suite()
    assert_refused(workplace.bench(*arguments), message)
    assert not (workplace.results / "bench.db").exists() or workplace.count("run") == 0


# Weights


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch executed",)


def malicious(place: Path) -> Path:
    """A checkpoint that creates the file `executed` when it is unpickled."""
    import torch

    place.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"weight": Malicious()}, place)
    return place


def test_a_swapped_weight_file_is_refused_before_it_is_unpickled(workplace: Workplace) -> None:
    workplace.pairs(1)
    malicious(workplace.root / "home/weights/sci/medium.pt")
    done = workplace.bench("run", workplace.suite("[identity, sci-medium]"))
    assert_refused(done, "sci/medium.pt has sha256", "bench fetch sci-medium")
    assert not list(workplace.root.rglob("executed"))


def test_a_checkpoint_that_holds_code_is_refused_by_the_loader_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.errors import BenchError
    from bench.methods.network import read_weights

    monkeypatch.chdir(tmp_path)
    for file in (malicious(tmp_path / "zip.pt"), tmp_path / "plain.pt"):
        if file.name == "plain.pt":
            file.write_bytes(pickle.dumps(Malicious(), protocol=2))
        with pytest.raises(BenchError, match=r"cannot be read as weights") as refused:
            read_weights(file)
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "executed").exists()


def test_weights_that_are_not_there_are_named_with_the_command_that_brings_them(workplace: Workplace) -> None:
    workplace.pairs(1)
    job = workplace.suite("[identity, sci-medium]")
    done = workplace.bench("run", job)
    assert done.code == 2 and "bench fetch sci-medium" in done.err and "--available" in done.err
    assert not workplace.results.exists()
    partly = workplace.bench("run", job, "--available")
    assert_calm(partly, 0)
    assert "1/1" in partly.out and "unavailable" in partly.out and "sci-medium" in partly.out
