"""From the names in a suite to the things they stand for: datasets, methods, metrics, protocols, all at once.

Every complaint of a suite is collected, so that one look shows them all; what is only not on this machine yet
(weights, data) is told apart from what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from bench.catalog import published
from bench.catalog.registry import Entry, registry
from bench.data.annotations import AnnotationSource
from bench.data.boxes import Annotations
from bench.data.build import build_dataset
from bench.data.items import Dataset
from bench.data.survey import as_available
from bench.detection.detector import WeightFile, build_detector
from bench.errors import BenchError, MissingFile, suggest
from bench.fetch.assets import Asset
from bench.methods.base import Method, StoredMethod
from bench.methods.build import build_method, identity_of
from bench.metrics.base import Metric, SetMetric
from bench.metrics.build import build_metric
from bench.metrics.kinds import Kind
from bench.metrics.protocols import DEFAULT, Protocol, protocol
from bench.metrics.ratings import RatedMetric
from bench.planning import detection_columns
from bench.suite.definition import SuiteFile, label_of, variants

_RATED = f"{RatedMetric.__module__}:{RatedMetric.__name__}"


class Missing(NamedTuple):
    """Something that is named rightly but is not on this machine."""

    kind: str
    label: str
    detail: str
    """One line with the command that brings it."""
    have: str = ""
    """What of it is there, in short, such as `14/15`."""


@dataclass(frozen=True)
class BoundMetric:
    """A metric as one column of one dataset's table."""

    label: str
    metric: Metric
    entry: Entry
    unavailable: str | None = None
    """Why it cannot be measured here, in one line."""

    @property
    def heading(self) -> str:
        """The metric's usual symbol in place of its catalogue name; a label that somebody chose stays."""
        symbol = str(self.entry.fields.get("symbol", self.entry.name.upper()))
        alias = self.entry.fields.get("alias") or []
        for name in (self.entry.name, *([alias] if isinstance(alias, str) else alias)):
            rest = self.label.removeprefix(name)
            if rest != self.label and (not rest or rest[0] in "(/"):
                return symbol + (f" {rest[1:]}" if rest.startswith("/") else rest)
        return self.label

    @property
    def digits(self) -> int:
        """Decimals in tables: the catalogue's, else two on a scale of tens or hundreds and four on a smaller one."""
        given = self.entry.fields.get("digits")
        if given is not None:
            return int(given)
        ends = [abs(end) for end in self.entry.fields.get("range") or [] if isinstance(end, int | float)]
        return 2 if max(ends, default=1) >= 10 else 4

    @cached_property
    def signature(self) -> str:
        return str(self.metric.full_signature())

    @cached_property
    def row_signature(self) -> str:
        """Signature of what is stored per image: the value's, or that of a set metric's features."""
        return str(self.metric.full_extractor()) if isinstance(self.metric, SetMetric) else self.signature

    @property
    def kind(self) -> Kind:
        """What it applies to, and what is stored of an image."""
        return self.metric.kind


@dataclass(frozen=True)
class BoundDataset:
    """A dataset with the protocol it is measured under and one metric per column of the suite."""

    label: str
    name: str
    dataset: Dataset
    protocol: Protocol
    metrics: tuple[BoundMetric, ...]
    unavailable: str | None = None
    """Why it is not on this machine, in one line; it has no items then."""
    annotations: Annotations | None = None
    """Where its objects are, read only when a metric counts boxes."""


class MethodMember(NamedTuple):
    """One of the repeats of a method that the suite lists: the same method with other options, such as weights."""

    options: Mapping[str, Any]
    method: Method | StoredMethod


