"""Score any two folders of images: pair by id, score in parallel, one row per item and metric.

Touches no store and remembers nothing; for the same pixels its values equal those of `bench run`, which calls the same
`Scorer`.
"""

from __future__ import annotations

import json
import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, Literal, NamedTuple, TypedDict

import numpy as np

from bench.catalog.isolation import exits_raised
from bench.catalog.registry import Entry, registry
from bench.data.folder import paired
from bench.data.images import FileSource
from bench.data.items import Dataset, ImageSource, Item
from bench.data.lossy import note
from bench.errors import BenchError, ItemError, one_line
from bench.identity import content_hash
from bench.machine import usable_cores
from bench.metrics.base import Metric, SetMetric
from bench.metrics.build import build_metric
from bench.metrics.kinds import NO_REFERENCE, stacked
from bench.metrics.outcome import Outcome, Status
from bench.metrics.protocols import protocol as protocol_named
from bench.metrics.remote import close, elsewhere
from bench.metrics.scorer import Scorer
from bench.results import csv_text
from bench.results.features import value_of
from bench.results.view import mean

MetricSpec = str | Mapping[str, Mapping[str, Any]]
"""`"psnr"`, `"psnr[space=y,crop=4]"` or `{"psnr": {"space": "y", "crop": 4}}`."""


class Row(TypedDict):
    """One value, or why there is none."""

    item: str
    """The item's id; empty for the value of a set metric."""
    metric: str
    signature: str
    value: float | None
    """±inf with status `inf`; None where nothing was scored."""
    status: Literal["ok", "inf", "nan", "failed", "n/a", "input"]
    reason: str | None


class Asked(NamedTuple):
    """A metric as it was asked for."""

    label: str
    """The name with its options, such as `psnr[space=y]`; unique in a request."""
    entry: Entry
    metric: Metric
    signature: str
    options: Mapping[str, Any]
    settings: Mapping[str, Any]
    """Of the protocol."""


class _Scored(NamedTuple):
    outcomes: list[Outcome]
    content: bytes | None
    """Content hash of the restored image, for set metrics; it orders their features."""
    references: Mapping[int, tuple[bytes, np.ndarray]]
    """For metrics of two sets, by place: the reference's content hash and features."""


def score(
    restored: str | os.PathLike[str],
    reference: str | os.PathLike[str] | None = None,
    metrics: Sequence[MetricSpec] = ("psnr", "ssim"),
    protocol: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    advance: Callable[[int], object] | None = None,
    subset: bool = False,
    timeout: float | None = None,
) -> list[Row]:
    """Rows of all items, in the order of their ids, then one row per set metric.

    `restored`, `reference`: a folder, a file or a glob pattern. `protocol`: a name, `recommended/rgb` for None.
    `threads`: images at once, by default the processor's cores. `advance` is called with 1 after each image. `subset`:
    a reference without an output is left out and no failure; so it is where `restored` names one file. `timeout`:
    seconds that a metric which is not ours may take for an image. Raises `BenchError` for a request that cannot be
    carried out; an image that fails is a row.
    """
    asked = ask(metrics, protocol)
    dataset = pairs(restored, reference, asked, subset=subset)
    return list(run(asked, dataset, device=device, threads=threads, advance=advance, timeout=timeout))


def ask(metrics: Sequence[MetricSpec], protocol: str | None = None) -> list[Asked]:
    """The metrics of a request, built but not loaded. Asking twice for the same number gives it once."""
    settings = protocol_named(protocol).settings
    asked: dict[str, Asked] = {}
    for spec in metrics:
        name, options = parse_spec(spec) if isinstance(spec, str) else _single(spec)
        entry = registry("metric").get(name)
        metric = build_metric(entry, options, settings)
        if metric.kind.boxes:
            raise BenchError(
                f"{name}: holds boxes against a dataset's annotation: write a suite with detection: {{detector: …}} "
                "and the folder's annotations, and use bench run"
            )
        if not metric.kind.computed:
            raise BenchError(f"{name}: people give it, for the methods of a suite: bench info {name}, then bench run")
        signature = str(metric.full_signature())
        label = (
            f"{entry.name}[{','.join(f'{key}={value}' for key, value in options.items())}]" if options else entry.name
        )
        asked.setdefault(signature, Asked(label, entry, metric, signature, options, settings))
    if not asked:
        raise BenchError("no metric is asked for: --metric psnr,ssim")
    return list(asked.values())


