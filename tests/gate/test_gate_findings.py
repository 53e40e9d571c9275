"""The comparison itself, on snapshots written by hand: sets, learned metrics, missing values, what is said once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.gate.findings import GROUPS, KINDS, NOTES, Finding, compare, other_images
from bench.gate.snapshot import item_key
from bench.gate.snapshot_format import (
    Snapshot,
    SnapshotDataset,
    SnapshotItem,
    SnapshotMethod,
    SnapshotMetric,
    SnapshotOrigin,
    SnapshotValue,
)
from bench.provenance import instructions

MADE = SnapshotOrigin(
    created="", processor="P", device="cpu", device_model="P", platform="L", python="3", packages={"numpy": "2"}
)
FID = SnapshotMetric(signature="fid|v:1", better="lower", digits=2, learned=True, of_sets=True)
LPIPS = SnapshotMetric(signature="lpips|v:1", better="lower", digits=4, learned=True)
PSNR = SnapshotMetric(signature="psnr|v:1", better="higher", digits=2)


def value(number: float | None, n: int = 2, status: str = "ok", reason: str | None = None) -> SnapshotValue:
    return SnapshotValue.model_validate({"value": number, "n": n, "status": status, "reason": reason})


def method(
    values: Mapping[str, SnapshotValue], items: Mapping[str, Mapping[str, Any]], outputs: str = "0"
) -> SnapshotMethod:
    made = {name: SnapshotItem.model_validate({"values": given}) for name, given in items.items()}
    return SnapshotMethod(expected=len(made), outputs=outputs * 64, values=dict(values), items=made)


def snapshot(metrics: Mapping[str, SnapshotMetric], made: SnapshotOrigin = MADE, **methods: SnapshotMethod) -> Snapshot:
    return Snapshot(
        suite="s", made=made, datasets={"d": SnapshotDataset(inputs={}, metrics=dict(metrics), methods=dict(methods))}
    )


def found(base: Snapshot, head: Snapshot) -> list[tuple[str, str, str, tuple[str, ...]]]:
    return [(one.kind, one.method, one.metric, one.items) for one in compare(base, head).findings]


def of_set(number: float, n: int = 2) -> Snapshot:
    return snapshot({"fid": FID}, m=method({"fid": value(number, n)}, {"a": {}, "b": {}}))


def test_a_sets_value_has_its_direction_and_the_tolerance_of_learned_metrics():
    assert found(of_set(50.0), of_set(50.04)) == []
    assert found(of_set(50.0), of_set(50.06)) == [("worse", "m", "fid", ())]
    assert found(of_set(50.06), of_set(50.0)) == [("better", "m", "fid", ())]


def test_a_set_with_fewer_members_is_not_compared_as_a_number():
    assert found(of_set(50.0), of_set(40.0, n=1)) == [("failed", "m", "fid", ())]


def test_an_incomplete_set_is_never_equal():
    assert found(of_set(50.0, n=1), of_set(50.0, n=1)) == [("incomplete", "m", "fid", ())]


def learned(first: float, second: float, made: SnapshotOrigin = MADE) -> Snapshot:
    return snapshot(
        {"lpips": LPIPS}, made,
        m=method({"lpips": value((first + second) / 2)}, {"a": {"lpips": first}, "b": {"lpips": second}}),
    )  # fmt: skip


def test_learned_metrics_are_held_item_by_item_to_their_own_tolerance():
    assert found(learned(0.2, 0.3), learned(0.20019, 0.3)) == []
    (one,) = found(learned(0.2, 0.3), learned(0.21, 0.29))
    assert one[:3] == ("items", "m", "lpips") and set(one[3]) == {"a", "b"}
    assert found(learned(0.2, 0.3), learned(0.21, 0.3)) == [("worse", "m", "lpips", ("a",))]


def test_the_item_that_moved_most_is_named_first():
    (one,) = compare(learned(0.2, 0.3), learned(0.21, 0.35)).findings
    assert one.items == ("b", "a")


@pytest.mark.parametrize("field", ["processor", "device", "device_model", "platform"])
def test_what_last_bits_depend_on_makes_another_place(field: str):
    other = MADE.model_copy(update={field: "other"})
    result = compare(learned(0.2, 0.3), learned(0.2, 0.3, other))
    assert len(result.elsewhere) == 1 and "against other" in result.elsewhere[0]
    assert compare(learned(0.2, 0.3), learned(0.2, 0.3, MADE.model_copy(update={"created": "x"}))).elsewhere == ()


def test_other_instructions_and_threads_make_another_place_where_both_sides_know_them():
    one = MADE.model_copy(update={"instructions": "AVX-512", "threads": 1})
    two = MADE.model_copy(update={"instructions": "AVX2", "threads": 2})
    said = ("instructions AVX-512 against AVX2", "threads 1 against 2")
    assert compare(learned(0.2, 0.3, one), learned(0.2, 0.3, two)).elsewhere == said
    assert compare(learned(0.2, 0.3, MADE), learned(0.2, 0.3, two)).elsewhere == ()  # an older baseline


def test_the_note_on_images_that_drifted_says_what_of_the_machine_is_other():
    def made(output: str, **changes: Any) -> Snapshot:
        item = SnapshotItem(output=output * 16, values={"lpips": 0.2})
        whole = SnapshotMethod(expected=1, outputs=output * 64, values={"lpips": value(0.2, 1)}, items={"a": item})
        return snapshot({"lpips": LPIPS}, MADE.model_copy(update=changes), m=whole)

    other = {"processor": "Q", "threads": 2, "packages": {"numpy": "3"}}
    base, head = made("0", threads=1), made("1", **other)
    (note,) = compare(base, head).findings
    expected = "1 of 1 outputs differ, where processor P against Q; threads 1 against 2; numpy 2 against 3"
    assert (note.kind, note.detail) == ("drift", expected)
    (strict,) = compare(base, head, strict=True).findings
    assert (strict.kind, strict.detail) == ("outputs", "1 of 1 outputs differ")


FLAGS = {
    "AVX2": "fpu avx2 fma",
    "AVX-512": "avx2 fma avx512f avx512bw avx512dq avx512vl",
    "AVX-512 with bfloat16": "avx2 fma avx512f avx512bw avx512dq avx512vl avx512_vnni avx512_bf16",
    "": "fpu sse2",
}


@pytest.mark.parametrize("name", FLAGS)
def test_the_widest_instructions_are_those_of_the_processors_flags(name: str, tmp_path: Path):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {FLAGS[name]}\n")
    assert instructions(tmp_path / "cpuinfo", {}) == name
    held = instructions(tmp_path / "cpuinfo", {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": ""})
    assert held == ", ".join(part for part in (name, "ONEDNN_MAX_CPU_ISA=AVX2") if part)
    assert instructions(tmp_path / "none", {}) == ""


def test_a_package_that_is_gone_is_another_place():
    assert compare(learned(0.2, 0.3), learned(0.2, 0.3, MADE.model_copy(update={"packages": {}}))).elsewhere == (
        "numpy 2 against none",
    )


def without(word: str) -> Snapshot:
    return snapshot({"psnr": PSNR}, m=method({"psnr": value(None, 0, word)}, {"a": {"psnr": word}}))


def test_values_that_nobody_expects_are_no_finding():
    assert found(without("n/a"), without("n/a")) == []
    assert found(without("unavailable"), without("unavailable")) == []
    assert found(without("failed"), without("failed")) == [("incomplete", "m", "psnr", ())]
    assert found(without("nan"), without("nan")) == [("incomplete", "m", "psnr", ())]


def test_items_that_nobody_rated_are_no_finding():
    rated = snapshot({"mos": PSNR}, m=method({"mos": value(4.0, 1)}, {"a": {"mos": 4.0}, "b": {"mos": "n/a"}}))
    lower = snapshot({"mos": PSNR}, m=method({"mos": value(3.0, 1)}, {"a": {"mos": 3.0}, "b": {"mos": "n/a"}}))
    assert found(rated, rated) == []
    assert found(rated, lower) == [("worse", "m", "mos", ("a",))]


def test_a_method_that_is_no_longer_on_the_machine_has_failed_and_one_that_came_is_new():
    whole = snapshot({"psnr": PSNR}, m=method({"psnr": value(20.0, 1)}, {"a": {"psnr": 20.0}}))
    assert found(whole, without("unavailable")) == [("failed", "m", "psnr", ())]
    assert found(without("unavailable"), whole) == [("new", "m", "psnr", ())]


def test_a_value_that_became_not_a_number_has_failed():
    base = snapshot({"psnr": PSNR}, m=method({"psnr": value(20.0)}, {"a": {"psnr": 20.0}, "b": {"psnr": 20.0}}))
    head = snapshot({"psnr": PSNR}, m=method({"psnr": value(20.0, 1)}, {"a": {"psnr": 20.0}, "b": {"psnr": "nan"}}))
    assert found(base, head) == [("failed", "m", "psnr", ("b",))]


def test_the_digest_of_all_outputs_finds_what_short_hashes_would_miss():
    items = {"a": {"psnr": 20.0}}
    base, head = (snapshot({"psnr": PSNR}, m=method({"psnr": value(20.0, 1)}, items, sign)) for sign in "01")
    assert found(base, head) == [("outputs", "m", "", ())]


def test_what_all_metrics_or_all_methods_share_is_said_once():
    metrics = {"psnr": PSNR, "lpips": LPIPS}

    def both(broken: set[str]) -> Snapshot:
        return snapshot(
            metrics,
            **{
                name: method(
                    {label: value(1.0, 1 if name in broken else 2, reason="broken file") for label in metrics},
                    {
                        "a": dict.fromkeys(metrics, 1.0),
                        "b": dict.fromkeys(metrics, "failed" if name in broken else 1.0),
                    },
                )
                for name in ("m", "o")
            },
        )

    assert found(both(set()), both({"m"})) == [("failed", "m", "", ("b",))]
    assert found(both(set()), both({"m", "o"})) == [("failed", "", "", ("b",))]


def test_a_dataset_that_is_gone_is_one_finding():
    empty = Snapshot(suite="s", made=MADE, datasets={})
    assert compare(learned(0.2, 0.3), empty).findings == (Finding("vanished", "d", "", ""),)
    assert compare(empty, learned(0.2, 0.3)).findings == (Finding("new", "d", "", ""),)


def test_repeats_of_a_stochastic_method_have_names_of_their_own():
    assert [item_key("a", 0, 1), item_key("a", 0, 2), item_key("a", 1, 2)] == ["a", "a#1", "a#2"]


def test_the_groups_are_made_of_kinds_and_notes_are_in_none():
    assert set(NOTES) < set(KINDS)
    assert all(group <= set(KINDS) - set(NOTES) for group in GROUPS.values())
    assert GROUPS["worse"] < GROUPS["any"]


def of_items(**values: float | str) -> Snapshot:
    """A method whose items have these values of PSNR, some of them infinite."""
    items = {name: {"psnr": given} for name, given in values.items()}
    return snapshot({"psnr": PSNR}, m=method({"psnr": value(None, len(items), "inf")}, items))


@pytest.mark.parametrize(
    ("base", "head", "kind", "said"),
    [
        ({"a": "inf", "b": "inf", "c": "inf"}, {"a": "inf", "b": 23.0, "c": 22.0}, "worse", "1 of 3 items are"),
        ({"a": "inf", "b": 23.0, "c": 22.0}, {"a": "inf", "b": "inf", "c": 22.0}, "better", "2 of 3 items are"),
        ({"a": "inf", "b": 30.0, "c": 31.0}, {"a": "inf", "b": 20.0, "c": 21.0}, "worse", "30.50 to 20.50 over"),
        ({"a": "inf", "b": 20.0, "c": 31.0}, {"a": "inf", "b": 30.0, "c": 31.0}, "better", "25.50 to 30.50 over"),
        ({"a": "inf", "b": 30.0, "c": 31.0}, {"a": "inf", "b": 31.0, "c": 30.0}, "items", ""),
    ],
)  # fmt: skip
def test_infinite_means_hide_nothing(base: dict[str, Any], head: dict[str, Any], kind: str, said: str):
    (one,) = compare(of_items(**base), of_items(**head)).findings
    assert one.kind == kind and said in one.detail


def test_equal_infinite_values_are_no_finding():
    assert found(of_items(a="inf", b=30.0), of_items(a="inf", b=30.0)) == []


def test_what_was_compared_with_other_images_is_told_by_dataset_and_method():
    def side(reference: str, content: str) -> Snapshot:
        items = {"a": SnapshotItem.model_validate({"reference": reference * 16, "values": {"psnr": 30.0}})}
        made = SnapshotMethod(expected=1, outputs="0" * 64, values={"psnr": value(30.0, 1)}, items=items)
        inner = SnapshotDataset.model_validate(
            {"inputs": {"a": content * 16}, "metrics": {"psnr": PSNR}, "methods": {"m": made}}
        )
        return Snapshot(suite="s", made=MADE, datasets={"d": inner})

    assert other_images(side("1", "2"), side("1", "2")) == {}
    (told,) = other_images(side("1", "2"), side("3", "2"))["d", "m"]
    assert (told.kind, told.method, told.detail) == ("references", "m", "1 of 1 references differ")
    (told,) = other_images(side("1", "2"), side("1", "4"))["d", "m"]
    assert (told.kind, told.method, told.detail) == ("inputs", "", "1 of 1 inputs differ")


def of_entered(number: float, *entered: str) -> Snapshot:
    """A set's value over some of four items."""
    items = {
        name: SnapshotItem.model_validate({"output": "a" * 16 if name in entered else None, "values": {}})
        for name in "abcd"
    }
    made = SnapshotMethod(expected=4, outputs="0" * 64, values={"fid": value(number, len(entered))}, items=items)
    return snapshot({"fid": FID}, m=made)


def test_a_set_that_another_item_entered_is_another_set():
    assert found(of_entered(50.0, "a", "b", "c"), of_entered(40.0, "a", "b", "c", "d")) == [("new", "m", "fid", ("d",))]
    assert found(of_entered(50.0, "a", "b", "c"), of_entered(40.0, "b", "c", "d")) == [
        ("failed", "m", "fid", ("a",)), ("new", "m", "fid", ("d",)),
    ]  # fmt: skip
    kinds = [one[0] for one in found(of_entered(50.0, "a", "b", "c"), of_entered(40.0, "a", "b", "c"))]
    assert kinds == ["incomplete", "better"]
