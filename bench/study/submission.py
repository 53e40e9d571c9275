"""What participants send, read as data and checked for its form: a file that the page saved, or a server's log.

A log is one line per event, so that a line that a power cut has torn costs that event alone. What the events mean is
held against the key in `bench.study.screening`.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from bench import files
from bench.errors import BenchError, one_line
from bench.results.votes import Name
from bench.suite.complaints import said

MOST_FILE = 64 << 20
MOST_LOG = 256 << 20
"""Bytes of a server's log, at which it takes no more."""
MOST_EVENT = 64 << 10
"""Bytes of one event, for the server as well."""
MOST_IMAGES, MOST_CRITERIA = 64, 32
"""Of one question."""
_CHECKED = ConfigDict(extra="forbid", strict=True)
_Short = Annotated[str, Field(max_length=64)]
_Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]
_Count = Annotated[int, Field(ge=0, le=1_000_000)]
_Names = Annotated[list[Name], Field(min_length=1, max_length=MOST_IMAGES)]
_Values = Annotated[list[_Number], Field(min_length=1, max_length=MOST_IMAGES)]


@dataclass(frozen=True, config=_CHECKED)
class Screen:
    """What a participant's screen is, as far as the page can tell."""

    width: _Count
    height: _Count
    ratio: Annotated[_Number, Field(ge=0)]
    zoomed: bool
    dark: _Count
    bright: _Count
    gamma: _Number


@dataclass(frozen=True, config=_CHECKED)
class Start:
    """Somebody begins."""

    kind: Literal["start"]
    person: Annotated[int, Field(ge=1, le=10_000)]
    language: _Short
    started: _Short
    screen: Screen


@dataclass(frozen=True, config=_CHECKED)
class Vote:
    """A question is answered."""

    kind: Literal["vote"]
    step: _Count
    question: Name
    images: _Names
    turn: _Count
    answers: Annotated[dict[_Short, _Values], Field(min_length=1, max_length=MOST_CRITERIA)]
    """Criterion → a value per image, as `bench.results.votes.Ballot` has them."""
    seconds: Annotated[_Number, Field(ge=0)]
    shown: Annotated[list[_Count], Field(min_length=2, max_length=2)]
    zoom: Annotated[_Number, Field(ge=0)]


@dataclass(frozen=True, config=_CHECKED)
class End:
    """The last question is answered."""

    kind: Literal["end"]
    finished: _Short
    votes: _Count


Event = Annotated[Start | Vote | End, Field(discriminator="kind")]


@dataclass(frozen=True, config=_CHECKED)
class Line:
    """An event as the server takes it."""

    study: Name
    session: Name
    number: _Count
    """Of the event in its session: one that is sent again has the number that it had."""
    event: Event


@dataclass(frozen=True, config=_CHECKED)
class _File:
    format: Literal["bench-study-votes"]
    version: Literal[1]
    study: Name
    seal: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    session: Name
    events: Annotated[list[Event], Field(min_length=1, max_length=100_000)]


LINE = TypeAdapter(Line)
_FILE = TypeAdapter(_File)


class Sitting(NamedTuple):
    """All events of one session, in order."""

    study: str
    session: str
    seal: str
    """Of the key, as the page had it; empty from a server, which serves the page itself."""
    events: tuple[Start | Vote | End, ...]
    clash: str = ""
    """What it says twice and differently."""


class Read(NamedTuple):
    """What a file holds."""

    sittings: list[Sitting]
    problems: list[str]
    """One line for each part that cannot be used; the others can."""


def read(file: Path) -> Read:
    """A participant's file or a server's log. Raises `BenchError`, one line, for what is neither."""
    try:
        raw = files.read(file, MOST_LOG if _named_log(file) else MOST_FILE).removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise BenchError(f"{file}: cannot be read: {one_line(error.strerror or error)}") from None
    if _is_log(file, raw):
        return _log(file, raw)
    try:
        found = _FILE.validate_json(raw)
    except ValidationError as error:
        raise BenchError(f"{file}: no votes of a study: {complaint(error)}") from None
    return Read([Sitting(found.study, found.session, found.seal, tuple(found.events))], [])


def _named_log(file: Path) -> bool:
    return file.suffix.lower() == ".jsonl"


def _is_log(file: Path, raw: bytes) -> bool:
    """By what it says, since files are renamed on their way; by its name where it says neither."""
    try:
        first = json.loads(raw.lstrip().partition(b"\n")[0])
    except (ValueError, RecursionError):
        return _named_log(file)
    return isinstance(first, dict) and ("event" in first or (_named_log(file) and "format" not in first))


def complaint(error: ValidationError) -> str:
    """The first thing that is wrong, in one line."""
    first: Mapping[str, Any] = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("start", "vote", "end"))
    told = "key is missing" if first["type"] == "missing" else "unknown key" if _unknown(first) else said(first)
    return one_line(f"{where}: {told}" if where else told, 160)


def _unknown(first: Mapping[str, Any]) -> bool:
    return first["type"] in ("unexpected_keyword_argument", "extra_forbidden")


def _log(file: Path, raw: bytes) -> Read:
    sessions: dict[tuple[str, str], dict[int, Start | Vote | End]] = {}
    clashes: dict[tuple[str, str], str] = {}
    problems: list[str] = []
    for number, line in enumerate(raw.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            found = LINE.validate_json(line)
        except ValidationError as error:
            torn = " (torn when the server was stopped: it was not acknowledged)" if _torn(line) else ""
            problems.append(f"{file}:{number}: {complaint(error)}{torn}")
            continue
        events = sessions.setdefault((found.study, found.session), {})
        if events.setdefault(found.number, found.event) != found.event:
            clashes[found.study, found.session] = f"event {found.number} comes twice and differs"
    sittings = [
        Sitting(
            study, session, "", tuple(events[number] for number in sorted(events)), clashes.get((study, session), "")
        )
        for (study, session), events in sessions.items()
    ]
    return Read(sittings, problems)


def _torn(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return True
    return False
