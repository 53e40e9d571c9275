"""Archives that Python cannot read (RAR, 7z, cabinets, tar under Zstandard …), through programs that may be installed.

A program is asked for the list of an archive's members, and, once that has been judged, to unpack all of it into a
folder of its own; what it says and what it wrote are the caller's to check. It gets no terminal, so that it cannot ask
for a password, and is ended when it writes more than it may or writes nothing for long.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from bench.catalog.helper_process import end_group
from bench.errors import one_line
from bench.fetch.part import FetchError

IDLE = 900.0
"""Seconds after which a program that writes nothing is ended."""
LISTING = 256 << 20
"""Bytes that a program's list may have."""


class ProgramError(FetchError):
    """This program cannot open the archive; another one might."""


class ListedMember(NamedTuple):
    """One member as a program lists it."""

    name: str
    size: int
    type: Literal["file", "folder", "link", "other"]


class Format(NamedTuple):
    """A kind of archive."""

    name: str
    magic: bytes
    tools: tuple[str, ...]
    """Names of what opens it, the best first: keys of `TOOLS`, or of `STREAMS`."""
    stream: bool = False
    """A compression, under which a tar is expected."""


class UnpackTool(NamedTuple):
    """A program with its ways of saying things; `{file}`, `{folder}` and `{password}` are fields."""

    programs: tuple[str, ...]
    listing: tuple[str, ...]
    unpacking: tuple[str, ...]
    password: str
    no_password: str
    parse: Callable[[str], Iterator[ListedMember]]


def _fields(text: str, start: str) -> Iterator[dict[str, str]]:
    """Blocks of `Key = value` or `Key: value` lines, each beginning with the key `start`."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = re.match(r"\s*([A-Za-z][A-Za-z0-9 -]*?)\s*(?: = |: | =$|:$)(.*)", line)
        if match is None:
            continue
        if match[1] == start and found:
            yield found
            found = {}
        if match[1] == start or found:
            found.setdefault(match[1], match[2])
    if found:
        yield found


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def _seven_zip(text: str) -> Iterator[ListedMember]:
    _, _, members = text.partition("\n----------\n")
    for found in _fields(members, "Path"):
        mode = found.get("Attributes", "")
        kind: Literal["file", "folder", "link", "other"] = "file"
        if found.get("Symbolic Link") or found.get("Hard Link") or re.search(r"\bl[r-][w-]", mode):
            kind = "link"
        elif found.get("Anti") == "+" or re.search(r"\b[bcps][r-][w-]", mode):
            kind = "other"
        elif found.get("Folder") == "+" or mode.startswith("D"):
            kind = "folder"
        yield ListedMember(found["Path"], _number(found.get("Size", "")), kind)


def _unrar(text: str) -> Iterator[ListedMember]:
    for found in _fields(text, "Name"):
        given = found.get("Type", "").lower()
        kind: Literal["file", "folder", "link", "other"] = "other"
        if given == "file":
            kind = "file"
        elif given == "directory":
            kind = "folder"
        elif "link" in given or "junction" in given or "reference" in given or "copy" in given:
            kind = "link"
        yield ListedMember(found["Name"], _number(found.get("Size", "")), kind)


_LONG = re.compile(r"(.)[rwxsStT-]{9}[+@.]?\s+\d+\s+\S+\s+\S+\s+(\d+(?:,\d+)?)\s+\w{3}\s+\d+\s+[\d:]+\s(.*)")


def _bsdtar(text: str) -> Iterator[ListedMember]:
    kinds: dict[str, Literal["file", "folder", "link", "other"]] = {
        "-": "file", "d": "folder", "l": "link", "h": "link",
    }  # fmt: skip
    for line in text.splitlines():
        match = _LONG.fullmatch(line)
        if match is None:
            raise ProgramError(f"a line of its list is not understood: {one_line(line, 80)}")
        yield ListedMember(match[3], _number(match[2]), kinds.get(match[1], "other"))


TOOLS = {
    "unrar": UnpackTool(
        ("unrar", "rar"), ("lt", "-c-", "-cfg-", "{password}", "--", "{file}"),
        ("x", "-o+", "-y", "-c-", "-cfg-", "{password}", "--", "{file}", "{folder}/"), "-p{password}", "-p-", _unrar,
    ),
    "7z": UnpackTool(
        ("7zz", "7z", "7za", "7zr"), ("l", "-slt", "-sccUTF-8", "{password}", "--", "{file}"),
        ("x", "-y", "-bd", "-sccUTF-8", "{password}", "-o{folder}", "--", "{file}"), "-p{password}", "-p", _seven_zip,
    ),
    "bsdtar": UnpackTool(
        ("bsdtar",), ("{password}", "-tvf", "{file}"),
        ("{password}", "--no-same-owner", "--no-same-permissions", "-xf", "{file}", "-C", "{folder}"),
        "--passphrase={password}", "", _bsdtar,
    ),
}  # fmt: skip
STREAMS = {
    "zstd": ("zstd", "-dcq", "{file}"),
    "lz4": ("lz4", "-dcq", "{file}"),
    "lzip": ("lzip", "-dcq", "{file}"),
    "gzip": ("gzip", "-dcq", "{file}"),
    "7zz": ("7zz", "x", "-so", "-bd", "{file}"),
    "7z": ("7z", "x", "-so", "-bd", "{file}"),
    "bsdcat": ("bsdcat", "{file}"),
}
"""Program → what writes the decompressed bytes to its standard output."""
FORMATS = (
    Format("RAR", b"Rar!\x1a\x07", ("unrar", "7z", "bsdtar")),
    Format("7z", b"7z\xbc\xaf\x27\x1c", ("7z", "bsdtar")),
    Format("cabinet", b"MSCF\0\0\0\0", ("7z", "bsdtar")),
    Format("Zstandard", b"\x28\xb5\x2f\xfd", ("zstd", "7zz", "bsdcat"), stream=True),
    Format("LZ4", b"\x04\x22\x4d\x18", ("lz4", "bsdcat"), stream=True),
    Format("lzip", b"LZIP\x01", ("lzip", "7zz", "bsdcat"), stream=True),
    Format("compress", b"\x1f\x9d", ("gzip", "7zz", "7z", "bsdcat"), stream=True),
)
ZIP = Format("encrypted zip", b"PK", ("7z", "bsdtar"))
"""For the encryptions that Python's zipfile does not know."""


