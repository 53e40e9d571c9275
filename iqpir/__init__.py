"""IQPIR: image restoration conditioned on quality priors (the method; the harness lives in `bench`).

Importing this package imports nothing heavy: torch comes with the first name that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iqpir.errors import FidelityWarning, IQPIRError

if TYPE_CHECKING:
    from iqpir.checkpoint import save_checkpoint
    from iqpir.network.autoencoder import VQAutoEncoder
    from iqpir.network.config import IQPIRConfig, preset
    from iqpir.network.model import IQPIR

__all__ = ["IQPIR", "FidelityWarning", "IQPIRConfig", "IQPIRError", "VQAutoEncoder", "preset", "save_checkpoint"]

_LAZY = {
    "IQPIR": "iqpir.network.model",
    "IQPIRConfig": "iqpir.network.config",
    "VQAutoEncoder": "iqpir.network.autoencoder",
    "preset": "iqpir.network.config",
    "save_checkpoint": "iqpir.checkpoint",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'iqpir' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
