"""A suite file: parsed as data, checked key by key, every complaint with its line and the nearest known word.

Nothing here knows which methods or datasets exist; `bench.planning.bind` does.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
)

from bench import paths
from bench.errors import BenchError, suggest
from bench.suite import yaml_text
from bench.suite.complaints import said
from bench.suite.setting import DTYPES, parse_sizes
from bench.suite.yaml_text import Lines, Place, nearest
from iqpir.errors import shown

MOST_VARIANTS = 10_000
"""Methods that all sweeps of a suite may make together."""
MOST_SEEDS = 10_000
_MOST_COMPLAINTS = 20

Label = Annotated[str, AfterValidator(shown)]
"""Printable from here on, so that no table, file or console has to ask again."""


_NUMBERS = {int, float, Literal[1]}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, given: Any, field: ValidationInfo) -> Any:
        """Python's True is 1, and pydantic would take it for such."""
        wanted = cls.model_fields[str(field.field_name)].annotation
        if isinstance(given, bool) and _NUMBERS & {wanted, *get_args(wanted)} and bool not in get_args(wanted):
            raise ValueError("a number is needed")
        return given


class DatasetSpec(_Strict):
    """One line under `datasets:`."""

    dataset: str
    options: dict[str, Any] = {}
    protocol: str | None = None
    label: Label | None = None


