"""A suite file is data: what is wrong in it is one line with its place and the nearest known word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.suite import definition

GOOD = """\
schema: 1
title: Two by two
datasets:
  - builtin-lowlight
  - {dataset: folder, options: {lq: "low/*.png"}, label: mine}
methods:
  - identity
  - {method: gamma, sweep: {gamma: [1.5, 2.2]}, label: "Gamma {gamma}"}
metrics: [psnr, {psnr: {space: y, crop: 4}}, {ssim: {label: S}}]
"""


def complaint(text: str) -> str:
    with pytest.raises(BenchError) as caught:
        definition.parse(text, "s.yaml")
    return str(caught.value)


def test_short_and_long_forms_mean_the_same():
    file = definition.parse(GOOD)
    assert [spec.dataset for spec in file.suite.datasets] == ["builtin-lowlight", "folder"]
    assert [definition.label_of(spec) for spec in file.suite.datasets] == ["builtin-lowlight", "mine"]
    assert [definition.label_of(spec) for spec in file.suite.metrics] == ["psnr", "psnr(space=y,crop=4)", "S"]


def test_a_sweep_is_one_method_per_value_with_its_value_in_the_label():
    spec = definition.parse(GOOD).suite.methods[1]
    found = list(definition.variants(spec, "here"))
    assert [(one.label, one.options) for one in found] == [("Gamma 1.5", {"gamma": 1.5}), ("Gamma 2.2", {"gamma": 2.2})]


@pytest.mark.parametrize(
    "odd",
    ["{gamma.__class__}", "{gamma!r}", "{gamma[0]}", "{gamma:>9}", "{ gamma }", "{}", "{gamma.__init__.__globals__}"],
)
def test_a_label_substitutes_names_only_and_says_so_of_anything_else(odd: str):
    told = complaint(GOOD.replace("Gamma {gamma}", f"x {odd}"))
    assert "s.yaml:8" in told and f"{odd} is no placeholder" in told and "such as {gamma}" in told


def test_braces_that_are_no_placeholder_stay():
    text = GOOD.replace("Gamma {gamma}", "x^{2,3} {gamma}").replace("[1.5, 2.2]", "[1.5]")
    spec = definition.parse(text).suite.methods[1]
    assert next(iter(definition.variants(spec, "here"))).label == "x^{2,3} 1.5"


def test_a_label_that_leaves_out_what_is_swept_says_what_it_needs():
    assert "has to hold {gamma}" in complaint(GOOD.replace("Gamma {gamma}", "Gamma"))


def test_a_label_that_names_no_option_is_an_error():
    assert "s.yaml:8" in complaint(GOOD.replace("Gamma {gamma}", "Gamma {gama}"))
    assert "did you mean 'gamma'" in complaint(GOOD.replace("Gamma {gamma}", "Gamma {gama}"))


@pytest.mark.parametrize(
    ("text", "place", "word"),
    [
        (GOOD.replace("title:", "titel:"), "s.yaml:2", "did you mean 'title'"),
        (GOOD.replace("label: mine", "lable: mine"), "s.yaml:5", "did you mean 'label'"),
        (GOOD.replace("sweep:", "sweeps:"), "s.yaml:8", "did you mean 'sweep'"),
        (GOOD.replace("schema: 1", "schema: 2"), "s.yaml:1", "schema"),
        (GOOD.replace("methods:", "methods: []\nmetrics_:"), "s.yaml", "methods"),
        (GOOD + "title: again\n", "s.yaml:10", "written twice"),
        (GOOD + "seed: x\n", "s.yaml:10", "seed"),
        (GOOD.replace("- identity", "- !!python/object/apply:os.system [id]"), "s.yaml:7", "constructor"),
        (GOOD.replace("[psnr,", "[psnr, psnr,"), "s.yaml:9", "label 'psnr' is already used"),
        ("- a\n- b\n", "s.yaml:1", "mapping"),
        ("a: [", "s.yaml:", "expected"),
        ("", "s.yaml:1", "mapping"),
    ],
)
def test_every_mistake_is_named_with_its_line(text: str, place: str, word: str):
    said = complaint(text)
    assert place in said
    assert word in said


def test_each_complaint_is_one_line():
    said = complaint(GOOD.replace("title:", "titel:").replace("label: mine", "lable: mine"))
    assert len(said.splitlines()) == 2


def test_an_alias_bomb_is_refused_before_it_expands():
    layers = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 9))
    assert "more than" in complaint(f"l0: &l0 [x]\n{layers}\n")


def test_a_deep_nest_is_refused_without_a_traceback():
    assert complaint("a: " + "[" * 5000 + "]" * 5000)


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_include_takes_the_other_files_keys_and_its_own_win(tmp_path: Path):
    write(tmp_path, "base.yaml", GOOD)
    file = definition.load(write(tmp_path, "child.yaml", "include: base.yaml\nmetrics: [ssim]\n"))
    assert file.suite.title == "Two by two"
    assert [spec.metric for spec in file.suite.metrics] == ["ssim"]


def test_a_mistake_in_an_included_file_names_that_file(tmp_path: Path):
    write(tmp_path, "base.yaml", GOOD.replace("title:", "titel:"))
    with pytest.raises(BenchError, match=r"base\.yaml:2: unknown key 'titel'"):
        definition.load(write(tmp_path, "child.yaml", "include: base.yaml\nmetrics: [ssim]\n"))


def test_an_include_loop_is_named(tmp_path: Path):
    write(tmp_path, "a.yaml", "include: b.yaml\n")
    with pytest.raises(BenchError, match="include loop"):
        definition.load(write(tmp_path, "b.yaml", "include: a.yaml\n"))


def test_an_include_of_something_that_is_no_suite_is_refused(tmp_path: Path):
    with pytest.raises(BenchError, match=r"which is no \.yaml file"):
        definition.load(write(tmp_path, "a.yaml", "include: /etc/passwd\n"))


def test_a_suite_that_ships_is_found_by_name_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert definition.find("quickstart").is_file()
    assert "quickstart" in definition.names()


def test_a_suite_in_the_working_directory_comes_before_one_that_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suites").mkdir()
    write(tmp_path / "suites", "quickstart.yaml", GOOD)
    assert definition.load(definition.find("quickstart")).suite.title == "Two by two"


def test_a_misspelt_suite_is_answered_with_the_nearest_one():
    with pytest.raises(BenchError, match="did you mean 'quickstart'"):
        definition.find("quikstart")


def test_a_suite_name_cannot_leave_the_suites_folder():
    with pytest.raises(BenchError):
        definition.find("../suites/quickstart")


def test_every_suite_that_ships_is_valid_and_short():
    for name in definition.names():
        path = definition.find(name)
        assert definition.load(path).suite.title
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 40


BY_DATASET = """schema: 1
datasets: [lol-v1, {dataset: lol-v2-real, label: real}]
methods:
  [{method: sci-easy, datasets: [lol-v1], label: SCI}, {method: sci-medium, datasets: real, label: SCI}, identity]
