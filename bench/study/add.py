"""Votes that come in: each session checked, and stored with what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.errors import BenchError, one_line, suggest
from bench.results import votes
from bench.results.votes import Session
from bench.study import key as keys
from bench.study import submission
from bench.study.key import Key
from bench.study.screening import Rules, screen
from bench.study.submission import Sitting

LOG = "votes.jsonl"


class Outcome(NamedTuple):
    """What became of one session."""

    session: Session
    new: bool
    """False where it was stored before, as it is or with more answers."""
    file: Path

    @property
    def line(self) -> str:
        one = self.session
        what = "kept" if one.kept else f"left out: {'; '.join(one.reasons)}"
        answers = len({(ballot.question, ballot.kind) for ballot in one.ballots})
        before = "" if self.new else " (stored before)"
        return f"{one.observer} {one.session[:8]} of study {one.study}: {answers} answers, {what}{before}"


class Added(NamedTuple):
    """What came of some files."""

    outcomes: list[Outcome]
    problems: list[str]
    """One line for each file, or part of one, that holds no votes."""


def add(results: Path, given: Sequence[Path], rules: Rules, key: Path | None = None) -> Added:
    """Read, check and store. `given`: files of participants, logs, or folders of studies or of files.

    Raises `BenchError` where there is nothing to read at all.
    """
    outcomes: list[Outcome] = []
    problems: list[str] = []
    for file in _files(given):
        try:
            read = submission.read(file)
            problems += read.problems
            for sitting in read.sittings:
                outcomes.append(_one(results, file, sitting, rules, key))
        except BenchError as error:
            problems.append(str(error))
        except OSError as error:
            raise BenchError(f"{results}: cannot be written: {one_line(error.strerror or error)}") from error
    return Added(outcomes, problems)


def _files(given: Sequence[Path]) -> list[Path]:
    found: dict[Path, None] = {}
    for place in given:
        inside = [place]
        if place.is_dir():
            inside = sorted(
                file for file in place.iterdir()
                if file.suffix in (".json", ".jsonl") and file.is_file() and file.name != keys.FILE
            )  # fmt: skip
            if not inside:
                raise BenchError(f"{place}: no votes in it: neither {LOG} of a server nor .json of participants")
        elif not place.exists():
            raise BenchError(f"{place}: no such file")
        found.update(dict.fromkeys(inside))
    return list(found)


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

    return replace(session, kept=False, reasons=(*session.reasons, reason))


def _key(results: Path, file: Path, study: str, given: Path | None) -> tuple[Key, str]:
    """The key of a study: the one that is named, else the one beside the votes, else the results folder's."""
    for place in [given] if given is not None else [file.parent / keys.FILE, keys.kept_at(results, study)]:
        if place.is_file() or given is not None:
            key, seal = keys.read(place)
            if key.study == study:
                return key, seal
            if given is not None:
                raise BenchError(f"{file}: votes of study {study}, and {given} is the key of {key.study}")
    known = [place.stem for place in (results / votes.KEYS).glob("*.json")]
    raise BenchError(
        f"{file}: votes of study {study}, whose key is not here{suggest(study, known)}: --key FILE names it"
    )
