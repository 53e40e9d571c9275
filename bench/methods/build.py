"""From a catalogue entry and a suite's options to a method, without importing what it will run on.

Planning a finished run builds every method of a suite: nothing here imports torch or a network's module.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from bench.catalog.isolation import exits_raised
from bench.catalog.registry import Entry
from bench.catalog.user_code import code_of
from bench.errors import BenchError, one_line, suggest
from bench.identity import canonical
from bench.methods.base import Method, StoredMethod
from bench.methods.module import ModuleMethod
from bench.methods.options import Option, resolve


class Adapter(Protocol):
    """A class of methods of one kind."""

    def from_entry(self, entry: Entry, options: Mapping[str, Any], base: Path | None) -> Method | StoredMethod: ...


ADAPTERS = {
    "network": "bench.methods.network:NetworkMethod",
    "spandrel": "bench.methods.spandrel:SpandrelMethod",
    "classical": "bench.methods.classical:ClassicalMethod",
    "folder": "bench.methods.folder:FolderMethod",
    "iqpir": "bench.methods.iqpir:IqpirMethod",
    "plus": "bench.methods.plus:PlusMethod",
    "clone": "bench.methods.clone:CloneMethod",
    "command": "bench.methods.command:CommandMethod",
    "rar": "bench.methods.rar:RarMethod",
    "chain": "bench.methods.chain:ChainMethod",
    "agent": "bench.methods.chain:AgentMethod",
}
"""Kind → the class whose `from_entry` makes such a method. Imported when one is asked for: a method may be made of
others, and comes back here for them."""
KINDS = (*ADAPTERS, "plugin")


def build_method(entry: Entry, options: Mapping[str, Any], base: Path | None) -> Method | StoredMethod:
    """The method that an entry describes, not loaded yet.

    `options` are the suite's and win over the catalogue's; `base` is the suite file's folder, for relative paths.
    Raises `BenchError` for an unknown option, a wrong type, or a plugin that does not make a method.
    """
    kind = str(entry.fields.get("kind"))
    where = f"method {entry.name!r} ({entry.origin})"
    if kind == "plugin":
        return _plugin(entry, where, options)
    if kind not in ADAPTERS:
        known = ("kind" in entry.fields and suggest(kind, KINDS)) or f" (one of {', '.join(KINDS)})"
        raise BenchError(f"{where}: unknown kind {kind!r}{known}")
    adapter: Adapter = pkgutil.resolve_name(ADAPTERS[kind])
    return adapter.from_entry(entry, options, base)


def identity_of(method: Method | StoredMethod, entry: Entry) -> Mapping[str, Any]:
    """A method's identity with the user's code that it reaches by import, which it need not know of itself.

    Raises `BenchError` for an identity that cannot be had, or that says nothing or no plain data.
    """
    where = f"method {entry.name!r} ({entry.origin})"
    try:
        with exits_raised(f"{where}: identity()" if entry.strange else None):
            identity = dict(method.identity())
        canonical(identity)
    except (BenchError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise BenchError(f"{where}: identity() failed: {type(error).__name__}: {one_line(error)}") from error
    if not identity and isinstance(method, Method):
        raise BenchError(f"{where}: identity() is empty, and would stand for every method")
    if type(method) is ModuleMethod:
        return identity  # describes what it was given to the last function
    code = code_of(type(method), *([entry.factory] if entry.factory is not None else []))
    return identity if code is None else {**identity, "code": code}


def _plugin(entry: Entry, where: str, options: Mapping[str, Any]) -> Method | StoredMethod:
    """Call an entry point's or a registered factory with the options as keyword arguments."""
    factory = entry.load()
    if not callable(factory):
        raise BenchError(f"{where}: {factory!r} is not a class or function that makes a method")
    merged = {**(entry.fields.get("options") or {}), **options}
    declared = _parameters(factory)
    if declared is not None:
        resolve(where, declared, merged)  # for its errors; the factory's own defaults stay its own
    try:
        with exits_raised(f"{where}: its factory"):
            method = factory(**merged)
    except (BenchError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise BenchError(f"{where} cannot be made: {type(error).__name__}: {one_line(error)}") from error
    if not isinstance(method, Method | StoredMethod):
        raise BenchError(f"{where} made {type(method).__name__}, which is neither a Method nor a StoredMethod")
    if not method.name:
        method.name = entry.name
    return method


def _parameters(factory: Any) -> dict[str, Option] | None:
    """The factory's parameters as options, None where it takes anything or its signature cannot be read."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return {
        p.name: Option(p.name, required=True)
        if p.default is p.empty
        else Option(p.name, p.default, type(p.default) if type(p.default) in (bool, int, float, str) else None)
        for p in parameters
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
