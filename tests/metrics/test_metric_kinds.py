"""What each kind of metric applies to, what it needs of a unit, and what of a set is complete."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest

from bench.catalog.registry import registry
from bench.errors import BenchError, ItemError
from bench.metrics.build import build_metric
from bench.metrics.kinds import Kind, OfBoxes, OfSets, PerImage, Placed, SetMember, Stored, TwoSets, Votes, own_name
from bench.metrics.people import Voted, VotedSet
from bench.results.record import Column, DatasetRecord, RunRecord, read
from bench.results.store import RunRow

OUT, REF = 7, 9


def of(name: str) -> Kind:
    return build_metric(registry("metric").get(name), {}, {}).kind


NAMES = ("psnr", "piqe", "psnr-pooled", "fid", "ap50", "iqpir/mos", "mos", "bt", "rank")


def test_metrics_of_the_catalogue_know_their_kind():
    kinds = {name: type(of(name)) for name in NAMES}
    assert kinds == {
        "psnr": PerImage, "piqe": PerImage, "psnr-pooled": OfSets, "fid": TwoSets, "ap50": OfBoxes,
        "iqpir/mos": Voted, "mos": Voted, "bt": VotedSet, "rank": Voted,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "paired", "annotated", "applies"),
    [
        (PerImage(False), False, False, True), (PerImage(True), False, True, False),
        (PerImage(True), True, False, True),
        (OfSets(True), False, False, False), (TwoSets(True), True, False, True), (OfBoxes(False), True, False, False),
        (OfBoxes(False), False, True, True), (Votes(False), True, True, False),
        (Voted(False), True, True, False), (VotedSet(False), True, True, False),
    ],
)  # fmt: skip
def test_a_kind_says_whether_a_dataset_gives_it_anything_to_compute(
    kind: Kind, paired: bool, annotated: bool, applies: bool
):
    assert kind.applies(paired=paired, annotated=annotated) is applies


def test_what_a_unit_needs_begins_with_what_decides():
    assert PerImage(True).places(OUT, REF) == ((OUT, REF),)
    assert (
        PerImage(False).places(OUT, REF)
        == OfSets(False).places(OUT, REF)
        == OfBoxes(False).places(OUT, REF)
        == ((OUT, 0),)
    )
    assert TwoSets(True).places(OUT, REF) == ((REF, 0), (OUT, 0))
    assert TwoSets(True).places(OUT, 0) == Votes(False).places(OUT, REF) == Voted(False).places(OUT, REF) == ()


def test_a_member_of_two_sets_is_complete_with_both_of_its_features():
    one, other = SetMember(b"a", 1, 11), SetMember(b"b", 2, 12)
    assert TwoSets(True).complete([other, one], {(1, 0), (11, 0), (2, 0)}) == [one]
    assert TwoSets(True).complete([SetMember(b"a", 1, 0)], {(1, 0), (0, 0)}) == []
    assert OfSets(True).complete([other, one, one], {(1, 11), (2, 12)}) == [one, one, other]


def test_features_of_different_shapes_make_no_set():
    stored = Stored(lambda place: np.zeros(place[0]), lambda outputs: {}, lambda member: pytest.fail("no boxes"))
    with pytest.raises(ItemError, match=r"different shapes, \[1\] and \[2\]"):
        OfSets(False).gathered([SetMember(b"a", 1, 0), SetMember(b"b", 2, 0)], stored)


def test_references_are_gathered_in_the_order_of_their_own_content():
    features = {(1, 0): 1.0, (2, 0): 2.0, (11, 0): 11.0, (12, 0): 12.0}
    stored = Stored(lambda place: np.array([features[place]]), lambda ids: {11: b"z", 12: b"a"}, lambda member: _none())
    ours, theirs = TwoSets(True).gathered([SetMember(b"a", 1, 11, "x"), SetMember(b"b", 2, 12, "y")], stored)
    assert ours.ravel().tolist() == [1, 2] and theirs.ravel().tolist() == [12, 11]


def _none() -> Placed:
    raise AssertionError("no boxes are asked for")


def test_boxes_come_in_the_order_of_items_and_in_the_annotations_pixels():
    kind = OfBoxes(False)
    members = [kind.member(item, bytes([n]), n, 3) for item, n in (("b", 1), ("a", 2))]
    truth = {
        members[0]: Placed("b", "boxes of b", lambda found: found * 2),
        members[1]: Placed("a", "boxes of a", lambda found: found),
    }
    stored = Stored(lambda place: np.array([[float(place[0])]]), lambda ids: {}, truth.__getitem__)
    found, boxes = kind.gathered(members, stored)
    assert [each.tolist() for each in found] == [[[2.0]], [[2.0]]] and boxes == ["boxes of a", "boxes of b"]
    assert kind.not_for_item("c", {"c": "no line"}) == "no line" and kind.not_for_item("a", {"c": "no line"}) is None


def test_another_kind_is_another_class():
    class Half(OfSets):
        """Only what two outputs share."""

        def gathered(self, members, stored):
            return super().gathered(members[::2], stored)

    stored = Stored(lambda place: np.array([float(place[0])]), lambda ids: {}, lambda member: _none())
    features, references = Half(False).gathered(
        [SetMember(b"a", 1, 0), SetMember(b"b", 2, 0), SetMember(b"c", 3, 0)], stored
    )
    assert features.ravel().tolist() == [1, 3] and references is None


def test_a_kind_in_a_file_of_its_own_needs_no_line_elsewhere(monkeypatch: pytest.MonkeyPatch):
    """A record names it, and whoever reads the record finds it there; others are told as they always were."""
    module = ModuleType("bench.metrics.triples")

    class Triples(OfSets):
        def not_for(self, *, paired: bool, annotated: bool) -> str | None:
            return "no third picture"

    Triples.__module__, Triples.__qualname__ = module.__name__, "Triples"
    module.Triples = Triples
    monkeypatch.setitem(sys.modules, module.__name__, module)
    column = Column("t", "T", "t|v:1", "t|v:1", "", True, True, True, 3, None, own_kind=own_name(Triples(True)))
    record = RunRecord("s", "S", {}, [DatasetRecord("d", "folder", True, None, ["a"], [column])], [])
    row = RunRow(1, "s", 0.0, None, record.text({}))
    kind = read(row)[0].datasets[0].columns[0].kind
    assert type(kind) is Triples and kind.fr and kind.not_for(paired=True, annotated=True) == "no third picture"
    assert {own_name(made(True)) for made in (PerImage, OfSets, TwoSets, OfBoxes, Votes)} == {None}


@pytest.mark.parametrize("name", ["bench.metrics.gone:Gone", "bench.metrics.kinds:boxed", "os:system", "nothing"])
def test_a_record_with_a_kind_that_is_not_there_is_refused_in_one_line(name: str):
    column = Column("t", "T", "t|v:1", "t|v:1", "", True, True, True, 3, None, own_kind=name)
    with pytest.raises(BenchError, match="a kind of metric that this bench has not"):
        column.kind  # noqa: B018
