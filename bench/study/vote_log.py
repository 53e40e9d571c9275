"""The file that a server writes votes to: appended whole, on the disk before anybody is told that it is there.

Killed at any instant it holds every vote that was acknowledged; a line that was half written is none, and the next
start begins a new line behind it.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from bench.errors import BenchError, one_line
from bench.study.submission import MOST_LOG


class LogFull(Exception):
    """There is no room for another vote; nothing of it was written."""


class VoteLog:
    """One server's log; a second server on the same file is refused."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._owner = FileLock(f"{path}.lock", timeout=0)
        self._file = -1

    def __enter__(self) -> Self:
        """Raises `BenchError`."""
        try:
            self._owner.acquire()
        except Timeout:
            raise BenchError(f"{self.path}: another server takes votes for this study") from None
        except OSError as error:
            raise BenchError(f"{self.path}: cannot be written: {one_line(error.strerror or error)}") from None
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            size = os.fstat(self._file).st_size
            if size and os.pread(self._file, 1, size - 1) != b"\n":
                os.write(self._file, b"\n")
            os.fsync(self._file)
            self._sync_folder()
        except OSError as error:
            self.close()
            raise BenchError(f"{self.path}: cannot be written: {one_line(error.strerror or error)}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._owner.release()

    def append(self, line: bytes) -> None:
        """Returns when the line is on the disk. Raises `LogFull`."""
        payload = line + b"\n"
        with self._lock:
            if not self._there():
                raise LogFull(f"{self.path.name} was moved or deleted: votes are taken once it is back")
            size = os.fstat(self._file).st_size
            if size + len(payload) > MOST_LOG:
                raise LogFull(f"the log has {size} bytes")
            try:
                if os.write(self._file, payload) != len(payload):
                    raise OSError("written in part")
                os.fsync(self._file)
            except OSError as error:
                os.ftruncate(self._file, size)  # what was not acknowledged is not there
                raise LogFull(one_line(error.strerror or error)) from None

    def _there(self) -> bool:
        """Whether what is written can be found again under the log's name."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._file))
        except OSError:
            return False

    def _sync_folder(self) -> None:
        """The file's name is on the disk as well; Windows has no such thing."""
        if hasattr(os, "O_DIRECTORY"):
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
