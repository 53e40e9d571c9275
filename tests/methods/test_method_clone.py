"""A network in a clone of its authors' repository: imported without a trace, identified by its code and weights."""

from __future__ import annotations

import copy
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from support.networks import picture
from torch import nn

import bench
from bench.catalog.registry import registry
from bench.errors import BenchError
from bench.latency import selection
from bench.latency.session import TimedMethod
from bench.methods.build import build_method
from bench.methods.chain import ChainMethod
from bench.planning.bind import Missing
from bench.planning.missing import screen
from iqpir.cli import group
from iqpir.errors import IQPIRError
from iqpir.plus import ScoreConditioner, Site

ARCH = """
import torch
from torch import nn
from basicsr.utils import gain
import basicsr.archs

class Net(nn.Module):
    def __init__(self, channels, late=False):
        super().__init__()
        self.features = nn.Conv2d(channels, channels, 1, bias=False)
        self.late = late

    def forward(self, image):
        if self.late:
            from basicsr.late import more
            image = image + more
        return self.features(image) * gain, "codes"

class Text:
    pass

def broken():
    raise OSError("no such device\\nat all")

def tells():
    import os
    os._exit(3)
"""


def clone_of(folder: Path, gain: float) -> Path:
    """As BasicSR's kind of repository lies on disk: one package, whose parts are scanned for by computed names."""
    files = {
        "basicsr/__init__.py": "",
        "basicsr/utils/__init__.py": f"gain = {gain}\n",
        "basicsr/late.py": "more = 0.25\n",
        "basicsr/archs/__init__.py": "import importlib\nimportlib.import_module('basicsr.archs.' + 'other_arch')\n",
        "basicsr/archs/other_arch.py": "other = 1\n",
        "basicsr/archs/net_arch.py": ARCH,
        "basicsr/archs/needy_arch.py": "import no_such_package_of_theirs\n",
        "basicsr/archs/stale_arch.py": "import basicsr.gone\n",
        "basicsr/archs/typo_arch.py": "def (:\n",
        "train.py": "raise SystemExit('not to be imported')\n",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def eye() -> dict[str, torch.Tensor]:
    return {"features.weight": torch.eye(3)[:, :, None, None]}


@pytest.fixture
def place(tmp_path):
    clone_of(tmp_path / "a", 0.5)
    clone_of(tmp_path / "b", 0.25)
    torch.save({"params_ema": eye()}, tmp_path / "net.pth")
    return tmp_path


def options(place: Path, repo: str | None = "a", **more) -> dict:
    return {
        "repo": repo and str(place / repo), "module": "basicsr.archs.net_arch:Net", "arguments": {"channels": 3},
        "weights": str(place / "net.pth"), **more,
    }  # fmt: skip


def make(place: Path, repo: str = "a", **more):
    return build_method(registry("method").get("clone"), options(place, repo, **more), None)


def loaded(*arguments, **more):
    method = make(*arguments, **more)
    method.load("cpu", "float32")
    return method


def test_two_clones_with_a_package_of_one_name_stay_apart_and_leave_nothing(place):
    mine = sys.modules["basicsr"] = type(sys)("basicsr")
    path, before = list(sys.path), set(sys.modules)
    try:
        one, other = loaded(place, "a"), loaded(place, "b")
        image = picture(5, 6, 0.4)
        for method, gain in ((one, 0.5), (other, 0.25), (one, 0.5)):
            torch.testing.assert_close(method.restore(image), image * gain)
        assert sys.modules["basicsr"] is mine and sys.path == path
        assert not [name for name in set(sys.modules) - before if name.startswith("basicsr")]
        assert not list(place.rglob("*.pyc"))
    finally:
        del sys.modules["basicsr"]


def test_what_it_imports_while_it_runs_is_its_own(place):
    (place / "b/basicsr/late.py").write_text("more = 0.5\n")
    image = picture(4, 4, 0.3)
    for repo, expected in (("a", (image + 0.25) * 0.5), ("b", (image + 0.5) * 0.25)):
        method = loaded(place, repo, arguments={"channels": 3, "late": True})
        torch.testing.assert_close(method.restore(image), expected)
        torch.testing.assert_close(copy.deepcopy(method.network)(image), expected)


def test_its_identity_is_the_code_that_is_reached_and_the_weights(place):
    first = make(place).identity()
    assert first == make(place).identity() and "basicsr" not in sys.modules
    json.dumps(first)
    clone_of(place / "elsewhere", 0.5)
    assert make(place, "elsewhere").identity() == first, "where it lies does not count"
    for file, text, counts in (
        ("basicsr/archs/net_arch.py", ARCH + "\n# a comment\n", False),
        ("train.py", "x = 2\n", False),
        ("basicsr/archs/other_arch.py", "other = 2\n", True),  # imported by a name that is computed
        ("basicsr/late.py", "more = 0.75\n", True),
        ("basicsr/utils/__init__.py", "gain = 0.5\nx = 1\n", True),
    ):
        was = (place / "a" / file).read_text()
        (place / "a" / file).write_text(text)
        assert (make(place).identity() != first) is counts, file
        (place / "a" / file).write_text(was)
    assert make(place).identity() == first
    assert make(place, arguments={"channels": 3, "late": True}).identity() != first
    assert make(place, range=[-1, 1]).identity() != first
    torch.save({"params_ema": {"features.weight": torch.ones(3, 3, 1, 1)}}, place / "net.pth")
    assert make(place).identity() != first


def test_code_that_changes_after_planning_is_refused(place):
    method = make(place)
    method.identity()
    (place / "a/basicsr/utils/__init__.py").write_text("gain = 0.75\n")
    with pytest.raises(BenchError, match=r"the code in .* changed since the run was planned"):
        method.load("cpu", "float32")


def test_code_by_a_computed_name_outside_the_packages_reached_has_to_be_named(place):
    (place / "a/extra_parts.py").write_text("x = 1\n")
    (place / "a/basicsr/archs/__init__.py").write_text("__import__('_'.join(['extra', 'parts']))\n")
    with pytest.raises(BenchError, match=r"imports 'extra_parts' by a computed name.*modules: \[extra_parts\]"):
        loaded(place)
    one = make(place, modules=["extra_parts"])
    before = one.identity()
    one.load("cpu", "float32")
    (place / "a/extra_parts.py").write_text("x = 2\n")
    assert make(place, modules=["extra_parts"]).identity() != before


@pytest.mark.parametrize("nest", ["params_ema", "params", "state_dict", "", "net.inner", "module."])
def test_tensors_are_found_where_training_scripts_put_them(place, nest):
    state = {("module." if nest == "module." else "") + name: tensor for name, tensor in eye().items()}
    content = {"net": {"inner": state}} if nest == "net.inner" else {nest: state, "epoch": 3}
    if nest in ("", "module."):
        content = state
    if nest == "params_ema":
        content["params"] = {"features.weight": torch.zeros(3, 3, 1, 1)}
    torch.save(content, place / "net.pth")
    method = loaded(place, **({"tensors": nest} if nest == "net.inner" else {}))
    image = picture(4, 5, 0.4)
    torch.testing.assert_close(method.restore(image), image * 0.5)


def test_the_networks_range_is_its_own(place):
    image = picture(4, 5, 0.4)
    torch.testing.assert_close(loaded(place, range=[-1, 1]).restore(image), ((image * 2 - 1) * 0.5 + 1) / 2)


class Bomb:
    def __reduce__(self):
        return (open, ("executed", "w"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"repo": "absent"}, "absent, and there is no such folder: git clone it there"),
        ({"module": "basicsr.archs.net_arch"}, "module is PACKAGE.MODULE:CLASS, not 'basicsr.archs.net_arch'"),
        ({"module": "basicsr/archs/net_arch.py:Net"}, "module is PACKAGE.MODULE:CLASS"),
        ({"module": "basicsr.archs.net_arhc:Net"}, "has no module 'basicsr.archs.net_arhc'; did you mean 'basicsr.ar"),
        ({"module": "nosuch:Net"}, "has no module 'nosuch'"),
        ({"module": "json:JSONDecoder"}, "has no module 'json'"),
        ({"module": "basicsr.archs.net_arch:Nett"}, "has no 'Nett'; did you mean 'Net'"),
        ({"module": "basicsr.archs.net_arch:Text", "arguments": {}}, "makes Text, which is no torch module"),
        ({"module": "basicsr.utils:gain"}, "is float, no class or function"),
        ({"module": "basicsr.archs.needy_arch:Net"}, "needs the package 'no_such_package_of_theirs', which is not"),
        ({"module": "basicsr.archs.stale_arch:Net"}, "has no module 'basicsr.gone'"),
        ({"module": "basicsr.archs.typo_arch:Net"}, "importing basicsr.archs.typo_arch from .* failed: SyntaxError"),
        ({"module": "train:Net"}, "importing train from .* failed: SystemExit: not to be imported"),
        ({"module": "basicsr.archs.net_arch:broken", "arguments": {}}, "cannot be made with these arguments: OSError"),
        ({"module": "basicsr.archs.net_arch:tells", "arguments": {}}, "SystemExit: os._exit"),
        ({"arguments": {"chanels": 3}}, "arguments of basicsr.archs.net_arch:Net: .*; did you mean 'channels'"),
        ({"arguments": {}}, r"missing a required argument: 'channels' \(it takes channels, late\)"),
        ({"arguments": [3]}, "arguments is a mapping"),
        ({"arguments": {"channels": 4}}, r"does not fit Net: shape features.weight \(3, 3, 1, 1\) instead of"),
        ({"range": [1, 0]}, r"range is \[black, white\]"),
        ({"range": [1]}, r"range is \[black, white\]"),
        ({"size": [5]}, r"size is \[width, height\]"),
        ({"weights": "absent.pth"}, "absent.pth, and there is no such file"),
        ({"weights": None}, "needs the option weights"),
        ({"repo": None}, r"is imported from a clone of its repository: options: \{repo: CLONE, weights: FILE\}"),
        ({"tensors": "nowhere"}, "has nothing at 'nowhere'"),
        ({"modul": "x"}, "unknown option 'modul'; did you mean 'module'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(place, monkeypatch, change, message):
    monkeypatch.chdir(place)
    with pytest.raises(BenchError, match=message) as caught:
        loaded(place, **change)
    assert "\n" not in str(caught.value)
    assert "basicsr" not in sys.modules


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"net": {"inner": {}}, "epoch": 1}, "neither under params_ema.* names the place .it holds net, epoch"),
        ({"params": {"gain": torch.ones(1)}}, "does not fit Net: missing features.weight; foreign gain"),
        ({"params": eye(), "bomb": Bomb()}, "cannot be read as weights"),
    ],
)
def test_files_that_do_not_fit_are_one_line_and_run_nothing(place, monkeypatch, content, message):
    monkeypatch.chdir(place)
    torch.save(content, place / "net.pth")
    with pytest.raises(BenchError, match=message) as caught:
        loaded(place)
    assert "\n" not in str(caught.value) and not (place / "executed").exists()


