"""What a person sees while bytes arrive: one bar per file on standard error, or nothing at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from tqdm import tqdm


class Bar:
    """A progress bar in bytes, with rate and time left. Silent when `shown` is False."""

    def __init__(self, label: str, *, shown: bool) -> None:
        self.shown = shown
        self._label = label
        self._bar: tqdm[NoReturn] | None = None

    def begin(self, done: int, total: int | None) -> None:
        """Start, or start again, at `done` of `total` bytes (None: nobody said)."""
        self.end()
        if self.shown:
            from tqdm import tqdm

            self._bar = tqdm(
                desc=self._label, initial=done, total=total, unit="B", unit_scale=True, leave=False, dynamic_ncols=True
            )

    def add(self, count: int) -> None:
        if self._bar is not None:
            self._bar.update(count)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
