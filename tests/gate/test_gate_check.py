"""What `bench check` finds: every change is named down to the item, and an identical rerun passes."""

from __future__ import annotations

import importlib
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from support.documents import resting_lines, run_lines
from support.gated import ITEMS, Place


def test_an_identical_rerun_passes(place: Place):
    assert place.run("--results", "again") == 0
    again = place.bench("check", "mine", "--baseline", str(place.baseline), "--results", "again")
    assert again[0] == 0
    assert "all 2 values hold" in again[1] and "made in the same place" in again[1]
    assert place.check() == (0, [], place.check().data)
    assert place.bench("check")[0] == 0  # the newest run, and the baseline where `bench baseline` writes it


def test_a_run_that_is_asked_for_again_is_the_newest(place: Place):
    """The third command asks for the first one's run and makes a newest one of it; `check mine` means what was last."""
    assert place.run("-m", "identity") == 0 and place.check().code == 1
    assert place.run() == 0
    assert place.check().code == 0
    shown = place.bench("runs")[1].splitlines()
    assert [line.split()[0] for line in shown if line[:1].isdigit()] == ["3", "2", "1"]


def test_one_pixel_of_one_output_is_found_and_its_item_named(place: Place):
    pixels = place.pixels("mine", "b")
    pixels[5, 7, 0] += 1
    place.put("mine", "b", pixels)
    assert place.run() == 0
    found = place.check()
    assert found.code == 1
    error = place.pixels("mine", "b") - place.pixels("high", "b")
    grew = abs(error[5, 7, 0]) > abs(error[5, 7, 0] - 1)
    assert found.failing == [
        ("worse" if grew else "better", "Mine", "psnr", ["b"]),
        ("outputs", "Mine", "", ["b"]),
    ]
    code, out = place.bench("check", "mine")
    assert code == 1 and "1 of 4 outputs differ" in out and "Mine on data" in out and "identity" not in out


def test_a_plausible_other_output_is_found_though_its_value_is_the_same(place: Place):
    """The error mirrored about the reference: another image with the same squared error, so the same PSNR."""
    place.put("mine", "c", 2 * place.pixels("high", "c") - place.pixels("mine", "c"))
    assert place.run() == 0
    found = place.check()
    assert (found.code, found.failing) == (1, [("outputs", "Mine", "", ["c"])])


def test_outputs_that_changed_places_are_found_though_the_mean_is_the_same(place: Place):
    for item in ("a", "b"):
        place.put("high", item, np.full((24, 24, 3), 100))
        place.put("low", item, np.full((24, 24, 3), 30 if item == "a" else 31))
        place.put("mine", item, np.full((24, 24, 3), 110 if item == "a" else 120))
    assert place.run() == 0 and place.bench("baseline", "mine")[0] == 0
    for item in ("a", "b"):
        place.put("mine", item, np.full((24, 24, 3), 120 if item == "a" else 110))
    assert place.run() == 0
    assert place.check().failing == [("items", "Mine", "psnr", ["a", "b"]), ("outputs", "Mine", "", ["a", "b"])]


def test_an_item_that_is_gone_is_named_once_for_all_methods(place: Place):
    for kind in ("low", "high"):
        place.path(kind, "d").unlink()
    assert place.run() == 0
    found = place.check()
    assert (found.code, found.failing) == (1, [("fewer", "", "", ["d"])])
    assert found.findings[0]["detail"] == "3 items, 4 in the base"


def test_values_are_compared_over_the_items_that_both_have(place: Place):
    for kind in ("low", "high"):
        place.path(kind, "d").unlink()
    place.put("mine", "a", place.pixels("mine", "a") + 5)
    assert place.run() == 0
    rows = {row["kind"]: row for row in place.check().findings}
    assert set(rows) == {"worse", "outputs", "fewer"}
    errors = [
        np.mean((place.pixels("mine", item) - (5 if item == "a" else 0) - place.pixels("high", item)) ** 2)
        for item in ITEMS[:3]
    ]
    assert rows["worse"]["baseline"] == pytest.approx(np.mean(10 * np.log10(255**2 / np.array(errors))), abs=1e-9)
    assert "over the 3 items that both have" in rows["worse"]["detail"]


