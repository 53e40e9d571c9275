"""Files that a module of `from_module` reads while it restores, of which its identity knows nothing.

What is stored under it would be answered after such a file has changed. A `Method` tells its identity itself, and so
does a module that is given options. Seen is what Python opens, in the thread that restores, if it is data: weights,
numbers, settings. A library that opens files by itself (safetensors, OpenCV) is not.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from bench.errors import ItemError
from bench.methods.base import Method
from iqpir.errors import shown

DATA = frozenset({
    ".bin", ".ckpt", ".csv", ".h5", ".json", ".mat", ".npy", ".npz", ".onnx", ".pickle", ".pkl", ".pt", ".pth",
    ".safetensors", ".toml", ".txt", ".yaml", ".yml",
})  # fmt: skip
"""Suffixes of files that a number may depend on."""
_CACHES = ("torchinductor", ".triton", "__pycache__")
"""How folders begin in which compilers keep what they made."""
_local = threading.local()
_lock = threading.Lock()
_listening = False


def concerns(method: Method) -> bool:
    """Whether a method's identity was read off an object, and nothing was added to it."""
    from bench.methods.module import ModuleMethod

    return isinstance(method, ModuleMethod) and not method.identity()["options"]


@contextmanager
def nothing_read(method: Method) -> Iterator[None]:
    """Raises `ItemError` at the end where a module has read a data file meanwhile."""
    if not concerns(method):
        yield
        return
    _listen()
    opened: list[str] = []
    _local.opened, begun = opened, time.time()
    try:
        yield
    finally:
        _local.opened = None
    for path in opened:
        if _is_data(path) and _there_before(path, begun):
            raise ItemError(
                f"reads {shown(path)} while it restores: what is stored would be answered after the file has changed; "
                "read it when the method is made, or name its content among its options"
            )


def _listen() -> None:
    """Hooks cannot be taken off again: one for the process, once."""
    global _listening
    with _lock:
        if not _listening:
            _listening = True
            sys.addaudithook(_heard)


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open":
        return
    opened = getattr(_local, "opened", None)
    if opened is not None and isinstance(arguments[0], str | bytes) and not _writes(arguments):
        opened.append(os.fsdecode(arguments[0]))


def _writes(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    if isinstance(mode, str):
        return any(sign in mode for sign in "wax")
    return bool(flags & (os.O_WRONLY | os.O_CREAT))


def _is_data(path: str) -> bool:
    place = Path(path)
    if place.suffix.lower() not in DATA:
        return False
    whole = place.absolute()
    if any(part.startswith(_CACHES) for part in whole.parts):
        return False
    return not any(whole.is_relative_to(one) for one in _installed())


def _there_before(path: str, moment: float) -> bool:
    """What a method writes and reads again is its own."""
    try:
        return Path(path).stat().st_mtime < moment
    except OSError:
        return False


@cache
def _installed() -> tuple[Path, ...]:
    """Where what is installed lies."""
    import sysconfig

    places = [sys.prefix, sys.base_prefix, *sysconfig.get_paths().values()]
    return tuple({Path(place).absolute() for place in places})
