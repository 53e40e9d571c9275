"""Unpacking a fetched archive (zip, tar, tar.gz …) without trusting what it says about itself.

All of it is looked at before the first byte is written, and it arrives whole or not at all: no name may lead out of
the folder, nothing but plain files and folders may be in it, and neither their number nor their bytes may explode.
What Python cannot open (RAR, 7z …) is unpacked by a program, where one is installed, into a folder that nobody uses:
its list is judged as an archive's own is, and what it wrote is held against that list.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NamedTuple

from bench.errors import one_line
from bench.fetch import unpackers
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


def unpack(
    file: Path,
    folder: Path,
    limits: Limits = Limits(),  # noqa: B008 – immutable
    password: str | None = None,
) -> int:
    """Put an archive's files below `folder`; returns how many. Files of the same name are replaced.

    Raises `FetchError` and leaves nothing behind when the archive is damaged, unsafe, too large, of a kind that is not
    known, encrypted with another password, or in need of a program that is not here: then with the commands for it.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory(dir=folder, prefix=".unpack-") as place:
                root = Path(place) / "files"
                root.mkdir()
                written = _bring_out(file, root, folder, limits, password)
                for name in written:
                    target = folder / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    (root / name).replace(target)
        except _DAMAGED as error:
            raise FetchError(f"{file} cannot be unpacked: {one_line(error, 160)}") from error
    return len(written)


_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError)
"""What the libraries raise for damaged files; RuntimeError is encryption, NotImplementedError a compression unknown."""


def _bring_out(file: Path, root: Path, folder: Path, limits: Limits, password: str | None) -> list[PurePosixPath]:
    """The plain files of an archive of any kind below the empty folder `root`; their names."""
    kind = unpackers.format_of(file)
    if kind is None:
        with closing(_open(file)) as archive:
            if isinstance(archive, zipfile.ZipFile) and (secret := _zip_password(archive, password)) is not None:
                return _by_program(file, secret, root, folder, limits, password)
            return _write(file, archive, root, limits)
    if not kind.stream:
        return _by_program(file, kind, root, folder, limits, password)
    under = root.with_name("decompressed.tar")
    unpackers.decompress(file, kind, under, _most(file, limits))
    with closing(_open(under, file)) as archive:
        return _write(file, archive, root, limits)


def _write(file: Path, archive: zipfile.ZipFile | tarfile.TarFile, place: Path, limits: Limits) -> list[PurePosixPath]:
    listed = _zipped(archive) if isinstance(archive, zipfile.ZipFile) else _tarred(archive)
    members = list(_checked(file, listed, limits))
    _fits(file, members, place)
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


def _fits(file: Path, members: list[Member], place: Path) -> None:
    total, free = sum(member.size for member in members), shutil.disk_usage(place).free
    if total > free:
        raise FetchError(f"{file.name} unpacks to {total} bytes and {place.parent.parent} has {free} free")


def _most(file: Path, limits: Limits) -> int:
    return min(limits.bytes, max(limits.free, limits.ratio * file.stat().st_size))


def _zip_password(archive: zipfile.ZipFile, password: str | None) -> unpackers.Format | None:
    """Give a zip its password; where Python does not know its encryption, the format that a program opens it as."""
    locked = [info for info in archive.infolist() if info.flag_bits & 1]
    if not locked or password is None:
        return None
    if any(info.compress_type == _AES for info in locked):
        return unpackers.ZIP
    archive.setpassword(password.encode())
    return None


_AES = 99
"""WinZip's number for AES, in the place of a compression's."""


