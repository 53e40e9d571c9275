"""Votes in the forms that other tools read: long CSV files of pairs, ratings and rankings, and P.910's matrix.

`pairs.csv` has the columns of pwcmp and ASAP first, `p910.csv` is what the demo of ITU-T P.910 Appendix VI reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import files
from bench.results import voted
from bench.results.csv_text import of_rows
from bench.results.view import RunView
from bench.results.voted import Judged
from bench.study.summary import Summary

PAIRS = (
    "observer", "session", "scene", "condition_A", "condition_B", "is_A_selected", "tie", "criterion", "position_A",
    "seconds", "shown_width", "shown_height", "hash_A", "hash_B", "dataset", "study",
)  # fmt: skip
RATINGS = (
    "observer", "session", "scene", "condition", "criterion", "score", "seconds", "shown_width", "shown_height", "hash",
    "dataset", "study",
)  # fmt: skip
RANKINGS = (*RATINGS[:5], "rank", "position", *RATINGS[6:])


def write(summary: Summary, data: RunView, folder: Path) -> list[Path]:
    """All files for which there are votes. Raises `BenchError` where one cannot be written."""
    items = {one.label: one.items for one in data.record.datasets}
    made: dict[str, str] = {}
    kinds = (
        ("bt", "pairs", PAIRS, _pairs),
        ("mos", "ratings", RATINGS, _ratings),
        ("rank", "rankings", RANKINGS, _rankings),
    )
    for name, file, columns, rows in kinds:
        found = [row for one in summary.datasets for row in rows(one.votes[name], one.dataset, items[one.dataset])]
        if found:
            made[f"{file}.csv"] = of_rows(columns, found)
    for one in summary.datasets:
        if one.votes["mos"]:
            stem = "p910" if len(summary.datasets) == 1 else f"p910-{len(made)}"
            matrix, stimuli = _matrix(one.votes["mos"], one.dataset, items[one.dataset])
            made[f"{stem}.csv"] = matrix
            made[f"{stem}-rows.csv"] = of_rows(("dataset", "scene", "condition"), stimuli)
    sessions = [
        [one.study, one.session, one.observer, *("yes" if said else "no" for said in (one.accepted, one.kept)),
         "; ".join(one.reasons), one.language, one.started]
        for one in summary.sessions
    ]  # fmt: skip
    needs = [
        [one.dataset, items[one.dataset][need.owner.position], need.owner.method, column, need.votes, need.planned,
         need.missing]
        for one in summary.datasets for column, each in one.needs.items() for need in each
    ]  # fmt: skip
    made["needs.csv"] = of_rows(("dataset", "scene", "condition", "column", "votes", "planned", "missing"), needs)
    made["sessions.csv"] = of_rows(
        ("study", "session", "observer", "accepted", "kept", "reasons", "language", "started"), sessions
    )
    for file, text in made.items():
        files.put(folder / file, text.encode("utf-8"))
    return [folder / file for file in made]


def _pairs(found: Sequence[Judged], dataset: str, items: Sequence[str]) -> Iterator[list[object]]:
    for one in found:
        ballot = one.ballot
        for first, value, at in one.owners:
            for second, _, other in one.owners:
                if at < other and first.position == second.position and first.method != second.method:
                    yield [
                        one.session.observer, one.session.session, items[first.position], first.method, second.method,
                        int(value == 1), int(value == 0.5), ballot.criterion, at, ballot.seconds, *ballot.shown,
                        ballot.images[at], ballot.images[other], dataset, one.session.study,
                    ]  # fmt: skip


def _ratings(found: Sequence[Judged], dataset: str, items: Sequence[str]) -> Iterator[list[object]]:
    for one in found:
        for owner, value, at in one.owners:
            yield [*_who(one, items[owner.position], owner.method), value, *_what(one, at, dataset)]


def _rankings(found: Sequence[Judged], dataset: str, items: Sequence[str]) -> Iterator[list[object]]:
    for one in found:
        for owner, value, at in one.owners:
            yield [*_who(one, items[owner.position], owner.method), value, at, *_what(one, at, dataset)]


def _who(one: Judged, scene: str, method: str) -> list[object]:
    return [one.session.observer, one.session.session, scene, method, one.ballot.criterion]


def _what(one: Judged, at: int, dataset: str) -> list[object]:
    return [one.ballot.seconds, *one.ballot.shown, one.ballot.images[at], dataset, one.session.study]


def _matrix(found: Sequence[Judged], dataset: str, items: Sequence[str]) -> tuple[str, list[list[object]]]:
    """(rows are stimuli, columns people, nan where nobody voted; what the rows are)."""
    outputs, _, given = voted.matrix(voted.scores(found))
    lines = [",".join("nan" if math.isnan(value) else repr(float(value)) for value in row) for row in given]
    return "\n".join(lines) + "\n", [[dataset, items[one.position], one.method] for one in outputs]