def test_a_new_item_is_named(place: Place):
    for kind in ("low", "high", "mine"):
        place.put(kind, "e", np.full((24, 24, 3), 90 if kind == "high" else 70))
    assert place.run() == 0
    assert place.check().failing == [("more", "", "", ["e"])]


def test_a_cell_that_is_gone_and_one_that_is_new_are_named(place: Place):
    assert place.run("-m", "identity") == 0
    found = place.check()
    assert (found.code, found.failing) == (1, [("vanished", "Mine", "", [])])
    place.suite("identity,", "identity, gamma,")
    assert place.run() == 0
    assert place.check().failing == [("new", "gamma", "", [])]
    place.suite("[psnr]", "[psnr, ssim]")
    assert place.run() == 0
    assert place.check().failing == [("new", "", "ssim", [])]


def test_another_signature_is_never_compared_as_a_number(place: Place):
    place.suite("[psnr]", "[{psnr: {crop: 4, label: psnr}}]")
    assert place.run() == 0
    found = place.check()
    assert (found.code, found.failing) == (1, [("signature", "", "psnr", [])])
    assert found.findings[0]["detail"] == "crop: 0 against 4"


def test_an_item_that_fails_now_is_named_with_its_reason(place: Place):
    place.path("mine", "b").write_bytes(b"no image")
    assert place.run() == 1
    found = place.check()
    assert (found.code, found.failing) == (1, [("failed", "Mine", "psnr", ["b"])])
    assert "b.png" in found.findings[0]["detail"]


def test_a_cell_that_has_no_value_left_is_named(place: Place):
    for item in ITEMS:
        place.path("mine", item).unlink()
    place.run()
    assert place.check().failing == [("failed", "Mine", "psnr", [])]


def test_changed_inputs_and_references_are_told_apart_from_changed_methods(place: Place):
    place.put("high", "a", place.pixels("high", "a") + 2)
    assert place.run() == 0
    assert {(kind, method, tuple(items)) for kind, method, _, items in place.check().failing} >= {
        ("references", "", ("a",))
    }
    place.put("low", "b", place.pixels("low", "b") + 2)
    assert place.run() == 0
    kinds = {(kind, tuple(items)) for kind, *_, items in place.check().failing}
    assert {("inputs", ("b",)), ("references", ("a",)), ("outputs", ("b",))} <= kinds


def test_a_value_that_changed_under_the_same_signature_is_found(place: Place):
    place.sql("UPDATE score SET value=value+0.0001")
    assert {kind for kind, *_ in place.check().failing} == {"better"}


def test_seconds_of_a_restoration_are_not_gated(place: Place):
    place.sql("UPDATE restoration SET seconds=1000")
    assert place.check().code == 0


def test_a_stored_output_that_was_changed_is_damaged(place: Place):
    stored = sorted((place.root / "results/outputs").rglob("*.png"))[0]
    pixels = np.asarray(Image.open(stored)).copy()
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(stored)
    found = place.check()
    assert found.code == 1
    assert [(kind, len(items)) for kind, _, _, items in found.failing] == [("damaged", 1)]
    assert place.check("--trust-files").code == 0
    stored.unlink()  # a file that is gone is no false one
    assert place.check().code == 0