def _by_program(
    file: Path, kind: unpackers.Format, root: Path, folder: Path, limits: Limits, password: str | None
) -> list[PurePosixPath]:
    """Through the first program that can. What is unsafe is refused at once, without a second opinion."""
    reasons = []
    for program in unpackers.installed(kind):
        try:
            listed = program.listing(file, password)
            members = list(_checked(file, _named(listed), limits))
            if not members:
                raise unpackers.ProgramError("lists no file")
            _fits(file, members, root)
            total = sum(one.size for one in listed if one.type == "file")
            program.unpack(file, root, password, total + BLOCK)
        except unpackers.ProgramError as error:
            reasons.append(f"{program.name}: {error}")
            shutil.rmtree(root)
            root.mkdir()
        else:
            _as_listed(file, root, {_safe(one.name): one.size for one in listed if one.type == "file"})
            return [member.name for member in members]
    raise FetchError(unpackers.by_hand(file, kind, folder, password, reasons))


def _named(listed: list[unpackers.ListedMember]) -> Iterator[Member | str]:
    for one in listed:
        name = _safe(one.name)
        if name is None and one.type == "folder" and _top(one.name):
            continue
        if name is None:
            yield f"{_shown(one.name)} leads out of the folder"
        elif one.type not in ("file", "folder"):
            yield f"{_shown(one.name)} is {'a link' if one.type == 'link' else 'not a plain file'}"
        elif one.type == "file":
            yield Member(name, one.size, io.BytesIO)


def _as_listed(file: Path, root: Path, sizes: Mapping[PurePosixPath | None, int]) -> None:
    """Raise `FetchError` unless a program wrote exactly the files that it listed, and make them plain ones."""
    left = dict(sizes)
    for top, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = Path(top) / name
            status = path.lstat()
            below = PurePosixPath(path.relative_to(root).as_posix())
            if stat.S_ISDIR(status.st_mode):
                path.chmod(0o755)
            elif not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                kind = "not a plain file" if not stat.S_ISLNK(status.st_mode) and status.st_nlink == 1 else "a link"
                raise FetchError(f"{file.name}: {_shown(below)} is {kind}: refused")
            elif left.pop(below, None) != status.st_size:
                raise FetchError(f"{file.name}: {_shown(below)} is not as its list says: refused")
            else:
                path.chmod(0o644)
    if left:
        raise FetchError(f"{file.name}: {_shown(str(next(iter(left))))} is in its list alone: refused")


def _open(file: Path, shown: Path | None = None) -> zipfile.ZipFile | tarfile.TarFile:
    """`shown` is the archive as a person knows it, where `file` is what lay under its compression."""
    if shown is None and zipfile.is_zipfile(file):
        return zipfile.ZipFile(file)
    try:
        return tarfile.open(file, "r:*")
    except tarfile.ReadError as error:
        if shown is not None:
            raise FetchError(f"{shown} is a compressed file and no tar: unpack it by hand") from error
        raise FetchError(
            f"{file} is neither a zip nor a tar archive, nor one that unrar, 7z or zstd open: unpack it by hand"
        ) from error


def _checked(file: Path, members: Iterable[Member | str], limits: Limits) -> Iterator[Member]:
    """The archive's plain files. Raises `FetchError` for the first member that is unsafe or one too many."""
    most = _most(file, limits)
    seen: set[str] = set()
    total = 0
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
        if name is None and info.is_dir() and _top(info.orig_filename):
            continue
        if name is None:
            yield f"{_shown(info.orig_filename)} leads out of the folder"
        elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            yield f"{_shown(name)} is {'a link' if kind == stat.S_IFLNK else 'not a plain file'}"
        elif not info.is_dir():
            yield Member(name, info.file_size, partial(archive.open, info))


def _tarred(archive: tarfile.TarFile) -> Iterator[Member | str]:
    for info in archive:
        name = _safe(info.name)
        if name is None and info.isdir() and _top(info.name):
            continue
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


def _top(name: str) -> bool:
    """The folder itself, which `tar -cf x.tar .` puts first."""
    return name in (".", "./")


def _hidden(name: PurePosixPath) -> bool:
    """What a desktop system adds to archives."""
    return name.parts[0] == "__MACOSX" or name.name.startswith("._") or name.name == ".DS_Store"


def _shown(name: str | os.PathLike[str]) -> str:
    return repr(one_line(os.fspath(name), 80))
