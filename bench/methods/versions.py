"""What stands for code in the keys of stored results: our own by an explicit version, anybody else's by its content.

The versions are the catalogue's (`versions.yaml`): one per module that takes part in an output, under a name that lasts
when the module moves. So moving, renaming, commenting and formatting retire nothing that anybody has stored, and a
change of outputs is said where a reader looks for it; stored fingerprints of the outputs see to it that it is.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Container, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bench import paths
from bench.errors import BenchError
from bench.identity import file_hash

OURS = ("bench", "iqpir")


class Version(NamedTuple):
    """A module's entry in `versions.yaml`."""

    name: str
    """The module's name in keys: what it was called when it was first listed."""
    version: str
    first: str
    """The version that it had when it was first listed."""
    classes: Mapping[str, str]
    """What a class or function that has another name today is called in keys."""


def code_versions(modules: Iterable[str], idle: Container[str] = ()) -> dict[str, str]:
    """For an identity: each module's lasting name with its version, or a module's name with the hash of its file.

    `idle` modules stand in the keys of a method that does not use them: with their first version, whatever theirs is.
    Nothing is imported. Raises `BenchError` for a module of ours that has no version.
    """
    found = {}
    for module in modules:
        known = versions().get(module)
        if known is None and module.partition(".")[0] in OURS:
            raise BenchError(f"{_file().name} gives {module} no version, and its outputs could not be told from others")
        if known is None:
            found[module] = source_hash(module)
        else:
            found[known.name] = known.first if module in idle else known.version
    return found


def lasting(target: str | None) -> str | None:
    """`module:attribute` as keys have it, whatever the module and the attribute are called today."""
    module, colon, attribute = str(target).partition(":")
    known = versions().get(module)
    return target if known is None else f"{known.name}{colon}{known.classes.get(attribute, attribute)}"


@cache
def versions() -> Mapping[str, Version]:
    """Every module of ours that takes part in an output, by its name of today."""
    entries: dict[str, dict[str, Any]] = yaml.load(_file().read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return {
        module: Version(
            entry.get("was", module), str(entry["version"]), str(entry.get("first", entry["version"])),
            entry.get("classes", {}),
        )
        for module, entry in entries.items()
    }  # fmt: skip


def _file() -> Path:
    return paths.catalog() / "versions.yaml"


def source_hash(thing: Any) -> str:
    """Hex SHA-256 of the source file that defines a class, function, module or `module` name (found, not imported)."""
    if isinstance(thing, str):
        spec = importlib.util.find_spec(thing)
        path = spec.origin if spec else None
    else:
        path = inspect.getsourcefile(thing if inspect.ismodule(thing) else inspect.unwrap(thing))
    if path is None:
        raise ValueError(f"{thing!r} has no source file to identify it by")
    return file_hash(Path(path))
