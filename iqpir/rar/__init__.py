"""RAR, "Restore, Assess, Repeat": a latent assessor and a latent restorer in a loop (Chen et al., CVPR 2026).

>>> rar = RAR.from_checkpoint("rar-tiny.safetensors")
>>> image, traces = rar(images)  # [B,3,H,W] in [0,1]; a `Trace` per image

Importing this package imports nothing heavy: torch comes with the first name that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iqpir.rar.config import RARConfig
    from iqpir.rar.loop import LoopOptions, Round, Trace
    from iqpir.rar.model import RAR, Restoration

__all__ = ["RAR", "LoopOptions", "RARConfig", "Restoration", "Round", "Trace"]

_LAZY = {
    "RAR": "iqpir.rar.model",
    "LoopOptions": "iqpir.rar.loop",
    "RARConfig": "iqpir.rar.config",
    "Restoration": "iqpir.rar.model",
    "Round": "iqpir.rar.loop",
    "Trace": "iqpir.rar.loop",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'iqpir.rar' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)
