"""Crops of generated sheets: which sheet a sample is cut from, how, and where drawn sheets are kept."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np

from iqpir.errors import IQPIRError
from iqpir.files import replacing
from iqpir.training.degrade.base import Range, log_uniform, uniform
from iqpir.training.synthetic import generate


class Sheets:
    """Crops of generated sheets: several are open at once, and one is replaced after a number of crops.

    Indices that follow each other fall on different sheets, so that a batch is as varied as a shuffled one, while
    reading in order draws each sheet once.
    """

    names: list[str] | None = None
    OPEN = 16
    """Sheets that are cropped by turns; 3 MB each."""

    def __init__(self, seed: int, crop: int, cache: Path | None, window: Range, share: float) -> None:
        self._seed, self._cache, self._window, self._share = seed, cache, window, share
        # Whole compositions at many scales are more different than crops pixel by pixel.
        self.crops = max(64, 2 * (generate.SIDE // crop) ** 2) * (3 if share == 1 else 1)
        """How many crops a sheet gives."""
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        if cache is not None:
            try:
                cache.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise IQPIRError(f"{cache}: no folder for drawn sheets: {error.strerror or error}") from error

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_kept": OrderedDict()}

    def number(self, index: int) -> int:
        """The sheet of a sample. Places in the row of open sheets are refilled one after the other, not all at once."""
        turn, place = divmod(index, self.OPEN)
        return (turn + place * self.crops // self.OPEN) // self.crops * self.OPEN + place

    def crop(self, index: int, size: int, rng: np.random.Generator) -> np.ndarray:
        sheet = self._sheet(self.number(index))
        # Some crops are of a larger window made smaller: the same things, at another scale and crisper.
        window = size
        if rng.random() < self._share:
            times = log_uniform(rng, self._window) if self._share == 1 else uniform(rng, self._window)
            window = min(int(size * times), sheet.shape[0])
        top, left = (int(each) for each in rng.integers(0, sheet.shape[0] - window + 1, size=2))
        part = sheet[top : top + window, left : left + window]
        if window > size:
            part = cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA)
        part = np.rot90(part, int(rng.integers(4)))
        return part[:, ::-1] if rng.integers(2) else part

    def _sheet(self, number: int) -> np.ndarray:
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        self._kept[number] = sheet = self._load(number)
        if len(self._kept) > self.OPEN + 4:
            self._kept.popitem(last=False)
        return sheet

    def _load(self, number: int) -> np.ndarray:
        if self._cache is None:
            return generate.draw_sheet(self._seed, number)
        path = self._cache / f"sheet-v{generate.VERSION}-{self._seed}-{number}.npy"
        try:
            sheet = np.load(path, allow_pickle=False)
            if sheet.shape == (generate.SIDE, generate.SIDE, 3) and sheet.dtype == np.uint8:
                return sheet
        except (OSError, ValueError, EOFError):
            pass  # not there yet, or cut off: it is drawn again
        sheet = generate.draw_sheet(self._seed, number)
        with replacing(path) as partial, partial.open("wb") as file:
            np.save(file, sheet)
        return sheet
