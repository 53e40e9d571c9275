"""Pages of the site that are made from what there is: the catalogue's YAML, and the help of every command.

MkDocs calls these functions by their names while it builds. Links that lead out of docs/ become plain text: the site
stands alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

    from bench.catalog.registry import Entry

_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "method": ("title", "task", "status", "venue", "licence", "source"),
    "dataset": ("title", "task", "count", "licence", "source"),
    "metric": ("title", "mode", "better", "licence", "source"),
    "protocol": ("verified", "source"),
}
_WIDE = ("---", "hide: [toc]", "---", "")
"""A page of one table needs the room that others give to their headings."""
_FORMULA = ("formula", "description", "notes")
"""What is told in a line of its own below an entry."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    from mkdocs.structure.files import File

    for kind in _COLUMNS:
        files.append(File.generated(config, f"catalogue/{kind}s.md", content=catalogue(kind)))
    files.append(File.generated(config, "catalogue/suites.md", content=suites()))
    files.append(File.generated(config, "commands.md", content=commands()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links out of docs/ as plain text."""
    return re.sub(r"(?<!!)\[([^\]]*)\]\(\.\./[^)]*\)", r"\1", markdown)


def catalogue(kind: str) -> str:
    """Every entry of a kind with its licence, source and status, and below the table what is to be known of it."""
    from bench.catalog.registry import registry

    entries = list(registry(kind))
    columns = _COLUMNS[kind]
    lines = [
        *_WIDE,
        f"# {kind.capitalize()}s",
        "",
        f"The {len(entries)} {kind}s of the catalogue; `bench info NAME` says more.",
        "",
    ]
    lines += [_row(["name", *columns]), _row(["---"] * (len(columns) + 1))]
    lines += [_row([f"`{entry.name}`", *(_cell(_value(entry, key)) for key in columns)]) for entry in entries]
    return "\n".join([*lines, "", *_told(entries)]) + "\n"


def _value(entry: Entry, key: str) -> object:
    if entry.kind == "method" and key in ("status", "venue"):
        from bench.methods.availability import status, venue

        return status(entry) if key == "status" else venue(entry)
    if key == "source":
        return entry.fields.get("source") or entry.fields.get("home") or ""
    return entry.fields.get(key, "none stated" if key == "licence" else "")


def _told(entries: list[Entry]) -> Iterator[str]:
    for entry in entries:
        said = [str(entry.fields[key]) for key in _FORMULA if entry.fields.get(key)]
        if said:
            yield f"**`{entry.name}`** – {_cell(' · '.join(said))}"
            yield ""


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else "yes" if value is True else str(value or "")
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;").replace("{", "&#123;")


def suites() -> str:
    """Every suite with its title and its file."""
    from bench.suite import definition

    lines = ["# Suites", "", "`bench run NAME` runs one; `bench run` alone says which run on this machine.", ""]
    for name in definition.names():
        text = definition.find(name).read_text(encoding="utf-8")
        lines += [f"## {name}", "", _cell(definition.title_of(name)), "", "```yaml", text.rstrip(), "```", ""]
    return "\n".join(lines)


def commands() -> str:
    """The help of every command, as it is printed."""
    import click

    from bench.cli import COMMANDS, group
    from iqpir.cli import COMMANDS as RESTORER
    from iqpir.cli import group as restorer

    lines = ["# Commands", ""]
    for program, root, names in (("bench", group, COMMANDS), ("iqpir", restorer, RESTORER)):
        context = click.Context(root, info_name=program, terminal_width=100, max_content_width=100)
        for name in names:
            command = root.get_command(context, name)
            assert command is not None
            inner = click.Context(command, info_name=name, parent=context)
            lines += [f"## {program} {name}", "", "```text", command.get_help(inner).rstrip(), "```", ""]
    return "\n".join(lines)
