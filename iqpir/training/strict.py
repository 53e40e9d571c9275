"""Settings that are read from YAML as data: every key known, every value of its kind, or one line that says where."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

from iqpir.errors import IQPIRError, suggest


class Strict:
    """A frozen dataclass that is made of a mapping: an unknown key or a value of the wrong kind is an `IQPIRError`."""

    @classmethod
    def from_dict(cls, given: object, where: str = "") -> Self:
        if not isinstance(given, Mapping):
            raise IQPIRError(f"{where or 'settings'}: a mapping with the keys {', '.join(names(cls))}, not {given!r}")
        known, hints = names(cls), get_type_hints(cls)
        values: dict[str, Any] = {}
        for key, value in given.items():
            if key not in known:
                raise IQPIRError(f"unknown key {_place(where, str(key))!r}{suggest(str(key), known)}")
            values[key] = _checked(value, hints[key], _place(where, key))
        lacking = [one.name for one in fields(cls) if one.default is MISSING and one.default_factory is MISSING]  # type: ignore[arg-type]
        for name in lacking:
            if name not in values:
                raise IQPIRError(f"the key {_place(where, name)!r} is missing")
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """Plain data that `from_dict` takes."""
        return asdict(self)  # type: ignore[call-overload]


def not_negative(settings: Strict, where: str = "") -> None:
    """Raise `IQPIRError` for a negative number with a fraction, of nested settings as well: none makes sense so."""
    for name in names(type(settings)):
        value = getattr(settings, name)
        if isinstance(value, Strict):
            not_negative(value, _place(where, name))
        need(not isinstance(value, float) or value >= 0, f"{_place(where, name)} must not be negative")


def names(cls: type) -> list[str]:
    return [one.name for one in fields(cls)]


def _place(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _checked(value: Any, kind: Any, where: str) -> Any:
    """The value as its type hint asks: numbers, text, nested settings, lists of numbers, one of several words."""
    if kind is Any:
        return value
    options = get_args(kind)
    if get_origin(kind) is Literal:
        if value not in options:
            raise IQPIRError(
                f"{where} is {value!r}{suggest(str(value), options)} (one of {', '.join(map(str, options))})"
            )
        return value
    if type(None) in options:
        return None if value is None else _checked(value, next(one for one in options if one is not type(None)), where)
    if isinstance(kind, type) and is_dataclass(kind):
        return value if isinstance(value, kind) else kind.from_dict(value, where)  # type: ignore[attr-defined]
    if get_origin(kind) is tuple:
        if kind == tuple[str, ...] and isinstance(value, str):  # one name is a list of one
            value = [value] if value else []
        if not isinstance(value, list | tuple):
            raise IQPIRError(f"{where} is {value!r}, not a list")
        inner = options if Ellipsis not in options else (options[0],) * len(value)
        if len(inner) != len(value):
            raise IQPIRError(f"{where} has {len(value)} values; it takes {len(inner)}")
        return tuple(
            _checked(one, of, f"{where}[{place}]") for place, (one, of) in enumerate(zip(value, inner, strict=True))
        )
    if get_origin(kind) is dict:
        if not isinstance(value, Mapping):
            raise IQPIRError(f"{where} is {value!r}, not a mapping")
        return dict(value)
    if kind is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if kind in (int, str, bool) and type(value) is kind:
        return value
    name = {float: "a finite number", int: "a whole number", str: "text", bool: "true or false"}.get(kind, str(kind))
    raise IQPIRError(f"{where} is {value!r}, not {name}")


def need(holds: bool, otherwise: str) -> None:
    """Raise `IQPIRError` unless something holds."""
    if not holds:
        raise IQPIRError(otherwise)


def same(
    said: str, before: Mapping[str, Any], asked: Mapping[str, Any], remedy: str, free: Container[str] = ()
) -> None:
    """Raise `IQPIRError` unless what was trained `before` had the settings that are asked for now, but for `free` ones.

    `said`: who tells that it did, such as "FOLDER holds a run". A setting that it does not tell of is another one.
    """
    others = [key for key, value in asked.items() if key not in free and before.get(key, MISSING) != value]
    if others:
        raise IQPIRError(f"{said} with another {', '.join(sorted(others))}: {remedy}")
