"""Files that a user names, read and replaced as `iqpir.files` does it, with a refusal that says what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.errors import BenchError, one_line
from iqpir.files import MOST_TEXT, read, read_text, replacing, write

__all__ = ["MOST_TEXT", "put", "read", "read_text", "replacing", "write", "write_for"]


def write_for(target: Path, make: Callable[[Path], object]) -> None:
    """Replace a file that a user named with what `make` writes to the path it is given. Raises `BenchError`."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            make(temporary)
    except OSError as error:
        raise BenchError(f"{target}: cannot be written: {one_line(error.strerror or error)}") from error


def put(target: Path, payload: bytes) -> None:
    """As `write`, for a file that a user named. Raises `BenchError`."""
    write_for(target, lambda temporary: temporary.write_bytes(payload))
