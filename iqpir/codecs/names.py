"""Which files of a folder are images by their names, and the one note on those that only look like it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePath

from iqpir.errors import shown

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".gif", ".jp2", ".j2k", ".avif"),
)
"""File names that count as images in a folder, in any letter case. What a file holds is told from its bytes."""

_OTHER_KINDS = (
    "apng arw avifs bpg cr2 cr3 dcm dds dng exr fits flif hdr heic heics heif heifs hif ico j2c jif jng jpc "
    "jpf jpm jps jpx jxl jxr mng mpo nef orf pam pcx pfm psb psd qoi raf ras raw rw2 sgi svg tga wdp xbm xcf "
    "xpm"
)
_OTHERS = frozenset(f".{kind}" for kind in _OTHER_KINDS.split())
"""Pictures, by their names, of kinds that are not read here, or not known to be read exactly."""

_NAMED = 3


def is_image(name: str | PurePath) -> bool:
    """Whether a file counts as an image."""
    return PurePath(name).suffix.lower() in SUFFIXES


def left_out(names: Iterable[str]) -> str | None:
    """One line on the files that look like images and are not read: how many, of which suffixes; None without any.

    These are pictures of other kinds, files without a suffix, and suffixes that begin like an image's (`.jpg_large`).
    """
    found = sorted(name for name in names if _looks_like_one(name))
    if not found:
        return None
    kinds = Counter(PurePath(name).suffix.lower() or "no suffix" for name in found)
    counts = ", ".join(f"{count} {shown(kind)}" for kind, count in sorted(kinds.items()))
    examples = ", ".join(shown(name) for name in found[:_NAMED]) + (", …" if len(found) > _NAMED else "")
    verb = "file is" if len(found) == 1 else "files are"
    return f"{len(found)} {verb} left out that may be images but have no suffix that is read ({counts}): {examples}"


def _looks_like_one(name: str) -> bool:
    suffix = PurePath(name).suffix.lower()
    return not suffix or suffix in _OTHERS or (suffix not in SUFFIXES and suffix.startswith(SUFFIXES))


def suffixes() -> str:
    """For a message: `png jpg …`."""
    return " ".join(suffix[1:] for suffix in SUFFIXES)
