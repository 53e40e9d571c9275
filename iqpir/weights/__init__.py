"""Checkpoints that come with the package, by name; `<NAME>.md` beside each is its model card."""

from __future__ import annotations

from pathlib import Path

from iqpir.errors import suggest

_HOME = Path(__file__).parent


def shipped(name: str) -> Path | None:
    """The file of a checkpoint in this package, such as "iqpir-tiny"; None for any other name."""
    return _files().get(name)


def no_such_file(path: Path) -> str:
    """What to say of a file that is not there, which may be a name in this package that was misspelt."""
    names = sorted(_files())
    return f"{path}: there is no such file" + (suggest(path.name, names) or f" ({', '.join(names)} come along)")


def _files() -> dict[str, Path]:
    return {path.stem: path for path in _HOME.glob("*.safetensors")}
