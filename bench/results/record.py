"""The immutable description of a run: what is measured on what, by whom.

The driver writes it before any work, and every reader takes it from here, checked: a damaged record is said to be one
instead of failing somewhere in a table. It says nothing of what was found; that is the store's rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from bench.errors import BenchError, one_line
from bench.identity import digest
from bench.metrics.kinds import Kind, PerImage, Votes, by_name, set_kind
from bench.metrics.preference import Comparison
from bench.results.store import RunRow
from bench.suite.complaints import said
from bench.suite.definition import DatasetSpec, MetricSpec

VERSION = 1
_CHECKED = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True)
class Column:
    """A metric as a run recorded it for one dataset."""

    __pydantic_config__: ClassVar[ConfigDict] = _CHECKED

    label: str
    """As the suite writes it; what JSON and CSV call it."""
    heading: str
    """What tables that people read call it."""
    signature: str
    row_signature: str
    """Signature of the rows stored per image: the value's, or that of a set metric's features."""
    mode: str
    """Numeric mode of a learned metric, else empty."""
    fr: bool
    is_set: bool
    higher_is_better: bool
    digits: int
    unavailable: str | None
    two_sets: bool = False
    """True where outputs and references have features of their own."""
    annotated: bool = False
    """True where features are boxes, held against the dataset's annotation."""
    given: Mapping[str, Sequence[float | None]] | None = None
    """Values that people gave, by method and in the order of the items; empty without a sheet, None for what is
    computed."""
    not_given: str | None = None
    """Why an item has none of them."""
    own_kind: str | None = None
    """Of a kind of metric with a file of its own: `kinds.own_name`."""
    voted: Mapping[str, str] | None = None
    """What is made of votes on its outputs when it is read (`people.Asked`); None for all else."""
    strengths: Mapping[str, float | None] | None = None
    """Values of whole methods that votes gave, by method; never recorded, filled in when it is read."""
    compared: tuple[Comparison, ...] | None = None
    """The answers that `strengths` come from, methods by their place in it; never recorded either."""

    @property
    def kind(self) -> Kind:
        """The metric's kind, by what is recorded of it. Raises `BenchError` for one that this version has not."""
        if self.own_kind is not None:
            return by_name(self.own_kind, self.fr)
        if self.given is not None:
            return Votes(self.fr)
        return set_kind(self.fr, two_sets=self.two_sets, boxes=self.annotated) if self.is_set else PerImage(self.fr)


@dataclass(frozen=True)
class DatasetRecord:
    """A dataset of a run, with its items and its columns."""

    __pydantic_config__: ClassVar[ConfigDict] = _CHECKED

    label: str
    name: str
    """In the catalogue."""
    paired: bool
    protocol: str | None
    items: Sequence[str]
    columns: Sequence[Column]
    unavailable: str | None = None
    """Why there are no items."""
    annotation: Mapping[str, Any] | None = None
    """Where its objects are (`Annotations.as_json`), where a column counts boxes."""
    detector: Mapping[str, Any] | None = None
    """Name and classes of the detector that looked for them."""

    @property
    def unboxed(self) -> Mapping[str, str]:
        """Items without an annotation, and why."""
        return {} if self.annotation is None else self.annotation.get("problems", {})


