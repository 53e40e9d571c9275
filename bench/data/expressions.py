"""Regular expressions that users write, with a limit on their time: the one place where theirs are compiled.

`(a+)+$` takes longer than anybody waits on a name of forty letters. The engine is that of the package `regex`, which
can be told when to give up; what is no expression of Python's own `re` is refused all the same, so that what a suite
says does not depend on it.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

import regex

from bench.errors import BenchError, one_line
from iqpir.errors import shown

SECONDS = 1.0
"""Processor time for one name; an expression without nested repeats takes microseconds."""
_LENGTH = 1000


@dataclass(frozen=True)
class Expression:
    """A compiled expression that knows what it is called."""

    pattern: str
    where: str
    groups: int
    engine: regex.Pattern[str]

    def search(self, name: str) -> regex.Match[str] | None:
        """As `re.search`. Raises `BenchError` where it takes more than `SECONDS`."""
        try:
            return self.engine.search(name, timeout=SECONDS)
        except TimeoutError:
            raise BenchError(
                f"{self.where}: {self.pattern!r} takes more than {SECONDS:g} s on {shown(name)!r}: "
                "repeats that can match the same letters in many ways, as in (a|aa)+ or (a+)+, try them all; "
                "write it with one repeat"
            ) from None


def compiled(text: str, where: str) -> Expression:
    """An expression, or a `BenchError` that says where it stands and what is wrong with it."""
    if len(text) > _LENGTH:
        raise BenchError(f"{where}: a regular expression of {len(text)} characters; {_LENGTH} is the most")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what may mean something else in a later Python
            re.compile(text)
            engine = regex.compile(text, regex.VERSION0)
    except (re.error, regex.error, RecursionError, OverflowError, MemoryError) as error:
        reason = one_line(error) or type(error).__name__
        raise BenchError(f"{where}: {text!r} is not a regular expression ({reason})") from error
    return Expression(text, where, engine.groups, engine)