metrics: [psnr]
"""


def test_lines_for_different_datasets_may_share_a_label():
    methods = definition.parse(BY_DATASET).suite.methods
    assert [method.datasets for method in methods] == [["lol-v1"], ["real"], None]


@pytest.mark.parametrize(
    "text, said",
    [(BY_DATASET.replace("datasets: real", "datasets: lol-v1"), "suite:4: label 'SCI' is already used at suite:4"),
     (BY_DATASET.replace("identity", "{method: identity, label: SCI}"), "label 'SCI' is already used"),
     (BY_DATASET.replace("datasets: real", "datasets: lol-v2-real"), "suite:4: no dataset 'lol-v2-real' in this suite"),
     (BY_DATASET.replace("datasets: real", "datasets: []"), "methods.1.datasets")],
)  # fmt: skip
def test_a_method_is_for_datasets_of_its_suite_and_has_its_label_to_itself(text: str, said: str):
    with pytest.raises(BenchError, match=re.escape(said)):
        definition.parse(text)


# Repeats

REPEATED = '  - {method: gamma, sweep: {gamma: [1.5, 2.2]}, label: "Gamma {gamma}"}'


def repeated(line: str) -> str:
    return GOOD.replace(REPEATED, f"  - {line}")


def test_repeats_are_one_method_and_each_has_all_its_options():
    line = (
        '{method: iqpir, label: "S {score}", sweep: {score: [0.1, 0.9]}, options: {gray: false}, '
        "repeats: [{weights: a}, {weights: b}]}"
    )
    found = list(definition.variants(definition.parse(repeated(line)).suite.methods[1], "here"))
    assert [one.label for one in found] == ["S 0.1", "S 0.9"]
    assert found[1].options == {"gray": False, "score": 0.9}
    assert found[1].members == (
        {"gray": False, "score": 0.9, "weights": "a"}, {"gray": False, "score": 0.9, "weights": "b"},
    )  # fmt: skip
    alone = next(iter(definition.variants(definition.parse(GOOD).suite.methods[0], "here")))
    assert alone.repeats == () and alone.members == ({},)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{method: gamma, repeats: {gamma: 1}}", "repeats: a list is needed"),
        ("{method: gamma, repeats: []}", "repeats: must have one entry or more"),
        ("{method: gamma, repeats: [{}]}", "repeats.0: must have one entry or more"),
        ("{method: gamma, repeats: [1]}", "repeats.0: a mapping is needed"),
        ("{method: gamma, repeats: [{gamma: 1}, {gamma: 2}, {gamma: 1}]}", "numbers 1 and 3 are equal"),
        ("{method: gamma, sweep: {gamma: [1]}, repeats: [{gamma: 2}]}", "'gamma' cannot be swept and differ"),
        ('{method: gamma, label: "g {gamma}", repeats: [{gamma: 2}]}', "'gamma', which differs between repeats"),
        ("{method: gamma, repeat: [{gamma: 2}]}", "unknown key 'repeat'; did you mean 'repeats'?"),
        ("{method: gamma, sweep: {gamma: " + str(list(range(1, 5002))) + "}, repeats: [{a: 1}, {a: 2}]}",
         "sweeps and repeats make 10003 methods"),
    ],
)  # fmt: skip
def test_repeats_that_make_no_sense_are_one_line_with_their_place(line: str, told: str):
    found = complaint(repeated(line))
    assert found.startswith("s.yaml:8: ") and told in found and "\n" not in found


def test_a_suite_without_repeats_is_recorded_as_it_was_before_there_were_any():
    """Runs are found again by what their suite says."""
    methods = definition.parse(GOOD).suite.model_dump(mode="json", by_alias=True)["methods"]
    assert all("repeats" not in one for one in methods)
    said = definition.parse(repeated("{method: gamma, repeats: [{gamma: 2}]}"))
    assert said.suite.model_dump(mode="json", by_alias=True)["methods"][1]["repeats"] == [{"gamma": 2}]
    assert "repeats" not in said.suite.model_dump(exclude_unset=True)["methods"][0]