def format_of(file: Path) -> Format | None:
    """By its first bytes, whatever its name is: archives are published as .zip that are none."""
    with file.open("rb") as opened:
        head = opened.read(8)
    return next((one for one in FORMATS if head.startswith(one.magic)), None)


class Program(NamedTuple):
    """A tool that is installed here."""

    path: str
    tool: UnpackTool

    @property
    def name(self) -> str:
        return Path(self.path).name

    def listing(self, file: Path, password: str | None) -> list[ListedMember]:
        """Every member. Raises `ProgramError`."""
        if self.tool is TOOLS["bsdtar"] and not _ended(file):
            raise ProgramError("the archive is cut short")
        text = _captured(self._argv(self.tool.listing, file, password), Bound(f"the list of {file.name}", LISTING))
        return list(self.tool.parse(text.decode("utf-8", "surrogateescape")))

    def unpack(self, file: Path, folder: Path, password: str | None, most: int) -> None:
        """All of it into an empty folder, of which it may fill `most` bytes. Raises `ProgramError`, `FetchError`."""
        argv = self._argv(self.tool.unpacking, file, password, folder)
        with tempfile.TemporaryFile() as said:
            _run(argv, said.fileno(), folder, lambda: _filled(folder), Bound(file.name, most))

    def _argv(self, template: Sequence[str], file: Path, password: str | None, folder: Path | None = None) -> list[str]:
        return [self.path, *_filled_in(self.tool, template, file, password, folder)]


def _filled_in(
    tool: UnpackTool, template: Sequence[str], file: Path, password: str | None, folder: Path | None
) -> list[str]:
    said = tool.no_password if password is None else tool.password.replace("{password}", password)
    fields = {"{file}": str(file.absolute()), "{folder}": str(folder), "{password}": said}
    return [made for part in template if (made := re.sub(r"\{\w+\}", lambda field: fields[field[0]], part))]


def _ended(file: Path) -> bool:
    """Whether a RAR archive has its last block, for libarchive takes one that was cut for a shorter one."""
    with file.open("rb") as opened:
        signature = opened.read(8)
        opened.seek(max(0, file.stat().st_size - 64))
        tail = opened.read()
    if not signature.startswith(FORMATS[0].magic):
        return True
    if signature[6:7] == b"\0":  # up to RAR 4
        return b"\x7b\x00\x40\x07\x00" in tail
    for start in range(len(tail) - 6):
        block = tail[start + 4 : start + 5 + tail[start + 4]]  # its size, type, flags and more; always short
        if block[1:2] == b"\5" and zlib.crc32(block).to_bytes(4, "little") == tail[start : start + 4]:
            return True
    return False


def installed(kind: Format) -> list[Program]:
    """The programs on the PATH that may open it, the best first."""
    found = []
    for name in kind.tools:
        for program in TOOLS[name].programs:
            path = shutil.which(program)
            if path is not None:
                found.append(Program(path, TOOLS[name]))
    return found


