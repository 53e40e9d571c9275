"""One lazy registry for every kind of thing a suite can name: methods, datasets, metrics, protocols, detectors.

An entry is data – a name, where it was said, and a "module:object" target that nobody imports until it is used – so
listing everything costs no torch. Entries come from the YAML catalogue, from entry points of installed packages, and
from `register` at run time. What an entry's fields mean is the business of the room that builds it, not of this one.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from bench import paths
from bench.catalog.isolation import exits_raised
from bench.errors import BenchError, one_line, suggest

KINDS = ("method", "dataset", "metric", "protocol", "detector")

PERMISSIVE = frozenset(
    {"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0", "CC0-1.0", "HPND", "ISC", "MIT", "PSF-2.0", "Unlicense"}
)
"""SPDX names of licences that allow commercial use without asking."""

# The keys a catalogue entry of each kind may carry, so that a typo in YAML is an error and not a silent default.
_COMMON = {
    "target", "kind", "title", "description", "task", "licence", "commercial", "paper", "options", "source", "home",
    "alias",
}  # fmt: skip
FIELDS: dict[str, set[str]] = {
    "method": _COMMON
    | {
        "weights",
        "scale",
        "quantise",
        "packages",
        "modules",
        "multiple",
        "crop_multiple",
        "architecture",
        "min_size",
        "batch_invariant",
        "trained_on",
        "parameters",
        "status",
        "venue",
        "stochastic",
        "sites",
        "network",
        "suffix",
        "tools",
    },
    "dataset": _COMMON
    | {
        "paired",
        "count",
        "size",
        "protocol",
        "files",
        "instructions",
        "split",
        "sources",
        "scale",
        "annotations",
        "overlaps",
    },
    "metric": _COMMON
    | {
        "mode",
        "formula",
        "better",
        "range",
        "weights",
        "library",
        "learned",
        "digits",
        "symbol",
        "cost",
        "min_size",
        "unavailable",
        "amends",
        "variant",
        "nearest",
    },
    "protocol": _COMMON | {"view", "metrics", "quantise", "verified", "notes", "detection"},
    "detector": _COMMON | {"weights", "classes"},
}


@dataclass(frozen=True)
class Entry:
    """One named thing: its catalogue fields and a lazy target."""

    name: str
    kind: str
    """One of `KINDS`."""
    fields: Mapping[str, Any]
    """The catalogue's keys, `include` already resolved."""
    origin: str
    """`file:line`, an entry point's distribution, or `registered by …`."""
    factory: Any = field(default=None, compare=False)
    """The object itself where it was registered at run time."""

    @property
    def target(self) -> str | None:
        return self.fields.get("target")

    @property
    def commercial_safe(self) -> bool:
        """True when the licence is known to allow commercial use; a licence nobody stated does not."""
        return bool(self.fields.get("commercial", self.fields.get("licence") in PERMISSIVE))

    @property
    def strange(self) -> bool:
        """True where the harness does not bring the code itself."""
        return self.fields.get("kind") == "plugin"

    def load(self) -> Any:
        """Import and return the target. Raises `BenchError` naming the entry, its origin and the cause."""
        if self.factory is not None:
            return self.factory
        if not self.target:
            raise BenchError(f"{self.kind} {self.name!r} ({self.origin}) has no target to load")
        module_name, _, attribute = self.target.partition(":")
        try:
            if not attribute:
                raise ValueError(f"target {self.target!r} is not 'module:object'")
            with exits_raised(f"{self.kind} {self.name!r} ({self.origin})" if self.strange else None):
                return getattr(importlib.import_module(module_name), attribute)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise BenchError(
                f"{self.kind} {self.name!r} ({self.origin}) cannot be loaded: {type(error).__name__}: {one_line(error)}"
            ) from error


@dataclass(frozen=True)
class BrokenEntry:
    """An entry that cannot even be described; it is named by `bench list` and `bench doctor`."""

    name: str
    kind: str
    origin: str
    reason: str