@dataclass(frozen=True)
class BoundMethod:
    """A method under its label; None in place of the method when its files are missing."""

    label: str
    name: str
    options: Mapping[str, Any]
    entry: Entry
    method: Method | StoredMethod | None
    """The first of its members, where it has some."""
    unavailable: str | None = None
    """Why it cannot run here, in one line."""
    seeds: int = 1
    """How often each image is restored by a stochastic method; by each of its members."""
    datasets: frozenset[str] | None = None
    """Labels of those it is for; None: all."""
    detector: WeightFile | None = None
    """Weights of the detector that was trained on its outputs and looks at them; None for the suite's one detector."""
    members: tuple[MethodMember, ...] = ()
    """Those that restore every image in turn, each a repeat; empty for a method that does it alone."""
    repeated: tuple[Mapping[str, Any], ...] = ()
    """The options of the members, whether they are there or not."""

    @cached_property
    def identities(self) -> Sequence[Mapping[str, Any]]:
        """Of every member in turn, everything that can change an output. Raises `BenchError`."""
        if self.method is None:
            return []
        each = [one.method for one in self.members] or [self.method]
        return [identity_of(method, self.entry) for method in each]

    @property
    def identity(self) -> Mapping[str, Any]:
        """Everything that can change an output; empty where there is no method. Raises `BenchError`."""
        if not self.members:
            return self.identities[0] if self.identities else {}
        return {"repeats": list(self.identities)} if self.identities else {}

    def is_for(self, dataset: str) -> bool:
        return self.datasets is None or dataset in self.datasets

    @property
    def draws(self) -> int:
        """How often one member restores each image."""
        return self.seeds if isinstance(self.method, Method) and self.method.stochastic else 1

    @property
    def repeats(self) -> int:
        """How often each image is restored: member by member, each with all of its draws."""
        return max(len(self.members), 1) * self.draws

    def member(self, repeat: int) -> int:
        """Which member makes a repeat; 0 for a method without."""
        return repeat // self.draws

    def making(self, repeat: int) -> Method | StoredMethod | None:
        """What makes a repeat."""
        return self.members[self.member(repeat)].method if self.members else self.method


class Selection(NamedTuple):
    """What the command line takes of a suite."""

    methods: Sequence[str] = ()
    datasets: Sequence[str] = ()
    limit: int | None = None
    commercial_safe: bool = False
    """Refuse what is not known to be free for commercial use."""
    available: bool = False
    """Take what is there of a dataset of which part is missing."""
    commands: bool = True
    """False where the programs that a suite names may not be started."""
    latency: bool = True
    """False where a suite's `latency:` is left out."""


@dataclass(frozen=True)
class Resolved:
    """A suite whose every name stands for something."""

    file: SuiteFile
    datasets: tuple[BoundDataset, ...]
    methods: tuple[BoundMethod, ...]
    missing: tuple[Missing, ...]
    selection: Selection

    def jobs(self) -> list[tuple[BoundDataset, BoundMethod]]:
        """Dataset × method in table order, those included that the method is not for: they have no units."""
        return [(dataset, method) for dataset in self.datasets for method in self.methods]


def resolve(file: SuiteFile, selection: Selection = Selection()) -> Resolved:  # noqa: B008 – an immutable tuple
    """Bind every name of a suite. Raises `BenchError` with one line per thing that is wrong."""
    problems: list[str] = []
    missing: list[Missing] = []
    methods = _methods(file, selection, problems, missing)
    datasets = _datasets(file, selection, problems, missing)
    # Where the tables were deleted with the results of other runs, a run still works; its table beside theirs does not.
    if file.suite.published is not None and published.folder().is_dir():
        try:
            published.check(file.suite.published)
        except BenchError as error:
            problems.append(_say(file, error, "published"))
    if file.suite.detection is not None and not problems:  # a column that counts boxes has said it already
        try:
            build_detector(file.suite.detection.detector, file.suite.detection.options, (), file.base)
        except BenchError as error:
            problems.append(_say(file, error, "detection"))
    if selection.commercial_safe:
        used = [method.entry for method in methods]
        used += [registry("dataset").get(dataset.name) for dataset in datasets]
        used += [metric.entry for dataset in datasets for metric in dataset.metrics]
        if file.suite.detection is not None and file.suite.detection.detector in registry("detector"):
            used.append(registry("detector").get(file.suite.detection.detector))
        problems += [
            f"{file.path}: {entry.kind} {entry.name!r} has the licence "
            f"{entry.fields.get('licence') or '(none stated)'}, refused by --commercial-safe"
            for entry in used
            if not entry.commercial_safe
        ]
    if problems:
        raise BenchError("\n".join(dict.fromkeys(problems)))
    return Resolved(file, tuple(datasets), tuple(methods), tuple(dict.fromkeys(missing)), selection)


