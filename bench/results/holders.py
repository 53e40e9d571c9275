"""Rows that say who works with a results folder: claims on units of work, and leases on the whole.

What they mean is `bench.results.claims` and `bench.results.leases`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from bench.results.database import Database


class LeaseRow(NamedTuple):
    """A process that must not be disturbed."""

    id: int
    kind: str
    """run, export or gc."""
    run: int | None
    """Which run; None while it plans."""
    host: str
    pid: int
    started: float
    beat: float
    """When it was last heard of."""


class Holders(Database):
    """The part of the store that is about processes."""

    def claims(self, keys: Iterable[bytes]) -> dict[bytes, tuple[str, int, float, float]]:
        """Key → (host, process, its start, when it was last heard of)."""
        rows = self._rows_in("SELECT key, host, pid, started, beat FROM claim WHERE key IN (?)", keys)
        return {row[0]: (row[1], row[2], row[3], row[4]) for row in rows}

    def put_claim(self, key: bytes, host: str, pid: int, started: float, now: float) -> None:
        self._rows("INSERT OR REPLACE INTO claim VALUES(?,?,?,?,?)", (key, host, pid, started, now))

    def release(self, keys: Iterable[bytes]) -> None:
        with self._clear_errors():
            self._db.executemany("DELETE FROM claim WHERE key=?", ((key,) for key in keys))

    def claimants(self) -> list[tuple[str, int, float, float]]:
        """(host, process, its start, when it was last heard of) of everybody who holds a claim."""
        rows = self._rows("SELECT host, pid, started, max(beat) FROM claim GROUP BY host, pid, started")
        return [(row[0], row[1], row[2], row[3]) for row in rows]

    def drop_claimant(self, host: str, pid: int, started: float) -> None:
        self._rows("DELETE FROM claim WHERE host=? AND pid=? AND started=?", (host, pid, started))

    def leases(self) -> list[LeaseRow]:
        return [LeaseRow(*row) for row in self._rows("SELECT id, kind, run, host, pid, started, beat FROM lease")]

    def put_lease(self, kind: str, host: str, pid: int, started: float, now: float) -> int:
        sql = "INSERT INTO lease(kind, host, pid, started, beat) VALUES(?,?,?,?,?) RETURNING id"
        return int(self._rows(sql, (kind, host, pid, started, now))[0][0])

    def lease_run(self, lease: int, run: int) -> None:
        """A lease is for this run from now on."""
        self._rows("UPDATE lease SET run=? WHERE id=?", (run, lease))

    def has_lease(self, lease: int) -> bool:
        return bool(self._rows("SELECT 1 FROM lease WHERE id=?", (lease,)))

    def drop_lease(self, lease: int) -> None:
        self._rows("DELETE FROM lease WHERE id=?", (lease,))

    def beat(self, host: str, pid: int, now: float) -> None:
        """A process says that it still works on what it claimed and leased."""
        for table in ("claim", "lease"):
            self._rows(f"UPDATE {table} SET beat=? WHERE host=? AND pid=?", (now, host, pid))  # noqa: S608
