"""The tables of a results folder's database, and the steps from every released version to the newest.

What the rows mean is the business of `bench.store`.
"""

from __future__ import annotations

from typing import NamedTuple

SCHEMA_VERSION = 2

_LATENCY = """
CREATE TABLE machine(id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, description TEXT NOT NULL);
CREATE TABLE latency(
  id INTEGER PRIMARY KEY, session TEXT NOT NULL, label TEXT NOT NULL, name TEXT NOT NULL,
  method BLOB, request BLOB NOT NULL, height INTEGER NOT NULL, width INTEGER NOT NULL, batch INTEGER NOT NULL,
  dtype TEXT NOT NULL, device TEXT NOT NULL, mode TEXT NOT NULL, threads INTEGER NOT NULL,
  machine INTEGER NOT NULL REFERENCES machine, status TEXT NOT NULL, reason TEXT,
  samples BLOB, events BLOB, cpu BLOB, record TEXT NOT NULL, written REAL NOT NULL);
CREATE INDEX latency_method ON latency(method);
CREATE INDEX latency_request ON latency(request);
"""

SCHEMA = (
    """
CREATE TABLE content(id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE);
CREATE TABLE memo(
  locator TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
  content INTEGER NOT NULL REFERENCES content, height INTEGER, width INTEGER, error TEXT) WITHOUT ROWID;
CREATE TABLE restoration(
  id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, input INTEGER NOT NULL REFERENCES content,
  status TEXT NOT NULL, reason TEXT, output INTEGER REFERENCES content, height INTEGER, width INTEGER,
  suffix TEXT, seconds REAL, batch INTEGER, threads INTEGER, device TEXT, written REAL NOT NULL);
CREATE TABLE signature(
  id INTEGER PRIMARY KEY, text TEXT NOT NULL, mode TEXT NOT NULL, of_sets INTEGER NOT NULL, UNIQUE(text, mode));
CREATE TABLE score(
  output INTEGER NOT NULL, reference INTEGER NOT NULL, signature INTEGER NOT NULL,
  status TEXT NOT NULL, value REAL, reason TEXT, seconds REAL,
  PRIMARY KEY(output, reference, signature)) WITHOUT ROWID;
CREATE TABLE extraction(
  output INTEGER NOT NULL, reference INTEGER NOT NULL, signature INTEGER NOT NULL,
  status TEXT NOT NULL, features BLOB, reason TEXT, seconds REAL,
  PRIMARY KEY(output, reference, signature)) WITHOUT ROWID;
CREATE TABLE run(
  id INTEGER PRIMARY KEY, suite TEXT NOT NULL, digest BLOB NOT NULL, created REAL NOT NULL, finished REAL,
  record TEXT NOT NULL);
CREATE TABLE unit(
  run INTEGER NOT NULL REFERENCES run, cell INTEGER NOT NULL, item INTEGER NOT NULL,
  restoration INTEGER REFERENCES restoration, reference INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY(run, cell, item)) WITHOUT ROWID;
CREATE TABLE claim(key BLOB PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, started REAL NOT NULL,
  beat REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX unit_restoration ON unit(restoration);
CREATE INDEX restoration_output ON restoration(output);
"""
    + _LATENCY
)
"""The newest version, for a folder that has no results yet."""

MIGRATIONS: dict[int, str] = {1: _LATENCY}
"""One SQL script per step: MIGRATIONS[n] turns version n into n + 1."""


class LatencyRow(NamedTuple):
    """A measurement of time, or the reason why there is none; what the columns mean is `bench.latency.stored`."""

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
