"""Checkpoints that come with the package, by name; `<NAME>.md` beside each is its model card."""

from __future__ import annotations

from pathlib import Path

_HOME = Path(__file__).parent


def shipped(name: str) -> Path | None:
    """The file of a checkpoint in this package, such as "iqpir-tiny"; None for any other name."""
    files = {path.stem: path for path in _HOME.glob("*.safetensors")}
    return files.get(name)
