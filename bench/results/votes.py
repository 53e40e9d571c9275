"""People's votes, kept as one file per session beside the database: what was shown, and what was said of it.

Everything else of a results folder can be made again by running; votes cannot, so they outlive a database that is
deleted, are never collected, and can be copied from folder to folder. What was shown is named by the content hash of
its pixels, so that votes answer wherever the same pixels are in a run, whatever the method is called there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from bench import files
from bench.errors import BenchError, one_line
from bench.identity import digest
from bench.suite.complaints import said

FOLDER = "votes"
KEYS = "studies"
"""Keys of the studies that were made from runs of this folder, so that votes find them."""
VERSION = 1

_CHECKED = ConfigDict(extra="forbid", strict=False)
Name = Annotated[str, Field(pattern=r"^[0-9a-z]{1,64}$")]
"""What may stand in a file name, and no more."""
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, config=_CHECKED)
class Ballot:
    """One question put to one person."""

    question: Name
    """Id of the question in its study; those of one study have the same images for everybody."""
    criterion: str
    kind: Literal["vote", "repeat", "trap"]
    """A repeat shows for the consistency of a person, a trap for their attention; neither enters a score."""
    images: Annotated[tuple[Hash, ...], Field(min_length=1, max_length=64)]
    """What was judged, in the order in which it stood on the screen."""
    values: Annotated[tuple[Finite, ...], Field(min_length=1, max_length=64)]
    """Per image: a score; 1 and 0 (½ each for no difference) of a pair; or a rank, 1 for the best."""
    reference: Hash
    """The input that was restored: votes of one scene are on outputs of one input."""
    seconds: Annotated[float, Field(ge=0, le=1e6)]
    shown: tuple[Annotated[int, Field(ge=0, le=100_000)], Annotated[int, Field(ge=0, le=100_000)]] = (0, 0)
    """Width and height of an image on the screen, in CSS pixels."""


@dataclass(frozen=True, config=_CHECKED)
class Session:
    """All that one person said in one sitting."""

    study: Name
    design: Literal["rating", "pairs", "ranking"]
    criteria: tuple[str, ...]
    lowest: Finite
    highest: Finite
    """Ends of the scale of ratings."""
    observer: str
    session: Name
    kept: bool
    reasons: tuple[str, ...]
    """Why it is not kept, or what is to be said of it."""
    ballots: tuple[Ballot, ...]
    started: str = ""
    language: str = ""
    accepted: bool = True
    """Whether the person did what was asked; somebody can be paid whose answers are not used."""
    seal: str = ""
    """SHA-256 of the key that named the images."""
    version: int = VERSION

    @property
    def votes(self) -> list[Ballot]:
        """What enters scores."""
        return [ballot for ballot in self.ballots if ballot.kind == "vote"]

    @property
    def digest(self) -> bytes:
        return digest(asdict(self))


_SESSION = TypeAdapter(Session)


def path(results: Path, study: str, session: str) -> Path:
    """Where a session lies."""
    return results / FOLDER / study / f"{session}.json"


def write(results: Path, session: Session) -> None:
    """Store a session, or replace it. Raises `OSError`."""
    text = json.dumps(asdict(session), indent=None, ensure_ascii=False, allow_nan=False, sort_keys=True)
    files.write(path(results, session.study, session.session), text)


def read(file: Path) -> Session:
    """A stored session. Raises `BenchError` for a file that is damaged."""
    try:
        found = _SESSION.validate_json(files.read(file, files.MOST_TEXT))
        uneven = next((one for one in found.ballots if len(one.images) != len(one.values)), None)
        if uneven is not None:
            raise BenchError(
                f"{file}: a session of votes that is damaged (question {uneven.question}: "
                f"{len(uneven.values)} values for {len(uneven.images)} images)"
            )
    except ValidationError as error:
        first: Any = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BenchError(f"{file}: a session of votes that is damaged ({one_line(where)}: {said(first)})") from None
    except OSError as error:
        raise BenchError(f"{file}: cannot be read: {one_line(error.strerror or error)}") from None
    if found.version > VERSION:
        raise BenchError(f"{file}: votes of version {found.version}, this bench reads up to {VERSION}")
    return found


def sessions(results: Path, *, kept: bool = True) -> list[Session]:
    """All sessions of a results folder, by study and session; without `kept` those as well that were left out."""
    return [one for one in _each(_stored(results)) if one.kept or not kept]


def of_study(results: Path, study: str) -> list[Session]:
    """All sessions of one study, those left out as well."""
    return list(_each(file for file in _stored(results) if file.parent.name == study))


def _stored(results: Path) -> Iterator[Path]:
    yield from sorted(file for file in (results / FOLDER).glob("*/*.json") if not file.name.startswith("."))


def _each(stored: Iterable[Path]) -> Iterator[Session]:
    """Every session once: a copied file is no second vote. Raises `BenchError` for copies that differ."""
    found: dict[tuple[str, str], tuple[Path, Session]] = {}
    for file in stored:
        session = read(file)
        before, known = found.setdefault((session.study, session.session), (file, session))
        if known != session:
            raise BenchError(f"{file}: another version of the session in {before}: remove one of them")
    yield from (session for _, session in found.values())


def hashes(votes: Sequence[Ballot]) -> set[str]:
    """Everything that was judged."""
    return {image for ballot in votes for image in ballot.images}
