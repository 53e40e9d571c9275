"""A run as one HTML page that needs nothing else: no network, no script or font from elsewhere, pictures inside.

Names of methods, items and labels are somebody's text: everything is escaped, and the page's own policy lets nothing
run but the script it was made with.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import importlib.resources
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.catalog import published
from bench.errors import BenchError, one_line
from bench.identity import digest
from bench.report import charts, gallery, rounds_section
from bench.results.pictures import Pictures
from bench.results.store import Store
from bench.results.view import SCORED, RunView, failures
from bench.tables import beside as papers
from bench.tables import compare, derived, leaderboard, statistics
from bench.tables.layout import Extras, Row, Table, format_value, lay_out, printable, venues_of
from bench.tables.leaderboard import Entered
from iqpir.errors import shown as escaped

_MOST_FAILURES = 200
_MOST_CHARTS = 120


class PageOptions(NamedTuple):
    """What a page may hold."""

    items: int = 4
    """Items of each dataset that are shown."""
    budget: int = 12_000_000
    """Bytes that pictures may take."""


class FinishedPage(NamedTuple):
    """A finished page."""

    html: str
    pictures: int
    picture_bytes: int


def render(store: Store, data: RunView, results: Path, options: PageOptions = PageOptions()) -> FinishedPage:  # noqa: B008 – immutable
    """The page of a run. Outputs are read from `results`; what is gone is said in its place."""
    from markupsafe import Markup, escape

    pictures = Pictures(store, data, results)
    budget = gallery.Budget(options.budget)
    groups = gallery.build(data, pictures, options.items, budget) if options.items else []
    sections = rounds_section.build(data, pictures, groups, budget) if data.traces else []
    extremes, sheet = gallery.extremes(data, pictures, budget)
    row = store.run(data.number)
    assert row is not None
    failed, left = _failures(data)
    html = _filled(
        data, sheet=sheet, facts=_facts(data, row.created), alerts=list(_alerts(data, groups, options.items)),
        results=_table(lay_out(data, Extras(venue=True)), data, "r"), paper=_paper(data),
        gallery=groups, gallery_note=_gallery_note(data, budget), extremes=extremes,
        rounds=[(one, [(strip, Markup(strip.curve)) for strip in one.strips]) for one in sections],  # noqa: S704
        charts=_charts(data, Markup), failures=failed, failures_left=left,
        provenance=list(_provenance(data)), size_note=_size_note(budget), definition=escape(_definition(data)),
    )  # fmt: skip
    return FinishedPage(html, budget.count, budget.used)


_EMPTY: Mapping[str, Any] = {
    "alerts": (), "paper": None, "gallery": (), "gallery_note": "", "extremes": (), "rounds": (), "charts": (),
    "failures": (), "failures_left": "", "provenance": (), "size_note": "", "definition": "", "compared": (),
    "joined": False,
}  # fmt: skip


def _filled(data: RunView, *, sheet: Mapping[str, str] = {}, **more: Any) -> str:
    """The template with what a page has; `sheet` are small pictures by the names of their classes."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    css = _asset("page.css") + "".join(f'.{name}{{background-image:url("{uri}")}}' for name, uri in sheet.items())
    js = _asset("page.js")
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    made = environment.from_string(_asset("page.html.j2")).render(
        title=data.record.title or data.record.suite,
        css=Markup(css), js=Markup(js), css_hash=_hash(css), js_hash=_hash(js),  # noqa: S704 – the package's own text
        signatures=_signatures(data), methods=_methods(data), datasets=_datasets(data), **{**_EMPTY, **more},
    )  # fmt: skip
    return str(made)


def render_several(runs: Sequence[Entered]) -> FinishedPage:
    """Runs on one page: the table that they make together, and each against the first, cell by cell."""
    joined = leaderboard.join(runs)
    compared = [
        {"title": f"{one.name} against {runs[0].name}", "rows": rows}
        for one in runs[1:]
        if (rows := [_change(change) for change in compare.changes(runs[0].data, one.data) if change.shared])
    ]
    facts = [_of_run(one) for one in runs]
    table = _table(lay_out(joined, Extras(venue=True)), joined, "r")
    return FinishedPage(_filled(joined, facts=facts, results=table, compared=compared, joined=True), 0, 0)


def _of_run(one: Entered) -> str:
    device = one.data.provenance.get("device_model") or "unknown device"
    return f"{one.name}: {_count(len(one.data.record.methods), 'method')}, {device}"


def _change(change: compare.Change) -> dict[str, Any]:
    given = (change.base, change.head, change.difference)
    known = [value if value is not None and math.isfinite(value) else None for value in given]
    numbers = [("" if value is None else format_value(value, change.digits), None if value is None else repr(value))
               for value in known]  # fmt: skip
    p = "" if change.test is None else f", {statistics.p_text(change.test.p_randomisation)}"
    verdict = change.verdict + p + (f": {change.detail}" if change.detail else "")
    return {"dataset": change.dataset, "method": change.method, "metric": change.metric, "numbers": numbers,
            "verdict": verdict}  # fmt: skip


