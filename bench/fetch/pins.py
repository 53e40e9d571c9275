"""Hashes that files without a published one are held to: `pins.json` in the cache folder.

A pin is trust on first use: it cannot say that the first copy was right, only that the file never changes after it.
Either a person accepted the file, or it began with the few digits of its hash that its name gives; eight digits catch
an accident but not an attacker, so the two are told apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bench import files, paths
from bench.errors import BenchError

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Pin(NamedTuple):
    """The hash that a file is held to."""

    sha256: str
    prefix: str | None
    """The published digits on whose word it was accepted; None when a person accepted the file."""


def location() -> Path:
    return paths.home() / "pins.json"


def pinned(file: str) -> Pin | None:
    """The pin of a file below the cache folder, or None."""
    return _read().get(file)


def accept(file: str, sha256: str, prefix: str | None = None) -> None:
    """Hold a file to a hash, safely beside other processes that pin theirs. Raises `BenchError`, `OSError`."""
    from filelock import FileLock

    location().parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{location()}.lock", timeout=60):
        merged = {**_read(), file: Pin(sha256, prefix)}
        plain = {name: pin.sha256 if pin.prefix is None else pin._asdict() for name, pin in merged.items()}
        files.write(location(), (json.dumps(plain, indent=1, sort_keys=True) + "\n").encode())


def _read() -> Mapping[str, Pin]:
    try:
        found = json.loads(location().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BenchError(f"{location()} cannot be read ({error}): repair it, or delete it and pin again") from error
    read = {name: _pin(value) for name, value in found.items()} if isinstance(found, dict) else {"": None}
    pins = {name: pin for name, pin in read.items() if pin is not None}
    if len(pins) < len(read):
        raise BenchError(f"{location()} is not a mapping of files to SHA-256: repair it, or delete it and pin again")
    return pins


def _pin(value: Any) -> Pin | None:
    """A person's pin is its hash, another one a mapping; None for anything else."""
    sha256, prefix = (value.get("sha256"), value.get("prefix")) if isinstance(value, dict) else (value, None)
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        return None
    if isinstance(value, dict) and not (isinstance(prefix, str) and sha256.startswith(prefix)):
        return None
    return Pin(sha256, prefix)
