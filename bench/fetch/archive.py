"""Unpacking a fetched archive (zip, tar, tar.gz …) without trusting what it says about itself.

All of it is looked at before the first byte is written, and it arrives whole or not at all: no name may lead out of
the folder, nothing but plain files and folders may be in it, and neither their number nor their bytes may explode.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NamedTuple

from bench.errors import one_line
from bench.fetch.part import BLOCK, FetchError, disk_errors


class Limits(NamedTuple):
    """Beyond these an archive is taken for a bomb."""

    members: int = 300_000
    bytes: int = 256 << 30
    ratio: int = 100
    """Unpacked bytes for each byte of the archive; photographs hardly shrink."""
    free: int = 64 << 20
    """Bytes that are unpacked whatever the ratio."""


class Member(NamedTuple):
    """One plain file of an archive."""

    name: PurePosixPath
    size: int
    open: Callable[[], IO[bytes]]


def unpack(file: Path, folder: Path, limits: Limits = Limits()) -> int:  # noqa: B008 – immutable
    """Put an archive's files below `folder`; returns how many. Files of the same name are replaced.

    Raises `FetchError` and leaves nothing behind when the archive is damaged, encrypted, unsafe, too large, or of a
    kind that is not known.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory(dir=folder, prefix=".unpack-") as place:
                written = _write(file, Path(place), limits)
                for name in written:
                    target = folder / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    (Path(place) / name).replace(target)
        except _DAMAGED as error:
            raise FetchError(f"{file} cannot be unpacked: {one_line(error, 160)}") from error
    return len(written)


_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError)
"""What the libraries raise for damaged files; RuntimeError is encryption, NotImplementedError a compression unknown."""


def _write(file: Path, place: Path, limits: Limits) -> list[PurePosixPath]:
    with closing(_open(file)) as archive:
        members = list(_checked(file, archive, limits))
        total = sum(member.size for member in members)
        free = shutil.disk_usage(place).free
        if total > free:
            raise FetchError(f"{file.name} unpacks to {total} bytes and {place.parent} has {free} free")
        for member in members:
            target = place / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with member.open() as source, open(target, "xb") as out:
                left = member.size
                while block := source.read(min(BLOCK, left + 1)):
                    left -= len(block)
                    if left < 0:
                        raise FetchError(f"{file.name}: {_shown(member.name)} is larger than it says: refused")
                    out.write(block)
    return [member.name for member in members]


def _open(file: Path) -> zipfile.ZipFile | tarfile.TarFile:
    if zipfile.is_zipfile(file):
        return zipfile.ZipFile(file)
    try:
        return tarfile.open(file, "r:*")
    except tarfile.ReadError as error:
        raise FetchError(f"{file} is neither a zip nor a tar archive: unpack it by hand") from error


def _checked(file: Path, archive: zipfile.ZipFile | tarfile.TarFile, limits: Limits) -> Iterator[Member]:
    """The archive's plain files. Raises `FetchError` for the first member that is unsafe or one too many."""
    most = min(limits.bytes, max(limits.free, limits.ratio * file.stat().st_size))
    seen: set[str] = set()
    total = 0
    members = _zipped(archive) if isinstance(archive, zipfile.ZipFile) else _tarred(archive)
    for count, member in enumerate(members, start=1):
        if count > limits.members:
            raise FetchError(f"{file.name} holds more than {limits.members} files: refused as a bomb")
        if isinstance(member, str):
            raise FetchError(f"{file.name}: {member}: refused")
        total += member.size
        if total > most:
            raise FetchError(f"{file.name} unpacks to more than {most} bytes: refused as a bomb")
        key = str(member.name)
        if key in seen:
            raise FetchError(f"{file.name} holds {_shown(key)} twice: refused")
        seen.add(key)
        if not _hidden(member.name):
            yield member


def _zipped(archive: zipfile.ZipFile) -> Iterator[Member | str]:
    for info in archive.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        name = _safe(info.orig_filename)
        if name is None:
            yield f"{_shown(info.orig_filename)} leads out of the folder"
        elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            yield f"{_shown(name)} is {'a link' if kind == stat.S_IFLNK else 'not a plain file'}"
        elif not info.is_dir():
            yield Member(name, info.file_size, partial(archive.open, info))


def _tarred(archive: tarfile.TarFile) -> Iterator[Member | str]:
    for info in archive:
        name = _safe(info.name)
        if name is None:
            yield f"{_shown(info.name)} leads out of the folder"
        elif not (info.isreg() or info.isdir()):
            yield f"{_shown(name)} is {'a link' if info.issym() or info.islnk() else 'not a plain file'}"
        elif info.isreg():
            yield Member(name, info.size, partial(_plain, archive, info))


def _plain(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(info)
    assert file is not None  # a plain file has content
    return file


def _safe(name: str) -> PurePosixPath | None:
    """The name as a path that stays below its folder on any system, or None."""
    path, windows = PurePosixPath(name), PureWindowsPath(name)
    if not path.parts or path.is_absolute() or windows.drive or windows.root or "\0" in name or "\\" in name:
        return None
    return None if ".." in path.parts else path


def _hidden(name: PurePosixPath) -> bool:
    """What a desktop system adds to archives."""
    return name.parts[0] == "__MACOSX" or name.name.startswith("._") or name.name == ".DS_Store"


def _shown(name: str | os.PathLike[str]) -> str:
    return repr(one_line(os.fspath(name), 80))
