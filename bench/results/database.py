"""Opening the SQLite file of a results folder: whose it is, which version it has, what may be written.

A file of another program is left exactly as it is; one of an older bench is brought up to date; one on read-only media
is read from a private copy where it cannot be read as it lies. What the rows mean is the business of
`bench.results.store`.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from bench.errors import BenchError, one_line
from bench.results.schema import MIGRATIONS, OLDEST, SCHEMA, SCHEMA_VERSION, TABLES

FILE_NAME = "bench.db"
PATIENCE = 60.0
"""Seconds to wait for another process that is writing."""

_IN_LIST = 500
"""Members of one `IN (…)` list; SQLite allows at least 999 parameters."""
_READ_ONLY = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


class Database:
    """One results folder's database. `writable=False` opens an existing file for reading only."""

    def __init__(self, folder: Path, *, writable: bool = True) -> None:
        self.folder = folder
        self.path = folder / FILE_NAME
        self.address = self.path.absolute().as_uri()
        """Of the file that is open, as SQLite takes it."""
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        with self._clear_errors():
            if writable:
                folder.mkdir(parents=True, exist_ok=True)
            elif not self.path.is_file():
                raise BenchError(f"no results at {self.path}: bench run SUITE makes them (or name --results DIR)")
            if self.path.exists() and not self.path.is_file():
                raise BenchError(f"{self.path} is not a file: choose another folder with --results DIR")
            try:
                self._db = self._opened(writable)
            except BaseException:
                self._drop_copy()
                raise

    @classmethod
    def reading(cls, folder: Path) -> Self:
        """For one reader: all it asks is answered as of one instant, whatever others write or delete meanwhile."""
        opened = cls(folder, writable=False)
        with opened._clear_errors():
            opened._db.execute("BEGIN")
        return opened

    def _opened(self, writable: bool) -> sqlite3.Connection:
        address = self.path.absolute().as_uri()
        # Even a reader writes beside a WAL file; in a folder that forbids it, the file is read as it lies.
        if not writable and not os.access(self.folder, os.W_OK):
            log = Path(f"{self.path}-wal")
            if (log.exists() and log.stat().st_size) or 0 < self._version_of(address + "?immutable=1") < SCHEMA_VERSION:
                address = self._copied(log).absolute().as_uri()
                self._connect(address, True).close()
            else:
                address += "?immutable=1"
        elif not writable and 0 < self._version_of(address + "?mode=ro") < SCHEMA_VERSION:
            self._connect(address, True).close()  # whoever reads brings it up to date as well
        self.address = address
        return self._connect(address, writable)

    def _copied(self, log: Path) -> Path:
        """A private copy of the file and what its log has beyond it."""
        self._copy = tempfile.TemporaryDirectory(prefix="bench-results-")
        copy = Path(self._copy.name) / FILE_NAME
        shutil.copyfile(self.path, copy)
        if log.exists():
            shutil.copyfile(log, f"{copy}-wal")
        return copy

    def _drop_copy(self) -> None:
        if self._copy is not None:
            self._copy.cleanup()
            self._copy = None

    def _version_of(self, address: str) -> int:
        db = sqlite3.connect(address, uri=True, timeout=PATIENCE)
        try:
            return int(db.execute("PRAGMA user_version").fetchone()[0])
        finally:
            db.close()

    def _connect(self, address: str, writable: bool) -> sqlite3.Connection:
        """Open the file and bring it up to date.

        SQLite waits for others, but not where two runs switch a new file to write-ahead logging at once: we do.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            db = sqlite3.connect(address, uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
            try:
                self._check_owner(db, writable)  # before anything is written: another program's file stays as it is
                for pragma in ("journal_mode=WAL", "synchronous=NORMAL") if writable else ("query_only=ON",):
                    db.execute(f"PRAGMA {pragma}")
                if writable:
                    self._bring_up(db)
                    db.execute("PRAGMA foreign_keys=ON")
                return db
            except sqlite3.OperationalError as error:
                db.close()
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
            except BaseException:
                db.close()
                raise
            time.sleep(0.01)

    def _check_owner(self, db: sqlite3.Connection, writable: bool) -> None:
        """Raise `BenchError` for a file that is not ours to read or, as it is, to write."""
        version = _version(db)
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type='table'")}
        elsewhere = "choose another folder with --results DIR"
        if version == 0 and not tables:
            if not writable:
                raise BenchError(f"{self.path} is empty: bench run SUITE makes results (or name --results DIR)")
            return
        if version > SCHEMA_VERSION and {"run", "restoration"} <= tables:
            raise BenchError(
                f"{self.path} has schema {version}, this bench reads up to {SCHEMA_VERSION}: use a newer bench, "
                "or another --results folder"
            )
        if not tables >= TABLES:
            named = f" (tables: {one_line(', '.join(sorted(tables)), 80)})" if tables else ""
            raise BenchError(f"{self.path} is another program's database{named}, left as it is: {elsewhere}")
        if 0 < version < OLDEST:
            raise BenchError(
                f"{self.path} has schema {version}, from before the first release, and is left as it is: {elsewhere}"
            )
        if version < 1:
            raise BenchError(
                f"{self.path} says schema {version}, which no bench wrote; it is damaged and left as it is: restore "
                f"it from a copy, or {elsewhere}"
            )

    def _bring_up(self, db: sqlite3.Connection) -> None:
        if _version(db) == SCHEMA_VERSION:
            return
        db.execute("PRAGMA foreign_keys=OFF")
        db.execute("BEGIN IMMEDIATE")
        with db:
            version = _version(db)
            if version == 0:
                _script(db, SCHEMA)
                version = SCHEMA_VERSION
            while version < SCHEMA_VERSION:
                _script(db, MIGRATIONS[version])
                version += 1
            db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            code = getattr(error, "sqlite_errorcode", None)
            refused = code is not None and code & 0xFF in _READ_ONLY and not self._may_write()
            what = f"it is read-only ({one_line(error)})" if refused else one_line(error)
            raise BenchError(
                f"results folder {self.folder}: {what}; what was written before is kept "
                "(choose another with --results DIR)"
            ) from error

    def _may_write(self) -> bool:
        place = next((place for place in (self.folder, *self.folder.parents) if place.exists()), Path())
        return os.access(place, os.W_OK) and (not self.path.exists() or os.access(self.path, os.W_OK))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is written together or not at all."""
        with self._clear_errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._forget()
                if self._db.in_transaction:  # SQLite itself has ended it where the disk is full
                    self._db.execute("ROLLBACK")
                raise
            self._committing()
            self._db.execute("COMMIT")

    def _committing(self) -> None:
        """A transaction is about to end well."""

    def _forget(self) -> None:
        """A transaction was undone: what was learned inside it does not hold."""

    def close(self) -> None:
        self._db.close()
        self._drop_copy()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._clear_errors():
            return self._db.execute(sql, values).fetchall()

    def select(self, sql: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Rows of a query one by one, for those who make columns of them."""
        with self._clear_errors():
            yield from self._db.execute(sql, values)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run a statement that returns no rows; how many it changed."""
        with self._clear_errors():
            return self._db.execute(sql, values).rowcount

    @contextmanager
    def beside(self, other: Database) -> Iterator[None]:
        """With the tables of another folder, for reading, under the name `other`."""
        self.execute("ATTACH ? AS other", (other.address,))
        try:
            yield
        finally:
            self.execute("DETACH other")

    def _rows_in(self, sql: str, members: Iterable[Any], extra: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Rows of a query that ends in `IN (?)`, asked in chunks."""
        wanted = list(dict.fromkeys(members))
        for start in range(0, len(wanted), _IN_LIST):
            chunk = wanted[start : start + _IN_LIST]
            marks = ",".join("?" * len(chunk))
            yield from self._rows(sql.replace("(?)", f"({marks})"), [*extra, *chunk])


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _script(db: sqlite3.Connection, script: str) -> None:
    # executescript would commit the transaction that guards the migration.
    for statement in script.split(";"):
        if statement.strip():
            db.execute(statement)
