"""The sealed key of a study: which opaque name is which image, of which method, and what everybody was to be asked.

It never goes to a participant. The page carries its seal, the hash of the key's file, so that anybody can see
afterwards that the key was not written to suit the votes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from bench import files
from bench.errors import BenchError, one_line
from bench.results.votes import KEYS, Hash, Name
from bench.suite.complaints import said

VERSION = 1
FILE = "key.json"
_CHECKED = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_CHECKED)
class KeyImage:
    """An image that is shown."""

    hash: Hash
    """Content hash of its pixels."""
    what: tuple[str, ...]
    """Methods by their labels, or `LQ`, `GT` or `ruin`."""


@dataclass(frozen=True, config=_CHECKED)
class KeyQuestion:
    """A question, by the opaque names of its images."""

    dataset: str
    item: str
    given: Name
    images: tuple[Name, ...]
    trap: bool = False


@dataclass(frozen=True, config=_CHECKED)
class KeyTrap:
    """(question, image) that is better, and one that is worse."""

    better: tuple[Name, Name]
    worse: tuple[Name, Name]


@dataclass(frozen=True, config=_CHECKED)
class Key:
    """All that a participant is not told."""

    study: Name
    title: str
    design: Literal["rating", "pairs", "ranking"]
    criteria: tuple[str, ...]
    lowest: float
    highest: float
    people: Annotated[int, Field(ge=1)]
    seed: int
    images: dict[Name, KeyImage]
    questions: dict[Name, KeyQuestion]
    traps: tuple[KeyTrap, ...]
    plans: tuple[tuple[tuple[int, int], ...], ...]
    """Per person: (question by its place, turn)."""
    version: int = VERSION

    @property
    def order(self) -> list[str]:
        """Questions by their place."""
        return list(self.questions)


_KEY = TypeAdapter(Key)


def text(key: Key) -> str:
    """As it is stored."""
    return json.dumps(asdict(key), indent=1, ensure_ascii=False)


def seal(written: str) -> str:
    """What the page carries of a key."""
    return hashlib.sha256(written.encode("utf-8")).hexdigest()


def read(file: Path) -> tuple[Key, str]:
    """(key, its seal). Raises `BenchError` for what is no key."""
    try:
        written = files.read_text(file)
        found = _KEY.validate_json(written)
    except OSError as error:
        raise BenchError(f"{file}: cannot be read: {one_line(error.strerror or error)}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BenchError(f"{file}: no key of a study ({one_line(f'{where}: {said(first)}')})") from None
    if found.version > VERSION:
        raise BenchError(f"{file}: a key of version {found.version}, this bench reads up to {VERSION}")
    wrong = _inconsistent(found)
    if wrong is not None:
        raise BenchError(f"{file}: no key of a study: {wrong}")
    return found, seal(written)


def _inconsistent(key: Key) -> str | None:
    """What of a key that somebody changed does not fit; None where all does."""
    shown = {id_: {*one.images} for id_, one in key.questions.items()}
    for id_, one in key.questions.items():
        if not {one.given, *one.images} <= set(key.images):
            return f"question {id_} has images that it does not name"
    if any(image not in shown.get(question, ()) for trap in key.traps for question, image in (trap.better, trap.worse)):
        return "a trap is on a question or an image that it does not name"
    if len(key.plans) != key.people or any(
        not 0 <= place < len(shown) or turn < 0 for plan in key.plans for place, turn in plan
    ):
        return f"its plans are not those of {key.people} people with {len(shown)} questions"
    return None


def kept_at(results: Path, study: str) -> Path:
    """Where a results folder keeps the key of a study that was made from it."""
    return results / KEYS / f"{study}.json"
