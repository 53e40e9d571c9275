"""Writing files whole or not at all: the one way in which the harness replaces a file."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.errors import BenchError, one_line


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary file in the same folder that takes the target's place at the end; nothing of it is left on an error.

    Its name is short wherever the target's own is, and begins with `.part-`. Raises `OSError`.
    """
    temporary = target.with_name(f".part-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield temporary
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def write(target: Path, payload: bytes) -> None:
    """Replace a file, so that a reader sees the old or the new one, never half. Raises `OSError`."""
    with replacing(target) as temporary:
        try:
            temporary.write_bytes(payload)
        except FileNotFoundError:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(payload)


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
