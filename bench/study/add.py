"""Votes that come in: each session checked, and stored with what became of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.errors import BenchError, one_line, suggest
from bench.results import votes
from bench.results.votes import Session
from bench.study import key as keys
from bench.study import submission
from bench.study.key import Key
from bench.study.make import LINKS
from bench.study.screening import Rules, screen
from bench.study.submission import Sitting

LOG = "votes.jsonl"
_VOTES = re.compile(r"\.jsonl?\b")


class Outcome(NamedTuple):
    """What became of one session."""

    session: Session
    new: bool
    """False where it was stored before, as it is or with more answers."""
    file: Path

    @property
    def line(self) -> str:
        one = self.session
        what = "kept" if one.kept else f"{'accepted, ' * one.accepted}left out: {'; '.join(one.reasons)}"
        answers = len({(ballot.question, ballot.kind) for ballot in one.ballots})
        before = "" if self.new else " (stored before)"
        return f"{one.observer} {one.session[:8]} of study {one.study}: {answers} answers, {what}{before}"


class Added(NamedTuple):
    """What came of some files."""

    outcomes: list[Outcome]
    problems: list[str]
    """One line for each file, or part of one, that holds no votes."""
    aside: list[str]
    """Names of files in a given folder that were not read."""


def add(results: Path, given: Sequence[Path], rules: Rules, key: Path | None = None) -> Added:
    """Read, check and store. `given`: files of participants, logs, or folders of studies or of files.

    Raises `BenchError` where there is nothing to read at all.
    """
    outcomes: list[Outcome] = []
    problems: list[str] = []
    inside, aside = _files(given)
    for file in inside:
        try:
            read = submission.read(file)
            problems += read.problems
            for sitting in read.sittings:
                outcomes.append(_one(results, file, sitting, rules, key))
        except BenchError as error:
            problems.append(str(error))
        except OSError as error:
            raise BenchError(f"{results}: cannot be written: {one_line(error.strerror or error)}") from error
    return Added(outcomes, problems, aside)


def _files(given: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """(files to read, names of those that are none). Mail and browsers rename: `.JSON`, `.json.txt`, `.json (1)`."""
    found: dict[Path, None] = {}
    aside: list[str] = []
    for place in given:
        inside = [place]
        if place.is_dir():
            every = sorted(file for file in place.iterdir() if file.is_file() and not _ours(file.name))
            inside = [file for file in every if _VOTES.search(file.name.lower())]
            aside += [str(file) for file in every if file not in inside]
            if not inside:
                raise BenchError(f"{place}: no votes in it: neither {LOG} of a server nor .json of participants")
        elif not place.exists():
            raise BenchError(f"{place}: no such file")
        found.update(dict.fromkeys(inside))
    return list(found), aside


def _ours(name: str) -> bool:
    return name.startswith(".") or name.endswith(".lock") or name in (keys.FILE, LINKS)


def _one(results: Path, file: Path, sitting: Sitting, rules: Rules, given: Path | None) -> Outcome:
    key, seal = _key(results, file, sitting.study, given)
    session = screen(key, seal, sitting, rules)
    others = votes.of_study(results, key.study)
    before = next((one for one in others if one.session == session.session), None)
    if before is not None and len(before.ballots) > len(session.ballots):
        return Outcome(before, False, file)
    other = next(
        (one for one in others if one.observer == session.observer and one.session != session.session and one.kept),
        None,
    )
    if other is not None and session.kept:
        reason = f"double submission: {session.observer} has sent session {other.session[:8]}"
        session = _left_out(session, reason)
    if session != before:
        votes.write(results, session)
    return Outcome(session, before is None or before.ballots != session.ballots, file)


def _left_out(session: Session, reason: str) -> Session:
    from dataclasses import replace

    return replace(session, kept=False, accepted=False, reasons=(*session.reasons, reason))


def _key(results: Path, file: Path, study: str, given: Path | None) -> tuple[Key, str]:
    """The key of a study: the one that is named, else the one beside the votes, else the results folder's."""
    if given is not None:
        key, seal = keys.read(given)
        if key.study != study:
            raise BenchError(f"{file}: votes of study {study}, and {given} is the key of {key.study}")
        return key, seal
    found: dict[Path, tuple[Key, str]] = {}
    unreadable: BenchError | None = None
    for place in (keys.kept_at(results, study), file.parent / keys.FILE):
        try:
            if place.is_file() and (read := keys.read(place))[0].study == study:
                found[place] = read
        except BenchError as error:  # of another study, it may be: only where there is no other key it matters
            unreadable = error
    if len({seal for _, seal in found.values()}) > 1:
        raise BenchError(f"{file}: {' and '.join(map(str, found))} differ: --key FILE says which is the study's")
    if found:
        return next(iter(found.values()))
    if unreadable is not None:
        raise unreadable
    known = [place.stem for place in (results / votes.KEYS).glob("*.json")]
    raise BenchError(
        f"{file}: votes of study {study}, whose key is not here{suggest(study, known)}: --key FILE names it"
    )
