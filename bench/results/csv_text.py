"""CSV that spreadsheets read as data: a label can be anything, and none of it may become a formula.

A cell of text that begins with a sign by which spreadsheets tell a formula gets an apostrophe in front, which they take
for "text" and do not show (OWASP, CSV Injection). Numbers are numbers, whether they come as such or as text.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_ROWS = 1000
"""In one piece."""
_NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?")


def safe(value: object) -> object:
    """A cell's value as it is written: text that would be a formula behind an apostrophe, everything else as it is."""
    if isinstance(value, str) and value.startswith(_FORMULA) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def of_rows(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A header and rows as CSV, floats with full precision."""
    return "".join(pieces(header, rows))


def of_records(columns: Sequence[str], records: Iterable[Mapping[str, object]]) -> str:
    """Records as CSV with these columns; what a record lacks is empty."""
    return of_rows(columns, ([record.get(column) for column in columns] for record in records))


def pieces(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """`of_rows` piece by piece, of however many rows."""
    given = itertools.chain([header], rows)
    while True:
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerows(map(safe, row) for row in itertools.islice(given, _ROWS))
        if not (text := buffer.getvalue()):
            return
        yield text
