"""Benchmark and evaluation harness for real-world image restoration: every number carries its signature.

The functions here do what the commands do. Importing this package imports nothing heavy.
"""

from __future__ import annotations

from bench.api import compare, figure, load_method, load_results, register_method, run, score
from bench.errors import BenchError

__all__ = [
    "BenchError", "__version__", "compare", "figure", "load_method", "load_results", "register_method", "run", "score",
]  # fmt: skip


def __getattr__(name: str) -> str:
    if name == "__version__":
        import importlib.metadata

        return importlib.metadata.version("iqpir-bench")
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
