"""From a catalogue entry and a suite's options to a Dataset, with every option checked before anything is read.

A builder is a function `build(name, base, *, option: type = default, …) -> Dataset`; its own keyword parameters are
the whole truth about which options exist.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from bench.catalog.option_types import named, value_of
from bench.catalog.registry import Entry
from bench.data.annotations import AnnotationSource
from bench.data.items import Dataset
from bench.errors import BenchError, one_line, suggest

_CALLER = 2
"""The leading parameters of a builder, name and base, are the caller's and no options."""


def build_dataset(entry: Entry, options: Mapping[str, Any], base: Path | None) -> Dataset:
    """The dataset of a catalogue entry.

    `options` are the suite's and win over the entry's own. `base` is the suite file's folder, where relative paths are
    looked for after the working directory. Raises `BenchError` for an unknown option (with the nearest name), a
    missing one, one of the wrong type, and whatever the builder objects to.
    """
    builder = entry.load()
    given = {**(entry.fields.get("options") or {}), **options}
    known = _options(builder)
    annotated = entry.fields.get("annotations")
    if "annotations" in given and "annotations" not in known:
        annotated = given.pop("annotations")
        if not isinstance(annotated, Mapping):
            example = "{format: yolo, path: labels, classes: […]}"
            raise BenchError(f"dataset {entry.name!r}: annotations are a mapping, such as {example}")
    for fact in ("scale", "count"):
        if fact in entry.fields and fact in known:
            given.setdefault(fact, entry.fields[fact])
    if "files" in known and "files" in entry.fields:
        if "files" in given:
            raise BenchError(f"dataset {entry.name!r} has a list of files of its own, which a suite cannot change")
        given["files"] = [file["file"] for file in entry.fields["files"]]
    check_options(entry, given, known, trusted=set() if entry.strange else given.keys() - options.keys())
    try:
        dataset = builder(entry.name, base, **given)
    except BenchError:
        raise
    except Exception as error:  # a plugin's builder may fail in any way; it is named
        raise BenchError(f"dataset {entry.name!r}: {type(error).__name__}: {one_line(error)}") from error
    if not isinstance(dataset, Dataset):
        raise BenchError(f"dataset {entry.name!r} ({entry.origin}) built a {type(dataset).__name__}, not a Dataset")
    if dataset.protocol is None and entry.fields.get("protocol"):
        dataset = dataclasses.replace(dataset, protocol=entry.fields["protocol"])
    if annotated and dataset.annotations is None:
        source = AnnotationSource.of(entry.name, annotated, base)
        dataset = dataclasses.replace(dataset, annotations=source)
    return dataset


def takes(entry: Entry, option: str) -> bool:
    """Whether an entry's builder knows an option."""
    return option in _options(entry.load())


def check_options(
    entry: Entry, given: Mapping[str, Any], known: Mapping[str, BuilderOption], trusted: Set[str] = frozenset()
) -> None:
    """Raise `BenchError` for the first option that is unknown, of the wrong type, or missing.

    The types of `trusted` ones, which the catalogue's own entries give, are a test's business: to look at them would
    import pydantic wherever datasets are only listed.
    """
    for option, value in given.items():
        if option not in known:
            listed = f"; it takes {', '.join(known)}" if known else "; it takes no options"
            raise BenchError(f"dataset {entry.name!r} has no option {option!r}{suggest(option, known) or listed}")
        if option not in trusted:
            value_of(known[option].type, value, f"dataset {entry.name!r}: option {option!r}")
    missing = [option for option, told in known.items() if told.required and option not in given]
    if missing:
        raise BenchError(f"dataset {entry.name!r} needs the option {missing[0]!r} ({named(known[missing[0]].type)})")


class BuilderOption(typing.NamedTuple):
    """One keyword parameter of a builder."""

    type: Any
    required: bool


def _options(builder: Any) -> dict[str, BuilderOption]:
    # One function makes most of the catalogue's datasets; other callables need not be hashable.
    return _parameters(builder) if inspect.isroutine(builder) else _parameters.__wrapped__(builder)


@functools.cache
def _parameters(builder: Any) -> dict[str, BuilderOption]:
    hints = typing.get_type_hints(builder if inspect.isroutine(builder) else builder.__call__)
    parameters = list(inspect.signature(builder).parameters.values())[_CALLER:]
    return {
        parameter.name: BuilderOption(hints.get(parameter.name, Any), parameter.default is inspect.Parameter.empty)
        for parameter in parameters
        if parameter.kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    }