@dataclass(frozen=True)
class MethodRecord:
    """A method of a run, under its label."""

    __pydantic_config__: ClassVar[ConfigDict] = _CHECKED

    label: str
    name: str
    """In the catalogue."""
    options: Mapping[str, Any]
    identity: Mapping[str, Any]
    """Everything that can change an output; empty where the method is not on this machine."""
    repeats: Annotated[int, Field(ge=1)]
    unavailable: str | None
    """Why it could not run."""
    mode: Mapping[str, Any] = field(default_factory=dict)
    licence: str | None = None
    restores: bool = True
    """False where outputs were only read."""
    scale: int | None = None
    datasets: Sequence[str] | None = None
    """Labels of those it is for; None: all."""
    modes: Mapping[str, str] | None = None
    """Numeric modes of columns for which it has a detector of its own."""
    lossy: Sequence[str] | None = None
    """Lines about outputs that were found as compressed files."""
    members: Sequence[Mapping[str, Any]] | None = None
    """The options of each of its members, which share the repeats evenly and in order; None: it has none."""

    def is_for(self, dataset: str) -> bool:
        return self.datasets is None or dataset in self.datasets

    @property
    def identities(self) -> Sequence[Mapping[str, Any]]:
        """Of every member in turn, or its own; one that is empty where the method is not on this machine."""
        return self.identity.get("repeats") or [{}] if self.members else [self.identity]

    @property
    def timed(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Identity and options of what is timed for it: of its first member, or its own."""
        return self.identities[0], self.members[0] if self.members else self.options

    def mode_of(self, column: Column) -> str:
        """The numeric mode in which a column's values of this method are stored."""
        return (self.modes or {}).get(column.label, column.mode)


@dataclass(frozen=True)
class RunRecord:
    """What a run measures."""

    __pydantic_config__: ClassVar[ConfigDict] = _CHECKED

    suite: str
    title: str
    definition: Mapping[str, Any]
    """The resolved suite file, includes merged."""
    datasets: Sequence[DatasetRecord]
    methods: Sequence[MethodRecord]

    def content(self) -> dict[str, Any]:
        """JSON-like data that all runs of one plan have in common; what is not to be said is left out."""
        made = asdict(self)
        for dataset in made["datasets"]:
            if dataset["annotation"] is None:
                del dataset["annotation"], dataset["detector"]
            _leave_out(dataset, "unavailable")
            for column in dataset["columns"]:
                _leave_out(column, "own_kind", "voted", "strengths", "compared")
        for method in made["methods"]:
            _leave_out(method, "datasets", "modes", "lossy", "members")
        return made

    @cached_property
    def digest(self) -> bytes:
        """What all runs of one plan have in common."""
        return digest({**self.content(), "provenance": None})

    def text(self, provenance: Mapping[str, Any]) -> str:
        """As it is stored."""
        return json.dumps({"version": VERSION, **self.content(), "provenance": provenance})

    @cached_property
    def metrics(self) -> list[MetricSpec]:
        """The metrics as the suite asked for them."""
        return [MetricSpec(**spec) for spec in self.definition.get("metrics", [])]

    @cached_property
    def specs(self) -> list[DatasetSpec]:
        """The datasets as the suite asked for them."""
        return [DatasetSpec(**spec) for spec in self.definition.get("datasets", [])]


def _leave_out(entry: dict[str, Any], *names: str) -> None:
    for name in names:
        if entry[name] is None:
            del entry[name]


@dataclass(frozen=True)
class _Stored(RunRecord):
    """A record with what is stored beside it."""

    provenance: Mapping[str, Any] | None = None
    version: int = VERSION


_STORED = TypeAdapter(_Stored)


def read(row: RunRow) -> tuple[RunRecord, Mapping[str, Any]]:
    """(record, provenance) of a stored run. Raises `BenchError` for one that is damaged."""
    wrong = problem(row.record)
    if wrong is not None:
        raise BenchError(
            f"run {row.id} of {row.suite}: its record is damaged ({wrong}): bench run {row.suite} records it "
            f"anew, bench gc --keep 1 then drops this one"
        )
    data = json.loads(row.record)
    data.pop("version", None)
    provenance = data.pop("provenance") or {}
    datasets = [
        DatasetRecord(**{**one, "columns": [Column(**column) for column in one["columns"]]})
        for one in data.pop("datasets")
    ]
    methods = [MethodRecord(**one) for one in data.pop("methods")]
    return RunRecord(**data, datasets=datasets, methods=methods), provenance


def problem(stored: object) -> str | None:
    """What is wrong with a stored record, in one line; None for one that can be read."""
    if not isinstance(stored, str | bytes):
        return f"{type(stored).__name__} instead of text"
    try:
        version = _STORED.validate_json(stored).version
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid" and (plain := _without_surrogates(stored)) is not None:
            return problem(plain)
        place = ".".join(str(part) for part in first["loc"])
        told = "key is missing" if first["type"] == "missing" else said(first)
        return one_line(f"{place}: {told}" if place else told, 120)
    return None if version <= VERSION else f"version {version}, this bench reads up to {VERSION}"


def _without_surrogates(stored: str | bytes) -> str | None:
    """The record with a sign for each byte of names that are not UTF-8, which JSON for pydantic cannot hold.

    None where it has none, or is not JSON at all.
    """
    try:
        text = json.dumps(json.loads(stored), ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    plain = text.encode("utf-8", "replace").decode("utf-8")
    return None if plain == text else plain