def test_a_value_of_a_whole_set_is_held_too(place: Place):
    place.suite("[psnr]", "[psnr-pooled]")
    assert place.run() == 0 and place.bench("baseline", "mine")[0] == 0
    assert place.check().code == 0
    place.put("mine", "b", place.pixels("mine", "b") // 2)
    assert place.run() == 0
    found = place.check()
    assert found.failing == [("worse", "Mine", "psnr-pooled", []), ("outputs", "Mine", "", ["b"])]
    error = np.concatenate([place.pixels("mine", item) - place.pixels("high", item) for item in ITEMS])
    assert found.findings[0]["run"] == pytest.approx(10 * np.log10(255**2 / np.mean(error**2)), abs=1e-6)
    rows = json.loads(place.bench("compare", str(place.baseline), "mine", "--format", "json")[1])
    assert {row["method"]: row["verdict"] for row in rows} == {"Mine": "undecided", "identity": "same"}


# Which findings fail


def test_worse_only_lets_better_values_and_new_cells_pass(place: Place):
    place.put("mine", "a", place.pixels("high", "a") + 1)
    place.suite("identity,", "identity, gamma,")
    assert place.run() == 0
    assert {kind for kind, *_ in place.check().failing} == {"better", "outputs", "new"}
    assert place.check("--fail-on", "worse").code == 0
    assert place.check("--fail-on", "worse", "--fail-on", "new").failing == [("new", "gamma", "", [])]
    place.put("mine", "a", place.pixels("high", "a") + 50)
    assert place.run() == 0
    assert [kind for kind, *_ in place.check("--fail-on", "worse").failing] == ["worse"]
    assert place.check("--fail-on", "none").code == 0


def test_a_lower_is_better_metric_is_worse_when_it_grows(place: Place):
    place.suite("[psnr]", "[gmsd]")
    assert place.run() == 0 and place.bench("baseline", "mine")[0] == 0
    place.put("mine", "a", place.pixels("low", "a"))
    assert place.run() == 0
    rows = {row["kind"]: row for row in place.check().findings}
    assert rows["worse"]["run"] > rows["worse"]["baseline"]


# Summaries


def test_the_summary_for_a_pull_request_names_the_finding_first(place: Place, tmp_path: Path):
    place.put("mine", "b", place.pixels("mine", "b") // 2)
    assert place.run() == 0
    summary = tmp_path / "summary.md"
    summary.write_text("before\n", encoding="utf-8")
    code, out = place.bench("check", "mine", "--format", "markdown", "--summary", str(summary))
    assert code == 1
    assert summary.read_text(encoding="utf-8") == "before\n" + out
    lines = out.splitlines()
    assert lines[0] == "### bench check mine: failed"
    rows = [line for line in lines if line.startswith("| ")]
    assert rows[0].startswith("| finding | dataset |")
    assert rows[2].startswith("| worse | data | Mine | psnr |") and "| b;" in rows[2]
    assert {line.replace("\\|", "").count("|") for line in rows} == {9}
    assert out.count("<details>") == out.count("</details>") == 1


def test_labels_cannot_break_the_table_of_a_summary(place: Place):
    place.suite("label: Mine", 'label: "<b>M|i</b> @all"')
    assert place.run() == 0
    _, out = place.bench("check", "mine", "--format", "markdown")
    assert "<b>" not in out and "@all" not in out
    assert {line.replace("\\|", "").count("|") for line in out.splitlines() if line.startswith("| ")} == {9}


def test_the_json_form_is_strict_also_with_infinite_values(place: Place):
    place.put("mine", "a", place.pixels("high", "a"))
    assert place.run() == 0
    rows = {row["kind"]: row for row in place.check().findings}  # parsed without NaN and Infinity
    assert rows["better"]["run"] == "inf"
    assert place.bench("baseline", "mine")[0] == 0
    text = place.baseline.read_text(encoding="utf-8")
    value = json.loads(text, parse_constant=pytest.fail)["datasets"]["data"]["methods"]["Mine"]
    assert value["values"]["psnr"] == {"n": 4, "status": "inf", "value": None}
    assert value["items"]["a"]["values"] == {"psnr": "inf"}
    assert place.check().code == 0
    place.put("mine", "a", place.pixels("high", "a") + 1)
    assert place.run() == 0
    assert place.check().failing[0] == ("worse", "Mine", "psnr", ["a"])


# What the documentation says


def test_the_page_calls_the_workflow_with_inputs_and_names_commands_that_exist():
    docs = Path(__file__).resolve().parents[2] / "docs"
    text = (docs / "ci.md").read_text(encoding="utf-8")
    (job,) = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])["jobs"].values()
    called = yaml.safe_load((docs / "ci" / Path(job["uses"]).name).read_text(encoding="utf-8"))
    inputs = called[True]["workflow_call"]["inputs"]  # YAML 1.1 takes the key `on` for true
    required = {name for name, one in inputs.items() if one.get("required")}
    assert required <= set(job["with"]) <= set(inputs)
    page = "docs/ci.md"
    lines = [line for line in (*run_lines(page), *resting_lines(page)) if line.startswith("bench ")]
    commands = [shlex.split(line, comments=True) for line in lines]
    assert {command[1] for command in commands} == {"run", "check", "baseline", "compare"}
    for _, name, *rest in commands:
        command = importlib.import_module(f"bench.cli.{name}").command
        command.make_context(name, rest)  # raises for an option or argument that the command does not take
