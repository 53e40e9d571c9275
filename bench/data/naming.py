"""How two folders name the same images: what stands before and behind the part that both share.

Outputs are called after their inputs with something added, `0002_retinexformer.png` for `0002.png`, or both have
something of their own, `low00690` and `normal00690`. What is added is the same for a whole folder, ends where letters,
digits and signs meet, and is taken only where the names leave no other choice. Two folders that add other numbers
are of other things.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice, product
from typing import NamedTuple

from bench.data.pairing import item_id
from bench.errors import BenchError

_NUMBERS = re.compile("[0-9]+")
_MOST = 6
"""Boundaries that are tried at either end of the names of a folder."""


class Affixes(NamedTuple):
    """What the names of a folder have before and behind their ids."""

    before: str = ""
    behind: str = ""
    padded: bool = False
    """Whether ids are numbers that may begin with zeros."""

    @property
    def pattern(self) -> str:
        """As a person writes it: `{id}_out`."""
        return f"{self.before}{{id}}{self.behind}"

    @property
    def expression(self) -> str:
        """As a regular expression with a group for the id, searched for in a name without its suffix."""
        core = "0*([0-9]+)" if self.padded else "(.+)"
        return f"^{re.escape(self.before)}{core}{re.escape(self.behind)}$"

    def id_of(self, name: str) -> str | None:
        """The id in a name without its suffix; None where it is named in another way."""
        end = len(name) - len(self.behind)
        if end <= len(self.before) or not (name.startswith(self.before) and name.endswith(self.behind)):
            return None
        core = name[len(self.before) : end]
        if not self.padded:
            return core
        return (core.lstrip("0") or "0") if core.isascii() and core.isdigit() else None


class Naming(NamedTuple):
    """How outputs and references name the same images."""

    outputs: Affixes
    references: Affixes
    example: tuple[str, str]
    """A name of each that belong together."""

    @property
    def told(self) -> str:
        """One line for the user, who can then write it down."""
        first, second = self.example
        theirs = f" and {self.references.pattern!r}" if self.references.before or self.references.behind else ""
        zeros = ", zeros before numbers left out" if self.outputs.padded else ""
        return f"{first} ↔ {second}: pattern {self.outputs.pattern!r}{theirs}{zeros}"


def infer(outputs: Sequence[str], references: Sequence[str]) -> Naming | None:
    """The naming by which most outputs have a reference; None where there is none, or none that is the only one.

    Names are ids as `item_id` gives them. Fewer additions are tried first, those of the references last.
    """
    for padded in (False, True):
        found = _best(outputs, references, padded)
        if found is not None:
            return found
    return None


def _best(outputs: Sequence[str], references: Sequence[str], padded: bool) -> Naming | None:
    theirs = {affixes: _ids(affixes, references) for affixes in _candidates(references, padded)}
    best: list[tuple[Affixes, Affixes, dict[str, str]]] = []
    most, least = 0, 0
    for mine in _candidates(outputs, padded):
        ids = _ids(mine, outputs)
        for other, known in theirs.items():
            pairs = {ids[one]: known[one] for one in ids.keys() & known.keys()}
            added = len(mine.before + mine.behind + other.before + other.behind)
            if len(pairs) > most or (len(pairs) == most and added < least):
                best, most, least = [], len(pairs), added
            if pairs and (len(pairs), added) == (most, least):
                best.append((mine, other, pairs))
    # An accidental match of a few names is not how a folder is named.
    if not best or 2 * most <= min(len(outputs), len(references)) or any(one[2] != best[0][2] for one in best):
        return None
    mine, other, pairs = best[0]
    numbers = [_NUMBERS.findall(f"{each.before} {each.behind}") for each in (mine, other)]
    if all(numbers) and numbers[0] != numbers[1]:
        return None  # clip 1 is not clip 2
    return Naming(mine, other, min(pairs.items()))


def _ids(affixes: Affixes, names: Sequence[str]) -> dict[str, str]:
    """Id → name, of the names that have one; none where two names have the same id."""
    found: dict[str, str] = {}
    for name in names:
        core = affixes.id_of(name)
        if core is not None and found.setdefault(core, name) != name:
            return {}
    return found


def _candidates(names: Sequence[str], padded: bool) -> Iterator[Affixes]:
    before = _beginnings(names)
    behind = [cut[::-1] for cut in _beginnings([name[::-1] for name in names])]
    yield from (Affixes(first, last, padded) for first, last in product(before, behind))


def _beginnings(names: Sequence[str]) -> list[str]:
    """What all names begin with, up to where letters, digits and signs meet in each of them; nothing first."""
    # The smallest and the largest differ wherever any two do.
    low, high = min(names), max(names)
    shared = next((at for at, sign in enumerate(low) if high[at : at + 1] != sign), len(low))
    ends = (end for end in range(1, shared + 1) if all(_ends(name, end) for name in names))
    return ["", *(low[:end] for end in islice(ends, _MOST))]


def _ends(name: str, length: int) -> bool:
    """Whether letters, digits and signs meet behind so many signs of a name."""
    return length < len(name) and _kind(name[length - 1]) != _kind(name[length])


def _kind(sign: str) -> str:
    return "digit" if sign.isdigit() else "letter" if sign.isalpha() else sign


def expression_of(pattern: str) -> str:
    """The regular expression of a pattern such as `{id}_out` or `result_{id}.png`, for names without their suffix.

    `*` stands for anything but a folder's end. Raises `BenchError` for a pattern without `{id}`, or with two.
    """
    if pattern.count("{id}") != 1:
        raise BenchError(f"pattern {pattern!r} must hold {{id}} once, as in '{{id}}_out'")
    before, behind = item_id(pattern).split("{id}")
    parts = ["[^/]*".join(map(re.escape, side.split("*"))) for side in (before, behind)]
    return f"^(?:.*/)?{parts[0]}(.+){parts[1]}$" if before else f"^(.+){parts[1]}$"
