"""Raw scores on disk, as they come: what makes an assessment resumable.

A score is kept under the SHA-256 of the image file and the scorer's signature, so a changed image, another metric or
other weights are never answered from here. Failures are not kept: the next run tries them again.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

from iqpir.errors import IQPIRError
from iqpir.quality.scorers import Scorer, signature_of

_HEADER = ["sha256", "member", "raw"]


def member_key(scorer: Scorer) -> str:
    """Names the numbers of a scorer in `raw-scores.csv`: another signature is another key."""
    digest = hashlib.sha256(signature_of(scorer).encode()).hexdigest()
    return f"{scorer.name}@{digest[:12]}"


class RawScores:
    """The file of raw scores: read at once, appended to after each batch. A line cut off by a kill is dropped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.scores: dict[tuple[str, str], float] = {}
        self._new: list[tuple[str, str, float]] = []
        self._whole = 0

    def __enter__(self) -> RawScores:
        content = self.path.read_bytes() if self.path.is_file() else b""
        self._whole = content.rfind(b"\n") + 1
        text = content[: self._whole].decode("utf-8", errors="replace")
        reader = csv.reader(io.StringIO(text, newline=""))
        for cells in reader:
            if reader.line_num == 1 and cells == _HEADER:
                continue
            try:
                digest, key, value = cells
                self.scores[digest, key] = float(value)
            except ValueError:
                where = f"{self.path}:{reader.line_num}"
                raise IQPIRError(
                    f"{where}: not a raw score of iqpir assess: delete the file, or use another -o"
                ) from None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a+b")
        if self._whole < len(content):
            self._file.truncate(self._whole)
        if not self._whole:
            self._write([_HEADER])
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, digest: str, key: str, value: float) -> None:
        self.scores[digest, key] = value
        self._new.append((digest, key, value))

    def flush(self) -> None:
        """Write what is new; after this it outlives a kill."""
        self._write([[digest, key, repr(value)] for digest, key, value in self._new])
        self._new.clear()

    def _write(self, rows: Sequence[Sequence[str]]) -> None:
        if rows:
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(rows)
            self._file.write(text.getvalue().encode())
            self._file.flush()
