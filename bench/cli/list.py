"""`bench list`: what there is, from the catalogue, without importing any of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from bench.catalog.registry import Entry

_KINDS = ("methods", "datasets", "metrics", "protocols", "detectors", "suites", "published", "formulas")
_SHOWN = {
    "methods": ("task", "status", "licence", "parameters", "venue"),
    "datasets": ("task", "count", "licence", "title"),
    "metrics": ("mode", "better", "licence", "title"),
    "protocols": ("verified", "source"),
    "detectors": ("licence", "title"),
}


@click.command(
    epilog="""\b
    bench list methods --task low-light
    bench list datasets                        with whether they are on this machine
    bench list metrics --format json"""
)
@click.argument("kind", type=click.Choice(_KINDS))
@click.option("--task", help="Only entries for this task (low-light, faces, underwater, backlit, real-world …).")
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(kind: str, task: str | None, style: str) -> int:
    """List methods, datasets, metrics, protocols, detectors, suites, the papers' tables or challenges' formulas."""
    from bench.catalog import registry
    from iqpir.terminal import listing, on_terminal

    rows: list[dict[str, object]]
    broken: list[registry.BrokenEntry] = []
    if kind == "suites":
        from bench.suite import definition

        rows = [{"name": name, "title": definition.title_of(name)} for name in definition.names()]
    elif kind == "formulas":
        from bench.catalog.formulas import formulas

        rows = [{"name": one.name, "title": one.title, "formula": one.formula} for one in formulas().values()]
    elif kind == "published":
        from bench.catalog import published

        rows = [{"name": name, "title": published.title_of(name)} for name in published.names()]
    else:
        entries = registry.registry(kind.removesuffix("s"))
        broken = entries.broken
        rows = [
            {"name": entry.name, **{key: _plain(_value(entry, key)) for key in _SHOWN[kind]}}
            for entry in entries
            if task is None or task in _tasks(entry.fields.get("task"))
        ]
    if kind == "datasets":
        for row in rows:
            row["here"] = _here(str(row["name"]))
    if style == "json":
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        # A window folds what is long; lines of a pipe are kept to a length.
        shown = [{key: _text(value) if on_terminal() else _short(value) for key, value in row.items()} for row in rows]
        click.echo(listing(shown), nl=False)
    for one in broken:
        click.echo(f"broken {one.kind} {one.name!r} ({one.origin}): {one.reason}", err=True)
    return 0


def _here(name: str) -> str:
    """Whether a dataset is on this machine: yes, no, or how much of it."""
    from bench.catalog.registry import registry
    from bench.data.survey import survey
    from bench.errors import BenchError

    try:
        return survey(registry("dataset").get(name), deep=False).short
    except BenchError:
        return "?"


def _value(entry: Entry, key: str) -> object:
    if entry.kind == "method" and key in ("status", "venue"):
        from bench.methods.availability import status, venue

        return status(entry) if key == "status" else venue(entry)
    return entry.fields.get(key, "")


def _tasks(value: object) -> list[str]:
    return [value] if isinstance(value, str) else [str(one) for one in value] if isinstance(value, list) else []


def _plain(value: object) -> object:
    return "" if value is None else value


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _short(value: object) -> str:
    text = _text(value)
    return text if len(text) <= 72 else text[:71] + "…"
