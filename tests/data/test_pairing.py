"""Pairing by id: what belongs together, and what is said about everything that does not."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import numpy as np
import pytest

from bench.data.items import ImageSource, Item, Stamp
from bench.data.pairing import Listed, Pairing, check_sizes, id_pattern, item_id, pair, problems, select
from bench.errors import BenchError, ImageError


@dataclass(frozen=True)
class Named(ImageSource):
    """A source that only has a name and a size."""

    name: str
    shape: tuple[int, int] | None = (8, 8)

    def load(self) -> np.ndarray:
        raise AssertionError("pairing decodes nothing")

    def stamp(self) -> Stamp:
        raise AssertionError("pairing looks at no file")

    def size(self) -> tuple[int, int]:
        if self.shape is None:
            raise ImageError(f"{self.name}: broken")
        return self.shape

    def raw(self) -> bytes:
        raise AssertionError("pairing reads nothing")

    @property
    def where(self) -> str:
        return self.name


def files(*names: str) -> list[Listed]:
    return [Listed(name, Named(name)) for name in names]


def told(pairing: Pairing) -> dict[str, tuple[str | None, str | None]]:
    return {item.id: (item.lq and item.lq.where, item.gt and item.gt.where) for item in pairing.items}


def test_equal_paths_without_suffix_are_pairs_whatever_the_order_and_suffix() -> None:
    result = pair(files("b/1.png", "a/1.JPG"), files("a/1.png", "b/1.tiff"))
    assert told(result) == {"a/1": ("a/1.JPG", "a/1.png"), "b/1": ("b/1.png", "b/1.tiff")}
    assert [item.id for item in result.items] == ["a/1", "b/1"]
    assert not result.notes and not problems(result.items)


@pytest.mark.parametrize(
    "name, identity",
    [
        ("a.png", "a"),
        ("a.b.png", "a.b"),
        ("d/a.TIFF", "d/a"),
        ("noise_0.5", "noise_0.5"),
        ("a\nb.png", "a\\nb"),
        (".png", ".png"),
    ],
)
def test_an_id_is_the_path_without_image_suffix(name: str, identity: str) -> None:
    assert item_id(name) == identity


def test_composed_and_decomposed_unicode_are_the_same_id() -> None:
    composed, decomposed = "é.png", unicodedata.normalize("NFD", "é.png")
    assert composed != decomposed
    assert told(pair(files(composed), files(decomposed))) == {"é": (composed, decomposed)}


def test_no_references_means_lq_only() -> None:
    result = pair(files("1.png"), None)
    assert told(result) == {"1": ("1.png", None)} and result.items[0].problem is None


def test_id_patterns_pair_names_that_differ() -> None:
    low, normal = id_pattern("low([0-9]+)", "lq_id"), id_pattern("normal([0-9]+)", "gt_id")
    result = pair(files("low00690.png"), files("normal00690.png", "normal00691.png"), lq_id=low, gt_id=normal)
    assert told(result) == {"00690": ("low00690.png", "normal00690.png")}
    assert result.notes == ["1 GT file has no LQ file: normal00691.png"]


def test_several_groups_are_joined() -> None:
    pattern = id_pattern("(s[0-9])/(?:low|high)/([0-9]+)", "id")
    result = pair(
        files("s1/low/7.png", "s2/low/7.png"), files("s1/high/7.png", "s2/high/7.png"), lq_id=pattern, gt_id=pattern
    )
    assert set(told(result)) == {"s1/7", "s2/7"}


@pytest.mark.parametrize("text", ["low[0-9]+", "low(?:[0-9]+)", "(", "*"])
def test_a_useless_id_pattern_is_an_error(text: str) -> None:
    with pytest.raises(BenchError, match=re.escape(repr(text))):
        id_pattern(text, "id")


def test_a_missing_reference_is_a_problem_that_keeps_the_input() -> None:
    result = pair(files("1.png", "2.png"), files("1.png"))
    assert told(result)["2"] == ("2.png", None)
    assert "no GT file" in (result.items[1].problem or "")
    assert problems(result.items)[0].startswith("1 of 2 items cannot be paired")


def test_two_inputs_of_one_id_are_a_problem_that_names_both() -> None:
    result = pair(files("1.png", "1.jpg", "2.png"), files("1.png", "2.png"))
    assert told(result) == {"1": (None, None), "2": ("2.png", "2.png")}
    assert "1.png" in (result.items[0].problem or "") and "1.jpg" in (result.items[0].problem or "")


def test_two_references_of_one_id_are_a_problem_that_names_both() -> None:
    result = pair(files("1.png"), files("1.png", "1.bmp"))
    assert told(result) == {"1": (None, None)}
    assert "1.png, 1.bmp" in (result.items[0].problem or "")


def test_two_references_that_nobody_asks_for_are_only_noted() -> None:
    result = pair(files("2.png"), files("1.png", "1.bmp", "2.png"))
    assert result.items[0].problem is None
    assert result.notes == ["2 GT files have no LQ file: 1.png, 1.bmp"]


def test_an_input_that_the_pattern_does_not_match_still_counts() -> None:
    result = pair(
        files("low1.png", "readme.png"),
        files("low1.png"),
        lq_id=re.compile("low([0-9])"),
        gt_id=re.compile("low([0-9])"),
    )
    assert set(told(result)) == {"1", "readme"}
    assert "does not match" in (next(item for item in result.items if item.id == "readme").problem or "")


def test_ids_stay_unique_when_an_unmatched_name_is_another_items_id() -> None:
    result = pair(files("low1.png", "1.png"), None, lq_id=re.compile("low([0-9])"))
    assert len({item.id for item in result.items}) == len(result.items) == 2


def test_long_lists_are_cut_after_ten() -> None:
    many = files(*(f"{number:03}.png" for number in range(40)))
    lines = problems(pair(many, files("x.png")).items)
    assert len(lines) == 12 and lines[-1].strip() == "… and 30 more"
    (note,) = pair(files("x.png"), [*many, *files("x.png")]).notes
    assert note.startswith("40 GT files") and note.count(".png") == 10


def test_the_order_of_listing_does_not_matter() -> None:
    one, two = files("3.png", "1.png", "2.png"), files("2.png", "3.png", "1.png")
    assert told(pair(one, two)) == told(pair(one[::-1], two[::-1]))
    assert [item.id for item in pair(one, two).items] == ["1", "2", "3"]


def sized(identity: str, lq: tuple[int, int] | None, gt: tuple[int, int] | None) -> Item:
    return Item(identity, Named("l", lq), Named("g", gt))


def test_sizes_that_agree_say_nothing() -> None:
    assert check_sizes([sized("a", (4, 6), (4, 6)), Item("lq-only", Named("x"))], 1) == []
    assert check_sizes([sized("a", (4, 6), (16, 24))], 4) == []


def test_sizes_that_differ_are_named_with_both_sizes() -> None:
    (line,) = check_sizes([sized("a", (4, 6), (4, 6)), sized("b", (4, 6), (6, 4))])
    assert line == "b: LQ 6×4 and GT 4×6 differ in size"
    assert "× 2" in check_sizes([sized("a", (4, 6), (4, 6))], 2)[0]


def test_many_size_differences_are_counted_after_ten() -> None:
    lines = check_sizes([sized(str(number), (1, 1), (2, 2)) for number in range(25)])
    assert len(lines) == 11 and lines[-1] == "… and 15 more pairs differ in size"


def test_an_unreadable_header_is_left_to_the_run() -> None:
    assert check_sizes([sized("a", None, (2, 2)), sized("b", (2, 2), None)]) == []


def test_a_split_selects_in_its_order_by_id_name_or_last_part() -> None:
    whole = pair(files("a/1.png", "a/2.png", "b/3.png"), None)
    chosen = select(whole, ["b/3", "a/1.png", "2.png"], "test.txt")
    assert [item.id for item in chosen.items] == ["b/3", "a/1", "a/2"]
    assert not problems(chosen.items)


def test_a_split_entry_without_file_counts_as_expected_and_failed() -> None:
    chosen = select(pair(files("1.png"), None), ["1", "9"], "test.txt")
    assert [item.id for item in chosen.items] == ["1", "9"]
    assert "listed in test.txt" in (chosen.items[1].problem or "")


def test_an_ambiguous_split_entry_is_a_problem() -> None:
    chosen = select(pair(files("a/1.png", "b/1.png"), None), ["1.png"], "s")
    assert "matches 2 items" in (chosen.items[0].problem or "")


def test_a_repeated_split_entry_is_used_once_and_noted() -> None:
    chosen = select(pair(files("1.png"), None), ["1", "1.png"], "s")
    assert len(chosen.items) == 1 and "more than once" in chosen.notes[0]