# With a score


class Same(nn.Module):
    """A network with the clone's names, to write a conditioner's file from."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1, bias=False)


@pytest.fixture
def rows(place):
    """A conditioner whose bin 9 adds 0.2 to the features."""
    plus = ScoreConditioner(Same(), [Site("features", "add", 3)])
    with torch.no_grad():
        plus.score[0].weight[9] = 0.2
    plus.save(place / "plus.safetensors")
    return place


def test_it_is_a_host_for_a_score(rows):
    image = picture(5, 6, 0.4)
    for score, shift in ((0.95, 0.2), (0.05, 0.0)):
        host = options(rows)
        method = bench.load_method("plus", host=host, weights=str(rows / "plus.safetensors"), score=score)
        torch.testing.assert_close(method.restore(image), (image + shift) * 0.5)


def test_a_score_does_not_leak_into_the_identity_of_its_host(rows):
    entry = registry("method").get("plus")
    one = build_method(entry, {"host": options(rows), "weights": str(rows / "plus.safetensors")}, None)
    assert one.identity()["host"] == make(rows).identity()
    assert (
        one.identity()
        != build_method(entry, {"host": options(rows, "b"), "weights": str(rows / "plus.safetensors")}, None).identity()
    )


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ({"module": "a:B"}, r"host is the name of a method, or \{repo: CLONE"),
        (["sci-medium"], "host is the name of a method or a mapping"),
        (3, "host is the name of a method or a mapping"),
        ({"repo": "absent", "module": "a:B"}, "no such folder"),
        ({"repo": ".", "modul": "a:B"}, "unknown option 'modul'; did you mean 'module'"),
    ],
)
def test_a_wrong_host_is_one_line(rows, host, message):
    with pytest.raises(BenchError, match=message) as caught:
        build_method(registry("method").get("plus"), {"host": host, "weights": str(rows / "plus.safetensors")}, None)
    assert "\n" not in str(caught.value)


def test_a_site_that_is_not_there_is_one_line(rows):
    torch.manual_seed(0)
    ScoreConditioner(nn.Sequential(nn.Conv2d(3, 3, 1)), [Site("0", "add", 3)]).save(rows / "plus.safetensors")
    with pytest.raises(BenchError, match="plus: Net has no module '0'"):
        bench.load_method("plus", host=options(rows), weights=str(rows / "plus.safetensors"))


def test_a_suite_runs_it_only_with_permission(rows, monkeypatch):
    monkeypatch.chdir(rows)
    draw = np.random.default_rng(0)
    for folder in ("low", "high"):
        (rows / folder).mkdir()
        Image.fromarray(draw.integers(0, 256, (12, 14, 3), dtype=np.uint8)).save(rows / folder / "0.png")
    host = "{repo: a, module: 'basicsr.archs.net_arch:Net', arguments: {channels: 3}, weights: net.pth}"
    (rows / "suite.yaml").write_text(
        "schema: 1\ntitle: From a clone\n"
        "datasets: [{dataset: folder, options: {lq: 'low/*.png', gt: 'high/*.png'}, label: pairs}]\n"
        f"methods:\n  - {{method: clone, options: {host}, label: host}}\n"
        f"  - {{method: plus, options: {{host: {host}, weights: plus.safetensors}}, "
        "sweep: {score: [0.05, 0.95]}, label: 'plus {score}'}\nmetrics: [psnr]\n"
    )
    (rows / "a/basicsr/__init__.py").write_text("open('imported', 'w').close()\n")
    with pytest.raises(BenchError) as caught:
        bench.run("suite.yaml")
    assert "imports code from the clone a: bench run --allow-commands lets it" in " ".join(str(caught.value).split())
    assert not (rows / "imported").exists()
    assert bench.run("suite.yaml", allow_commands=True).failed == 0
    means = bench.load_results("results/bench.db").groupby("method")["value"].mean()
    assert means["plus 0.05"] == means["host"] != means["plus 0.95"]
    assert (rows / "imported").exists()


def test_it_is_timed_only_with_permission(rows):
    given = {"clone": options(rows), "plus": {"host": options(rows), "weights": str(rows / "plus.safetensors")}}
    subjects = [TimedMethod(name, name, each) for name, each in given.items()]
    with pytest.raises(BenchError) as caught:
        selection.check(subjects, commands=False)
    said = str(caught.value).splitlines()
    assert len(said) == 2 and all("imports code from the clone" in line and "--allow-commands" in line for line in said)
    selection.check(subjects, commands=True)


def test_a_chain_asks_for_the_permission_that_its_tools_need(rows):
    tool = {"method": "clone", "options": options(rows)}
    entry = replace(registry("method").get("clone"), fields={"kind": "chain", "tools": {"noise": [tool]}})
    assert "imports code from the clone" in str(ChainMethod.from_entry(entry, {}, None).foreign_code())
    entry = replace(entry, fields={"kind": "chain", "tools": {"noise": ["identity"]}})
    assert ChainMethod.from_entry(entry, {}, None).foreign_code() is None


def test_a_plus_whose_clone_is_missing_says_so_and_not_that_its_weights_are(rows):
    plus = build_method(registry("method").get("daefr+"), {"weights": str(rows / "plus.safetensors")}, None)
    said = " ".join(screen("quickstart", [Missing("method", "daefr+", str(plus.unavailable()))]).split())
    assert "git clone https://github.com/LIAGM/DAEFR: options: {repo: CLONE" in said
    assert "iqpir train" not in said


TRAINING = """host: {repo: a, module: "basicsr.archs.net_arch:Net", arguments: {channels: 3}, weights: net.pth}
sites: [{module: features, kind: film, channels: 3}]
lq: low
gt: high
scores: scores.csv
steps: 3
batch: 1
crop: 8
rate: 0.01
rows_rate: 0.01
drop: 0.0
"""


def trained(place: Path, text: str, *more: str):
    draw = np.random.default_rng(0)
    for folder in ("low", "high"):
        (place / folder).mkdir(exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (12, 14, 3), dtype=np.uint8)).save(place / folder / "0.png")
    (place / "scores.csv").write_text("imagename,score\n0.png,0.95\n")
    (place / "plus.yaml").write_text(text)
    arguments = ["train", "plus", str(place / "plus.yaml"), "-o", str(place / "out"), *more]
    return CliRunner().invoke(group, arguments, standalone_mode=False)


def test_training_writes_what_a_suite_runs(place):
    done = trained(place, TRAINING, "--allow-commands")
    assert done.exception is None, done.exception
    image = picture(8, 8, 0.4)
    found = [
        bench.load_method("plus", host=options(place), weights=str(place / "out/plus.safetensors"), score=score)
        for score in (0.95, 0.05)
    ]
    one, other = (method.restore(image) for method in found)
    assert (one - other).abs().max() > 1e-4
    moved = ScoreConditioner.load(Same(), place / "out/control.safetensors")
    assert not torch.equal(moved.host.features.weight, eye()["features.weight"])


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        (TRAINING, [], "host 'clone' imports code from the clone a: --allow-commands lets it"),
        (TRAINING.replace("repo: a,", "repo: gone,"), ["--allow-commands"], "gone, and there is no such folder"),
        (TRAINING.replace("repo: a,", ""), ["--allow-commands"], r"host is PROVIDER:NAME, or \{repo: CLONE"),
        (
            TRAINING.replace("features, kind", "featrues, kind"),
            ["--allow-commands"],
            "has no module 'featrues'; did you",
        ),
        (TRAINING + "base: x\n", ["--allow-commands"], "unknown key 'base'"),
        (TRAINING + "host_options: 3\n", ["--allow-commands"], "host_options is a mapping"),
        (TRAINING + "host_options: {size: [16, 16]}\n", ["--allow-commands"], "images of 16×16 alone: crop: 16"),
    ],
)
def test_training_is_refused_in_one_line(place, text, more, message):
    (place / "a/basicsr/__init__.py").write_text("" if more else "raise SystemExit('ran')\n")
    done = trained(place, text, *more)
    assert isinstance(done.exception, IQPIRError), done.exception
    assert "\n" not in str(done.exception)
    with pytest.raises(IQPIRError, match=message):
        raise done.exception
