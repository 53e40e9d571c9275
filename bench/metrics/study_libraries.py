"""The libraries that votes are analysed with, which come with an extra of their own."""

from __future__ import annotations

import importlib
from types import ModuleType

from bench.errors import BenchError


def library(name: str) -> ModuleType:
    """A library by its name. Raises `BenchError` with the command that brings it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise BenchError(f"{name} is not installed: pip install 'iqpir-bench[study]' brings it") from None
