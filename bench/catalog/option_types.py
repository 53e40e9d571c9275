"""Whether a value that somebody wrote is of an option's type: one rule for methods, metrics and datasets, by pydantic.

Strict, as a suite means what it says: a number in quotes is a text, `yes` is no number, and only a whole number may
stand where any number is due. Ranges and choices are the business of whoever declares the option.
"""

from __future__ import annotations

import types
import typing
from functools import cache
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, one_line

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_WORDS = {
    bool: "true or false", int: "a whole number", float: "a number", str: "a text", list: "a list", dict: "a mapping",
    tuple: "a list", type(None): "nothing", None: "nothing",
}  # fmt: skip


def value_of(wanted: Any, value: Any, where: str) -> Any:
    """The value as `wanted`, a type or any annotation: 2 becomes 2.0 where a number is due. Raises `BenchError`.

    `where` begins the message: `method 'x': option 'y'`. YAML has lists alone, so one is taken for a tuple.
    """
    from pydantic import ValidationError

    adapter = _adapter(wanted)
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        if isinstance(value, list):
            try:
                return adapter.validate_python(tuple(value))
            except ValidationError:
                pass
        infinite = any(each["type"] == "finite_number" for each in error.errors())
        due = "finite" if infinite else named(wanted)
        raise BenchError(f"{where} must be {due}, not {one_line(repr(value), 60)}") from None


def named(wanted: Any) -> str:
    """An annotation in the words of a suite's writer."""
    if wanted in _WORDS:
        return _WORDS[wanted]
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(named, inner))
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin in (list, tuple):
        return f"a list of which each is {named(inner[0])}"
    return _WORDS.get(origin) or (wanted.__name__ if isinstance(wanted, type) else str(wanted).replace("typing.", ""))


@cache
def _adapter(wanted: Any) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(wanted, config=ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True))