def decompress(file: Path, kind: Format, target: Path, most: int) -> None:
    """What lies under a compression into a file of at most `most` bytes. Raises `FetchError`."""
    paths = [(shutil.which(STREAMS[name][0]), STREAMS[name][1:]) for name in kind.tools]
    there = [(path, rest) for path, rest in paths if path is not None]
    reasons = []
    for path, rest in there:
        argv = [path, *(part.replace("{file}", str(file.absolute())) for part in rest)]
        try:
            with target.open("wb") as out:
                _run(argv, out.fileno(), target.parent, lambda: (1, target.stat().st_size), Bound(file.name, most))
        except ProgramError as error:
            reasons.append(f"{Path(path).name}: {error}")
        else:
            return
    raise FetchError(f"{file} is compressed by {kind.name}, {_in_vain(kind, reasons)}")


def by_hand(file: Path, kind: Format, folder: Path, password: str | None, reasons: Sequence[str]) -> str:
    """One line for a person: why it could not be unpacked here, and the commands that do it."""
    commands = []
    if password is not None and kind is not ZIP:
        kind = kind._replace(
            tools=tuple(name for name in kind.tools if name != "bsdtar")
        )  # reads none of them encrypted
    for name in kind.tools:
        tool = TOOLS[name]
        program = tool.programs[0] if name != "7z" else "7z"
        said = [] if password is None else [tool.password.replace("{password}", password)]
        where = {"unrar": [str(file), f"{folder}/"], "7z": [f"-o{folder}", str(file)]}
        rest = where.get(name, ["-f", str(file), "-C", str(folder)])
        commands.append(shlex.join([program, "x" if name != "bsdtar" else "-x", *said, *rest]))
    locked = "" if password is None else " with a password"
    return f"{file} is a {kind.name} archive{locked}, {_in_vain(kind, reasons)}; by hand: {' or '.join(commands)}"


def _in_vain(kind: Format, reasons: Sequence[str]) -> str:
    if reasons:
        return f"and could not be opened ({'; '.join(reasons)})"
    names = [name if name != "7z" else "7z (7zz, 7za)" for name in kind.tools]
    listed = " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return f"for which {listed} must be on the PATH: install one of them and fetch again"


class Bound(NamedTuple):
    """How much may be written, and of what."""

    name: str
    bytes: int


def _captured(argv: Sequence[str], most: Bound) -> bytes:
    with tempfile.TemporaryFile() as out:
        _run(argv, out.fileno(), Path(tempfile.gettempdir()), lambda: (1, os.fstat(out.fileno()).st_size), most)
        out.seek(0)
        return out.read()


def _run(argv: Sequence[str], out: int, folder: Path, measure: Callable[[], tuple[int, int]], most: Bound) -> None:
    """One program to its end. `measure` says what it has written so far: how many files, how many bytes."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT", "TMPDIR") if name in os.environ}
    environment |= {"LC_ALL": "C.UTF-8", "TZ": "UTC"}
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                list(argv), cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=errors,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise ProgramError(f"cannot be started: {one_line(error, 120)}") from error
        try:
            _watch(process, measure, most.bytes)
        finally:
            end_group(process)
        if measure()[1] > most.bytes:
            raise FetchError(f"{most.name} unpacks to more than {most.bytes} bytes: refused as a bomb")
        if process.returncode:
            raise ProgramError(_complaint(errors.fileno(), out) or f"exit code {process.returncode}")


def _watch(process: subprocess.Popen[bytes], measure: Callable[[], tuple[int, int]], most: int) -> None:
    pause, last, since = 0.02, (0, 0), time.monotonic()
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(pause)
            return
        begun = time.monotonic()
        written = measure()
        if written[1] > most:
            return
        if written != last:
            last, since = written, begun
        elif begun - since > IDLE:
            raise ProgramError(f"wrote nothing for {IDLE:g} s and was ended")
        pause = max(min(2 * pause, 0.5), 5 * (time.monotonic() - begun))  # looking must not cost more than unpacking


def _filled(folder: Path) -> tuple[int, int]:
    """Files below a folder and their bytes; what vanishes or cannot be read meanwhile counts nothing."""
    count = total = 0
    for top, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(top) / name).lstat().st_size
                count += 1
    return count, total


def _complaint(*logs: int) -> str:
    """The line of what a program said that sounds like a reason."""
    lines: list[str] = []
    for log in logs:
        with suppress(OSError, ValueError):
            size = os.fstat(log).st_size
            text = os.pread(log, 1 << 14, max(0, size - (1 << 14))).decode("utf-8", "replace")
            lines += [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"password|encrypt|unsupported|cannot|can't|corrupt", line, re.I)]
    return one_line((telling or lines[-1:] or [""])[0], 120)
