"""The tables of a results folder's database, and the steps from every released version to the newest.

What the rows mean is the business of `bench.results.store`.
"""

from __future__ import annotations

from typing import NamedTuple

SCHEMA_VERSION = 5

# No number is ever given to a second row (AUTOINCREMENT): whoever still holds the number of a row that was deleted
# finds nothing, never another method's row. Content 0 stands for "none", so that every reference can be enforced.

_CONTENT = """
CREATE TABLE content(id INTEGER PRIMARY KEY AUTOINCREMENT, hash BLOB NOT NULL UNIQUE);
INSERT INTO content VALUES(0, x'');
"""
_MEMO = """
CREATE TABLE memo(
  locator TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
  inode INTEGER NOT NULL, content INTEGER NOT NULL REFERENCES content, height INTEGER, width INTEGER, error TEXT)
  WITHOUT ROWID;
"""
_RESTORATION = """
CREATE TABLE restoration(
  id INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE, input INTEGER NOT NULL REFERENCES content,
  status TEXT NOT NULL, reason TEXT, output INTEGER REFERENCES content, height INTEGER, width INTEGER,
  suffix TEXT, seconds REAL, batch INTEGER, threads INTEGER, device TEXT, written REAL NOT NULL);
"""
_SIGNATURE = """
CREATE TABLE signature(
  id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL, mode TEXT NOT NULL, of_sets INTEGER NOT NULL,
  UNIQUE(text, mode));
"""
_SCORE = """
CREATE TABLE score(
  output INTEGER NOT NULL REFERENCES content, reference INTEGER NOT NULL REFERENCES content,
  signature INTEGER NOT NULL REFERENCES signature, status TEXT NOT NULL, value REAL, reason TEXT, seconds REAL,
  PRIMARY KEY(output, reference, signature)) WITHOUT ROWID;
"""
_EXTRACTION = """
CREATE TABLE extraction(
  output INTEGER NOT NULL REFERENCES content, reference INTEGER NOT NULL REFERENCES content,
  signature INTEGER NOT NULL REFERENCES signature, status TEXT NOT NULL, features BLOB, reason TEXT, seconds REAL,
  PRIMARY KEY(output, reference, signature)) WITHOUT ROWID;
"""
_RUN = """
CREATE TABLE run(
  id INTEGER PRIMARY KEY AUTOINCREMENT, suite TEXT NOT NULL, digest BLOB NOT NULL, created REAL NOT NULL,
  finished REAL, record TEXT NOT NULL);
"""
_UNIT = """
CREATE TABLE unit(
  run INTEGER NOT NULL REFERENCES run, cell INTEGER NOT NULL, item INTEGER NOT NULL,
  restoration INTEGER REFERENCES restoration, reference INTEGER NOT NULL DEFAULT 0 REFERENCES content,
  PRIMARY KEY(run, cell, item)) WITHOUT ROWID;
"""
_MACHINE = """
CREATE TABLE machine(
  id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL UNIQUE, description TEXT NOT NULL);
"""
_LATENCY = """
CREATE TABLE latency(
  id INTEGER PRIMARY KEY AUTOINCREMENT, session TEXT NOT NULL, label TEXT NOT NULL, name TEXT NOT NULL,
  method BLOB, request BLOB NOT NULL, height INTEGER NOT NULL, width INTEGER NOT NULL, batch INTEGER NOT NULL,
  dtype TEXT NOT NULL, device TEXT NOT NULL, mode TEXT NOT NULL, threads INTEGER NOT NULL,
  machine INTEGER NOT NULL REFERENCES machine, status TEXT NOT NULL, reason TEXT,
  samples BLOB, events BLOB, cpu BLOB, record TEXT NOT NULL, written REAL NOT NULL);
"""
_LEASE = """
CREATE TABLE lease(
  id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, run INTEGER REFERENCES run, host TEXT NOT NULL,
  pid INTEGER NOT NULL, started REAL NOT NULL, beat REAL NOT NULL);
"""
_CLAIM = """
CREATE TABLE claim(key BLOB PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, started REAL NOT NULL,
  beat REAL NOT NULL) WITHOUT ROWID;
"""
_TRACE = """
CREATE TABLE trace(
  restoration INTEGER PRIMARY KEY REFERENCES restoration ON DELETE CASCADE, steps TEXT NOT NULL);
CREATE TABLE stage(
  restoration INTEGER NOT NULL REFERENCES restoration ON DELETE CASCADE, number INTEGER NOT NULL,
  picture INTEGER NOT NULL REFERENCES content, PRIMARY KEY(restoration, number)) WITHOUT ROWID;
"""
_TALLY = """
CREATE TABLE change(id INTEGER PRIMARY KEY, number INTEGER NOT NULL);
INSERT INTO change VALUES(0, 0);
CREATE TABLE tally(
  run INTEGER PRIMARY KEY REFERENCES run ON DELETE CASCADE, change INTEGER NOT NULL, record BLOB NOT NULL,
  datasets INTEGER NOT NULL, methods INTEGER NOT NULL, expected INTEGER NOT NULL, failed INTEGER NOT NULL,
  unavailable INTEGER NOT NULL, pending INTEGER NOT NULL, device TEXT);
"""
_INDEXES = """
CREATE INDEX unit_restoration ON unit(restoration);
CREATE INDEX restoration_output ON restoration(output);
CREATE INDEX latency_method ON latency(method);
CREATE INDEX latency_request ON latency(request);
"""

SCHEMA = "".join(
    (
        _CONTENT, _MEMO, _RESTORATION, _SIGNATURE, _SCORE, _EXTRACTION, _RUN, _UNIT, _MACHINE, _LATENCY, _LEASE,
        _CLAIM, _TRACE, _TALLY, _INDEXES,
    )
)  # fmt: skip
"""The newest version, for a folder that has no results yet."""

TABLES = frozenset({"content", "memo", "restoration", "signature", "score", "extraction", "run", "unit", "claim"})
"""What every version has: a database without them is another program's."""


MIGRATIONS: dict[int, str] = {3: _TRACE, 4: _TALLY}
"""One SQL script per step: MIGRATIONS[n] turns the released version n into n + 1."""
OLDEST = min(MIGRATIONS, default=SCHEMA_VERSION)


class LatencyRow(NamedTuple):
    """A measurement of time, or the reason why there is none; what the columns mean is `bench.results.timings`."""

    id: int
    session: str
    label: str
    name: str
    method: bytes | None
    request: bytes
    height: int
    width: int
    batch: int
    dtype: str
    device: str
    mode: str
    threads: int
    machine: bytes
    description: str
    status: str
    reason: str | None
    samples: bytes | None
    events: bytes | None
    cpu: bytes | None
    record: str
    written: float
