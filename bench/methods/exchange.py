"""Images on their way to a command and back: lossless files in one folder, found and checked in another.

A command's output is a stranger's: nothing is followed out of its folder, and a file is decoded only after its header
has the size that is expected. It decodes what a restorer may write, not what a dataset may hold.
"""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.errors import ItemError, one_line
from iqpir.codecs import kind_of
from iqpir.codecs.damage import KINDS, Damage, understood
from iqpir.errors import ImageFailure

_SUFFIXES = "png|jpe?g|bmp|tiff?|webp|ppm|npy"
_PLAIN_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX"})
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_DEPTH = 24
"""Where a PNG file states its bit depth."""


def write_images(folder: Path, patterns: Sequence[str], names: Sequence[str], images: np.ndarray) -> None:
    """Write float32 [B,3,H,W] in [0,1] as PNG, each image under every pattern with its name for `{id}`.

    8-bit where that loses nothing, else 16-bit, which loses nothing of what was decoded from 16-bit files.
    """
    import cv2

    for name, image in zip(names, images, strict=True):
        pixels = as_levels(image.transpose(1, 2, 0))
        written, encoded = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        if not written:
            raise ItemError(f"an input of {pixels.shape[1]}×{pixels.shape[0]} cannot be written as PNG")
        for pattern in patterns:
            target = folder / pattern.replace("{id}", name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(encoded.tobytes())


def as_levels(image: np.ndarray) -> np.ndarray:
    """Float32 [H,W,3] in [0,1] as uint8 where each value is a level of 8 bits, else as uint16."""
    image = np.ascontiguousarray(np.clip(image, 0, 1), np.float32)
    levels = np.rint(image * np.float32(255))
    if np.array_equal(levels / np.float32(255), image):
        return levels.astype(np.uint8)
    return np.rint(image.astype(np.float64) * 65535).astype(np.uint16)


def read_images(folder: Path, pattern: str, names: Sequence[str], size: tuple[int, int]) -> np.ndarray:
    """The outputs of all names, float32 [B,3,H,W], an 8-bit level k as k/255; `.npy` files as they are.

    `pattern` is a path below `folder` with `{id}`; a `*` stands for any letters, and `.*` at its end for an image
    suffix. Raises `ItemError` for an output that is missing, there twice, nobody's, a link, of another size or depth,
    or cannot be decoded.
    """
    found: dict[str, list[str]] = {name: [] for name in names}
    extra = []
    own = {name: re.compile(_expression(pattern, re.escape(name))) for name in names}
    anybody = re.compile(_expression(pattern, "[^/]+"))
    listing = _listing(folder)
    for file in listing:
        if anybody.fullmatch(file):
            owners = [name for name in names if own[name].fullmatch(file)]
            for name in owners:
                found[name].append(file)
            if not owners:
                extra.append(file)
    for name, files in found.items():
        if not files:
            there = f"{len(listing)} files, such as {one_line(listing[0], 80)}" if listing else "nothing"
            raise ItemError(f"the command wrote no {pattern.replace('{id}', name)}: its output folder holds {there}")
        if len(files) > 1:
            raise ItemError(f"the command wrote {len(files)} outputs for one image: {', '.join(sorted(files)[:4])}")
    if extra:
        raise ItemError(
            f"the command wrote {one_line(extra[0], 80)}, an output for no image that it was given: "
            "the option pattern says which files are outputs"
        )
    return np.stack([_read(folder, found[name][0], size) for name in names])


def _listing(folder: Path) -> list[str]:
    """All paths below a folder, '/' between their parts. Links are listed and never entered."""
    if folder.is_symlink():
        raise ItemError("the command put a link in the place of its output folder")
    found = []
    for top, folders, files in os.walk(folder, followlinks=False):
        links = [name for name in folders if (Path(top) / name).is_symlink()]
        found += [(Path(top) / name).relative_to(folder).as_posix() for name in (*files, *links)]
    return sorted(found)


def _expression(pattern: str, name: str) -> str:
    """The regular expression of the paths that a pattern stands for."""
    stem, any_suffix = (pattern[:-2], rf"\.(?i:{_SUFFIXES})") if pattern.endswith(".*") else (pattern, "")
    escaped = re.escape(stem).replace(re.escape("{id}"), name).replace(re.escape("*"), "[^/]*")
    return escaped + any_suffix


def _read(folder: Path, file: str, size: tuple[int, int]) -> np.ndarray:
    """One output, float32 [3,H,W]."""
    raw = _raw(folder / file, file, limit=2**20 + 32 * size[0] * size[1])
    try:
        pixels = _floats(raw, file, size) if file.lower().endswith(".npy") else _decode(raw, file, size)
    except ItemError:
        raise
    except Exception as error:  # a damaged file can make a decoder fail in any way
        raise ItemError(f"output {file} cannot be decoded ({_reason(raw, file, error)})") from error
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _reason(raw: bytes, file: str, error: Exception) -> str:
    """In plain words, as for any image that is read."""
    if file.lower().endswith(".npy"):
        return one_line(error, 120)
    try:
        found = understood(KINDS[kind_of(raw[:16])], error)
        return found.reason if isinstance(found, Damage) else str(found)
    except ImageFailure as unknown:
        return str(unknown)


def _raw(path: Path, file: str, limit: int) -> bytes:
    """A regular file's bytes, opened without following a link."""
    if path.is_symlink():
        raise ItemError(f"output {file} is a symbolic link, which is not followed")
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise ItemError(f"output {file} cannot be read: {error.strerror}") from error
    with os.fdopen(handle, "rb") as opened:
        status = os.fstat(opened.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ItemError(f"output {file} is not a regular file")
        if status.st_size > limit:
            raise ItemError(f"output {file} has {status.st_size} bytes, more than an image of its size can need")
        return opened.read(limit)


def _decode(raw: bytes, file: str, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(raw)) as image:
        _check_size(file, (image.height, image.width), size)
        image.load()  # to its end: a file that was cut short raises here
        mode = image.mode
        if raw.startswith(_PNG_MAGIC) and raw[_PNG_DEPTH] == 16:
            import cv2

            # Pillow halves the depth of such files. It has just shown that this one is whole.
            deep = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
            if deep is None:
                raise ItemError(f"output {file} cannot be decoded")
            return cv2.cvtColor(deep, cv2.COLOR_BGR2RGB).astype(np.float32) / np.float32(65535)
        if mode not in _PLAIN_MODES:
            raise ItemError(f"output {file} has pixels of the kind {mode}, which no 8 or 16 bits stand for")
        return np.asarray(image.convert("RGB"), np.float32) / np.float32(255)


def _floats(raw: bytes, file: str, size: tuple[int, int]) -> np.ndarray:
    """A NumPy array [H,W,3] of floats in [0,1]; values that are not finite are the caller's to refuse."""
    array = np.load(io.BytesIO(raw), allow_pickle=False)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype.kind != "f":
        raise ItemError(f"output {file} holds {array.dtype} {list(array.shape)}, not floats [H,W,3]")
    _check_size(file, array.shape[:2], size)
    return array.astype(np.float32)


def _check_size(file: str, found: tuple[int, ...], wanted: tuple[int, int]) -> None:
    if tuple(found) != wanted:
        raise ItemError(f"output {file} is {found[1]}×{found[0]}, expected {wanted[1]}×{wanted[0]}")
