"""What pydantic finds wrong with a file that a user writes, in words for its reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bench.errors import one_line

_NEEDED = {
    "string": "text is needed",
    "int": "a whole number is needed",
    "float": "a number is needed",
    "bool": "true or false is needed",
    "list": "a list is needed, such as [a, b]",
    "tuple": "a list is needed, such as [a, b]",
    "dict": "a mapping is needed, such as {key: value}",
    "model": "a mapping is needed, such as {key: value}",
    "finite": "a finite number is needed",
}
"""By the word that the type of a complaint begins with."""

_BOUNDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than_equal": lambda given: f"must be {given['ge']} or more",
    "greater_than": lambda given: f"must be more than {given['gt']}",
    "less_than_equal": lambda given: f"must be {given['le']} or less",
    "less_than": lambda given: f"must be less than {given['lt']}",
    "too_short": lambda given: f"must have {_entries(given['min_length'])} or more",
    "too_long": lambda given: f"must have {_entries(given['max_length'])} or fewer",
    "literal_error": lambda given: f"must be {given['expected']}",
    "string_pattern_mismatch": lambda given: f"must be of the form {given['pattern']}",
    "value_error": lambda given: str(given["error"]),
    "invalid_key": lambda given: "keys must be text: put them in quotes",
    "json_invalid": lambda given: f"not JSON: {given['error']}",
}


def said(problem: Mapping[str, Any]) -> str:
    """One of `ValidationError.errors()` in one line: what is needed, and what came."""
    kind, given = str(problem["type"]), problem.get("ctx") or {}
    told = _BOUNDS[kind](given) if kind in _BOUNDS else _NEEDED.get(kind.partition("_")[0], str(problem["msg"]))
    return one_line(told) if kind == "json_invalid" else f"{one_line(told)}, got {shown_value(problem['input'])}"


def shown_value(value: Any) -> str:
    """A value as its file spells it."""
    words = {None: "nothing", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else one_line(repr(value), 60)


def _entries(count: int) -> str:
    return "one entry" if count == 1 else f"{count} entries"