class MethodSpec(_Strict):
    """One line under `methods:`; `sweep` runs it once per combination of option values, each a method of its own.

    `repeats` runs it once per mapping of options, and all of them are one method: the same network trained with other
    seeds, say. Each item then has a value per repeat, as it has for a stochastic method with `seeds`.
    `datasets` names those (by label) that it is for, all by default: lines for different datasets may share a label, so
    that a method with weights per dataset is one row of each.
    """

    method: str
    options: dict[str, Any] = {}
    sweep: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    repeats: list[Annotated[dict[str, Any], Field(min_length=1)]] = Field(default=[], min_length=1)
    label: Label | None = None
    seeds: int | None = Field(default=None, ge=1, le=MOST_SEEDS)
    datasets: list[Label] | None = Field(default=None, min_length=1)

    @field_validator("datasets", mode="before")
    @classmethod
    def _short_datasets(cls, given: Any) -> Any:
        return [given] if isinstance(given, str) else given

    @field_validator("repeats", mode="after")
    @classmethod
    def _differing(cls, given: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for index, one in enumerate(given):
            if one in given[:index]:
                raise ValueError(f"numbers {given.index(one) + 1} and {index + 1} are equal, and would count twice")
        return given

    @model_serializer(mode="wrap")
    def _without_defaults_that_came_later(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A run is found again by what its suite says: a key that a suite does not use must not be in it."""
        found: dict[str, Any] = plain(self)
        if not self.repeats:
            found.pop("repeats", None)
        return found


class MetricSpec(_Strict):
    """One line under `metrics:`, written as a name or as `{name: {option: value}}`."""

    metric: str
    options: dict[str, Any] = {}
    label: Label | None = None


class LatencySpec(_Strict):
    """Under `latency:`; what is timed after a run, batch 1."""

    size: int | str = 512
    dtype: str = "float32"
    order: Literal["interleaved", "sequential"] = "interleaved"
    samples: int | None = Field(default=None, ge=1)
    """Stop after so many, whatever the rules say."""
    seconds: float | None = Field(default=None, ge=0)
    """Stop after so many of a method's own time."""

    @field_validator("size", mode="before")
    @classmethod
    def _one_size(cls, given: Any) -> Any:
        try:
            if isinstance(given, bool) or not isinstance(given, int | str):
                raise ValueError
            (_,) = parse_sizes(given)
        except (BenchError, ValueError):
            raise ValueError("a side such as 512, or HxW such as 480x640, in pixels") from None
        return given

    @field_validator("dtype")
    @classmethod
    def _known_dtype(cls, given: str) -> str:
        if given not in DTYPES:
            raise ValueError(f"one of {', '.join(DTYPES)}{suggest(given, DTYPES)}")
        return given


class FinetuneSpec(_Strict):
    """Train the detector on the train part of the protocol's split, restored by each method."""

    epochs: int = Field(ge=1)
    size: int = Field(default=640, ge=32)
    batch: int = Field(default=8, ge=1)
    seed: int = 0
    train: dict[str, Any] | None = None
    """Options of the dataset that give its train part, where no protocol does."""


class DetectionSpec(_Strict):
    """Which detector looks at the restored images; what it finds is held against the dataset's annotation."""

    detector: str
    options: dict[str, Any] = {}
    protocol: str | None = None
    finetune: FinetuneSpec | None = None


def _spec(kind: str) -> Callable[[Any], Any]:
    def spec(given: Any) -> Any:
        if isinstance(given, str):
            return {kind: given}
        if not isinstance(given, dict):
            raise ValueError(f"a {kind} is a name or {{{kind}: NAME, key: value}}")
        return given

    return spec


def _metric_spec(given: Any) -> Any:
    if isinstance(given, str):
        return {"metric": given}
    if isinstance(given, dict) and len(given) == 1:
        name, options = next(iter(given.items()))
        if options is None or isinstance(options, dict):
            options = dict(options or {})
            label = options.pop("label", None)
            return {"metric": name, "options": options, "label": label}
    raise ValueError("a metric is a name or {name: {option: value}}")


class Suite(_Strict):
    """A whole suite file, includes merged."""

    version: Literal[1] = Field(alias="schema")
    title: Label = ""
    task: str | None = None
    datasets: list[Annotated[DatasetSpec, BeforeValidator(_spec("dataset"))]] = Field(min_length=1)
    methods: list[Annotated[MethodSpec, BeforeValidator(_spec("method"))]] = Field(min_length=1)
    metrics: list[Annotated[MetricSpec, BeforeValidator(_metric_spec)]] = Field(min_length=1)
    protocol: str | None = None
    seed: int = 0
    seeds: int = Field(default=1, ge=1, le=MOST_SEEDS)
    published: str | None = None
    bases: dict[Label, Label] = {}
    """Label → label of the method it is made from; a NAME+ beside a NAME needs no line."""
    gain: bool | dict[Label, list[Label]] = False
    """Whether tables have a column of gains over bases; as a mapping, by dataset over which columns it is the mean."""
    increments: bool = False
    """Whether tables show gains over bases behind values."""
    layout: Literal["rows", "columns", "methods", "paper"] | None = None
    """How tables are arranged: a row per dataset and method, datasets side by side, methods across, or as the paper."""
    latency: LatencySpec | None = None
    detection: DetectionSpec | None = None

    @model_serializer(mode="wrap")
    def _without_a_layout_that_is_not_said(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A run is found again by what its suite says: a key that a suite does not use must not be in it."""
        found: dict[str, Any] = plain(self)
        if self.layout is None:
            found.pop("layout", None)
        return found

    @field_validator("gain", mode="before")
    @classmethod
    def _gain_kind(cls, given: Any) -> Any:
        if not isinstance(given, bool | dict):
            raise ValueError("true, false, or a mapping from datasets to lists of metrics is needed")
        return given


@dataclass(frozen=True)
class SuiteFile:
    """A parsed suite with what its messages need."""

    name: str
    """The file's stem; what `bench table NAME` finds."""
    path: Path
    suite: Suite
    lines: Lines = field(repr=False)

    @property
    def base(self) -> Path:
        """The folder against which relative paths are tried when the working directory has no such thing."""
        return self.path.parent

    def at(self, *where: Any) -> str:
        """`file:line` of the innermost key of a path that was written."""
        return str(nearest(self.lines, where))


def find(name: str) -> Path:
    """A suite by path, or by name in `./suites` and among the suites that ship."""
    given = Path(name)
    if given.suffix in {".yaml", ".yml"} or given.is_file():
        if not given.is_file():
            raise BenchError(f"no suite file {name}{suggest(given.stem, names())} (bench list suites)")
        return given
    for folder in (Path("suites"), paths.shipped("suites")):
        if (folder / f"{name}.yaml").is_file() and "/" not in name and "\\" not in name:
            return folder / f"{name}.yaml"
    if given.is_dir():
        raise BenchError(f"{name} is a folder, not a suite: bench init --lq DIR --gt DIR writes one for images")
    raise BenchError(f"unknown suite {name!r}{suggest(name, names())} (bench list suites)")


def names() -> list[str]:
    """Suites that can be run by name."""
    found = {file.stem for folder in (Path("suites"), paths.shipped("suites")) for file in folder.glob("*.yaml")}
    return sorted(found)


def title_of(name: str) -> str:
    """A suite's title, read without checking the rest of it."""
    data, _ = yaml_text.read(find(name), _KEYS)
    return str(data.get("title", ""))


def load(path: Path) -> SuiteFile:
    """Parse, merge includes and validate. Raises `BenchError` with one line per complaint."""
    return _validated(shown(path.stem), path, *yaml_text.read(path, _KEYS))


def parse(text: str, name: str = "suite") -> SuiteFile:
    """A suite from text, for suites made by a program; relative paths are those of the working directory."""
    return _validated(name, Path.cwd() / f"{name}.yaml", *yaml_text.parse(text, name, _KEYS))


def _validated(name: str, path: Path, data: dict[str, Any], lines: Lines) -> SuiteFile:
    try:
        suite = Suite.model_validate(data)
    except ValidationError as error:
        raise BenchError("\n".join(_shortened(_complaints(error, lines)))) from None
    _check_sweeps(suite, lines)
    _check_labels(suite, lines)
    return SuiteFile(name, path, suite, lines)


def _shortened(complaints: Iterable[str]) -> Iterator[str]:
    """The first of many; the others are counted."""
    every = list(dict.fromkeys(complaints))
    yield from every[:_MOST_COMPLAINTS]
    if len(every) > _MOST_COMPLAINTS:
        yield f"… and {len(every) - _MOST_COMPLAINTS} more complaints"


def _check_sweeps(suite: Suite, lines: Lines) -> None:
    total = 0
    for index, spec in enumerate(suite.methods):
        total += math.prod(map(len, spec.sweep.values())) * max(len(spec.repeats), 1)
        if total > MOST_VARIANTS:
            where = nearest(lines, ("methods", index, "sweep" if spec.sweep else "repeats"))
            what = "sweeps and repeats" if spec.repeats else "sweeps"
            raise BenchError(f"{where}: {what} make {total} methods by here, more than {MOST_VARIANTS}")
        for number, options in enumerate(spec.repeats):
            if both := [name for name in options if name in spec.sweep]:
                where = nearest(lines, ("methods", index, "repeats", number, both[0]))
                raise BenchError(f"{where}: {both[0]!r} cannot be swept and differ between repeats at once")


def _check_labels(suite: Suite, lines: Lines) -> None:
    named: dict[str, list[str]] = {
        "datasets": [label_of(dataset) for dataset in suite.datasets],
        "metrics": [label_of(metric) for metric in suite.metrics],
    }
    for kind, labels in named.items():
        seen: dict[str, int] = {}
        for index, label in enumerate(labels):
            if label in seen:
                where, first = nearest(lines, (kind, index)), nearest(lines, (kind, seen[label]))
                raise BenchError(f"{where}: label {label!r} is already used at {first}: give one of them a label:")
            seen[label] = index
    _check_gains(suite, named, lines)
    taken: dict[tuple[str, str], int] = {}
    for index, spec in enumerate(suite.methods):
        for name in spec.datasets or ():
            if name not in named["datasets"]:
                at = nearest(lines, ("methods", index, "datasets"))
                raise BenchError(f"{at}: no dataset {name!r} in this suite{suggest(name, named['datasets'])}")
        for variant in variants(spec, str(nearest(lines, ("methods", index)))):
            for dataset in spec.datasets or named["datasets"]:
                place = (variant.label, dataset)
                if taken.get(place) == index:
                    swept = " ".join(f"{{{name}}}" for name in spec.sweep)
                    raise BenchError(
                        f"{nearest(lines, ('methods', index))}: label {spec.label!r} does not tell the members of the "
                        f"sweep apart: it has to hold {swept}"
                    )
                if place in taken:
                    where, first = nearest(lines, ("methods", index)), nearest(lines, ("methods", taken[place]))
                    raise BenchError(
                        f"{where}: label {variant.label!r} is already used at {first}: give one of them a label:"
                    )
                taken[place] = index


def _check_gains(suite: Suite, named: Mapping[str, list[str]], lines: Lines) -> None:
    """Hold the labels that gains are told by against the suite's."""
    methods = [
        variant.label
        for index, spec in enumerate(suite.methods)
        for variant in variants(spec, str(nearest(lines, ("methods", index))))
    ]
    for label, base in suite.bases.items():
        at = nearest(lines, ("bases", label))
        for name in (label, base):
            if name not in methods:
                raise BenchError(f"{at}: no method {name!r} in this suite{suggest(name, methods)}")
        if label == base:
            raise BenchError(f"{at}: {label!r} cannot be its own base")
    listed = suite.gain if isinstance(suite.gain, dict) else {}
    for dataset, columns in listed.items():
        at = nearest(lines, ("gain", dataset))
        if dataset not in named["datasets"]:
            raise BenchError(f"{at}: no dataset {dataset!r} in this suite{suggest(dataset, named['datasets'])}")
        if not columns:
            raise BenchError(f"{at}: name the metrics that the gain on {dataset!r} is the mean of")
        for column in columns:
            if column not in named["metrics"]:
                raise BenchError(f"{at}: no metric {column!r} in this suite{suggest(column, named['metrics'])}")


def label_of(spec: DatasetSpec | MetricSpec) -> str:
    """What a dataset or metric is called in tables: its label, else its name with the options that were given."""
    if spec.label is not None:
        return spec.label
    if isinstance(spec, DatasetSpec):
        return spec.dataset
    return shown(spec.metric + _options_text(spec.options))


class Variant(NamedTuple):
    """One member of a method's sweep."""

    label: str
    options: dict[str, Any]
    """What its repeats have in common."""
    repeats: tuple[dict[str, Any], ...] = ()
    """All options of each repeat; empty for a method that is none but itself."""

    @property
    def members(self) -> tuple[dict[str, Any], ...]:
        """All options of everything that has to be built for it, the first repeat's first."""
        return self.repeats or (self.options,)


def variants(spec: MethodSpec, where: str) -> Iterator[Variant]:
    """The members of a method's sweep with their labels; a label's `{name}` stands for an option's value."""
    known = list(spec.sweep)
    size = math.prod(map(len, spec.sweep.values()))
    if size > MOST_VARIANTS:
        raise BenchError(f"{where}: a sweep over {size} combinations, more than {MOST_VARIANTS}")
    for values in itertools.product(*spec.sweep.values()):
        swept = dict(zip(known, values, strict=True))
        options = {**spec.options, **swept}
        repeats = tuple({**options, **own} for own in spec.repeats)
        if spec.label is None:
            told = {
                name: value for name, value in options.items() if name in swept or not isinstance(value, (dict, list))
            }
            yield Variant(shown(spec.method + _options_text(told)), options, repeats)
            continue

        def value_of(match: re.Match[str], options: dict[str, Any] = options) -> str:
            name = match.group(1)
            if name not in options and any(name in own for own in spec.repeats):
                raise BenchError(
                    f"{where}: label {spec.label!r} names {name!r}, which differs between repeats: they share one label"
                )
            if name not in options:
                raise BenchError(
                    f"{where}: label {spec.label!r} names {name!r}, which is no option{suggest(name, options)}"
                )
            return str(options[name])

        if odd := _ODD_PLACEHOLDER.search(spec.label):
            raise BenchError(
                f"{where}: label {spec.label!r}: {odd[0]} is no placeholder: those are names of options alone, "
                f"such as {{{odd[1] or next(iter(options), 'name')}}}"
            )
        yield Variant(shown(re.sub(r"\{(\w+)\}", value_of, spec.label)), options, repeats)


_ODD_PLACEHOLDER = re.compile(r"\{\s*\}|\{(?!\w+\})\s*([A-Za-z_]\w*)\s*(?:[.\[!:][^{}]*)?\}")
"""What Python would take for one and is none here: attributes, indices, formats, blanks, nothing at all."""


def _options_text(options: Mapping[str, Any]) -> str:
    return f"({','.join(f'{name}={value}' for name, value in options.items())})" if options else ""


# Complaints


def _known_keys(model: type[BaseModel]) -> list[str]:
    keys = [info.alias or name for name, info in model.model_fields.items()]
    return [*keys, "include"] if model is Suite else keys


_KEYS = ", ".join(_known_keys(Suite))


_MODELS: dict[str, type[BaseModel]] = {
    "datasets": DatasetSpec, "methods": MethodSpec, "metrics": MetricSpec, "latency": LatencySpec,
    "detection": DetectionSpec,
}  # fmt: skip


def _complaints(error: ValidationError, lines: Lines) -> Iterator[str]:
    for problem in error.errors():
        place = _written(problem["loc"])
        if problem["loc"][:2] == ("gain", "bool") and isinstance(problem["input"], dict):
            continue  # of the two kinds that it may be, it is the other
        where = nearest(lines, place)
        key = str(place[-1]) if place else ""
        model = _MODELS.get(str(place[0]), Suite) if len(place) > 1 else Suite
        if problem["type"] == "extra_forbidden":
            known = _known_keys(model)
            yield f"{where}: unknown key {key!r}{suggest(key, known)} (known: {', '.join(known)})"
        elif problem["type"] == "missing":
            yield f"{where}: key {key!r} is missing"
        else:
            key = ".".join(str(part) for part in place)
            yield f"{where}: {key}: {said(problem)}"


def _written(place: Place) -> Place:
    """A place as the file has it, without pydantic's names for the kinds of value that it tried there."""
    kept = place[:1] + place[2:] if place[:1] == ("gain",) and len(place) > 1 else place
    return tuple(part for part in kept if part != "[key]")