def _say(file: SuiteFile, error: BenchError, *where: Any) -> str:
    return "\n".join(f"{file.at(*where)}: {line}" for line in str(error).splitlines())


def _chosen(wanted: Sequence[str], labels: Sequence[str], names: Sequence[str], what: str) -> set[str]:
    """Labels that the command line's choice stands for; a name chooses all its variants."""
    if not wanted:
        return set(labels)
    kept: set[str] = set()
    for choice in wanted:
        hit = {label for label, name in zip(labels, names, strict=True) if choice in (label, name)}
        if not hit:
            known = dict.fromkeys([*labels, *names])
            remedy = ""
            if what == "method":
                mine = choice in registry("method")
                remedy = (
                    f": `methods:` of a suite of yours can name {choice}" if mine else "; --plugin FILE brings your own"
                )
            raise BenchError(
                f"no {what} {choice!r} in this suite{suggest(choice, known)} (it has {', '.join(labels)}){remedy}"
            )
        kept |= hit
    return kept


def _methods(file: SuiteFile, selection: Selection, problems: list[str], missing: list[Missing]) -> list[BoundMethod]:
    flat = [
        (index, spec, variant)
        for index, spec in enumerate(file.suite.methods)
        for variant in variants(spec, file.at("methods", index))
    ]
    kept = _chosen(selection.methods, [v.label for _, _, v in flat], [s.method for _, s, _ in flat], "method")
    bound: list[BoundMethod] = []
    for index, spec, variant in flat:
        if variant.label not in kept:
            continue
        try:
            entry = registry("method").get(spec.method)
            built = [MethodMember(options, build_method(entry, options, file.base)) for options in variant.members]
            _check_alike([one.method for one in built], len(variant.repeats))
            detail = next(filter(None, (_lacking(one.method) for one in built)), None)
            if detail is None and not selection.commands:
                foreign = next(filter(None, (_foreign(one.method) for one in built)), None)
                detail = foreign and f"{variant.label} {foreign}: bench run --allow-commands lets it"
            seeds = spec.seeds or file.suite.seeds
            on = None if spec.datasets is None else frozenset(spec.datasets)
            present = built[0].method if detail is None else None
            if detail is not None:
                missing.append(Missing("method", spec.method, detail))
            members = tuple(built) if variant.repeats and detail is None else ()
            bound.append(
                BoundMethod(
                    variant.label, spec.method, variant.options, entry, present, detail, seeds, on,
                    members=members, repeated=variant.repeats,
                )
            )  # fmt: skip
        except BenchError as error:
            problems.append(_say(file, error, "methods", index))
    return bound


def _lacking(method: Method | StoredMethod) -> str | None:
    """Why a method cannot run on this machine; None where it can."""
    gone = [asset for asset in method.assets() if not asset.path.is_file()]
    return _how_to_get(gone) if gone else method.unavailable()


def _foreign(method: Method | StoredMethod) -> str | None:
    return method.foreign_code() if isinstance(method, Method) else None


def _check_alike(members: Sequence[Method | StoredMethod], repeats: int) -> None:
    """Raise `BenchError` where the repeats of one method put out what is no repetition of the same."""
    for name in ("scale", "quantise", "stochastic"):
        values = [getattr(method, name, False) for method in members[:repeats]]
        for number, value in enumerate(values):
            if value != values[0]:
                raise BenchError(
                    f"repeats 1 and {number + 1} differ in {name} ({values[0]} and {value}): they are two methods, and "
                    "each needs a line of its own"
                )