def pairs(
    restored: str | os.PathLike[str],
    reference: str | os.PathLike[str] | None,
    asked: Sequence[Asked],
    *,
    id: str | None = None,
    subset: bool = False,
) -> Dataset:
    """The items of a request; `id` is a regular expression whose groups are the ids of both sides.

    Raises `BenchError` when every metric would need a reference that is not given.
    """
    if reference is None and all(one.metric.mode == "FR" for one in asked):
        names = ", ".join(one.label for one in asked)
        raise BenchError(
            f"{names}: compares with a reference: add --reference FOLDER, or ask for a no-reference metric"
        )
    return paired(restored, reference, None, id=id, subset=subset)


def missing(dataset: Dataset) -> int:
    """References that have no output."""
    return sum(item.lq is None and item.gt is not None for item in dataset.items)


def footnotes(dataset: Dataset) -> list[str]:
    """What belongs below the numbers of these files."""
    files = [item.lq.path for item in dataset.items if isinstance(item.lq, FileSource)]
    line = note(files)
    return [] if line is None else [line]


def run(
    asked: Sequence[Asked],
    dataset: Dataset,
    *,
    device: str = "cpu",
    threads: int | None = None,
    advance: Callable[[int], object] | None = None,
    timeout: float | None = None,
) -> Iterator[Row]:
    """Score the items of a dataset whose `lq` are restored images. At most two images per thread are in memory."""
    asked = [
        one._replace(metric=elsewhere(one.entry, one.metric, one.options, one.settings, device, timeout))
        for one in asked
    ]
    strange = any(one.entry.strange for one in asked)
    try:
        with exits_raised() if strange else nullcontext():
            yield from _rows(asked, dataset, device, threads, advance)
    finally:
        close([one.metric for one in asked])


def _rows(
    asked: Sequence[Asked], dataset: Dataset, device: str, threads: int | None, advance: Callable[[int], object] | None
) -> Iterator[Row]:
    scorer = Scorer([one.metric for one in asked], device)
    scorer.load()
    features: dict[int, list[tuple[bytes, np.ndarray]]] = {
        place: [] for place, one in enumerate(asked) if isinstance(one.metric, SetMetric)
    }
    references: dict[int, list[tuple[bytes, np.ndarray]]] = {place: [] for place in features}
    for item, scored in _in_order(scorer, dataset, threads):
        if advance is not None:
            advance(1)
        for outcome in scored.outcomes:
            one = asked[outcome.index]
            if outcome.features is not None and scored.content is not None:
                features[outcome.index].append((scored.content, outcome.features))
                if outcome.index in scored.references:
                    references[outcome.index].append(scored.references[outcome.index])
            else:
                yield _row(item.id, one, outcome.status, outcome.value, outcome.reason)
    for place, found in features.items():
        yield _aggregated(asked[place], found, references[place], len(dataset.items))


def exit_code(rows: Sequence[Row]) -> int:
    """0 when everything that was due is scored, 1 when something failed."""
    return int(any(row["status"] not in ("ok", "inf", "n/a") for row in rows))


def _in_order(scorer: Scorer, dataset: Dataset, threads: int | None) -> Iterator[tuple[Item, _Scored]]:
    count = threads or usable_cores()
    # With native metrics alone the images are what runs in parallel; a pool within a pool would only get in the way.
    alone = not any(metric.learned or metric.serial for metric in scorer.metrics)
    settle = _single_threaded if alone else None
    with scorer.guard, ThreadPoolExecutor(count, "score", initializer=settle) as pool:
        pending: deque[tuple[Item, Future[_Scored]]] = deque()
        try:
            for item in dataset.items:
                pending.append((item, pool.submit(_score_item, scorer, item, dataset.paired)))
                if len(pending) >= 2 * count:
                    first, future = pending.popleft()
                    yield first, future.result()
            while pending:
                first, future = pending.popleft()
                yield first, future.result()
        finally:
            for _, future in pending:
                future.cancel()


