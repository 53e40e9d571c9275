"""Findings as the pages of a code review show them: GitHub's workflow commands, GitLab's code quality report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from pathlib import Path

from bench.gate.arguments import Side
from bench.gate.findings import KINDS, Comparison, Finding
from bench.gate.wording import described, ordered, where

MARKER = "<!-- bench check {suite} -->"
"""First line of a comment, by which the next one finds and replaces it."""
_AT_MOST = 50
"""Annotations that a page takes; the summary has all."""


def wanted(found: Comparison, kinds: Collection[str]) -> list[Finding]:
    """What a reviewer is shown: all that fails, and slow-downs that cannot be told."""
    return [one for one in ordered(found, kinds) if one.kind in kinds or one.kind == "inconclusive"]


def github(found: Comparison, base: Side, head: Side, kinds: Collection[str]) -> str:
    """Workflow commands, one a line: `::error file=…,line=…,title=…::…`."""
    lines = []
    for one in wanted(found, kinds)[:_AT_MOST]:
        place = {"title": f"bench check: {one.kind}", **_place(one, base)}
        told = ",".join(f"{key}={_property(str(value))}" for key, value in place.items())
        level = "error" if one.kind in kinds else "warning"
        lines.append(f"::{level} {told}::{_message(f'{where(one)}: {described(one)}')}")
    return "".join(f"{line}\n" for line in lines)


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def gitlab(found: Comparison, base: Side, head: Side, kinds: Collection[str]) -> str:
    """A code quality report, which a merge request shows beside its changes."""
    rows = []
    for one in wanted(found, kinds):
        place = _place(one, base)
        rows.append(
            {
                "description": f"{where(one)}: {described(one)}",
                "check_name": f"bench-check-{one.kind}",
                "fingerprint": hashlib.sha256(
                    "\0".join((head.snapshot.suite, one.kind, one.dataset, one.method, one.metric)).encode()
                ).hexdigest(),
                "severity": "major" if one.kind in kinds else "minor",
                "location": {
                    "path": place.get("file") or KINDS[one.kind],
                    "lines": {"begin": int(place.get("line", 1))},
                },
            }
        )
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


def _place(one: Finding, base: Side) -> dict[str, str | int]:
    """The baseline's line that has the value, where the baseline is a file."""
    if base.run is not None:
        return {}
    path = Path(base.name)
    shown = path.relative_to(Path.cwd()) if path.is_absolute() and path.is_relative_to(Path.cwd()) else path
    return {"file": shown.as_posix(), "line": _line(path, one)}


def _line(path: Path, one: Finding) -> int:
    """By the keys on the way to the value, each of which the file has on a line of its own."""
    wanted = list(_keys(one))
    found = 1
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if wanted and line.strip().startswith(wanted[0]):
            found = number
            wanted.pop(0)
    return found


def _keys(one: Finding) -> Iterator[str]:
    if not one.dataset and one.method:  # a time: its entry of a list begins with the method's name
        yield '"timings"'
        yield f'"method": {json.dumps(one.method, ensure_ascii=False)}'
        return
    yield '"datasets"'
    for key in (one.dataset, one.method and '"methods"', one.method, *one.items[:1]):
        if key:
            yield key if key == '"methods"' else f"{json.dumps(key, ensure_ascii=False)}:"


def comment(found: Comparison, kinds: Collection[str], suite: str, told: str) -> str | None:
    """The text of a comment; None where there is nothing that anybody has to look at."""
    return f"{MARKER.format(suite=suite)}\n{told}" if wanted(found, kinds) else None
