"""`<file>.part`: the one way by which bytes become a file of the cache, wherever they come from.

Counted, bounded and hashed while they are written, and renamed into place only once size and hash are right. Beside
it, `<file>.part.json` notes what the server called the file, so that a broken download can go on where it stopped.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bench import files
from bench.errors import BenchError, one_line
from bench.fetch import memo
from bench.fetch.assets import Asset

BLOCK = 1 << 18
UNDECLARED_LIMIT = 16 << 30
"""Bytes accepted where neither the catalogue nor the server says how many there are."""


class FetchError(BenchError):
    """A file cannot be brought. The message is one line."""


class WrongContentError(FetchError):
    """All bytes came, and they are not the file."""


class Origin(NamedTuple):
    """What a server said about the file whose beginning lies in the part."""

    url: str
    etag: str | None
    last_modified: str | None
    total: int | None

    @property
    def validator(self) -> str | None:
        """What `If-Range` may carry: a strong ETag, else a date."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified


class Part:
    """The part file of one asset. `write` makes it a binary file for libraries that want one."""

    def __init__(self, asset: Asset, expected: str | None) -> None:
        self.asset = asset
        self.expected = expected
        """Hex SHA-256 the finished file must have; None accepts what comes, if it begins with the asset's `prefix`
        (the caller pins it)."""
        self.path = asset.path.with_name(asset.path.name + ".part")
        self.resumed = False
        """True once bytes of an earlier attempt are part of the file."""
        self.limit = asset.bytes if asset.bytes is not None else UNDECLARED_LIMIT
        self.html_header = False
        """The server itself called the content HTML."""
        self._note = self.path.with_name(self.path.name + ".json")
        self._hash = hashlib.sha256()
        self._head = b""
        self._file: BinaryIO | None = None
        self.size = 0

    def __enter__(self) -> Part:
        """Continue what lies there: its bytes are hashed again, for nobody vouches for them."""
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "a+b")
            self._file.seek(0)
            while block := self._file.read(BLOCK):
                self._take(block)
        self.resumed = self.size > 0
        if self.size > self.limit:
            self.restart()
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with disk_errors(self.path):
                self._file.close()
            self._file = None
        if self.size == 0:
            self._remove()

    def _take(self, data: bytes) -> None:
        self._hash.update(data)
        self._head = (self._head + data[:512])[:512] if len(self._head) < 512 else self._head
        self.size += len(data)

    def _open_file(self) -> BinaryIO:
        if self._file is None:
            raise ValueError("the part is closed")
        return self._file

    def write(self, data: bytes) -> int:
        """Append. Raises `FetchError` rather than write one byte more than the file may have."""
        if self.size + len(data) > self.limit:
            self.restart()
            raise FetchError(f"{self.asset.url or self.asset.file} sends more than {self.limit} bytes: stopped")
        with disk_errors(self.path, f"after {self.size} bytes"):
            self._open_file().write(data)
        self._take(data)
        return len(data)

    def flush(self) -> None:
        with disk_errors(self.path):
            self._open_file().flush()

    def restart(self) -> None:
        """Forget everything received so far."""
        with disk_errors(self.path):
            self._open_file().seek(0)
            self._open_file().truncate()
            self._note.unlink(missing_ok=True)
        self._hash, self._head, self.size = hashlib.sha256(), b"", 0
        self.resumed = self.html_header = False

    def reserve(self, total: int) -> None:
        """Raise `FetchError` when the disk cannot hold a file of so many bytes."""
        with disk_errors(self.path):
            free = shutil.disk_usage(self.path.parent).free
        if total - self.size > free:
            raise FetchError(
                f"{self.asset.file} needs {total - self.size} bytes and {self.path.parent} has {free} free: "
                "free some, or set BENCH_HOME to another disk"
            )

    def copy(self, source: Path) -> None:
        """All bytes of another file, from the start. Raises `FetchError`."""
        self.restart()
        try:
            with open(source, "rb") as file:
                self.reserve(os.fstat(file.fileno()).st_size)
                while block := file.read(BLOCK):
                    self.write(block)
        except OSError as error:
            raise FetchError(f"{source} cannot be read: {error.strerror or one_line(error)}") from error

    def origin(self) -> Origin | None:
        """What was noted about the bytes that lie there."""
        try:
            noted = Origin(**json.loads(self._note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        texts = (noted.etag, noted.last_modified)
        # The note is read back into a request header: a line break in it would be a header of its own.
        sound = all(text is None or (isinstance(text, str) and text.isprintable()) for text in texts)
        return noted if sound and isinstance(noted.total, int | None) else None

    def note(self, origin: Origin) -> None:
        with disk_errors(self._note):
            files.write(self._note, json.dumps(origin._asdict()).encode())

    def looks_like_html(self) -> bool:
        head = self._head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
        wanted = self.asset.file.lower().endswith((".html", ".htm"))
        return not wanted and head.startswith((b"<!doctype html", b"<html", b"<head"))

    def refuse_html(self) -> None:
        """Raise `WrongContentError` when what comes is a web page: a login, a quota notice, a captcha."""
        if self.looks_like_html() or (self.html_header and self.expected is None):
            raise self.html_error(self._head)

    def html_error(self, head: bytes) -> WrongContentError:
        """What to say of a web page that begins with `head`."""
        title = re.search(rb"<title[^>]*>([^<]{1,80})", head, re.IGNORECASE)
        said = f" ({one_line(title[1].decode(errors='replace'), 60)!r})" if title else ""
        return WrongContentError(
            f"{self.asset.url or self.asset.file} answered with an HTML page{said}, not the file: "
            "perhaps a login or a download quota; get the file by hand, or use --mirror"
        )

    def place(self) -> str:
        """Check size and hash, rename into place, and return the hex SHA-256.

        Raises `WrongContentError`, the part deleted, when the bytes are not the file.
        """
        found = self._hash.hexdigest()
        try:
            self.refuse_html()
            if self.asset.bytes is not None and self.size != self.asset.bytes:
                raise WrongContentError(
                    f"{self.asset.file}: {self.size} bytes instead of {self.asset.bytes}, sha256 {found}"
                )
            wanted, prefix = self.expected, self.asset.prefix
            if wanted is None and prefix is not None and not found.startswith(prefix):
                wanted = f"{prefix}…"
            if wanted is not None and found != wanted:
                raise WrongContentError(
                    f"{self.asset.file}: got sha256 {found}, expected {wanted}"
                    + (" (the server calls it HTML: perhaps a login page)" if self.html_header else "")
                    + "; deleted what came"
                )
        except WrongContentError:
            self.restart()
            raise
        with disk_errors(self.asset.path):
            file = self._open_file()
            file.flush()
            os.fsync(file.fileno())
            file.close()
            self._file = None
            self.path.replace(self.asset.path)
            self._note.unlink(missing_ok=True)
            memo.remember(self.asset.path, found)
        return found

    def _remove(self) -> None:
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
            self._note.unlink(missing_ok=True)


_DISK = {
    errno.ENOSPC: "the disk is full: free some space, or set BENCH_HOME to another disk, and run again",
    errno.EDQUOT: "the disk quota is used up: free some space, or set BENCH_HOME to another disk, and run again",
    errno.EACCES: "permission denied: make it writable, or set BENCH_HOME to a folder that is",
    errno.EPERM: "permission denied: make it writable, or set BENCH_HOME to a folder that is",
    errno.EROFS: "the file system is read-only: set BENCH_HOME to a folder that can be written",
}


@contextmanager
def disk_errors(path: Path, when: str = "") -> Iterator[None]:
    """Operating system errors on a path of ours as `FetchError` with the remedy."""
    try:
        yield
    except OSError as error:
        cause = _DISK.get(error.errno or 0, error.strerror or one_line(error))
        raise FetchError(f"cannot write {path}{f' {when}' if when else ''}: {cause}") from error