def _single_threaded() -> None:
    import torch

    torch.set_num_threads(1)


def _score_item(scorer: Scorer, item: Item, has_reference: bool) -> _Scored:
    places = range(len(scorer.metrics))
    if item.lq is None:
        return _Scored([_failure(place, item.problem or "no file") for place in places], None, {})
    try:
        restored = item.lq.load()
    except ItemError as error:
        return _Scored([_failure(place, one_line(error)) for place in places], None, {})
    full = [place for place in places if scorer.metrics[place].kind.fr]
    reference, reason = _reference(item.gt) if full and item.gt is not None else (None, item.problem)
    if reference is None and reason is None and has_reference:
        reason = NO_REFERENCE
    wanted = [place for place in places if place not in full or reason is None]
    outcomes = scorer.score(restored, reference, wanted)
    outcomes += [_failure(place, reason) for place in full if reason is not None]
    sets = any(metric.kind.of_sets for metric in scorer.metrics)
    apart = [one for one in outcomes if one.status == Status.OK and scorer.metrics[one.index].kind.two_sets]
    found: dict[int, tuple[bytes, np.ndarray]] = {}
    if reference is not None and apart:
        content = content_hash(reference)
        for outcome in scorer.references(reference, [one.index for one in apart]):
            if outcome.features is None:  # the image has no value without its reference
                outcomes = [outcome if one.index == outcome.index else one for one in outcomes]
            else:
                found[outcome.index] = (content, outcome.features)
    return _Scored(sorted(outcomes, key=lambda one: one.index), content_hash(restored) if sets else None, found)


def _reference(source: ImageSource) -> tuple[np.ndarray | None, str | None]:
    try:
        return source.load(), None
    except ItemError as error:
        return None, f"reference cannot be read: {one_line(error)}"


def _failure(place: int, reason: str) -> Outcome:
    return Outcome(place, Status.INPUT, None, None, reason, 0.0)


def _row(item: str, one: Asked, status: Any, value: float | None, reason: str | None) -> Row:
    return Row(item=item, metric=one.entry.name, signature=one.signature, value=value, status=status, reason=reason)


def _aggregated(
    one: Asked, found: list[tuple[bytes, np.ndarray]], references: list[tuple[bytes, np.ndarray]], expected: int
) -> Row:
    """The value of a set metric, from features in the order of their images' hashes."""
    assert isinstance(one.metric, SetMetric)
    if not found:
        return _row("", one, Status.FAILED, None, f"0 of {expected} images gave features")
    reason = None if len(found) == expected else f"{len(found)} of {expected} images"
    ours, theirs = ([feature for _, feature in sorted(side, key=lambda pair: pair[0])] for side in (found, references))
    try:
        score = value_of(one.metric, stacked(ours), stacked(theirs) if one.metric.kind.two_sets else None)
    except ItemError as error:
        return _row("", one, Status.FAILED, None, one_line(error))
    return _row("", one, score.status, score.value, score.reason or reason)


def parse_spec(text: str) -> tuple[str, dict[str, Any]]:
    """`psnr[space=y,crop=4]` → ("psnr", {"space": "y", "crop": 4})."""
    name, bracket, rest = text.strip().partition("[")
    if not bracket:
        return name, {}
    if not rest.endswith("]") or "[" in rest:
        raise BenchError(f"metric {text!r} is not NAME or NAME[option=value,...]")
    options: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in rest[:-1].split(","))):
        key, equals, value = (side.strip() for side in part.partition("="))
        if not (key and equals and value):
            raise BenchError(f"metric {text!r}: {part!r} is not option=value")
        if key in options:
            raise BenchError(f"metric {text!r} sets {key!r} twice")
        options[key] = _scalar(value)
    return name.strip(), options


