"""The baseline file: strict, sorted, kept tolerances, one clear line for whatever is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.gated import ITEMS, Place

from bench.gate import baseline
from bench.gate.snapshot_format import Tolerance
from bench.suite import definition

ROOT = Path(__file__).resolve().parents[2]


def test_a_baseline_says_what_the_numbers_are(place: Place):
    data = json.loads(place.baseline.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    content = data["datasets"]["data"]
    assert content["metrics"] == {
        "psnr": {
            "signature": "psnr|space:rgb|range:u8|crop:0|gtmean:no|v:1", "better": "higher", "digits": 2,
            "learned": False, "of_sets": False,
        }
    }  # fmt: skip
    mine = content["methods"]["Mine"]
    assert mine["expected"] == mine["values"]["psnr"]["n"] == 4
    assert list(mine["items"]) == list(ITEMS)
    mean = sum(item["values"]["psnr"] for item in mine["items"].values()) / 4
    assert mine["values"]["psnr"]["value"] == pytest.approx(mean, rel=1e-11)
    # `identity` gives its input back: the same pixels, the same hash.
    assert {i: one["output"] for i, one in content["methods"]["identity"]["items"].items()} == content["inputs"]
    assert data["tolerances"]["here"]["deterministic"] == {"absolute": 1e-6, "relative": 1e-6}
    assert data["made"]["packages"]["numpy"] and data["made"]["processor"]


def test_a_changed_item_is_one_changed_line(place: Place):

    def lines(file: Path) -> list[str]:
        """Without those that tell when and from which commit."""
        every = file.read_text(encoding="utf-8").splitlines()
        return [line for line in every if not line.strip().startswith(('"created"', '"commit"'))]

    before = lines(place.baseline)
    assert place.run("--results", "again") == 0
    assert place.bench("baseline", "mine", "--results", "again")[0] == 0
    assert lines(place.root / "again/baselines/mine.json") == before
    place.put("mine", "b", place.pixels("mine", "b") + 1)
    assert place.run() == 0 and place.bench("baseline", "mine")[0] == 0
    changed = [line.split(":")[0].strip() for line in lines(place.baseline) if line not in before]
    assert sorted(changed) == ['"b"', '"outputs"', '"psnr"']


def test_tolerances_are_the_users_and_stay_when_the_file_is_written_again(place: Place):
    place.put("mine", "b", place.pixels("mine", "b") + 1)
    assert place.run() == 0
    kinds = {kind for kind, *_ in place.check().failing}
    assert kinds & {"worse", "better"}
    place.edit(lambda data: data["tolerances"]["here"]["metrics"].update(psnr={"relative": 0.2}))
    assert {kind for kind, *_ in place.check().failing} == {"outputs"}
    signature = "psnr|space:rgb|range:u8|crop:0|gtmean:no|v:1"
    place.edit(lambda data: data["tolerances"]["here"]["metrics"].update({signature: {"absolute": 0.0}}))
    assert {kind for kind, *_ in place.check().failing} == kinds  # what names the signature wins
    assert place.bench("baseline", "mine")[0] == 0
    kept = baseline.read(place.baseline).tolerances.here.metrics
    assert kept["psnr"] == Tolerance(relative=0.2) and kept[signature] == Tolerance(absolute=0.0)
    assert place.check().code == 0


@pytest.mark.parametrize(
    ("first", "second", "bounds", "equal"),
    [
        (20.0, 20.000019, {}, True),
        (20.0, 20.000021, {}, False),
        (0.01, 0.0100009, {}, True),  # within the absolute bound
        (0.01, 0.0100011, {}, False),
        (0.08, 0.08007, {"relative": 1e-3}, True),
        (0.08, 0.0802, {"relative": 1e-3}, False),
        (float("inf"), float("inf"), {}, True),
        (float("inf"), 40.0, {"relative": 1.0}, False),
        (-40.0, 40.0, {"relative": 1.0}, False),
    ],
)
def test_a_tolerance_is_absolute_or_relative_to_the_larger(
    first: float, second: float, bounds: dict[str, float], equal: bool
):
    assert Tolerance(**bounds).holds(first, second) is Tolerance(**bounds).holds(second, first) is equal


# Another machine


def other_processor(data: dict[str, Any]) -> None:
    data["made"]["processor"] = data["made"]["device_model"] = "Another CPU"


def other_package(data: dict[str, Any]) -> None:
    data["made"]["packages"]["numpy"] = "1.0"


@pytest.mark.parametrize("edit", [other_processor, other_package])
def test_elsewhere_last_bits_of_an_output_are_a_note(place: Place, edit: Callable[[dict[str, Any]], None]):
    place.edit(edit)
    pixels = place.pixels("mine", "b")
    pixels[5, 7, 0] += 1
    place.put("mine", "b", pixels)
    assert place.run() == 0
    found = place.check()
    assert (found.code, found.failing) == (0, [])
    (difference,) = found.data["elsewhere"]
    assert found.notes == [("drift", f"1 of 4 outputs differ, where {difference}")]
    assert {kind for kind, *_ in place.check("--strict").failing} >= {"outputs"}


def test_elsewhere_another_output_is_still_found_by_its_item(place: Place):
    """Two items trade a decibel: the mean stays, the items do not."""
    place.edit(other_processor)
    place.put("mine", "b", place.pixels("high", "b") + 9)
    assert place.run() == 0
    found = place.check()
    assert found.code == 1
    assert [(kind, items) for kind, _, _, items in found.failing] in ([("better", ["b"])], [("worse", ["b"])])


def test_the_harness_own_version_is_no_other_place(place: Place):
    place.edit(lambda data: data["made"]["packages"].update({"iqpir-bench": "0.0.0"}))
    assert place.check().data["elsewhere"] == []


# What is refused


def nested(change: Callable[[dict[str, Any]], None]) -> Callable[[str], str]:
    def apply(text: str) -> str:
        data = json.loads(text)
        change(data)
        return json.dumps(data)

    return apply


MINE = "datasets.data.methods.Mine"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[:-40], "not JSON"),
        (lambda text: "\n\n}" + text, ":3: not JSON"),
        (lambda text: text.replace('"n": 4', '"n": NaN', 1), "NaN is no number of JSON"),
        (lambda text: text.replace('"absolute": 1e-06', '"absolute": 1e999', 1), "absolute: a finite number is needed"),
        (lambda text: text.replace('"suite"', '"title": "x", "suite"', 1), "key 'title' is written twice"),
        (lambda text: "[]", "no baseline: the key 'baseline' is missing"),
        (lambda text: "[" * 100_000, "not"),
        (nested(lambda data: data.update(baseline=2)), "a baseline of form 2, this bench reads form 1"),
        (nested(lambda data: data.update(toleranses={})), "toleranses: unknown key; did you mean 'tolerances'?"),
        (
            nested(lambda data: data["tolerances"]["here"].update(lerned={})),
            "tolerances.here.lerned: unknown key; did you mean 'learned'?",
        ),
        (
            nested(lambda data: data["tolerances"]["here"]["deterministic"].update(absolut=1)),
            "tolerances.here.deterministic.absolut: unknown key; did you mean 'absolute'?",
        ),
        (nested(lambda data: data.pop("made")), "made is missing"),
        (nested(lambda data: data["tolerances"].update(latency=0.9)), "latency: must be more than 1"),
        (
            nested(lambda data: data["datasets"]["data"]["methods"]["Mine"]["values"]["psnr"].update(value="20")),
            f"{MINE}.values.psnr.value: a number is needed, got '20'",
        ),
        (
            nested(lambda data: data["datasets"]["data"]["methods"]["Mine"]["values"].pop("psnr")),
            f"{MINE}.values: 'psnr' is missing",
        ),
        (
            nested(lambda data: data["datasets"]["data"]["methods"]["Mine"]["items"]["a"]["values"].update(ssim=1)),
            f"{MINE}.items.a.values: 'ssim' is no metric of this dataset",
        ),
    ],
)  # fmt: skip
def test_a_wrong_baseline_is_one_line_and_exit_code_two(place: Place, change: Callable[[str], str], said: str):
    wrong = change(place.baseline.read_text(encoding="utf-8"))
    place.baseline.write_text(wrong, encoding="utf-8")
    for command in (("check", "mine"), ("baseline", "mine"), ("compare", str(place.baseline), "mine")):
        code, out = place.bench(*command)
        assert (code, out) == (2, "")
        (line,) = place.err.splitlines()
        assert said in line and "mine.json" in line
    assert place.baseline.read_text(encoding="utf-8") == wrong


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("check", "mine", "--baseline", "none.json"), "no baseline none.json: bench baseline SUITE writes one"),
        (("check", "mine", "--fail-on", "wors"), "'wors' is no kind of finding; did you mean 'worse'?"),
        (("check", "nime"), "no run of 'nime'"),
        (("check", "mine", "--results", "nowhere"), "no results at"),
        (("baseline", "nime"), "no run of 'nime'"),
        (("compare", "mine", "none.json"), "no baseline none.json"),
        (("check", "mine", "--summary", "nowhere/summary.md"), "No such file"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_one_line_and_exit_code_two(place: Place, arguments: tuple[str, ...], said: str):
    code, _ = place.bench(*arguments)
    assert code == 2
    (line,) = place.err.splitlines()
    assert said in line


def test_a_run_with_failures_is_no_baseline_unless_asked_for(place: Place):
    place.path("mine", "b").write_bytes(b"no image")
    assert place.run() == 1
    before = place.baseline.read_text(encoding="utf-8")
    assert place.bench("baseline", "mine")[0] == 2
    assert "1 failures, the first Mine on data" in place.err and "--allow-incomplete" in place.err
    assert place.baseline.read_text(encoding="utf-8") == before
    assert place.bench("baseline", "mine", "--allow-incomplete")[0] == 0
    # What is incomplete in both is never equal, but no worse.
    assert place.check().failing == [("incomplete", "Mine", "psnr", ["b"])]
    assert place.check("--fail-on", "worse").code == 0


def test_an_unfinished_run_is_no_baseline(place: Place):
    place.sql("DELETE FROM score")
    assert place.bench("baseline", "mine")[0] == 2
    assert "is unfinished: bench run mine goes on with it" in place.err
    assert {kind for kind, *_ in place.check().failing} == {"failed"}


# compare, with the same findings


def test_compare_fails_on_what_check_finds(place: Place):
    place.put("mine", "b", place.pixels("mine", "b") // 2)
    assert place.run() == 0
    code, table = place.bench("compare", "1", "2")
    assert code == 0 and "psnr" in table and place.err == ""
    code, same = place.bench("compare", "1", "2", "--fail-on", "worse")
    assert (code, same) == (1, table)
    assert "worse        Mine on data, psnr" in place.err
    assert place.bench("compare", "2", "1", "--fail-on", "worse")[0] == 0
    assert place.bench("compare", "2", "1", "--fail-on", "any")[0] == 1
    assert place.bench("compare", "1", "1", "--fail-on", "any")[0] == 0


def test_compare_takes_baseline_files(place: Place):
    assert place.bench("compare", str(place.baseline), "mine", "--fail-on", "any")[0] == 0
    rows = json.loads(place.bench("compare", str(place.baseline), "mine", "--format", "json")[1])
    assert {row["verdict"] for row in rows} == {"same"}
    place.put("mine", "b", place.pixels("mine", "b") // 2)
    assert place.run() == 0
    assert place.bench("compare", str(place.baseline), "mine", "--fail-on", "any")[0] == 1
    assert place.bench("compare", "mine", str(place.baseline), "--fail-on", "worse")[0] == 0


# The baseline that ships


def test_the_shipped_baseline_is_as_the_command_writes_it_and_has_the_whole_quickstart():
    file = ROOT / "results/baselines/quickstart.json"
    held = baseline.read(file)
    assert baseline.text(held) == file.read_text(encoding="utf-8")
    asked = definition.load(definition.find("quickstart")).suite
    assert set(held.datasets) == {definition.label_of(one) for one in asked.datasets}
    for dataset in held.datasets.values():
        assert set(dataset.methods) == {one.method for one in asked.methods}
        assert set(dataset.metrics) == {definition.label_of(one) for one in asked.metrics}
        assert all(value.status == "ok" for method in dataset.methods.values() for value in method.values.values())
