"""Commands: a real program in a process of its own, and everything that it may do wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from bench.catalog.registry import Entry
from bench.errors import BenchError, ItemError, MissingFile
from bench.methods import exchange
from bench.methods.build import build_method
from bench.methods.pixels import quantised

SCRIPT = '''
"""A repository's inference script: inverts every image of a folder, or misbehaves as it is told."""
import os, subprocess, sys, time
from pathlib import Path
import numpy as np
from PIL import Image

source, target, mode = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
for file in sorted(source.rglob("*.png")):
    pixels = 255 - np.asarray(Image.open(file))
    image = Image.fromarray(pixels)
    out = target / file.name
    if mode == "fail":
        print("half way", file=sys.stderr)
        raise RuntimeError("CUDA went\\raway")
    elif mode == "silent":
        sys.exit(3)
    elif mode == "stdout":
        print("only here")
        sys.exit(1)
    elif mode == "crash":
        os.abort()
    elif mode == "hang":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        Path("child.pid").write_text(str(child.pid))
        time.sleep(60)
    elif mode == "leave":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        Path("child.pid").write_text(str(child.pid))
        image.save(out)
    elif mode == "missing":
        pass
    elif mode == "wrong size":
        image.resize((5, 7)).save(out)
    elif mode == "extra":
        image.save(out)
        image.save(target / "grid.png")
    elif mode == "twice":
        image.save(out)
        image.save(out.with_suffix(".jpg"))
    elif mode == "link":
        image.save("elsewhere.png")
        out.symlink_to(Path("elsewhere.png").resolve())
    elif mode == "link folder":
        target.rmdir()
        Path("elsewhere").mkdir(exist_ok=True)
        image.save("elsewhere/000000.png")
        target.symlink_to(Path("elsewhere").resolve())
    elif mode == "pipe":
        os.mkfifo(out)
    elif mode == "short":
        image.save(out)
        out.write_bytes(out.read_bytes()[:-40])
    elif mode == "text":
        out.write_text("not an image")
    elif mode == "nan":
        floats = pixels.astype(np.float32) / 255
        floats[0, 0, 0] = np.nan
        np.save(out.with_suffix(".npy"), floats)
    elif mode == "environment":
        Path("environment.txt").write_text("\\n".join(sorted(f"{k}={v}" for k, v in os.environ.items())))
        image.save(out)
    elif mode == "suffixed":
        (target / "deep").mkdir(exist_ok=True)
        image.save(target / "deep" / f"{file.stem}_ours.png")
        (target / "log.txt").write_text("1 dB")
    elif mode == "count":
        with open("calls.txt", "a") as log:
            log.write(f"{len(list(source.rglob('*.png')))}\\n")
        image.save(out)
        mode = "done"
    else:
        image.save(out)
