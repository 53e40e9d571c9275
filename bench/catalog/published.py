"""The papers' own numbers: read from the CSV files that ship, under names such as `iqpir/table2`.

Values stay as printed; what is known against one stands in its `doubt`. Nothing here compares or prints.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bench import paths
from bench.catalog.registry import registry
from bench.errors import BenchError, suggest

COLUMNS = ("paper", "table", "dataset", "method", "metric", "value", "doubt")
"""Columns of every file, in order."""


class Value(NamedTuple):
    """One number as a paper prints it."""

    paper: str
    table: str
    dataset: str
    method: str
    """As printed, without the citation."""
    metric: str
    """The catalogue's name or alias, else one of INDEX.yaml's; `x/part` is a part of x."""
    printed: str
    doubt: str
    """Where the paper contradicts itself or another source, in a few words; empty where nothing is known."""

    @property
    def number(self) -> float:
        return float(self.printed)

    @property
    def decimals(self) -> int:
        return len(self.printed.partition(".")[2])


class Quantity(NamedTuple):
    """What a column of a paper's table is."""

    title: str
    better: str | None
    """higher, lower, or None where neither is better."""


@dataclass(frozen=True)
class PublishedTable:
    """One table of one paper."""

    key: str
    title: str
    paper: str
    """The paper's title."""
    values: tuple[Value, ...]
    prior: frozenset[str]
    """Canonical names of the metrics that the paper's own methods were conditioned on and trained for."""
    names: Mapping[str, tuple[str, ...]] = field(repr=False)
    """Printed method name → other names of the same method."""
    protocols: str | Mapping[str, str] | None = None
    """The protocol that its values are taken for, by dataset where there are several; None where none is known."""
    form: str = "rows"
    """How the paper arranges it: rows, columns or methods, as `bench table --layout` has them."""
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """What the paper prints for a metric (under `metrics`) and for a dataset (`datasets`)."""
    asides: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """Columns of words beside its methods: heading → printed method → text."""
    first: str = "Methods"
    """What its column of methods is called."""

    @property
    def datasets(self) -> list[str]:
        return list(dict.fromkeys(value.dataset for value in self.values))

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(value.method for value in self.values))

    @property
    def metrics(self) -> list[str]:
        return list(dict.fromkeys(value.metric for value in self.values))

    def heading(self, metric: str) -> str:
        """What the paper calls a column."""
        name, _, part = metric.partition("/")
        words = self.words.get("metrics", {})
        if metric in words:
            return words[metric]
        return part.capitalize() if part and part != "increment" else words.get(name, quantity(name).title)

    def dataset_title(self, name: str) -> str:
        """What the paper calls one of its datasets."""
        return self.words.get("datasets", {}).get(name, dataset_title(name))

    def method_title(self, printed: str) -> str:
        """What a printed name means, where it is misprinted."""
        return str(_index()["misprints"].get(printed, printed))

    def remarks(self) -> list[str]:
        """What a reader must know of headings that are not the field's own."""
        return [text for metric, text in _index()["remarks"].items() if metric in self.metrics]

    def protocol_of(self, dataset: str) -> str | None:
        """The protocol that the values of one of its datasets are taken for."""
        return self.protocols.get(dataset) if isinstance(self.protocols, Mapping) else self.protocols

    def method_of(self, names: set[str]) -> str | None:
        """The printed name of a method that goes by any of `names` (as `plain` writes them)."""
        known = ((printed, {plain(one) for one in (printed, *self.names.get(printed, ()))}) for printed in self.methods)
        return next((printed for printed, those in known if names & those), None)


def plain(name: str) -> str:
    """A name without case, blanks and punctuation other than the + of a host with a score."""
    return re.sub(r"[^a-z0-9+]", "", name.casefold())


def folder() -> Path:
    return paths.shipped("results/published")


def names() -> list[str]:
    """All tables that ship, in the papers' order."""
    return list(_index()["tables"])


def title_of(key: str) -> str:
    return str(_index()["tables"][key]["title"])


def check(key: str) -> None:
    """Raise `BenchError` where no table of that name ships."""
    if key not in names():
        raise BenchError(f"no published table {key!r}{suggest(key, names())} (bench list published)")


def load(key: str) -> PublishedTable:
    """A table by its name. Raises `BenchError` for an unknown name or a damaged file."""
    check(key)
    index = _index()
    about = index["tables"][key]
    paper = key.partition("/")[0]
    file = folder() / f"{key.replace('/', '-')}.csv"
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            header, *lines = list(csv.reader(stream))
    except (OSError, ValueError) as error:
        raise BenchError(f"{file}: cannot be read: {error}") from None
    if tuple(header) != COLUMNS or any(len(line) != len(COLUMNS) for line in lines):
        raise BenchError(f"{file}: every line needs the columns {', '.join(COLUMNS)}")
    values = tuple(Value(*line) for line in lines)
    others = {printed: tuple(same) for printed, same in index["names"].items()}
    prior = frozenset(canonical(name) for name in about.get("prior", ()))
    words = {
        "metrics": {**index["headings"].get(paper, {}), **about.get("headings", {})},
        "datasets": about.get("datasets", {}),
    }
    return PublishedTable(
        key, about["title"], index["papers"][paper], values, prior, others, about.get("protocol"),
        about.get("form", "rows"), words, about.get("beside", {}), about.get("methods", "Methods"),
    )  # fmt: skip


def canonical(metric: str) -> str:
    """The catalogue's own name of a metric or of its part, or the name itself where the catalogue has none."""
    metrics = registry("metric")
    name, slash, part = metric.partition("/")
    if name not in metrics:
        name = str(_index()["metrics"].get(name, {}).get("as", name))
    if name not in metrics:
        return metric
    return metrics.get(name).name + slash + str(_index()["parts"].get(part, part) if part else "")


def quantity(metric: str) -> Quantity:
    """Title and direction of a column. Raises `BenchError` for a name that nobody knows."""
    name, _, part = metric.partition("/")
    metrics = registry("metric")
    if name in metrics:
        fields = metrics.get(name).fields
        whole = Quantity(str(fields.get("symbol", name.upper())), fields.get("better"))
    elif name in _index()["metrics"]:
        fields = _index()["metrics"][name]
        whole = Quantity(fields["title"], fields.get("better"))
    else:
        raise BenchError(f"{folder() / 'INDEX.yaml'}: no metric {name!r}{suggest(name, metrics.names())}")
    if not part:
        return whole
    return Quantity(f"{whole.title} {part}", None if part == "increment" else whole.better)


def dataset_title(name: str) -> str:
    """What the papers call a dataset."""
    return str(_index()["datasets"].get(name, name))


@cache
def _index() -> dict[str, Any]:
    file = folder() / "INDEX.yaml"
    if not file.is_file():
        raise BenchError(f"no published tables at {folder()}: install from a checkout that has results/published")
    data: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return data
