"""From what a user names, a suite or methods, to what is measured.

Datasets and metrics of a suite play no part here: time is taken on generated images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from bench.catalog.registry import registry
from bench.errors import BenchError, suggest
from bench.latency.session import TimedMethod
from bench.machine import usable_cores
from bench.methods.base import Method
from bench.methods.build import build_method
from bench.suite import definition
from bench.suite.setting import Mode, Order, Setting, parse_batches, parse_dtype, parse_sizes


class Asked(NamedTuple):
    """What a suite or a list of methods stands for."""

    title: str
    subjects: tuple[TimedMethod, ...]
    skipped: tuple[str, ...]
    """Labels of what cannot be timed by its nature: outputs that exist already."""
    size: str
    dtype: str
    order: Order
    published: str | None
    """The paper's table that the suite names."""


def understand(text: str) -> Asked:
    """Methods with commas, or one suite by name or path. Raises `BenchError` with the nearest known name."""
    methods = registry("method")
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if parts and all(part in methods for part in parts):
        if len(set(parts)) < len(parts):
            raise BenchError(f"{text}: a method is named twice; a suite can name it twice with other options")
        subjects = [TimedMethod(part, methods.get(part).name, {}) for part in parts]
        return _asked(", ".join(parts), subjects, None)
    if len(parts) != 1:
        unknown = next((part for part in parts if part not in methods), text)
        raise BenchError(f"unknown method {unknown!r}{suggest(unknown, methods.names())} (bench list methods)")
    try:
        path = definition.find(parts[0])
    except BenchError:
        near = suggest(parts[0], [*methods.names(), *definition.names()])
        raise BenchError(f"{parts[0]!r} is neither a method nor a suite{near} (bench list methods|suites)") from None
    return of_suite(definition.load(path))


def of_suite(file: definition.SuiteFile) -> Asked:
    """All methods of a suite, every member of a sweep its own; of repeats, which differ in no time, the first."""
    subjects: dict[tuple[str, str], TimedMethod] = {}
    for index, spec in enumerate(file.suite.methods):
        for variant in definition.variants(spec, file.at("methods", index)):
            subject = TimedMethod(variant.label, spec.method, variant.members[0], str(file.base))
            subjects.setdefault((variant.label, spec.method), subject)
    return _asked(file.suite.title or file.name, list(subjects.values()), file.suite)


def _asked(title: str, subjects: Sequence[TimedMethod], whole: definition.Suite | None) -> Asked:
    stored = [one for one in subjects if registry("method").get(one.name).fields.get("kind") == "folder"]
    kept = tuple(one for one in subjects if one not in stored)
    if not kept:
        raise BenchError(f"{title}: nothing to time, all its methods are outputs that exist already")
    spec = (whole.latency if whole is not None else None) or definition.LatencySpec()
    return Asked(
        title, kept, tuple(one.label for one in stored), str(spec.size), spec.dtype, spec.order,
        whole.published if whole is not None else None,
    )  # fmt: skip


def with_options(subjects: Sequence[TimedMethod], given: Sequence[str]) -> tuple[TimedMethod, ...]:
    """Each subject with further options, written NAME=VALUE as in a suite. Raises `BenchError` for another form."""
    more = {}
    for text in given:
        name, equals, value = text.partition("=")
        try:
            more[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            equals = ""
        if not (name.isidentifier() and equals):
            raise BenchError(f"option {text!r} is not NAME=VALUE, such as gray=false")
    return tuple(one._replace(options={**one.options, **more}) for one in subjects)


def check(subjects: Sequence[TimedMethod], commands: bool) -> None:
    """Raise one `BenchError` that names every method which could not be timed, before any work.

    One whose weights are missing can, where its network is known: with random ones.
    """
    problems: list[str] = []
    for subject in subjects:
        entry = registry("method").get(subject.name)
        try:
            method = build_method(entry, subject.options, None if subject.base is None else Path(subject.base))
            foreign = method.foreign_code() if isinstance(method, Method) and not commands else None
            if foreign is not None:
                raise BenchError(f"{foreign}: --allow-commands lets it")
            gone = [asset for asset in method.assets() if not asset.path.is_file()]
            if isinstance(method, Method) and not (gone and method.untrained_twin() is not None):
                if gone:
                    gone[0].require()
                reason = None if method.untrained else method.unavailable()
                if reason is not None:
                    raise BenchError(reason)
        except BenchError as error:
            problems.append(f"{subject.label}: {error}")
    if problems:
        raise BenchError("\n".join(problems))


def settings(
    sizes: str, batches: str, dtype: str, device: str, mode: Mode = "synchronised", threads: int | None = None
) -> tuple[Setting, ...]:
    """Every size with every batch, in the order in which they were named. Raises `BenchError`."""
    number = parse_dtype(dtype)
    return tuple(
        Setting(size, batch, number, device, mode, threads or usable_cores())
        for size in dict.fromkeys(parse_sizes(sizes))
        for batch in parse_batches(batches)
    )
