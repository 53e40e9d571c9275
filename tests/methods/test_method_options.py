"""Options: what the catalogue declares meets what a suite says."""

import pytest

from bench.errors import BenchError
from bench.methods.options import Option, declared_options, resolve


def declared(**options):
    return declared_options("here", {"options": options})


def test_the_suite_wins_over_the_catalogue():
    assert resolve("here", declared(gamma=0.5, tiles=8), {"tiles": 4}) == {"gamma": 0.5, "tiles": 4}


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(BenchError, match="unknown option 'gama'; did you mean 'gamma'"):
        resolve("here", declared(gamma=0.5), {"gama": 1.0})


def test_an_unknown_option_with_nothing_near_lists_what_there_is():
    with pytest.raises(BenchError, match="it takes gamma"):
        resolve("here", declared(gamma=0.5), {"zzz": 1.0})


def test_a_whole_number_becomes_a_float_so_that_2_and_2_0_are_one_method():
    value = resolve("here", declared(gamma=0.5), {"gamma": 2})["gamma"]
    assert value == 2.0 and type(value) is float


@pytest.mark.parametrize(
    ("default", "given", "word"),
    [
        (0.5, "0.5", "a number"),
        (0.5, True, "a number"),
        (8, 2.5, "a whole number"),
        (8, True, "a whole number"),
        (True, 1, "true or false"),
        ("a", 1, "a text"),
        ([1.0], 1.0, "a list"),
        (0.5, None, "a number"),
        (0.5, float("nan"), "finite"),
        (0.5, float("inf"), "finite"),
        ([1.0], ["x"], "a number"),
        ([1.0], [], "must not be empty"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(default, given, word):
    with pytest.raises(BenchError, match=word) as error:
        resolve("here", declared(x=default), {"x": given})
    assert "\n" not in str(error.value) and "'x" in str(error.value)


@pytest.mark.parametrize("given", [0, 11])
def test_a_value_out_of_range_is_refused(given):
    with pytest.raises(BenchError, match="option 'n' must be at"):
        resolve("here", declared(n={"default": 5, "min": 1, "max": 10}), {"n": given})


def test_a_value_that_is_no_choice_names_the_nearest():
    with pytest.raises(BenchError, match="one of soft, hard, not 'hrad'; did you mean 'hard'"):
        resolve("here", declared(mode={"default": "soft", "choices": ["soft", "hard"]}), {"mode": "hrad"})


def test_a_required_option_must_be_given():
    with pytest.raises(BenchError, match="option 'path' is required"):
        resolve("here", declared(path={"type": "str", "required": True}), {})


def test_a_misspelt_key_in_the_catalogue_is_an_error():
    with pytest.raises(BenchError, match="unknown key 'defualt'; did you mean 'default'"):
        declared(x={"defualt": 1})


def test_a_catalogue_value_moves_an_adapters_default_and_keeps_its_range():
    own = {"tile": Option("tile", 0, int, min=0)}
    moved = declared_options("here", {"options": {"tile": 256}}, own)
    assert resolve("here", moved, {}) == {"tile": 256}
    with pytest.raises(BenchError, match="at least 0"):
        resolve("here", moved, {"tile": -1})