def split_specs(text: str) -> list[str]:
    """The metrics of a comma-separated list; commas within brackets belong to the options."""
    specs, depth, start = [], 0, 0
    for place, sign in enumerate(text):
        depth += (sign == "[") - (sign == "]")
        if sign == "," and depth <= 0:
            specs.append(text[start:place])
            start = place + 1
    return [spec.strip() for spec in (*specs, text[start:]) if spec.strip()]


def _scalar(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)


def _single(spec: Mapping[str, Mapping[str, Any]]) -> tuple[str, Mapping[str, Any]]:
    if len(spec) != 1:
        raise BenchError(f"a metric with options is one name: {{psnr: {{space: y}}}}, not {dict(spec)!r}")
    [(name, options)] = spec.items()
    return name, options


def render(
    rows: Sequence[Row], asked: Sequence[Asked], style: str, *, per_item: bool = False, notes: Sequence[str] = ()
) -> str:
    """Rows as `table` (a mean per metric, its signature and the notes below), `json` (one strict array) or `csv`."""
    if style == "json":
        plain = [{key: value for key, value in _strict(row).items() if key != "reason" or value} for row in rows]
        return json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if style == "csv":
        return csv_text.of_records(list(Row.__annotations__), map(_strict, rows))
    return _table(rows, asked, per_item, notes)


def _strict(row: Row) -> dict[str, Any]:
    """Without infinities, which JSON has not: their status says it."""
    value = row["value"]
    return {**row, "value": value if value is not None and math.isfinite(value) else None}


def _table(rows: Sequence[Row], asked: Sequence[Asked], per_item: bool, notes: Sequence[str]) -> str:
    from tabulate import tabulate

    lines: list[list[str]] = []
    reasons: dict[str, int] = {}
    for one in asked:
        mine = [row for row in rows if row["signature"] == one.signature]
        digits, arrow = one.entry.fields.get("digits", 4), "↑" if one.metric.higher_is_better else "↓"
        if per_item:
            shown = [row for row in mine if row["item"]]
            lines += [[row["item"], one.label, _number(row, digits), ""] for row in shown]
        due = [row for row in mine if row["status"] != "n/a"]
        scored = [row["value"] for row in mine if row["status"] in ("ok", "inf") and row["value"] is not None]
        whole = isinstance(one.metric, SetMetric)
        counts = (mine[-1]["reason"] or "all") if whole else f"{len(scored)} / {len(due)}"
        lines.append(["mean" if per_item else "", f"{one.label} {arrow}", _mean(scored, mine, digits), counts])
        for row in mine:
            if row["reason"] and row["item"]:
                what = "n/a" if row["status"] == "n/a" else f"failed: {row['item']}"
                line = f"{what}: {row['reason']}" if what != "n/a" else f"n/a: {one.label}: {row['reason']}"
                reasons[line] = reasons.get(line, 0) + 1
    if not per_item:
        lines = [line[1:] for line in lines]
    header = ["metric", "value", "scored / expected"]
    text = tabulate(lines, ["item", *header] if per_item else header, tablefmt="simple", disable_numparse=True)
    footer = [*(one.signature for one in asked), *notes, *list(reasons)[:_NOTES]]
    if len(reasons) > _NOTES:
        footer.append(f"… and {len(reasons) - _NOTES} more reasons (--format csv has every row)")
    return text + "\n\n" + "\n".join(footer) + "\n"


_NOTES = 12


def _mean(values: Sequence[float], rows: Sequence[Row], digits: int) -> str:
    """Mean of what was scored; identical images make a PSNR mean infinite, and it is said how many did."""
    if not values:
        return rows[0]["status"] if rows else "no items"
    infinite = sum(map(math.isinf, values))
    if infinite:
        return f"inf ({infinite} of {len(values)})"
    return f"{mean(values):z.{digits}f}"


def _number(row: Row, digits: int) -> str:
    return row["status"] if row["value"] is None or math.isinf(row["value"]) else f"{row['value']:z.{digits}f}"
