"""Finding the image files that a path, folder or glob pattern names, in a stable order.

It lists and never opens an image. Not `glob`: that follows symbolic-link loops, leaves out broken links without a word
and tells `.JPG` from `.jpg`.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from bench import paths
from bench.data.images import FileSource, shown
from bench.data.pairing import Listed
from bench.errors import BenchError
from iqpir import codecs


class Listing(NamedTuple):
    """The image files that one path, folder or pattern names."""

    folder: Path
    """Absolute; ids are relative to it."""
    files: list[Listed]
    """Sorted by name."""
    single: bool
    """True when the path was one file, not a folder or a pattern."""
    left_out: str | None = None
    """One line on the files that match, may be images, and are not among them."""


def list_images(path: str | os.PathLike[str], base: Path | None = None) -> Listing:
    """The images of a file, of a folder (all levels below it) or of a glob pattern (`*`, `?`, `[…]`, `**`).

    Relative paths are looked for below the working directory, then below `base`. Hidden files and folders are left
    out; a broken link with an image's name is kept, so that it becomes a failure row instead of vanishing. The letter
    case of suffixes does not matter. Raises `BenchError` naming the pattern and the places tried when nothing matches.
    """
    found = paths.find(path, base).absolute()
    # A folder may be called `set[1]`: what exists under the literal name is meant literally.
    if base is not None and not os.path.lexists(found) and os.path.lexists(base / Path(path).expanduser()):
        found = (base / Path(path).expanduser()).absolute()
    parts: tuple[str, ...]
    if found.is_dir():
        folder, parts = found, ("**", "*")
    elif os.path.lexists(found):
        return Listing(found.parent, [Listed(found.name, FileSource(found))], single=True)
    else:
        folder = paths.fixed_part(found)
        parts = found.parts[len(folder.parts) :]
    matched = set(_walk(folder, _single(parts), frozenset())) if parts and folder.is_dir() else set()
    listing = _listing(folder, matched)
    if not listing.files:
        raise BenchError(_nothing(str(path), found, base, matched))
    return listing


def list_below(folder: Path, pattern: str) -> Listing:
    """The images below a folder, itself taken literally, that a glob pattern matches; perhaps none. Rules as above."""
    start = folder / paths.fixed_part(Path(pattern))
    parts = Path(pattern).parts[len(start.parts) - len(folder.parts) :] or ("**", "*")
    matched = set(_walk(start, _single(parts), frozenset())) if start.is_dir() else set()
    return _listing(start, matched)


def _single(parts: tuple[str, ...]) -> tuple[str, ...]:
    """`**` after `**` says nothing more, and would be walked once for each way to share the levels between them."""
    return tuple(part for place, part in enumerate(parts) if not (part == "**" and parts[place - 1 : place] == ("**",)))


def _listing(folder: Path, matched: set[Path]) -> Listing:
    names = sorted((file.relative_to(folder).as_posix(), file) for file in matched)
    images = [Listed(name, FileSource(file)) for name, file in names if codecs.is_image(file)]
    return Listing(folder, images, False, codecs.left_out(name for name, _ in names))


def _nothing(path: str, found: Path, base: Path | None, matched: set[Path]) -> str:
    if matched:
        kinds = ", ".join(sorted({shown(file.suffix) or "no suffix" for file in matched})[:5])
        known = codecs.names.suffixes()
        return f"{shown(path)}: {len(matched)} files match but none is an image ({kinds}); images are {known}"
    places = [found]
    if base is not None and not Path(path).expanduser().is_absolute():
        places.append((base / path).absolute())
    tried = " and ".join(dict.fromkeys(shown(place) for place in places))
    if any(sign in path for sign in "*?["):
        starts = [paths.fixed_part(place) for place in places]
        if not any(map(os.path.lexists, starts)):
            gone = " nor ".join(dict.fromkeys(map(shown, starts)))
            return f"{shown(path)}: the folder {gone} does not exist"
        return f"{shown(path)}: no image matches; looked at {tried}"
    if any(place.is_dir() for place in places):
        return f"{shown(path)}: the folder holds no image; looked at {tried}"
    return f"{shown(path)}: does not exist; looked at {tried}"


def _walk(folder: Path, parts: tuple[str, ...], above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    """Files below `folder` that match the pattern's remaining parts; `above` holds the folders on the way down."""
    try:
        status = folder.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in above:  # a symbolic link back up
            return
        entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except OSError as error:
        raise BenchError(f"{shown(folder)}: folder cannot be read ({error.strerror})") from error
    here, (head, *rest) = above | {identity}, parts
    if head == "**":
        yield from _walk(folder, tuple(rest) or ("*",), above)
        for entry in entries:
            if _is_dir(entry):
                yield from _walk(folder / entry.name, parts, here)
        return
    for entry in entries:
        if not _matches(entry.name, head, last=not rest):
            continue
        if rest and _is_dir(entry):
            yield from _walk(folder / entry.name, tuple(rest), here)
        elif not rest and not _is_dir(entry):
            yield folder / entry.name


def _matches(name: str, pattern: str, last: bool) -> bool:
    """Shell match of one path part, in either Unicode form; in the last part the suffix's letter case is ignored."""
    name, pattern = unicodedata.normalize("NFC", name), unicodedata.normalize("NFC", pattern)
    if fnmatchcase(name, pattern):
        return True
    if not last:
        return False
    (stem, dot, suffix), (front, mark, back) = name.rpartition("."), pattern.rpartition(".")
    return bool(dot and mark) and fnmatchcase(f"{stem}.{suffix.lower()}", f"{front}.{back.lower()}")


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that loops
        return False
