"""A method's options: what the catalogue declares, merged with what the suite says, checked before any work.

Not a schema language: an option is a default with, where it matters, a range or a list of choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.catalog.option_types import value_of
from bench.errors import BenchError, suggest

_TYPES: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str, "list": list}
_LONG_FORM = {"default", "type", "required", "min", "max", "choices"}


def _known_type(value: Any) -> type | None:
    return type(value) if type(value) in _TYPES.values() else None


@dataclass(frozen=True)
class Option:
    """One declared option. The catalogue writes `name: default`, or a mapping with this class's keys."""

    name: str
    default: Any = None
    type: type | None = None
    """None accepts any plain value."""
    required: bool = False
    min: float | None = None
    max: float | None = None
    choices: tuple[Any, ...] = field(default_factory=tuple)

    @classmethod
    def declared(cls, where: str, name: str, value: Any) -> Option:
        """From the catalogue: a plain default, or `{default|required, type, min, max, choices}`."""
        if not isinstance(value, Mapping):
            return cls(name, value, type=_known_type(value))
        unknown = sorted(set(value) - _LONG_FORM)
        if unknown:
            raise BenchError(
                f"{where}: option {name!r} has unknown key {unknown[0]!r}{suggest(unknown[0], _LONG_FORM)}"
            )
        default = value.get("default")
        kind = _TYPES.get(value["type"]) if "type" in value else _known_type(default)
        return cls(
            name, default, kind, bool(value.get("required", False)), value.get("min"), value.get("max"),
            tuple(value.get("choices", ())),
        )  # fmt: skip

    def check(self, where: str, value: Any) -> Any:
        """The value in the declared type (a whole number becomes a float where one is due). Raises `BenchError`."""
        at = f"{where}: option {self.name!r}"
        if value is None and self.default is None and not self.required:
            return None
        plain = float if isinstance(value, float) else Any  # any value, as long as it is finite
        value = value_of(self.type or plain, value, at)
        if isinstance(value, list):
            return self._check_list(where, value)
        if self.choices and value not in self.choices:
            near = suggest(value, map(str, self.choices)) if isinstance(value, str) else ""
            raise BenchError(f"{at} must be one of {', '.join(map(str, self.choices))}, not {value!r}{near}")
        if self.min is not None and value < self.min:
            raise BenchError(f"{at} must be at least {self.min}, not {value!r}")
        if self.max is not None and value > self.max:
            raise BenchError(f"{at} must be at most {self.max}, not {value!r}")
        return value

    def _check_list(self, where: str, values: list[Any]) -> list[Any]:
        """A list has at least one member, each of the type and range of the default's first."""
        if not values:
            raise BenchError(f"{where}: option {self.name!r} must not be empty")
        first = self.default[0] if isinstance(self.default, list) and self.default else None
        member = Option(f"{self.name}[]", first, _known_type(first), False, self.min, self.max)
        return [member.check(where, value) for value in values]


def resolve(where: str, declared: Mapping[str, Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """All options with their values, in the declared order; `given` wins over defaults.

    Raises `BenchError` for an unknown name (with the nearest known one), a wrong type or range, a missing required one.
    """
    unknown = sorted(set(given) - set(declared))
    if unknown:
        hint = suggest(unknown[0], declared)
        known = f"it takes {', '.join(declared)}" if declared else "it takes no options"
        raise BenchError(f"{where}: unknown option {unknown[0]!r}{hint or f' ({known})'}")
    values: dict[str, Any] = {}
    for name, option in declared.items():
        if name not in given and option.required:
            raise BenchError(f"{where}: option {name!r} is required")
        values[name] = option.check(where, given.get(name, option.default))
    return values


def declared_options(
    where: str, fields: Mapping[str, Any], built_in: Mapping[str, Option] | None = None
) -> dict[str, Option]:
    """The catalogue entry's `options`, after the adapter's own; a plain value only moves the adapter's default."""
    options = dict(built_in or {})
    for name, value in (fields.get("options") or {}).items():
        own = options.get(name)
        if own is not None and not isinstance(value, Mapping):
            value = own.check(where, value)
            options[name] = Option(name, value, own.type, False, own.min, own.max, own.choices)
        else:
            options[name] = Option.declared(where, name, value)
    return options
