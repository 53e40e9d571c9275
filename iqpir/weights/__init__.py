"""Checkpoints that come with the package, by name; `<NAME>.md` beside each is its model card. And what kind of network
a file holds, without reading it: nothing here needs torch."""

from __future__ import annotations

import os
from pathlib import Path

from iqpir.errors import suggest

_HOME = Path(__file__).parent


def shipped(name: str) -> Path | None:
    """The file of a checkpoint in this package, such as "iqpir-tiny"; None for any other name."""
    return _files().get(name)


def kind_of(path: str | os.PathLike[str]) -> str | None:
    """What a file of our own says it is ("restorer", "photo", "rar", …), from its header alone; None for any other."""
    from safetensors import SafetensorError, safe_open

    if Path(path).suffix != ".safetensors" or not Path(path).is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            return (file.metadata() or {}).get("kind")
    except (SafetensorError, OSError):
        return None


def no_such_file(path: Path) -> str:
    """What to say of a file that is not there, which may be a name in this package that was misspelt."""
    names = sorted(_files())
    return f"{path}: there is no such file" + (suggest(path.name, names) or f" ({', '.join(names)} come along)")


def _files() -> dict[str, Path]:
    return {path.stem: path for path in _HOME.glob("*.safetensors")}
