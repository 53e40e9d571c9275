"""Every metric column of the papers' tables is in the catalogue, says which variant it is, and says what it lacks."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.catalog.registry import Entry, Registry, registry
from bench.errors import BenchError, MissingFile
from bench.metrics.base import Metric
from bench.metrics.build import build_metric

NONE = {"view": {}, "metrics": {}}
ENTRIES = list(registry("metric"))

# As printed: heading, direction (the arrow), decimals. IQPIR tables 1–9, IQPFR tables 1–8, RAR's evaluation.
LEARNED_COLUMNS = [
    ("TOPIQ-G", "higher", 3), ("Musiq-G", "higher", 3), ("Musiq-K", "higher", 2), ("Musiq-A", "higher", 2),
    ("Arniqa", "higher", 3), ("MDFS", "lower", 2), ("Q-Align", "higher", 2), ("CLIP-IQA", "higher", 3),
    ("LPIPS", "lower", 3), ("Uranker", "higher", 3), ("MANIQA", "higher", None), ("NIMA", "higher", None),
]  # fmt: skip
OTHER_COLUMNS = [("PSNR", "higher"), ("SSIM", "higher"), ("FID", "lower"), ("UCIQE", "higher"), ("UIQM", "higher")]


@pytest.mark.parametrize("heading, better, digits", LEARNED_COLUMNS)
def test_a_learned_column_of_the_papers_is_an_entry(heading, better, digits):
    entry = registry("metric").get(heading.lower())
    assert (entry.fields["better"], entry.fields["paper"]["column"]) == (better, heading)
    assert digits is None or entry.fields["digits"] == digits
    assert entry.fields["symbol"].upper() == heading.upper()
    for key in ("mode", "range", "cost", "title"):
        assert entry.fields[key]


@pytest.mark.parametrize("heading, better", OTHER_COLUMNS)
def test_every_other_column_of_the_papers_has_a_name(heading, better):
    assert registry("metric").get(heading.lower()).fields["better"] == better


@pytest.mark.parametrize(
    "column, name",
    [
        ("topiq-g", "topiq_nr-face-v1"), ("musiq-k", "musiq"), ("musiq-a", "musiq-ava"), ("arniqa", "arniqa"),
        ("qalign", "q-align"), ("clip-iqa", "clipiqa"), ("lpips-alex", "lpips"), ("face-identity", "idd"),
    ],
)  # fmt: skip
def test_an_alias_is_the_same_metric_with_the_same_signature(column, name):
    entry = registry("metric").get(column)
    assert entry.name == name and entry is registry("metric").get(name)


def test_topiq_g_is_not_todays_topiq_for_faces():
    old, new = (registry("metric").get(name).fields for name in ("topiq-g", "topiq_nr-face"))
    assert old["weights"][0]["file"].endswith("topiq_nr_gfiqa_res50-d76bf1ae.pth")
    assert new["weights"][0]["file"].endswith("topiq_nr_cgfiqa_res50-0a8b8e4f.pth")
    # Network, input size and face detection are the same: what the entry says of the difference.
    from pyiqa.default_model_configs import DEFAULT_CONFIGS

    options = [dict(DEFAULT_CONFIGS[name]["metric_opts"]) for name in ("topiq_nr-face-v1", "topiq_nr-face")]
    assert [one.pop("model_name") for one in options] == ["topiq_nr_gfiqa_res50", "topiq_nr_cgfiqa_res50"]
    assert options[0] == options[1]


# Amending an entry of another file


def test_amending_adds_fields_and_an_alias_and_leaves_the_rest():
    catalogue = Registry("dataset")
    catalogue._add(Entry("base", "dataset", {"title": "Base", "licence": "MIT", "alias": "b"}, "a.yaml:1"))
    catalogue._amend(Entry("paper-name", "dataset", {"amends": "base", "title": "Better"}, "b.yaml:1"))
    found = catalogue.get("paper-name")
    assert found.name == "base" and found is catalogue.get("b")
    assert found.fields == {"title": "Better", "licence": "MIT", "alias": ["b", "paper-name"]}
    assert found.origin == "a.yaml:1"


def test_amending_what_is_not_there_or_under_a_taken_name_is_refused():
    catalogue = Registry("dataset")
    catalogue._add(Entry("base", "dataset", {}, "a.yaml:1"))
    catalogue._add(Entry("taken", "dataset", {}, "a.yaml:2"))
    with pytest.raises(BenchError, match=r"b\.yaml:1: 'x' amends unknown 'bose'; did you mean 'base'"):
        catalogue._amend(Entry("x", "dataset", {"amends": "bose"}, "b.yaml:1"))
    with pytest.raises(BenchError, match=r"the name 'taken' is taken by a\.yaml:2"):
        catalogue._amend(Entry("taken", "dataset", {"amends": "base"}, "b.yaml:1"))


# Weights that are not there


BUILDABLE = [entry for entry in ENTRIES if not entry.fields.get("unavailable")]


@pytest.mark.parametrize("entry", BUILDABLE, ids=lambda entry: entry.name)
def test_absent_weights_are_one_line_with_file_source_pin_and_command(entry, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    metric = build_metric(entry, {}, NONE)
    if not metric.assets():
        if metric.kind.boxes:
            return  # its files are those of the detector that a suite names
        assert not metric.learned, f"{entry.name} is learned and names no file"
        return
    with pytest.raises(MissingFile) as caught:
        metric.load("cpu")
    line = str(caught.value)
    asset = next(asset for asset in metric.assets() if asset.file in line)
    assert "\n" not in line
    assert (asset.url or asset.instructions or "no public source") in line
    assert re.search(r"sha256 [0-9a-f]{8}|no published hash|not published", line)
    assert line.endswith(f"bench fetch {entry.name}")


# Nothing is drawn at random


def random_calls(tree: ast.AST) -> list[str]:
    """Calls that draw random numbers, outside `if self.training` and outside of making parameters."""
    found: list[str] = []

    def visit(node: ast.AST, training: bool) -> None:
        if isinstance(node, ast.If) and "training" in ast.unparse(node.test):
            drawn = "not self.training" in ast.unparse(node.test)
            for child in node.body:
                visit(child, training or not drawn)
            for child in node.orelse:
                visit(child, training or drawn)
            return
        if isinstance(node, ast.FunctionDef) and node.name in ("__init__", "_get_random_patches", "random_crop"):
            return
        if isinstance(node, ast.Call) and not training:
            name = ast.unparse(node.func)
            if re.fullmatch(r"(torch|np|numpy)\.(random\.\w+|rand\w*|bernoulli|multinomial)|random(\.\w+|_crop)", name):
                found.append(name)
        for child in ast.iter_child_nodes(node):
            visit(child, training)

    visit(tree, False)
    return found


def test_no_per_image_metric_of_pyiqa_draws_random_numbers_when_it_scores():
    import pyiqa.archs

    files = sorted(Path(inspect.getfile(pyiqa.archs)).parent.glob("*.py"))
    drawing = {file.name: calls for file in files if (calls := random_calls(ast.parse(file.read_text("utf-8"))))}
    # KID draws subsets (a set metric, not built by the adapter); stochastic depth returns early unless it is training.
    drawing.pop("fid_arch.py", None)
    drawing.pop("musiq_arch.py", None)
    assert drawing == {}


def test_a_random_call_would_be_found():
    crop = "def f(self):\n    if self.training:\n        random_crop(x)\n    else:\n        {}"
    assert random_calls(ast.parse(crop.format("uniform_crop(x)"))) == []
    assert random_calls(ast.parse(crop.format("random_crop(x)"))) == ["random_crop"]
    assert random_calls(ast.parse("def f(x):\n    return np.random.randint(3)")) == ["np.random.randint"]


def test_our_learned_metrics_are_planned_without_torch():
    program = (
        "import sys\nfrom bench.catalog.registry import registry\nfrom bench.metrics.build import build_metric\n"
        "for name in ('musiq-g', 'musiq-native', 'mdfs', 'idd', 'q-align'):\n"
        "    print(build_metric(registry('metric').get(name), {}, {}).signature())\n"
        "assert 'torch' not in sys.modules and 'cv2' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_options_of_a_learned_metric_are_checked_by_name():
    with pytest.raises(BenchError, match="no option 'weigths'; did you mean 'weights'"):
        build_metric(registry("metric").get("musiq-g"), {"weigths": "x"}, NONE)
    assert issubclass(registry("metric").get("mdfs").load(), Metric)
