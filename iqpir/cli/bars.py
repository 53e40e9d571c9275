"""Progress on standard error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from tqdm import tqdm


def steps_bar(steps: int) -> tqdm[NoReturn]:
    """Steps of training done and time left; in a log, a line a minute; with `--quiet` nothing."""
    from tqdm import tqdm

    from iqpir.console import is_quiet

    pace = 0.1 if sys.stderr.isatty() else 60.0
    return tqdm(
        total=steps, unit=" steps", dynamic_ncols=True, mininterval=pace, maxinterval=max(10.0, pace),
        disable=is_quiet(),
    )  # fmt: skip
