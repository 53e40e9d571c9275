"""Files that a user names, for reading and for writing: regular ones, whole or not at all.

The one way in which either package replaces a file. A pipe or a device would block, never end, or be replaced by a
file; a file beyond any sensible size would fill the memory. Both are an `OSError` like every other reason of the
system, so that who reads has one kind of trouble.
"""

from __future__ import annotations

import csv
import errno
import io
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

MOST_TEXT = 64 << 20
"""Bytes that a text file may have, unless its reader says otherwise."""


def read(path: Path, most: int) -> bytes:
    """The bytes of a regular file of `most` bytes at most. Raises `OSError`, whose `strerror` is the reason."""
    _check(path)
    with path.open("rb") as file:
        content = file.read(min(os.fstat(file.fileno()).st_size, most) + 1)
        content += file.read(most + 1 - len(content))  # of a file that grows, or of a system that tells no size
    if len(content) > most:
        raise OSError(errno.EFBIG, f"larger than {most} bytes", str(path))
    return content


def read_text(path: Path, encoding: str = "utf-8", most: int = MOST_TEXT) -> str:
    """The text of a regular file, its lines ended by `\\n`. Raises `OSError`, also for bytes that are no text."""
    try:
        text = read(path, most).decode(encoding)
    except UnicodeDecodeError as error:
        raise OSError(errno.EILSEQ, f"not UTF-8 text: {error.reason} at byte {error.start}", str(path)) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary file in the same folder that takes the target's place at the end; nothing of it is left on an error.

    Its name is short wherever the target's own is, and begins with `.part-`. Raises `OSError`, before anything is
    made where the target is there and no regular file.
    """
    with suppress(FileNotFoundError):
        _check(target)
    temporary = target.with_name(f".part-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield temporary
        temporary.replace(target)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(target)  # as of a full disk, which does not say what was being written
        raise


def write(target: Path, content: bytes | str) -> None:
    """Replace a file, so that a reader sees the old or the new one, never half; text is UTF-8, its line ends as given.

    Makes the folder where there is none. Raises `OSError`.
    """
    payload = content.encode("utf-8") if isinstance(content, str) else content
    with replacing(target) as temporary:
        try:
            temporary.write_bytes(payload)
        except FileNotFoundError:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(payload)


def write_csv(target: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """As `write`, a table with a line of column names."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write(target, text.getvalue())


def _check(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except ValueError:
        raise OSError(errno.EINVAL, "its name has a null byte", str(path)) from None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
