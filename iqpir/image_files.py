"""Image files as pixels: which files of a folder are images, and what they hold.

Strict: a file that does not decode completely is an `ImageFailure` of one line, never a padded picture. What bytes mean
is decided in `iqpir.codecs`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from iqpir import codecs, files
from iqpir.errors import ImageFailure, IQPIRError, shown

if TYPE_CHECKING:
    import torch

_LIMIT = 2**28
_MOST_BYTES = 8 * _LIMIT
"""Pixels of the largest image that is decoded: whole photographs are restored too."""


class Listing(NamedTuple):
    """The files of a folder."""

    images: list[Path]
    """In the order of their names."""
    note: str | None
    """One line on the files that may be images and are left out; None without any."""


def list_images(folder: Path) -> Listing:
    """The image files of a folder and all levels below it, hidden ones left out.

    A broken link with an image's name is kept, so that it becomes a failure instead of vanishing. Raises `IQPIRError`
    when there is no such folder or no image in it.
    """
    if not folder.is_dir():
        reason = "does not exist" if not folder.exists() else "is not a folder"
        raise IQPIRError(f"{shown(folder)} {reason}; a folder of images is needed")
    files = sorted(
        path
        for path in folder.rglob("*")
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and (path.is_file() or (path.is_symlink() and not path.exists()))
    )
    images = [path for path in files if codecs.is_image(path.name)]
    note = codecs.left_out(path.relative_to(folder).as_posix() for path in files)
    if not images:
        raise IQPIRError(f"{shown(folder)} holds no image ({codecs.names.suffixes()}){f'; {note}' if note else ''}")
    return Listing(images, note)


def find_images(folder: Path) -> list[Path]:
    """`list_images` without the note."""
    return list_images(folder).images


def begins_as_image(path: Path) -> bool:
    """Whether a file's first bytes are those of a kind of image that is read here."""
    try:
        with path.open("rb") as file:
            codecs.kind_of(file.read(16))
    except (ImageFailure, OSError):
        return False
    return True


def read_bytes(path: Path) -> bytes:
    """The bytes of a file. Raises `ImageFailure` with the system's reason."""
    try:
        return files.read(path, _MOST_BYTES)
    except OSError as error:
        raise ImageFailure(f"cannot be read: {error.strerror or error}") from error


def decode(raw: bytes) -> np.ndarray:
    """The bytes of an image file → RGB [H,W,3], uint16 for 16-bit files, else uint8. Raises `ImageFailure`."""
    return codecs.decode(raw, _LIMIT)


def to_tensor(pixels: np.ndarray) -> torch.Tensor:
    """RGB [H,W,3] of `decode` → float32 [3,H,W] in [0,1]."""
    import torch

    scale = np.float32(np.iinfo(pixels.dtype).max)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)).astype(np.float32) / scale)
