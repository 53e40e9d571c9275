"""Which outputs of a run stay on disk: all, those that lack a value because something went wrong, or none.

Scores stay valid without the pixels. A row whose output was not kept has no file type, and whoever needs the pixels
after all, for another metric, makes them again.
"""

from __future__ import annotations

from pathlib import Path

from bench.errors import BenchError, one_line
from bench.metrics.outcome import LOST
from bench.results import artefacts
from bench.runner.messages import Finished, Restored, Scored
from bench.runner.request import Keep


class OutputShelf:
    """Where outputs are put as they come, before the rows that name them."""

    def __init__(self, folder: Path, keep: Keep) -> None:
        self._folder = folder
        self._keep = keep
        self._waiting: dict[bytes, Restored] = {}
        """By key, outputs whose scores are not all known: as many as there are units in flight."""
        self._lost: set[bytes] = set()
        """Of these, the outputs that lack a value."""

    def take(self, news: Restored) -> None:
        """An output has come. Raises `BenchError` where it cannot be written."""
        if news.payload is None or news.output is None:
            return
        if self._keep == "all":
            self._write(news)
        elif self._keep == "failed":
            self._waiting[news.key] = news

    def scored(self, news: Scored) -> None:
        """A value of an output has come."""
        if self._waiting and news.outcome.status in LOST:
            self._lost.add(news.output)

    def row(self, news: Restored) -> Restored:
        """An output as its row has it now."""
        return news if self._keep == "all" else news._replace(suffix=None, payload=None, stages=())

    def settle(self, news: Finished) -> Restored | None:
        """A unit is finished: its output, where that is kept only now."""
        given = self._waiting.pop(news.key, None) if news.key is not None else None
        if given is None or given.output not in self._lost:
            return None
        self._lost.discard(given.output)
        self._write(given)
        return given

    def _write(self, news: Restored) -> None:
        assert news.output is not None and news.payload is not None
        try:
            artefacts.write(self._folder, news.output, news.suffix or "png", news.payload)
            for stage in news.stages:
                artefacts.write(self._folder, stage.picture, stage.suffix, stage.payload)
        except OSError as error:
            raise BenchError(
                f"results folder {self._folder}: {one_line(error)}; what was written before is kept, run again to go on"
            ) from error
