"""Image files as pixels: which files of a folder are images, and what they hold.

Strict: a file that does not decode completely is an `ImageFailure` of one line, never a padded picture. The pixels are
those that OpenCV and Pillow agree on: EXIF orientation applied, gray replicated, alpha dropped, 16 bits kept.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from iqpir.errors import ImageFailure, IQPIRError, one_line

if TYPE_CHECKING:
    import torch

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
"""File names that count as images in a folder, in any letter case."""

_PLAIN_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
_PNG = b"\x89PNG\r\n\x1a\n"


def find_images(folder: Path) -> list[Path]:
    """The image files of a folder and all levels below it, hidden ones left out, in the order of their names.

    Raises `IQPIRError` when there is no such folder or no image in it.
    """
    if not folder.is_dir():
        raise IQPIRError(f"{folder} is not a folder of images")
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
    if not found:
        raise IQPIRError(f"{folder} holds no image ({', '.join(sorted(SUFFIXES))})")
    return found


def read_bytes(path: Path) -> bytes:
    """The bytes of a file. Raises `ImageFailure` with the system's reason."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageFailure(f"cannot be read: {error.strerror or error}") from error


def decode(raw: bytes) -> np.ndarray:
    """The bytes of an image file → RGB [H,W,3], uint16 for 16-bit files, else uint8. Raises `ImageFailure`."""
    if not raw:
        raise ImageFailure("empty file (0 bytes)")
    from PIL import Image, ImageFile, ImageOps

    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # other libraries switch it on, and a truncated photograph is gray below
    try:
        with Image.open(io.BytesIO(raw)) as opened:
            opened.load()
            if raw.startswith(_PNG) and raw[24] == 16:
                return _deep_png(raw)
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I;16"):
                return np.repeat(np.array(image).astype(np.uint16)[:, :, None], 3, axis=2)
            if image.mode not in _PLAIN_MODES:
                raise ImageFailure(f"pixels of kind {image.mode!r}; 8- or 16-bit is needed")
            return np.array(image.convert("RGB"))
    except ImageFailure:
        raise
    except Exception as error:  # a damaged file can make a decoder fail in any way; each is this line
        raise ImageFailure(f"cannot be decoded ({type(error).__name__}: {one_line(error, 120)})") from error
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _deep_png(raw: bytes) -> np.ndarray:
    """16 bits a channel, which Pillow would cut to 8."""
    import cv2

    pixels = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise ImageFailure("16-bit pixels that cannot be decoded")
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], 3, axis=2)
    return np.ascontiguousarray(pixels[:, :, 2::-1])


def to_tensor(pixels: np.ndarray) -> torch.Tensor:
    """RGB [H,W,3] of `decode` → float32 [3,H,W] in [0,1]."""
    import torch

    scale = np.float32(np.iinfo(pixels.dtype).max)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)).astype(np.float32) / scale)
