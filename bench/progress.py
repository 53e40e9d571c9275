"""Progress on standard error, as both packages' commands show it."""

from __future__ import annotations

from iqpir.progress import LogProgress, Progress, above_bar, bar

__all__ = ["LogProgress", "Progress", "above_bar", "bar"]