class Registry:
    """All entries of one kind, by name."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.broken: list[BrokenEntry] = []
        self._entries: dict[str, Entry] = {}
        read = [
            entry
            for file in sorted((paths.catalog() / f"{kind}s").glob("*.yaml"))
            for entry in read_catalogue(file, kind)
        ]
        for entry in read:
            if "amends" not in entry.fields:
                self._add(entry)
        for entry in read:
            if "amends" in entry.fields:
                self._amend(entry)
        if kind != "protocol":
            self._read_entry_points()

    def _read_entry_points(self) -> None:
        for point in importlib.metadata.entry_points(group=f"iqpir_bench.{self.kind}s"):
            origin = f"entry point of {point.dist.name if point.dist else 'an unknown package'}"
            if ":" not in point.value:
                self.broken.append(
                    BrokenEntry(point.name, self.kind, origin, f"{point.value!r} is not 'module:object'")
                )
            elif point.name in self._entries:
                taken = self._entries[point.name].origin
                self.broken.append(BrokenEntry(point.name, self.kind, origin, f"the name is taken by {taken}"))
            else:
                self._add(Entry(point.name, self.kind, {"target": point.value, "kind": "plugin"}, origin))

    def _add(self, entry: Entry) -> None:
        if entry.name in self._entries:
            taken = self._entries[entry.name].origin
            raise BenchError(f"{self.kind} {entry.name!r} is defined twice: {taken} and {entry.origin}")
        self._entries[entry.name] = entry

    def _amend(self, entry: Entry) -> None:
        """Add to another file's entry what this one says, and its name as an alias (unless it is the same name)."""
        fields = dict(entry.fields)
        name = fields.pop("amends")
        base = self._entries.get(name)
        if base is None:
            raise BenchError(f"{entry.origin}: {entry.name!r} amends unknown {name!r}{suggest(name, self._entries)}")
        if entry.name != name and entry.name in self:
            raise BenchError(f"{entry.origin}: the name {entry.name!r} is taken by {self.get(entry.name).origin}")
        aliases = [*_aliases(base), *_aliases(entry), *([entry.name] if entry.name != name else [])]
        self._entries[name] = replace(base, fields={**base.fields, **fields, "alias": list(dict.fromkeys(aliases))})

    def register(self, name: str, factory: Any, origin: str, **fields: Any) -> None:
        """Add an entry at run time. A second registration of a name is an error unless it is the same factory."""
        present = self._entries.get(name)
        if present is not None and present.factory is factory:
            return
        self._add(Entry(name, self.kind, {"kind": "plugin", **fields}, origin, factory))

    def __iter__(self) -> Iterator[Entry]:
        return iter(sorted(self._entries.values(), key=lambda entry: entry.name))

    def __contains__(self, name: str) -> bool:
        return self._found(name) is not None

    def names(self) -> list[str]:
        return sorted(self._entries)

    def get(self, name: str) -> Entry:
        """The entry of that name, alias or suffix, or a `BenchError` with the nearest known name."""
        found = self._found(name)
        if found is None:
            known = [*self._entries, *(alias for entry in self._entries.values() for alias in _aliases(entry))]
            own = "; --plugin FILE.py brings your own" if self.kind in ("method", "metric") else ""
            raise BenchError(f"unknown {self.kind} {name!r}{suggest(name, known)} (bench list {self.kind}s{own})")
        return found

    def _found(self, name: str) -> Entry | None:
        found = self._entries.get(name)
        if found is None:
            found = next((entry for entry in self._entries.values() if name in _aliases(entry)), None)
        return self._suffixed(name) if found is None else found

    def _suffixed(self, name: str) -> Entry | None:
        """An entry with `suffix: {"+": host}` answers `NAME+` for every other NAME, its option `host` set to that.

        Entries that include such a one are no makers of others.
        """
        for maker in self._entries.values():
            for suffix, option in (maker.fields.get("suffix") or {}).items():
                base = name.removesuffix(suffix)
                if base != name and not maker.name.endswith(suffix) and base in self:
                    options = {**(maker.fields.get("options") or {}), option: base}
                    return replace(maker, name=name, fields={**maker.fields, "options": options})
        return None


def _aliases(entry: Entry) -> list[str]:
    alias = entry.fields.get("alias", [])
    return [alias] if isinstance(alias, str) else list(alias)


def read_catalogue(file: Path, kind: str) -> list[Entry]:
    """The entries of one catalogue file. `include: NAME` starts from another entry of the same file.

    Names that begin with a dot are templates: they can be included but are not entries.
    """
    text = file.read_text(encoding="utf-8")
    data = yaml.load(text, Loader=_FAST_SAFE_LOADER) or {}  # noqa: S506 – a safe loader
    lines = _top_level_lines(text)
    resolved: dict[str, dict[str, Any]] = {}

    def resolve(name: str, seen: tuple[str, ...]) -> dict[str, Any]:
        where = f"{file.name}:{lines.get(name, 0)}"
        if name in seen:
            raise BenchError(f"{where}: include loop {' → '.join((*seen, name))}")
        if name not in resolved:
            fields = dict(data[name] or {})
            base = fields.pop("include", None)
            if base is not None:
                if base not in data:
                    raise BenchError(f"{where}: {name!r} includes unknown {base!r}{suggest(base, data)}")
                fields = {**resolve(base, (*seen, name)), **fields}
            unknown = sorted(set(fields) - FIELDS[kind])
            if unknown:
                raise BenchError(
                    f"{where}: {kind} {name!r} has unknown key {unknown[0]!r}{suggest(unknown[0], FIELDS[kind])}"
                )
            resolved[name] = fields
        return resolved[name]

    return [
        Entry(name, kind, resolve(name, ()), f"{file.name}:{lines.get(name, 0)}")
        for name in data
        if not name.startswith(".")
    ]


_FAST_SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _top_level_lines(text: str) -> dict[str, int]:
    """Line number of every top-level key; cheap, because the catalogue writes them at column 0."""
    found: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line and line[0] not in " #-\t" and ":" in line:
            found.setdefault(line.split(":", 1)[0].strip("\"'"), number)
    return found


@cache
def registry(kind: str) -> Registry:
    """The process-wide registry of one kind, read on first use."""
    if kind not in KINDS:
        raise ValueError(f"no registry of {kind!r}")
    return Registry(kind)
