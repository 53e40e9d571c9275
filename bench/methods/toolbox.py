"""The catalogue's methods as tools, each for one degradation: what chains and agents are made of.

An entry's `tools` says which: a degradation's name → methods of the catalogue, by name or with options, the preferred
one first. A tool is a method like any other, whose identity becomes part of its user's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bench.catalog.registry import Entry, registry
from bench.data.told import kind_of
from bench.errors import BenchError
from bench.fetch.assets import Asset
from bench.methods.base import Method
from bench.methods.build import build_method


class Tool(NamedTuple):
    """A method for one degradation."""

    kind: str
    name: str
    """As traces call it."""
    method: Method


class Toolbox:
    """The tools of an entry, in its order."""

    def __init__(self, entry: Entry, base: Path | None) -> None:
        where = f"method {entry.name!r} ({entry.origin})"
        given = entry.fields.get("tools")
        if not isinstance(given, Mapping) or not given:
            raise BenchError(f"{where} has no tools: {{degradation: [method, …]}}")
        self._tools: dict[str, list[Tool]] = {}
        made: dict[str, Method] = {}
        for name, each in given.items():
            kind = kind_of(where, str(name))
            for wanted in each if isinstance(each, list) else [each]:
                tool = _tool(where, kind, wanted, base, made)
                self._tools.setdefault(kind, []).append(tool)

    def of(self, kind: str) -> list[Tool]:
        return self._tools.get(kind, [])

    def __iter__(self) -> Iterator[Tool]:
        return (tool for tools in self._tools.values() for tool in tools)

    @property
    def methods(self) -> list[Method]:
        """Each once."""
        return list({id(tool.method): tool.method for tool in self}.values())

    def identity(self) -> dict[str, Any]:
        return {
            kind: [[tool.name, dict(tool.method.identity())] for tool in tools] for kind, tools in self._tools.items()
        }

    def assets(self) -> list[Asset]:
        return [asset for method in self.methods for asset in method.assets()]

    def foreign_code(self) -> str | None:
        return next((told for method in self.methods if (told := method.foreign_code()) is not None), None)

    def unavailable(self) -> str | None:
        return next((reason for method in self.methods if (reason := method.unavailable()) is not None), None)

    def load(self, device: str, dtype: str) -> None:
        for method in self.methods:
            method.load(device, dtype)

    def close(self) -> None:
        for method in self.methods:
            method.close()


def _tool(where: str, kind: str, wanted: Any, base: Path | None, made: dict[str, Method]) -> Tool:
    name, options = (wanted, {}) if isinstance(wanted, str) else (wanted.get("method"), wanted.get("options", {}))
    # Numbers alone: the name is part of the identity, and where a file lies is not.
    numbers = [f"{key} {value:g}" for key, value in options.items() if isinstance(value, int | float)]
    shown = str(name) + (f" ({', '.join(numbers)})" if numbers else "")
    if shown not in made:
        entry = registry("method").get(str(name))
        if entry.fields.get("kind") in ("chain", "agent"):
            raise BenchError(f"{where}: {name} is no tool: it uses tools itself")
        method = build_method(entry, options, base)
        if not isinstance(method, Method) or method.scale != 1 or method.stochastic:
            raise BenchError(f"{where}: {name} is no tool: a tool restores an image to its own size, always alike")
        made[shown] = method
    return Tool(kind, shown, made[shown])