def _datasets(file: SuiteFile, selection: Selection, problems: list[str], missing: list[Missing]) -> list[BoundDataset]:
    specs = file.suite.datasets
    kept = _chosen(selection.datasets, [label_of(s) for s in specs], [s.dataset for s in specs], "dataset")
    wrong_protocol = False
    try:
        common = protocol(file.suite.protocol or DEFAULT)
    except BenchError as error:
        problems.append(_say(file, error, "protocol"))
        wrong_protocol, common = True, protocol(DEFAULT)
    try:
        split = detection_columns.split_of(file.suite.detection)
    except BenchError as error:
        problems.append(_say(file, error, "detection", "protocol"))
        split = None
    bound: list[BoundDataset] = []
    parts: dict[str, str] = {}
    ids: dict[str, set[str] | None] = {label_of(spec): None for spec in specs}
    for index, spec in enumerate(specs):
        label = label_of(spec)
        if label not in kept:
            continue
        try:
            entry = registry("dataset").get(spec.dataset)
            options = detection_columns.options_for(spec, split)
            options = as_available(entry, options) if selection.available else options
            dataset = build_dataset(entry, options, file.base)
            if wrong_protocol and spec.protocol is None:
                continue
            rules = protocol(spec.protocol or file.suite.protocol or dataset.protocol or DEFAULT)
            detail = None
        except MissingFile as error:
            detail = str(error)
            missing.append(Missing("dataset", spec.dataset, detail, getattr(error, "have", "")))
            boxes = entry.fields.get("annotations")
            dataset = Dataset(
                spec.dataset, (), paired=bool(entry.fields.get("paired", True)),
                annotations=AnnotationSource.of(entry.name, boxes, file.base) if boxes else None,
            )  # fmt: skip
            try:
                named = spec.protocol or file.suite.protocol or entry.fields.get("protocol") or DEFAULT
                rules = common if wrong_protocol and spec.protocol is None else protocol(str(named))
            except BenchError as wrong:
                problems.append(_say(file, wrong, "datasets", index))
                continue
        except BenchError as error:
            problems.append(_say(file, error, "datasets", index))
            continue
        bound.append(BoundDataset(label, spec.dataset, dataset.limited(selection.limit), rules, (), detail))
        parts[label] = detection_columns.name_of(spec, split)
        ids[label] = None if detail or selection.available else {item.id for item in dataset.items}
    _check_votes(file, ids, problems)
    annotated = [one.dataset for one in bound]
    if not bound:  # no dataset could be bound: the metrics are looked at all the same, to name every mistake at once
        metrics_for(file, common, annotated, None, "", problems, missing)
    return [_with_metrics(file, one, annotated, parts[one.label], problems, missing) for one in bound]


def _check_votes(file: SuiteFile, ids: Mapping[str, set[str] | None], problems: list[str]) -> None:
    """Hold the names in sheets of votes against the suite's, whatever part of it is asked for now."""
    labels = {
        variant.label
        for index, spec in enumerate(file.suite.methods)
        for variant in variants(spec, file.at("methods", index))
    }
    for index, given in enumerate(file.suite.metrics):
        if given.metric not in registry("metric") or registry("metric").get(given.metric).target != _RATED:
            continue
        try:
            metric = build_metric(registry("metric").get(given.metric), given.options, {})
            assert isinstance(metric, RatedMetric)
            metric.based(file.base).check(ids, labels)
        except BenchError as error:
            problems.append(_say(file, error, "metrics", index))


