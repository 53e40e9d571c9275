"""What stands around ids in file names is found where names leave no other choice, and never guessed."""

from __future__ import annotations

import re

import pytest

from bench.data.naming import Affixes, Naming, expression_of, infer
from bench.errors import BenchError

IDS = ["0002", "0014", "0150"]


def pairs(outputs: list[str], references: list[str]) -> dict[str, str]:
    """Output → reference, as the expressions of a naming pair them."""
    naming = infer(outputs, references)
    if naming is None:
        return {}

    def ids(affixes: Affixes, names: list[str]) -> dict[str, str]:
        found = ((re.search(affixes.expression, name), name) for name in names)
        return {match[1]: name for match, name in found if match}

    theirs = ids(naming.references, references)
    return {name: theirs[core] for core, name in ids(naming.outputs, outputs).items() if core in theirs}


@pytest.mark.parametrize(
    ("named", "pattern"),
    [
        ("{}_retinexformer", "{id}_retinexformer"), ("out_{}", "out_{id}"), ("{}x4", "{id}x4"),
        ("results/{}_fake_B", "results/{id}_fake_B"), ("low{}", "low{id}"), ("a.b-{}-1.0", "a.b-{id}-1.0"),
        ("{} (restored)", "{id} (restored)"),
    ],
)  # fmt: skip
def test_what_a_method_adds_is_found(named: str, pattern: str):
    outputs = [named.format(one) for one in IDS]
    naming = infer(outputs, IDS)
    assert naming is not None and naming.outputs.pattern == pattern and naming.references == Affixes()
    assert pairs(outputs, IDS) == dict(zip(outputs, IDS, strict=True))


def test_both_sides_may_add_something():
    outputs, references = [f"low{n}_out" for n in IDS], [f"normal{n}" for n in IDS]
    assert pairs(outputs, references) == dict(zip(outputs, references, strict=True))
    naming = infer(outputs, references)
    assert naming is not None
    assert naming.told == "low0002_out ↔ normal0002: pattern 'low{id}_out' and 'normal{id}'"


def test_ids_that_begin_alike_keep_their_zeros():
    naming = infer(["0002_x", "0003_x"], ["0002", "0003", "0004"])
    assert naming == Naming(Affixes("", "_x"), Affixes(), ("0002_x", "0002"))


def test_outputs_of_a_part_are_enough():
    assert pairs(["0014_x", "0150_x"], ["0001", *IDS]) == {"0014_x": "0014", "0150_x": "0150"}


def test_one_id_within_another_pairs_the_whole():
    outputs, references = ["1_x", "2_x", "12_x"], ["1", "2", "12"]
    assert pairs(outputs, references) == dict(zip(outputs, references, strict=True))


def test_numbers_may_lack_their_zeros():
    naming = infer(["2", "14", "150"], IDS)
    assert naming is not None and naming.told.endswith("pattern '{id}', zeros before numbers left out")
    assert pairs(["2", "14", "150"], IDS) == {"2": "0002", "14": "0014", "150": "0150"}


@pytest.mark.parametrize(
    ("outputs", "references"),
    [
        (["cat", "dog"], ["sun", "sea"]),  # nothing in common
        (["0002_a", "0014_b", "0150_c"], IDS),  # another addition for each
        (["1_1", "2_2", "3_3"], ["1", "2", "3", "4", "5", "6", "7", "8", "9"][3:]),
        (["0002_a", "0002_b"], IDS),  # two outputs of one image
        (["clip02_f000", "clip02_f001", "clip02_f002"], ["clip01_f000", "clip01_f001", "clip01_f002"]),
        (["2-1", "2-2", "2-3"], ["1-1", "1-2", "1-3"]),
    ],
)
def test_what_is_not_clear_is_not_paired(outputs: list[str], references: list[str]):
    assert infer(outputs, references) is None


def test_an_accidental_match_of_one_name_is_no_naming():
    assert infer(["a_1", "a_x", "a_y", "a_z"], ["1", "p", "q", "r"]) is None


def test_a_pattern_is_written_as_a_person_writes_it():
    assert re.search(expression_of("{id}_out.png"), "sub/0002_out")[1] == "sub/0002"  # type: ignore[index]
    assert re.search(expression_of("res_{id}_*"), "res_0002_best")[1] == "0002"  # type: ignore[index]
    for wrong in ("out", "{id}_{id}"):
        with pytest.raises(BenchError, match=r"must hold \{id\} once"):
            expression_of(wrong)
