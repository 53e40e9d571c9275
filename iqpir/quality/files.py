"""Score files: one number per image name, in the layouts that the papers' code and pyiqa left behind.

* `imagename,score` with a header – what the authors' data loader reads; a last row `avg,…` is a summary, not an image;
* `image_name,musiq` or any other name for the second column, and tables with several score columns;
* `00000.png,0.8059` without a header, as pyiqa writes them;
* the table of `iqpir assess`, whose `score` column is the ensemble.

Nothing is dropped in silence: a row without a finite score is kept, as NaN, and named with its line.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from iqpir import files
from iqpir.errors import IQPIRError, one_line, shown, suggest
from iqpir.files import write

NAME_COLUMNS = ("imagename", "image_name")
SCORE_COLUMN = "score"
_SUMMARIES = ("avg", "average", "mean")


class Unusable(NamedTuple):
    """A row that names an image and has no score for it."""

    name: str
    line: int
    reason: str


@dataclass(frozen=True)
class ScoreFile:
    """One column of a score file."""

    path: Path
    column: str
    """The header of the column read; `score` where the file has none."""
    names: tuple[str, ...]
    """As written, unique, in the order of the file."""
    scores: np.ndarray
    """float64 [N]; NaN for the rows in `unusable`."""
    unusable: tuple[Unusable, ...]
    summary: float | None
    """The value of a trailing `avg` row, which is not among the scores."""

    def __len__(self) -> int:
        return len(self.names)

    def of(self, images: Sequence[str]) -> np.ndarray:
        """Scores [N] of these image names, NaN where the file has none (`missing` names them).

        An image is found by its whole name, else by its last part, where that is unique in the file. Raises
        `IQPIRError` where two of the images would be found by one last part.
        """
        places = self._places()
        found: dict[str, str] = {}
        for one in images:
            if (key := _key(one, places)) and found.setdefault(key, one) != one:
                raise IQPIRError(f"{self.path}: {key} may be {found[key]} or {one}: give names with their folders")
        return np.array([self.scores[places[key]] if (key := _key(one, places)) else math.nan for one in images])

    def missing(self, images: Sequence[str]) -> list[str]:
        """Those of the image names that the file does not have at all."""
        places = self._places()
        return [one for one in images if _key(one, places) is None]

    def _places(self) -> dict[str, int]:
        whole = {name: place for place, name in enumerate(self.names)}
        last: dict[str, int] = {}
        twice: set[str] = set()
        for place, name in enumerate(self.names):
            base = _last(name)
            if base in last:
                twice.add(base)
            last[base] = place
        return {**{base: place for base, place in last.items() if base not in twice}, **whole}


def _last(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).name


def _key(name: str, places: Mapping[str, int]) -> str | None:
    name = shown(name)  # as tables name it
    return name if name in places else base if (base := _last(name)) in places else None


def read_scores(path: str | os.PathLike[str], column: str | None = None) -> ScoreFile:
    """Read one column of a score file: `column`, else `score`, else the only one beside the names.

    Raises `IQPIRError` with file and line for a row of another length, a score that is not a number, a name that comes
    twice, and for a file in which no column of names or scores can be told.
    """
    where = Path(path)
    try:
        text = files.read(where, files.MOST_TEXT).decode("utf-8-sig")
    except OSError as error:
        raise IQPIRError(f"{where}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise IQPIRError(f"{where}:{line}: not UTF-8 text: a score file is CSV") from error
    rows = _rows(text, where)
    if not rows:
        raise IQPIRError(f"{where}: empty: a score file has one row per image")
    name_at, score_at, shown, first = _columns(rows[0], column, where)
    width = len(rows[0].cells)
    names: dict[str, int] = {}
    scores: list[float] = []
    unusable: list[Unusable] = []
    summary = None
    for row in rows[first:]:
        if len(row.cells) != width:
            raise IQPIRError(f"{where}:{row.line}: {len(row.cells)} values where the first line has {width}")
        name, text_score = row.cells[name_at].strip(), row.cells[score_at].strip()
        if row is rows[-1] and name.lower() in _SUMMARIES:
            summary = _score(text_score, where, row.line)
            continue
        if not name:
            raise IQPIRError(f"{where}:{row.line}: no image name")
        if name in names:
            raise IQPIRError(f"{where}:{row.line}: {name!r} has a score already in line {names[name]}")
        names[name] = row.line
        score = _score(text_score, where, row.line)
        if not math.isfinite(score):
            reason = "no score" if not text_score else f"the score is {text_score}"
            unusable.append(Unusable(name, row.line, reason))
            score = math.nan
        scores.append(score)
    if not names:
        raise IQPIRError(f"{where}: a header and no image")
    return ScoreFile(where, shown, tuple(names), np.array(scores), tuple(unusable), summary)


class _Row(NamedTuple):
    line: int
    cells: list[str]


def _rows(text: str, where: Path) -> list[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[_Row] = []
    try:
        for cells in reader:
            if cells:
                rows.append(_Row(reader.line_num, cells))
    except csv.Error as error:
        raise IQPIRError(f"{where}:{reader.line_num}: not CSV: {one_line(error)}") from error
    return rows


def _columns(head: _Row, column: str | None, where: Path) -> tuple[int, int, str, int]:
    """Places of the names and of the scores, the score column's title, and the first row that holds data."""
    titles = [cell.strip() for cell in head.cells]
    name_at = next((titles.index(name) for name in NAME_COLUMNS if name in titles), None)
    if name_at is None:
        if len(titles) == 2 and column is None and _is_number(titles[1]):
            return 0, 1, SCORE_COLUMN, 0
        raise IQPIRError(
            f"{where}:{head.line}: no column {' or '.join(map(repr, NAME_COLUMNS))}: rows are NAME,SCORE, or a header "
            "names the columns"
        )
    others = [title for place, title in enumerate(titles) if place != name_at and title]
    if column is None:
        column = SCORE_COLUMN if SCORE_COLUMN in others else others[0] if len(others) == 1 else None
    if column is None:
        raise IQPIRError(f"{where}:{head.line}: which column holds the scores? One of {', '.join(others) or 'none'}")
    if column not in others:
        raise IQPIRError(
            f"{where}:{head.line}: no column {column!r}{suggest(column, others)}; there are {', '.join(others)}"
        )
    if titles.count(column) > 1:
        raise IQPIRError(f"{where}:{head.line}: two columns are called {column!r}")
    return name_at, titles.index(column), column, 1


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _score(text: str, where: Path, line: int) -> float:
    """A number, NaN or infinity as written; NaN for an empty cell."""
    if not text:
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise IQPIRError(f"{where}:{line}: {text!r} is not a number") from None