def _with_metrics(
    file: SuiteFile, bound: BoundDataset, all_: Sequence[Dataset], split: str, problems: list[str],
    missing: list[Missing],
) -> BoundDataset:  # fmt: skip
    """A dataset with its columns, and its annotation where one of them counts boxes."""
    annotations: Annotations | None = None
    unboxed: str | None = None
    if bound.unavailable is None and bound.dataset.annotations is not None and detection_columns.counts_boxes(file):
        try:
            annotations = bound.dataset.annotations.read(bound.dataset.items)
            bound = replace(bound, dataset=replace(bound.dataset, notes=(*bound.dataset.notes, *annotations.notes)))
        except MissingFile as error:
            unboxed = str(error)
            missing.append(Missing("dataset", bound.name, unboxed, "no annotation"))
        except BenchError as error:
            problems.append(_say(file, error, "datasets"))
    metrics = metrics_for(file, bound.protocol, all_, annotations, split, problems, missing)
    if unboxed is not None:
        metrics = [replace(one, unavailable=one.unavailable or unboxed) if one.kind.boxes else one for one in metrics]
    return replace(bound, metrics=tuple(metrics), annotations=annotations)


def metrics_for(
    file: SuiteFile, rules: Protocol, datasets: Sequence[Dataset], annotations: Annotations | None, split: str,
    problems: list[str], missing: list[Missing],
) -> list[BoundMetric]:  # fmt: skip
    """The columns of a suite on one of its datasets."""
    bound: list[BoundMetric] = []
    for index, label, spec in detection_columns.columns(file, datasets):
        try:
            entry = registry("metric").get(spec.metric)
            metric = build_metric(_without_verdict(entry), spec.options, rules.settings).based(file.base)
            metric, detector = detection_columns.bound(metric, spec.metric, file, annotations, split)
            gone = [asset for asset in metric.assets() if not asset.path.is_file()]
            detail = entry.fields.get("unavailable") or (_how_to_get(gone) if gone else None)
            if detail is not None:
                needy = ("metric", spec.metric) if detector is None else ("detector", detector.name)
                missing.append(Missing(*needy, detail))
            bound.append(BoundMetric(label, metric, entry, detail))
        except BenchError as error:
            problems.append(_say(file, error, "metrics", index))
    return bound


def _without_verdict(entry: Entry) -> Entry:
    """The entry of a metric that cannot be measured here, so that it is a column with its reason and no error."""
    return replace(entry, fields={key: value for key, value in entry.fields.items() if key != "unavailable"})


def _how_to_get(gone: Sequence[Asset]) -> str:
    try:
        gone[0].require()
    except MissingFile as error:
        more = f" (and {len(gone) - 1} more files)" if len(gone) > 1 else ""
        return f"{error}{more}"
    return f"{gone[0].file} has just arrived: run again"


def assets_of(name: str) -> list[Asset]:
    """All files that a suite's methods and metrics need, for `bench fetch SUITE`."""
    from bench.suite import definition

    file = definition.load(definition.find(name))
    found: dict[str, Asset] = {}
    for method in file.suite.methods:
        for variant in variants(method, file.at("methods")):
            for options in variant.members:
                built = build_method(registry("method").get(method.method), options, file.base)
                found.update((asset.file, asset) for asset in built.assets())
    rules = protocol(file.suite.protocol or DEFAULT)
    for _, _, spec in detection_columns.columns(file, ()):
        entry = registry("metric").get(spec.metric)
        if entry.fields.get("unavailable"):
            continue
        made = build_metric(entry, spec.options, rules.settings)
        found.update((asset.file, asset) for asset in made.assets())
    if file.suite.detection is not None:
        detector = build_detector(file.suite.detection.detector, file.suite.detection.options, (), file.base)
        found.update((asset.file, asset) for asset in detector.assets())
    for dataset in file.suite.datasets:
        entry = registry("dataset").get(dataset.dataset)
        for fields in entry.fields.get("files", []):
            asset = Asset.from_fields(entry.name, fields, entry.fields.get("licence"))
            found[asset.file] = asset
    return list(found.values())
