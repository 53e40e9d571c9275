"""From a metric's catalogue entry, a protocol and a suite's options to the metric itself.

Everything that can be wrong with the request is found here, before any work and without importing torch.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from bench.catalog.option_types import value_of
from bench.catalog.registry import Entry
from bench.errors import BenchError, one_line, suggest
from bench.metrics.base import Metric
from bench.metrics.protocols import Protocol
from bench.metrics.view import CHOICES, PAIR_OPTIONS, View, option_names

_ALIASES = {"range": "rounding", "class": "category"}
"""The signature's name of an option, accepted as well."""


def build_metric(entry: Entry, options: Mapping[str, Any], protocol: Protocol | Mapping[str, Any]) -> Metric:
    """The metric that `entry` describes.

    `protocol` is a `Protocol` or plain `{"view": {...}, "metrics": {name: {...}}}`. The catalogue's own options
    override it, `options` override both. Raises `BenchError` for an unknown option, a wrong type, a value outside its
    choices, an option that contradicts the metric, and an entry that is listed as unavailable.
    """
    if entry.fields.get("unavailable"):
        raise BenchError(f"metric {entry.name!r} is not available: {entry.fields['unavailable']}")
    factory = entry.load()
    if not (isinstance(factory, type) and issubclass(factory, Metric)):
        raise BenchError(f"metric {entry.name!r} ({entry.origin}): {entry.target} is not a Metric class")
    own_types = _own_options(factory)
    known = [*option_names(), *own_types, *_ALIASES]
    where = f"metric {entry.name!r}"

    def split(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        view, own = {}, {}
        for key, value in given.items():
            name = _ALIASES.get(key, key)
            if name in own_types:
                own[name] = _checked(value, own_types[name], f"{where}: option {key!r}")
            elif name in option_names():
                view[name] = _checked(value, int if name == "crop" else str, f"{where}: option {key!r}")
            else:
                raise BenchError(f"{where} has no option {key!r}{suggest(key, known)}")
        return view, own

    if isinstance(protocol, Protocol):
        protocol = protocol.settings
    mode = entry.fields.get("mode", factory.mode)
    shared = _applicable(protocol.get("view") or {}, mode, factory)
    own_rules = dict((protocol.get("metrics") or {}).get(entry.name) or {})
    unverified = bool(own_rules.pop("unverified", False)) | bool(shared.pop("unverified", False))
    by_protocol, own_by_protocol = split(own_rules)
    by_entry, own_by_entry = split(entry.fields.get("options") or {})
    asked, own_asked = split(options)
    _contradictions(asked, mode, factory, where)
    view_options = {**split(shared)[0], **_applicable(by_protocol, mode, factory), **by_entry, **asked}
    try:
        view = View(**view_options, unverified=unverified)
    except BenchError as error:
        raise BenchError(f"{where}: {error}") from None
    try:
        return factory.from_entry(entry, view, {**own_by_protocol, **own_by_entry, **own_asked})
    except (BenchError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise BenchError(f"{where} cannot be made: {type(error).__name__}: {one_line(error)}") from error


def describe_options(entry: Entry) -> dict[str, str]:
    """What `build_metric` takes for an entry: option → its default, and its legal values where they are few words."""
    factory = entry.load()
    mode = entry.fields.get("mode", factory.mode)
    set_by_entry = {_ALIASES.get(key, key): value for key, value in (entry.fields.get("options") or {}).items()}
    found: dict[str, str] = {}
    own = {field.name: field.default for field in fields(factory) if field.name in _own_options(factory)}
    view = {field.name: field.default for field in fields(View) if field.name in option_names()}
    for name, default in {**own, **view}.items():
        if name in view and mode != "FR" and name in PAIR_OPTIONS:
            continue
        choices = list(CHOICES.get(name, ()) if name in view else _choices(factory, name))
        if name == "space" and factory.spaces is not None:
            choices = list(factory.spaces)
        value = set_by_entry.get(name, default)
        text = "" if value == "" else f"default {_plain(value)}"
        if len(choices) > 1:
            text += f"{'; ' if text else ''}one of {', '.join(map(str, choices))}"
        found[name] = text or "none by default"
    return found


def _choices(factory: type[Metric], name: str) -> Collection[str]:
    """Legal values as the metric's module keeps them: CHOICES["window"], or VARIANTS for an option `variant`."""
    for module in (sys.modules[each.__module__] for each in factory.__mro__):
        found = getattr(module, "CHOICES", {}).get(name) or getattr(module, f"{name.upper()}S", None)
        if found:
            return found
    return ()


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _own_options(factory: type[Metric]) -> dict[str, Any]:
    """Option names of a metric class and their types: its dataclass fields, less the view and what the entry sets."""
    hints = typing.get_type_hints(factory)
    return {
        field.name: hints[field.name]
        for field in fields(factory)  # type: ignore[arg-type]
        if field.name != "view" and not field.metadata.get("entry")
    }


def _checked(value: Any, wanted: Any, where: str) -> Any:
    """The value in the type an option has. YAML reads a bare `no` as false; for an option of words it means 'no'."""
    if wanted is str and value is False:
        return "no"
    if wanted is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value_of(wanted, value, where)


def _applicable(view: Mapping[str, Any], mode: str, factory: type[Metric]) -> dict[str, Any]:
    """What of a protocol's view applies to this metric; the rest is not for it, and so not in its signature."""
    kept = dict(view)
    if mode != "FR":
        for name in PAIR_OPTIONS:
            kept.pop(name, None)
    if factory.spaces is not None and kept.get("space", "rgb") not in factory.spaces:
        kept.pop("space", None)
    return kept


def _contradictions(asked: Mapping[str, Any], mode: str, factory: type[Metric], where: str) -> None:
    for name in PAIR_OPTIONS:
        if mode != "FR" and asked.get(name, "no") != "no":
            why = "sees no reference" if mode == "NR" else "compares sets, not pairs"
            raise BenchError(f"{where} {why}: option {name!r} does not apply")
    space = asked.get("space")
    if factory.spaces is not None and space in CHOICES["space"] and space not in factory.spaces:
        raise BenchError(f"{where} takes {' or '.join(factory.spaces)}: space {space!r} does not apply")
