"""Lines below a table, by what a reader needs them for.

A paper has room for what explains a sign in the table and for little else; how numbers came about is then said by
`bench cite`, and by the comments of a LaTeX table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bench.errors import BenchError, suggest

CHOICES = ("full", "short", "none")
"""All lines; only those without which a sign in the table means nothing; none, and no signs that would need one."""


class Note(NamedTuple):
    """One line below a table."""

    text: str
    needed: bool
    """Whether a sign in the table means nothing without it."""
    brief: str = ""
    """What is enough of it where there is little room; empty: all."""


def legend(text: str, brief: str = "") -> Note:
    """A line that explains a sign in the table."""
    return Note(text, True, brief)


def told(text: str) -> Note:
    """A line that says how numbers came about."""
    return Note(text, False)


def check(choice: str) -> None:
    """Raise `BenchError` for a word that is none of `CHOICES`."""
    if choice not in CHOICES:
        raise BenchError(f"unknown notes {choice!r}{suggest(choice, CHOICES)} (known: {', '.join(CHOICES)})")


def chosen(notes: Sequence[Note], choice: str) -> list[str]:
    """The lines that a choice leaves."""
    if choice == "short":
        return [note.brief or note.text for note in notes if note.needed]
    return [note.text for note in notes] if choice == "full" else []
