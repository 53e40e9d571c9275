"""Progress on standard error: one bar with its rate, silent where nobody watches."""

from __future__ import annotations

from typing import Any


def bar(unit: str, total: int | None = None) -> Any:
    """A tqdm bar, shown only where standard error is a terminal."""
    from tqdm import tqdm

    return tqdm(total=total, unit=f" {unit}", dynamic_ncols=True, disable=None, smoothing=0.1)
