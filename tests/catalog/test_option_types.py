"""One rule for values of options, whoever declares them."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from bench.catalog.option_types import value_of
from bench.errors import BenchError


@pytest.mark.parametrize(
    ("wanted", "given", "made"),
    [
        (float, 2, 2.0), (int, 2, 2), (bool, False, False), (str, "2", "2"), (str | None, None, None),
        (list[str], ["a"], ["a"]), (tuple[int, int], [4, 5], (4, 5)), (Literal["a", "b"], "b", "b"),
        (float | None, 3, 3.0), (Any, {"a": [1]}, {"a": [1]}), (dict[str, int], {"a": 1}, {"a": 1}),
    ],
)  # fmt: skip
def test_what_fits_is_taken(wanted: Any, given: object, made: object):
    found = value_of(wanted, given, "here")
    assert found == made and type(found) is type(made)


@pytest.mark.parametrize(
    ("wanted", "given", "words"),
    [
        (float, "2", "must be a number, not '2'"), (float, True, "must be a number, not True"),
        (float, float("nan"), "must be finite, not nan"), (list[float], [1.0, float("inf")], "must be finite"),
        (int, 2.5, "must be a whole number"), (int, 2.0, "must be a whole number"), (int, True, "a whole number"),
        (bool, 1, "must be true or false"), (str, 1, "must be a text"), (list, "a", "must be a list"),
        (list[str], [1], "must be a list of which each is a text"), (tuple[int, int], [4], "must be a list"),
        (str | None, 1, "must be a text or nothing"), (Literal["a", "b"], "c", "must be one of a, b, not 'c'"),
        (dict, [1], "must be a mapping"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line_of_plain_words(wanted: Any, given: object, words: str):
    with pytest.raises(BenchError, match=words) as refused:
        value_of(wanted, given, "method 'm': option 'x'")
    assert str(refused.value).startswith("method 'm': option 'x' must be ") and "\n" not in str(refused.value)