'''

ARGV = ["{python}", "infer.py", "{input}", "{output}", "{mode}"]


def git(repo: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(repo), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A clone with the script above, committed."""
    place = tmp_path / "clone of ours"
    place.mkdir()
    (place / "infer.py").write_text(SCRIPT, encoding="utf-8")
    git(place, "init", "-q")
    git(place, "add", ".")
    git(place, "commit", "-q", "-m", "first")
    return place


def method(clone: Path, mode: str = "invert", **options: object):
    fields = {"kind": "command", "options": {"argv": ARGV, "mode": {"type": "str", "required": True}}}
    return build_method(
        Entry("ours", "method", fields, "mine.yaml:1"), {"repo": str(clone), "mode": mode, **options}, None
    )


def loaded(repo: Path, mode: str = "invert", **options: object):
    made = method(repo, mode, **options)
    made.load("cpu", "float32")
    return made


def batch(count: int = 1, height: int = 6, width: int = 9) -> torch.Tensor:
    levels = np.random.default_rng(3).integers(0, 256, (count, 3, height, width))
    return torch.from_numpy(levels.astype(np.float32) / np.float32(255))


def levels(images: torch.Tensor) -> np.ndarray:
    return np.rint(images.numpy() * 255).astype(int)


def refused(repo: Path, mode: str, **options: object) -> str:
    with pytest.raises(ItemError) as failure:
        loaded(repo, mode, **options).restore(batch())
    assert "\n" not in str(failure.value)
    return str(failure.value)


# What comes back


def test_every_image_comes_back_to_the_level_and_in_order(repo: Path):
    images = batch(3)
    outputs = loaded(repo).restore(images)
    assert outputs.dtype == torch.float32
    assert np.array_equal(levels(outputs), 255 - levels(images))


def test_one_process_restores_a_whole_batch(repo: Path):
    made = loaded(repo, "count")
    made.restore(batch(3))
    made.restore(batch(2))
    assert (repo / "calls.txt").read_text().split() == ["3", "2"]


def test_a_program_of_one_file_and_seed_is_started_once_per_image(repo: Path):
    code = "import sys; from PIL import Image; Image.new('RGB', (9, 6), (int(sys.argv[2]),) * 3).save(sys.argv[1])"
    made = loaded(repo, argv=["{python}", "-c", code, "{output_file}", "{seed}"])
    assert made.stochastic
    outputs = made.restore(batch(2), torch.tensor([7, 200 + 2**31]))
    assert [sorted(set(image.ravel())) for image in levels(outputs)] == [[7], [200]]


def test_outputs_are_found_by_a_pattern_and_other_files_ignored(repo: Path):
    outputs = loaded(repo, "suffixed", pattern="deep/{id}_ours.png").restore(batch(2))
    assert np.array_equal(levels(outputs), 255 - levels(batch(2)))


def test_an_input_is_put_wherever_the_script_looks(repo: Path):
    code = (
        "import sys, shutil, filecmp; low, high = (sys.argv[1] + '/%s/000000.png' % kind for kind in ('low', 'high')); "
        "assert filecmp.cmp(low, high, False); shutil.copy(low, sys.argv[2])"
    )
    made = loaded(repo, argv=["{python}", "-c", code, "{input}", "{output}"], inputs=["low/{id}.png", "high/{id}.png"])
    assert np.array_equal(levels(made.restore(batch())), levels(batch()))


def test_a_configuration_file_is_written_for_the_script(repo: Path):
    code = "import sys, shutil; d = dict(l.split(': ') for l in open(sys.argv[1]).read().split('\\n')); "
    code += "shutil.copytree(d['from'], d['to'], dirs_exist_ok=True)"
    made = loaded(repo, argv=["{python}", "-c", code, "{config}"], config="from: {input}\nto: {output}")
    assert np.array_equal(levels(made.restore(batch())), levels(batch()))


def test_a_script_with_its_authors_folder_runs_with_another(repo: Path):
    (repo / "fixed.py").write_text("import shutil\nshutil.copytree('/mnt/authors/in', 'OUT', dirs_exist_ok=True)\n")
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "second")
    argv = ["{python}", "{patched}", "fixed.py", "/mnt/authors/in", "{input}", "OUT", "{output}", "--"]
    assert np.array_equal(levels(loaded(repo, argv=argv).restore(batch())), levels(batch()))
    argv[3] = "/not/in/it"
    assert "fixed.py does not hold '/not/in/it'" in refused(repo, "invert", argv=argv)


def test_a_float_output_is_taken_as_it_is_and_a_nan_refused_by_the_caller(repo: Path):
    output = loaded(repo, "nan").restore(batch())[0].numpy()
    assert quantised(output, "round") == (None, "output has 1 non-finite values of 162")
    assert output[1, 2, 3] == np.float32((255 - levels(batch())[0, 1, 2, 3]) / 255)


def test_images_of_16_bits_reach_the_program_and_return(repo: Path):
    images = torch.from_numpy(np.arange(162, dtype=np.float32).reshape(1, 3, 6, 9) * 404 / 65535)
    made = loaded(repo, argv=["cp", "-r", "{input}/.", "{output}"])
    assert np.array_equal(np.rint(made.restore(images).numpy() * 65535), np.arange(162).reshape(1, 3, 6, 9) * 404)


def test_an_input_of_8_bits_is_written_as_such(tmp_path: Path):
    exchange.write_images(tmp_path, ["{id}.png"], ["a"], batch().numpy())
    with Image.open(tmp_path / "a.png") as image:
        assert (image.mode, image.size) == ("RGB", (9, 6))
        assert np.array_equal(np.asarray(image), levels(batch())[0].transpose(1, 2, 0))


def test_gray_and_deep_outputs_are_read_for_what_they_are(tmp_path: Path):
    Image.fromarray(np.full((4, 5), 51, np.uint8)).save(tmp_path / "a.png")
    cv2.imwrite(str(tmp_path / "b.png"), np.full((4, 5, 3), (3, 2, 1000), np.uint16))  # blue first
    gray, deep = exchange.read_images(tmp_path, "{id}.*", ["a", "b"], (4, 5))
    assert np.allclose(gray, 0.2)
    assert np.allclose(deep[:, 0, 0], np.array([1000, 2, 3]) / 65535)


def test_images_are_grown_by_reflection_to_what_a_program_takes_and_outputs_cropped(repo: Path):
    code = (
        "import sys, numpy as np; from PIL import Image; source, target = sys.argv[1:]; "
        "image = Image.open(source); assert image.size == (12, 12), image.size; a = np.asarray(image); "
        "assert (a[:, 9] == a[:, 7]).all() and (a[:, 11] == a[:, 5]).all() and (a[11] == a[1]).all(); "
        "image.resize((24, 24), 0).save(target)"
    )
    argv = ["{python}", "-c", code, "{input_file}", "{output_file}"]
    outputs = loaded(repo, argv=argv, multiple=4, least=11, scale=2).restore(batch(2, 6, 16)[..., :9])
    assert outputs.shape == (2, 3, 12, 18)
    assert np.array_equal(levels(outputs)[..., ::2, ::2], levels(batch(2, 6, 16)[..., :9]))


def test_a_program_of_one_size_is_not_started_for_another(repo: Path):
    assert "ours takes images of 9×7 alone, and this one is 9×6" in refused(repo, "hang", size=[9, 7])
    assert np.array_equal(levels(loaded(repo, size=[9, 6]).restore(batch())), 255 - levels(batch()))


def test_the_processors_that_are_visible_are_those_that_the_user_chose(repo: Path, monkeypatch: pytest.MonkeyPatch):
    (repo / "third.py").write_text(
        "import os, shutil, sys\nos.environ['CUDA_VISIBLE_DEVICES'] = '2'\n"
        "os.environ.update(CUDA_VISIBLE_DEVICES='3')\n"
        "os.environ.pop('CUDA_VISIBLE_DEVICES', None)\nos.environ['OTHER'] = 'set'\n"
        "assert os.environ.get('CUDA_VISIBLE_DEVICES') == (sys.argv[3] or None) and os.environ['OTHER'] == 'set'\n"
        "assert ('CUDA_VISIBLE_DEVICES=2' in os.popen('env').read()) is False\n"
        "shutil.copytree(sys.argv[1], sys.argv[2], dirs_exist_ok=True)\n"
    )
    for chosen in ("7", ""):
        if chosen:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
        else:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        argv = ["{python}", "{patched}", "third.py", "--", "{input}", "{output}", chosen]
        assert np.array_equal(levels(loaded(repo, argv=argv).restore(batch())), levels(batch()))


# What goes wrong


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("fail", r"ended with exit code 1: away"),
        ("silent", r"ended with exit code 3, saying nothing"),
        ("stdout", r"ended with exit code 1: only here"),
        ("crash", r"was killed by SIGABRT"),
        ("missing", r"wrote no 000000\.\*: its output folder holds nothing"),
        ("wrong size", r"output 000000.png is 5×7, expected 9×6"),
        ("extra", r"wrote grid.png, an output for no image that it was given"),
        ("twice", r"2 outputs for one image: 000000.jpg, 000000.png"),
        ("link", r"output 000000.png is a symbolic link, which is not followed"),
        ("link folder", r"put a link in the place of its output folder"),
        ("pipe", r"output 000000.png is not a regular file"),
        ("short", r"output 000000.png cannot be decoded"),
        ("text", r"output 000000.png cannot be decoded"),
    ],
)
def test_a_wrong_output_is_the_items_failure(repo: Path, mode: str, said: str):
    import re

    assert re.search(said, refused(repo, mode))


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie that nobody reaps has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_until_gone(pid: int) -> None:
    end = time.monotonic() + 10
    while not gone(pid):
        assert time.monotonic() < end, f"{pid} still runs"
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at /proc")
def test_a_command_that_hangs_is_killed_with_its_children(repo: Path):
    start = time.monotonic()
    assert "took more than 3 s and was killed" in refused(repo, "hang", timeout=3)
    assert time.monotonic() - start < 20
    wait_until_gone(int((repo / "child.pid").read_text()))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at /proc")
def test_what_a_command_leaves_running_is_ended(repo: Path):
    loaded(repo, "leave").restore(batch())
    wait_until_gone(int((repo / "child.pid").read_text()))


def test_nothing_is_left_in_the_temporary_folder(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    loaded(repo).restore(batch())
    refused(repo, "link")
    assert list(scratch.iterdir()) == []
    assert (repo / "elsewhere.png").is_file()  # the link is gone, not what it pointed to


def test_secrets_of_the_environment_are_not_passed_on(repo: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "BENCH_HOME"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("LICENCE_SERVER", "wanted")
    loaded(repo, "environment", environment=["LICENCE_SERVER", "MODE=a=b"]).restore(batch())
    seen = dict(line.split("=", 1) for line in (repo / "environment.txt").read_text().splitlines() if "=" in line)
    assert "secret" not in seen.values()
    assert (seen["LICENCE_SERVER"], seen["MODE"]) == ("wanted", "a=b")
    assert "bench-command-" in seen["TMPDIR"]
    assert seen["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)


def test_nothing_in_argv_is_read_by_a_shell(repo: Path):
    made = loaded(
        repo, argv=["{python}", "infer.py", "{input}", "{output}", "; touch pwned $(touch pwned) `touch pwned`"]
    )
    made.restore(batch())
    assert not (repo / "pwned").exists()


# Identity


def test_the_same_command_has_the_same_identity_whatever_its_path(repo: Path):
    moved = repo.with_name("moved")
    before = method(repo).identity()
    repo.rename(moved)
    assert method(moved, timeout=5).identity() == before
    assert str(moved) not in repr(before)


def test_identity_changes_with_commit_diff_and_strange_sources(repo: Path):
    seen = [method(repo).identity()["repo"]]
    (repo / "infer.py").write_text(SCRIPT + "\n# changed\n", encoding="utf-8")
    seen.append(method(repo).identity()["repo"])
    (repo / "extra.py").write_text("one = 1\n")
    seen.append(method(repo).identity()["repo"])
    (repo / "extra.py").write_text("one = 2\n")
    seen.append(method(repo).identity()["repo"])
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "second")
    seen.append(method(repo).identity()["repo"])
    assert len({(state["commit"], state["diff"]) for state in seen}) == 5
    assert seen[0]["commit"] == seen[1]["commit"] != seen[4]["commit"]
    assert seen[0]["diff"] == seen[4]["diff"]  # nothing differs from either commit
    (repo / "results.txt").write_text("what a run writes")
    assert method(repo).identity()["repo"] == seen[4]


def test_identity_changes_with_declared_files_options_and_environment(repo: Path, tmp_path: Path):
    (repo / "weights").mkdir()
    (repo / "weights" / "a.pth").write_bytes(b"1")
    seen = [method(repo, files=["weights"]).identity()]
    (repo / "weights" / "a.pth").write_bytes(b"22")
    seen += [method(repo, files=[name]).identity() for name in ("weights", "weights/a.pth")]
    seen += [method(repo).identity(), method(repo, environment=["A=1"]).identity(), method(repo, "other").identity()]
    assert len({repr(one) for one in seen}) == len(seen)


def test_identity_changes_with_the_packages_of_the_python(repo: Path, tmp_path: Path):
    place = tmp_path / "packages"
    place.mkdir()
    before = method(repo, environment=[f"PYTHONPATH={place}"]).identity()
    (place / "torch-9.9.dist-info").mkdir()
    after = method(repo, environment=[f"PYTHONPATH={place}"]).identity()
    assert before["python"] != after["python"]


def test_a_clone_that_changes_between_plan_and_start_is_refused(repo: Path):
    made = method(repo)
    made.identity()
    (repo / "infer.py").write_text("pass\n")
    with pytest.raises(BenchError, match="changed since the run was planned"):
        made.load("cpu", "float32")


def test_a_folder_that_is_no_clone_is_refused(tmp_path: Path, repo: Path):
    (tmp_path / "plain").mkdir()
    with pytest.raises(BenchError, match="must be a git clone"):
        method(tmp_path / "plain").identity()
    (repo / "sub").mkdir()
    with pytest.raises(BenchError, match="is not the top folder of a git clone"):
        method(repo / "sub").identity()


# Requests that are wrong


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"argv": ["{python}", "{otput}"]}, r"argv may hold .*\{output\}.*not \{otput\}"),
        ({"argv": ["cp", "{input}"]}, r"argv must hold \{output\}"),
        ({"argv": ["cp", "{config}", "{output}"]}, "the option 'config' is not given"),
        ({"argv": [1, "{output}"]}, "must be a text"),
        ({"argv": "cp {input} {output}"}, "must be a list"),
        ({"pattern": "out.png"}, r"'pattern' must be a path with \{id\}"),
        ({"pattern": "../{id}.png"}, r"'pattern' must be a path with \{id\} below"),
        ({"inputs": ["/{id}.png"]}, r"'inputs' must be a path"),
        ({"files": ["../other.pth"]}, "leaves the clone"),
        ({"folder": "../.."}, "'folder' must be a path in the clone"),
        ({"environment": ["1=2"]}, "neither NAME nor NAME=value"),
        ({"timeout": 0}, "at least"),
        ({"size": [256]}, r"'size' must be \[width, height\], not \[256\]"),
        ({"size": ["256", 256]}, r"'size' must be \[width, height\]"),
        ({"multiple": 0}, "at least 1"),
        ({"python": "/no/such/python"}, "there is no such file"),
        ({"python": "no-such-python"}, "no Python called 'no-such-python'"),
        ({"repo": "/no/such/clone"}, "there is no such folder"),
        ({"tiemout": 3}, "unknown option 'tiemout'; did you mean 'timeout'"),
    ],
)
def test_a_wrong_option_is_one_line(repo: Path, options: dict[str, object], said: str):
    with pytest.raises(BenchError, match=said) as failure:
        method(repo, **options)
    assert "method 'ours' (mine.yaml:1)" in str(failure.value) and "\n" not in str(failure.value)


def test_a_missing_declared_file_makes_it_unavailable(repo: Path):
    made = method(repo, files=["weights/a.pth"])
    assert made.unavailable() == f"ours lacks weights/a.pth in {repo}"
    with pytest.raises(MissingFile):
        made.identity()


def test_a_program_that_is_not_there_is_named(repo: Path):
    with pytest.raises(BenchError, match="there is no program 'no-such-program'"):
        method(repo, argv=["no-such-program", "{output}"]).identity()


def test_another_dtype_is_refused(repo: Path):
    with pytest.raises(BenchError, match="cannot be loaded in bfloat16"):
        method(repo).load("cpu", "bfloat16")