def write_scores(path: str | os.PathLike[str], names: Sequence[str], scores: np.ndarray) -> None:
    """Write `imagename,score`, the layout of the authors' data loader, atomically; read back it is the same numbers.

    Raises `IQPIRError` for names that come twice and for a score that is not finite: the loader would drop that image.
    """
    if len(names) != len(scores):
        raise ValueError(f"{len(names)} names and {len(scores)} scores")
    if len(set(names)) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise IQPIRError(f"{path}: {twice!r} comes twice; a score file names an image once")
    bad = [name for name, score in zip(names, scores, strict=True) if not math.isfinite(score)]
    if bad:
        raise IQPIRError(f"{path}: {len(bad)} images have no finite score, the first is {bad[0]!r}: leave them out")
    write_table(
        path, [NAME_COLUMNS[0], SCORE_COLUMN], [[shown(name), score] for name, score in zip(names, scores, strict=True)]
    )


def write_table(path: str | os.PathLike[str], header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a CSV atomically; floats in the shortest form that reads back as the same number, NaN as an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([cell(value) for value in row] for row in rows)
    write(Path(path), text.getvalue())


def cell(value: object) -> str:
    """A value as it stands in a table."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):  # NumPy's float64 is one, and prints otherwise
        return repr(float(value))
    return str(value)
