"""What a metric brings into memory once, for all threads that score with it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class Loaded:
    """Networks by device, or parameters. Not part of what a metric is, and so of no comparison."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.made: dict[str, Any] = {}

    def get(self, key: str, make: Callable[[], Any]) -> Any:
        """What `make` returned the first time that it was asked for by this key."""
        with self._lock:
            if key not in self.made:
                self.made[key] = make()
            return self.made[key]

    def net(self, device: str, make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
        """The network that `make` builds, on a device and for evaluation."""
        import torch

        place = torch.device(device)
        if place.type == "cuda" and place.index is None:
            place = torch.device("cuda", torch.cuda.current_device())
        net: torch.nn.Module = self.get(str(place), lambda: make().to(place).eval())
        return net