def _asset(name: str) -> str:
    return (importlib.resources.files("bench.report") / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """As a content security policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


# What is said first


def _facts(data: RunView, created: float) -> list[str]:
    when = datetime.datetime.fromtimestamp(created, datetime.UTC)
    counts = failures(data)
    record, told = data.record, data.provenance
    done = counts.expected - counts.failed - counts.unavailable - counts.pending
    return [
        f"Run {data.number} of {record.suite}",
        f"{when:%Y-%m-%d %H:%M} UTC",
        f"{_count(len(record.methods), 'method')} on {_count(len(record.datasets), 'dataset')}",
        f"{done} of {_count(counts.expected, 'unit')} complete",
        str(told.get("device_model") or told.get("device") or "unknown device"),
        f"iqpir-bench {told.get('packages', {}).get('iqpir-bench', 'of unknown version')}",
    ]


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _alerts(data: RunView, groups: Sequence[gallery.Group], wanted: int) -> Iterable[str]:
    counts = failures(data)
    if counts.failed:
        yield f"{_count(counts.failed, 'unit')} failed: see Failures."
    if counts.pending:
        yield f"{_count(counts.pending, 'unit')} not worked on yet: run the suite again."
    if counts.unavailable:
        yield f"{_count(counts.unavailable, 'unit')} of methods or metrics that were not on the machine."
    shots = [shot for group in groups for item in group.shown for shot in item.shots]
    gone = [shot.missing for shot in shots if shot.thumb is None]
    if shots and len(gone) == len(shots):
        yield f"No picture of this run can be shown: {gone[0]}."
    elif any("deleted" in why for why in gone):
        yield f"{sum('deleted' in why for why in gone)} outputs were deleted since the run: bench run makes them again."
    if wanted and not groups:
        yield "No pictures fit into the page's budget."


def _gallery_note(data: RunView, budget: gallery.Budget) -> str:
    repeats = any(method.repeats > 1 for method in data.record.methods)
    return (
        f"Overviews keep their size up to {budget.side} pixels a side, lossy; framed details are pixel for pixel."
        + (" Of a method with repeats the first is shown." if repeats else "")
    )


def _size_note(budget: gallery.Budget) -> str:
    return (
        f"{_count(budget.count, 'picture')}, {budget.used / 1e6:.1f} MB of at most {budget.limit / 1e6:.1f} MB. "
        "Everything is in this file; nothing is loaded from anywhere."
    )


# Tables


def _table(table: Table, data: RunView, key: str) -> dict[str, Any]:
    """A laid-out table in one part per dataset, with numbers to sort by."""
    values = {(cell.dataset, cell.method, cell.column.label): cell.value for cell in data.cells}
    labels = table.columns
    for column in derived.columns(data):
        values |= {(*place, column.name): entry.value for place, entry in column.entries.items()}
    about = {
        dataset.label: f"{_count(len(dataset.items), 'item')}, protocol {dataset.protocol}"
        for dataset in data.record.datasets
    }
    signatures = {cell.column.label: cell.column.signature for cell in data.cells}
    heads = [
        {"text": f"{name} {arrow}".rstrip(), "signature": signatures.get(label, "")}
        for name, arrow, label in zip(table.header, table.arrows, labels, strict=True)
    ]
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in table.rows:
        groups.setdefault(row.dataset, []).append(_row(row, labels, values, key))
    return {
        "key": key,
        "venues": table.venues,
        "counted": table.counted,
        "heads": [*heads, *([{"text": "n", "signature": ""}] if table.counted else [])],
        "groups": [{"dataset": name, "about": about.get(name, ""), "rows": rows} for name, rows in groups.items()],
        "notes": [_note(line) for line in table.footer],
    }


def _row(
    row: Row, labels: Sequence[str], values: Mapping[tuple[str, str, str], float | None], key: str
) -> dict[str, Any]:
    cells = []
    for label, shown in zip(labels, row.cells, strict=True):
        value = values.get((row.dataset, row.method, label))
        # An infinite mean ranks above nothing, so it sorts where gaps do.
        sort = repr(value) if value is not None and math.isfinite(value) else None
        cells.append({**shown._asdict(), "sort": sort})
    done = row.scored.partition("/")[0]
    return {
        "table": key, "method": row.named, "venue": row.venue, "cells": cells, "scored": row.scored,
        "sort": done if done.isdigit() else "0",
    }  # fmt: skip


def _note(line: str) -> dict[str, str]:
    """A line of the footer; the letter it may begin with is what cells link to."""
    mark, closed, _ = line.removeprefix("[").partition("] ")
    is_mark = line.startswith("[") and bool(closed) and mark.isalpha() and mark.islower()
    return {"mark": mark if is_mark else "", "text": line}


def _paper(data: RunView) -> dict[str, Any] | None:
    """The run beside its paper's table, where the suite names one that is here."""
    if data.record.definition.get("published") is None or not published.folder().is_dir():
        return None
    try:
        table = papers.beside(data, papers.of_run(data))
    except BenchError:  # the table was renamed since the run; the run's own numbers stand above
        return None
    notes = len(lay_out(data).notes)
    return _table(table._replace(notes=table.notes[notes:]), data, "p")


# Numbers in other shapes


def _charts(data: RunView, markup: Any) -> list[dict[str, Any]]:
    order = {method.label: index for index, method in enumerate(data.record.methods)}
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    about: dict[tuple[str, str], tuple[str, int]] = {}
    for cell in data.cells:
        given = [] if cell.column.is_set else cell.item_values.tolist()
        if len(given) > 1:
            place = cell.dataset, cell.column.label
            found.setdefault(place, {})[cell.method] = given
            arrow = "↑" if cell.column.higher_is_better else "↓"
            about[place] = f"{cell.column.heading} {arrow}", cell.column.digits
    groups: dict[str, list[dict[str, Any]]] = {}
    for place, values in list(found.items())[:_MOST_CHARTS]:
        name, digits = about[place]
        svg = charts.strips(f"{name} on {place[0]}", values, digits, order)
        if svg:
            groups.setdefault(place[0], []).append({"name": name, "svg": markup(svg)})
    return [{"dataset": dataset, "charts": drawn} for dataset, drawn in groups.items()]


def _failures(data: RunView) -> tuple[list[tuple[str, ...]], str]:
    """(what, dataset, method, item, metrics, reason) of everything that is missing, alike rows once."""
    found: dict[tuple[str, str, str, str, str], list[str]] = {}
    for cell in data.cells:
        whole_set = [cell.set_score] if cell.set_score is not None and cell.set_score.status not in SCORED else []
        lacks = [*cell.columns.lacking(), *whole_set]
        whole = len({(s.status, s.reason) for s in lacks}) == 1 and len(lacks) > 1 and len(lacks) >= len(cell.scores)
        for score in lacks[:1] if whole else lacks:
            item = "every item" if whole else score.item + (f" (repeat {score.repeat + 1})" if score.repeat else "")
            place = score.status, cell.dataset, cell.method, item or "the set", score.reason or ""
            found.setdefault(place, []).append(cell.column.heading)
    rows: list[tuple[str, ...]] = [
        (status, dataset, method, item, ", ".join(dict.fromkeys(metrics)), reason)
        for (status, dataset, method, item, reason), metrics in found.items()
    ]
    left = len(rows) - _MOST_FAILURES
    said = f"… and {left} more (bench export {data.number} --format csv has every row)." if left > 0 else ""
    return rows[:_MOST_FAILURES], said


# Where numbers come from


def _signatures(data: RunView) -> list[dict[str, str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for dataset in data.record.datasets:
        for column in dataset.columns:
            found.setdefault((column.heading, column.signature), []).append(dataset.label)
    everywhere = len(data.record.datasets)
    return [
        {"metric": heading, "signature": text, "dataset": "all" if len(on) == everywhere else ", ".join(on)}
        for (heading, text), on in found.items()
    ]


def _methods(data: RunView) -> list[dict[str, Any]]:
    venues = venues_of(data)
    return [
        {
            "label": method.label,
            "name": method.name,
            "venue": venues[method.label],
            "licence": str(method.licence or ""),
            "options": ", ".join(f"{name}={_brief(value)}" for name, value in method.options.items()),
            "weights": sorted({sha256 for one in method.identities for sha256 in _hashes(one)}),
            "identity": digest(method.identity).hex()[:16] if method.identity else "",
        }
        for method in data.record.methods
    ]


def _brief(value: object) -> str:
    return one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 80)


def _hashes(value: object) -> Iterable[str]:
    """Everything below a method's weights that is a SHA-256."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name in ("weights", "files", "sha256"):
                yield from _digests(inner)


def _digests(value: object) -> Iterable[str]:
    if isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdef"):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _digests(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _digests(inner)


def _datasets(data: RunView) -> list[tuple[str, ...]]:
    return [
        (
            dataset.label, dataset.name, str(len(dataset.items)), "yes" if dataset.paired else "no",
            str(dataset.protocol),
        )
        for dataset in data.record.datasets
    ]  # fmt: skip


def _provenance(data: RunView) -> Iterable[tuple[str, str]]:
    told = data.provenance
    for name in ("device", "device_model", "processor", "platform", "python", "threads", "workers", "batch"):
        if told.get(name) is not None:
            yield name.replace("_", " "), str(told[name])
    for name in ("packages", "numerics", "code"):
        given = told.get(name)
        if isinstance(given, Mapping):
            yield name, ", ".join(f"{key} {value}" for key, value in given.items())
    if told.get("command"):
        yield "command", escaped(" ".join(map(str, told["command"])))
    if data.devices:
        yield "outputs made on", ", ".join(sorted(data.devices))


def _definition(data: RunView) -> str:
    import yaml

    kept = {key: value for key, value in data.record.definition.items() if value not in (None, "", [], {}, False)}
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=110)
