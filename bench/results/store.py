"""The SQLite file that holds every run: one row per restoration, feature vector and score, written as it happens.

Content hashes and keys are kept once as BLOBs and referred to by integer elsewhere; means are always derived, never
stored. The file only records: what a number means, or whether it is missing, is decided by the plan.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from bench.data.items import Stamp
from bench.errors import one_line
from bench.identity import set_hash
from bench.metrics.outcome import SCORED, Status
from bench.results.database import FILE_NAME as FILE_NAME
from bench.results.holders import Holders
from bench.results.holders import LeaseRow as LeaseRow
from bench.results.schema import SCHEMA_VERSION as SCHEMA_VERSION
from bench.results.schema import LatencyRow


class Memo(NamedTuple):
    """What is known of an image source since its last decoding."""

    hash: bytes
    height: int | None
    width: int | None
    error: str | None
    """Why it does not decode, or None."""


class StoredRestoration(NamedTuple):
    """A stored output, or the reason why there is none."""

    id: int
    status: str
    """ok, failed (tried again by the next run), or input (the input itself is unreadable)."""
    reason: str | None
    output: int | None
    output_hash: bytes | None
    suffix: str | None
    """File type of the artefact: png, or npy for outputs that are not quantised; None for one that was not kept."""
    height: int | None
    width: int | None
    seconds: float | None
    """What making it took, per image of its batch; None for outputs that were only read."""
    device: str | None
    batch: int | None
    threads: int | None

    def checked(self) -> StoredRestoration:
        """Itself, or a failure where the row is none that was ever written: the next run restores it again."""
        made = self.output is not None and self.output_hash is not None
        if self.status in ("ok", "failed", "input") and made == (self.status == "ok"):
            return self
        found = f"{one_line(str(self.status), 40)} with{'' if made else 'out'} an output"
        return self._replace(status="failed", reason=_damaged(found), output=None, output_hash=None)


_UNIT = np.dtype([(name, np.int64) for name in ("cell", "unit", "restoration", "reference")])
_STATUSES = ",".join(f"'{status}'" for status in Status)
NO_EXTRACTION = (
    f"(extraction.status NOT IN ({_STATUSES}) OR extraction.status='ok' AND typeof(extraction.features)!='blob')"
)
"""A row of features that is none that was ever written."""


class StoredOutcome(NamedTuple):
    """As much of a stored restoration as planning needs, as it is written down."""

    id: int
    status: str
    output: int | None
    hash: bytes | None
    suffix: str | None
    seconds: float | None


class Score(NamedTuple):
    """A stored value, or the reason why there is none."""

    status: str
    """ok, inf, nan or failed."""
    value: float | None
    reason: str | None

    def checked(self) -> Score:
        """Itself, or a failure where the row is none that was ever written; failures are made anew by the next run."""
        known = self.status in list(Status)
        if (
            known
            and isinstance(self.value, float | int | None)
            and (self.status not in SCORED or self.value is not None)
        ):
            return self
        return Score("failed", None, _damaged(one_line(repr(self.value if known else self.status), 60)))


def _damaged(found: str) -> str:
    return f"its stored row is damaged ({found}); bench run SUITE makes it anew"


class RunRow(NamedTuple):
    """A run's line in the list of runs."""

    id: int
    suite: str
    created: float
    finished: float | None
    """When it was last found complete."""
    record: str


def _run_row(number: int, suite: Any, created: Any, finished: Any, record: Any) -> RunRow:
    """The line of a stored row; of one whose times are none, with a record that every reader says is damaged."""
    if isinstance(suite, str) and isinstance(created, float | int) and isinstance(finished, float | int | None):
        return RunRow(number, suite, created, finished, record)
    return RunRow(number, str(suite), 0.0, None, "")


class Store(Holders):
    """One results folder's rows."""

    def __init__(self, folder: Path, *, writable: bool = True) -> None:
        self._contents: dict[bytes, int] = {}
        self._signatures: dict[tuple[str, str], int] = {}
        self._changed = False
        super().__init__(folder, writable=writable)

    def _forget(self) -> None:
        self._contents.clear()  # ids handed out inside the transaction are gone with it
        self._signatures.clear()
        self._changed = False

    # What a run may show has changed; who counts on that is `bench.results.tallies`

    def changes(self) -> int:
        """Grows with every write that a run's values may depend on."""
        return int(self._rows("SELECT number FROM change")[0][0])

    def changed(self) -> None:
        """Something was written. Counted at the end of a transaction: whoever reads sees both or neither."""
        self._changed = True
        if not self._db.in_transaction:
            self._committing()

    def _committing(self) -> None:
        if self._changed:
            self._changed = False
            self._db.execute("UPDATE change SET number=number+1")

    # Contents, signatures and the memo

    def content_id(self, digest: bytes, *, create: bool = True) -> int | None:
        """The integer that stands for a content hash."""
        known = self._contents.get(digest)
        if known is None:
            rows = []
            if create:  # most are new
                rows = self._rows("INSERT INTO content(hash) VALUES(?) ON CONFLICT DO NOTHING RETURNING id", (digest,))
            rows = rows or self._rows("SELECT id FROM content WHERE hash=?", (digest,))
            if not rows:
                return None
            known = int(rows[0][0])
            self._contents[digest] = known
        return known

    def content_ids(self, digests: Iterable[bytes]) -> dict[bytes, int]:
        """The known ones among many hashes."""
        return {row[1]: row[0] for row in self._rows_in("SELECT id, hash FROM content WHERE hash IN (?)", digests)}

    def content_hashes(self, ids: Iterable[int]) -> dict[int, bytes]:
        """The hash behind each integer."""
        return dict(self._rows_in("SELECT id, hash FROM content WHERE id IN (?)", ids))

    def signature_id(self, text: str, mode: str, *, of_sets: bool = False, create: bool = True) -> int | None:
        """The integer that stands for a signature in a numeric mode; `of_sets` for values of whole sets."""
        known = self._signatures.get((text, mode))
        if known is None:
            rows = self._rows("SELECT id FROM signature WHERE text=? AND mode=?", (text, mode))
            if not rows and create:
                self._rows("INSERT OR IGNORE INTO signature(text, mode, of_sets) VALUES(?,?,?)", (text, mode, of_sets))
                rows = self._rows("SELECT id FROM signature WHERE text=? AND mode=?", (text, mode))
            if not rows:
                return None
            known = int(rows[0][0])
            self._signatures[text, mode] = known
        return known

    def memos(self, stamps: Iterable[Stamp]) -> dict[str, Memo]:
        """By locator, for the sources that have not changed since they were last decoded."""
        wanted = {stamp.locator: stamp for stamp in stamps}
        sql = (
            "SELECT locator, size, mtime_ns, ctime_ns, inode, hash, height, width, error FROM memo "
            "JOIN content ON content.id=content WHERE locator IN (?)"
        )
        return {
            row[0]: Memo(*row[len(Stamp._fields) :])
            for row in self._rows_in(sql, wanted)
            if row[: len(Stamp._fields)] == wanted[row[0]]
        }

    def remember(self, stamp: Stamp, memo: Memo) -> None:
        self._rows(
            "INSERT OR REPLACE INTO memo VALUES(?,?,?,?,?,?,?,?,?)",
            (*stamp, self.content_id(memo.hash), memo.height, memo.width, memo.error),
        )

    # Restorations

    _RESTORATION = (
        "SELECT key, restoration.id, status, reason, output, content.hash, suffix, height, width, seconds, device, "
        "batch, threads FROM restoration LEFT JOIN content ON content.id=output WHERE "
    )

    def restorations(self, keys: Iterable[bytes]) -> dict[bytes, StoredRestoration]:
        rows = self._rows_in(self._RESTORATION + "key IN (?)", keys)
        return {row[0]: StoredRestoration(*row[1:]).checked() for row in rows}

    def outcomes(self, keys: Iterable[bytes]) -> dict[bytes, StoredOutcome]:
        sql = (
            "SELECT key, restoration.id, status, output, content.hash, suffix, seconds FROM restoration "
            "LEFT JOIN content ON content.id=output WHERE key IN (?)"
        )
        return {row[0]: StoredOutcome(*row[1:]) for row in self._rows_in(sql, keys)}

    def put_restoration(
        self,
        key: bytes,
        *,
        input_hash: bytes,
        status: str,
        reason: str | None = None,
        output_hash: bytes | None = None,
        size: tuple[int, int] | None = None,
        suffix: str | None = None,
        seconds: float | None = None,
        batch: int | None = None,
        threads: int | None = None,
        device: str | None = None,
    ) -> int:
        """Write a row, or replace one that failed before. A row that is `ok` is never made worse. Returns its id."""
        height, width = size or (None, None)
        values = {
            "key": key, "input": self.content_id(input_hash), "status": status, "reason": reason,
            "output": None if output_hash is None else self.content_id(output_hash), "height": height, "width": width,
            "suffix": suffix, "seconds": seconds, "batch": batch, "threads": threads, "device": device,
            "written": time.time(),
        }  # fmt: skip
        columns = ",".join(values)
        updates = ",".join(f"{name}=excluded.{name}" for name in values if name != "key")
        rows = self._rows(
            f"INSERT INTO restoration({columns}) VALUES({','.join(':' + name for name in values)}) "
            f"ON CONFLICT(key) DO UPDATE SET {updates} WHERE restoration.status!='ok' OR excluded.status='ok' "
            "RETURNING id",
            values,  # type: ignore[arg-type]
        )
        self.changed()
        return int((rows or self._rows("SELECT id FROM restoration WHERE key=?", (key,)))[0][0])

    def put_trace(self, restoration: int, steps: str, pictures: Mapping[int, bytes]) -> None:
        """How a restoration came about, with content hashes of the images after its rounds; replaces what is there."""
        self._rows("INSERT OR REPLACE INTO trace VALUES(?,?)", (restoration, steps))
        self._rows("DELETE FROM stage WHERE restoration=?", (restoration,))
        for number, picture in pictures.items():
            self._rows("INSERT INTO stage VALUES(?,?,?)", (restoration, number, self.content_id(picture)))

    def has_traces(self) -> bool:
        """Whether there is any of any run: most stores have none, and need not look for a run's."""
        return bool(self._rows("SELECT 1 FROM trace LIMIT 1"))

    def traces_of(self, run: int) -> dict[int, tuple[str, dict[int, bytes]]]:
        """By restoration id, for every unit of a run that has one: the trace's text, and its pictures by round."""
        sql = "SELECT restoration, steps FROM trace WHERE restoration IN (SELECT restoration FROM unit WHERE run=?)"
        found: dict[int, tuple[str, dict[int, bytes]]] = {row[0]: (row[1], {}) for row in self._rows(sql, (run,))}
        sql = (
            "SELECT restoration, number, hash FROM stage JOIN content ON content.id=picture "
            "WHERE restoration IN (SELECT restoration FROM unit WHERE run=?)"
        )
        for restoration, number, picture in self._rows(sql, (run,)):
            if restoration in found:
                found[restoration][1][number] = picture
        return found

    # Scores and features

    def scores(self, outputs: Iterable[int], signature: int) -> dict[tuple[int, int], Score]:
        """By (output, reference)."""
        sql = "SELECT output, reference, status, value, reason FROM score WHERE signature=? AND output IN (?)"
        return {(row[0], row[1]): Score(*row[2:]).checked() for row in self._rows_in(sql, outputs, [signature])}

    def put_score(
        self,
        output: int,
        reference: int,
        signature: int,
        score: Score,
        seconds: float | None = None,
        *,
        anew: bool = False,
    ) -> None:
        """Write a value; one that is there stays, unless it was a failure or is to be made `anew`."""
        self._rows(
            "INSERT INTO score VALUES(?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET status=excluded.status, "
            "value=excluded.value, reason=excluded.reason, seconds=excluded.seconds "
            "WHERE ? OR score.status IN ('failed','nan') "
            f"OR score.status NOT IN ({_STATUSES}) "  # from here on: rows that are damaged, as `Score.checked` has it
            "OR typeof(score.value) IN ('text','blob') OR score.status IN ('ok','inf') AND score.value IS NULL",
            (output, reference, signature, score.status, score.value, score.reason, seconds, anew),
        )
        self.changed()

    def extractions(self, outputs: Iterable[int], signature: int) -> dict[tuple[int, int], Score]:
        """By (output, reference), without the features themselves."""
        whole = f"CASE WHEN {NO_EXTRACTION} THEN NULL ELSE status END"
        columns = f"output, reference, {whole}, reason"
        sql = f"SELECT {columns} FROM extraction WHERE signature=? AND output IN (?)"  # noqa: S608 – words of ours alone
        return {
            (row[0], row[1]): Score("failed", None, _damaged("its features"))
            if row[2] is None
            else Score(row[2], None, row[3])
            for row in self._rows_in(sql, outputs, [signature])
        }

    def features(self, output: int, reference: int, signature: int) -> bytes:
        sql = "SELECT features FROM extraction WHERE output=? AND reference=? AND signature=? AND status='ok'"
        return bytes(self._rows(sql, (output, reference, signature))[0][0])

    def put_extraction(
        self,
        output: int,
        reference: int,
        signature: int,
        *,
        status: str,
        features: bytes | None,
        reason: str | None,
        seconds: float | None = None,
        anew: bool = False,
    ) -> None:
        self._rows(
            "INSERT INTO extraction VALUES(?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET status=excluded.status, "
            "features=excluded.features, reason=excluded.reason, seconds=excluded.seconds "
            f"WHERE ? OR extraction.status IN ('failed','nan') OR {NO_EXTRACTION}",
            (output, reference, signature, status, features, reason, seconds, anew),
        )
        self.changed()

    def set_place(
        self, outputs: Iterable[bytes], references: Sequence[int], *, create: bool = True
    ) -> tuple[int, int] | None:
        """The (output, reference) under which a set's value is stored; None if it is not and may not be created.

        `outputs` are content hashes, `references` content ids; order does not matter, duplicates count.
        """
        hashes = self.content_hashes(references)
        truths = [hashes[reference] for reference in references]
        output = self.content_id(set_hash(outputs), create=create)
        reference = self.content_id(set_hash(truths), create=create) if truths else 0
        return None if output is None or reference is None else (output, reference)

    # Times; what a row means is `bench.results.timings`

    def machine_id(self, digest: bytes, description: str) -> int:
        """The integer that stands for a machine's fingerprint."""
        self._rows("INSERT OR IGNORE INTO machine(digest, description) VALUES(?,?)", (digest, description))
        return int(self._rows("SELECT id FROM machine WHERE digest=?", (digest,))[0][0])

    def put_latency(self, row: LatencyRow) -> int:
        """Add a row; its `id` and the machine's two texts are this store's business. Nothing is ever replaced."""
        values = row._asdict()
        values |= {"id": None, "machine": self.machine_id(row.machine, values.pop("description"))}
        marks = ",".join(f":{name}" for name in values)
        sql = f"INSERT INTO latency({','.join(values)}) VALUES({marks}) RETURNING id"
        return int(self._rows(sql, values)[0][0])  # type: ignore[arg-type]

    def latencies(self, column: Literal["method", "request", "session"], values: Iterable[Any]) -> list[LatencyRow]:
        """Rows whose column has one of these values, newest first."""
        names = ",".join(
            {"id": "latency.id", "machine": "machine.digest"}.get(name, name) for name in LatencyRow._fields
        )
        sql = f"SELECT {names} FROM latency JOIN machine ON machine.id=machine WHERE {column} IN (?)"  # noqa: S608
        rows = self._rows_in(sql, values)
        return sorted((LatencyRow(*row) for row in rows), key=lambda row: -row.id)

    # Runs

    def runs(self, suite: str | None = None) -> list[RunRow]:
        """Newest first: by their numbers, which grow whatever the clock does."""
        sql = "SELECT id, suite, created, finished, record FROM run"
        where, values = (" WHERE suite=?", [suite]) if suite is not None else ("", [])
        return [_run_row(*row) for row in self._rows(f"{sql}{where} ORDER BY id DESC", values)]

    def run(self, number: int) -> RunRow | None:
        rows = self._rows("SELECT id, suite, created, finished, record FROM run WHERE id=?", (number,))
        return _run_row(*rows[0]) if rows else None

    def run_names(self) -> list[tuple[int, str]]:
        """(number, suite) of every run, newest first: the records of many are long."""
        return [(number, str(suite)) for number, suite in self._rows("SELECT id, suite FROM run ORDER BY id DESC")]

    def newest_run(self, suite: str) -> tuple[RunRow, bytes] | None:
        """A suite's run with the highest number, and the digest of its plan."""
        sql = "SELECT id, suite, created, finished, record, digest FROM run WHERE suite=? ORDER BY id DESC LIMIT 1"
        rows = self._rows(sql, (suite,))
        return (_run_row(*rows[0][:5]), rows[0][5]) if rows else None

    def create_run(self, suite: str, digest: bytes, record: str) -> int:
        sql = "INSERT INTO run(suite, digest, created, record) VALUES(?,?,?,?) RETURNING id"
        return int(self._rows(sql, (suite, digest, time.time(), record))[0][0])

    def finish_run(self, run: int) -> None:
        """Also where it was finished before: whoever runs it again means this one."""
        self._rows("UPDATE run SET finished=? WHERE id=?", (time.time(), run))

    def units(self, run: int) -> dict[tuple[int, int], tuple[int | None, int]]:
        """(cell, item) → (restoration id, reference content id, 0 where there is none)."""
        rows = self._rows("SELECT cell, item, restoration, reference FROM unit WHERE run=?", (run,))
        return {(row[0], row[1]): (row[2], row[3]) for row in rows}

    def unit_columns(self, run: int) -> np.ndarray:
        """Units of a run as columns: cell, unit, restoration id (0 for none), reference content id (0 for none)."""
        sql = "SELECT cell, item, coalesce(restoration, 0), reference FROM unit WHERE run=?"
        return np.fromiter(self.select(sql, (run,)), _UNIT)

    def unit_places(self, run: int, cell: int) -> np.ndarray:
        """Which units of a cell are recorded."""
        found = self.select("SELECT item FROM unit WHERE run=? AND cell=?", (run, cell))
        return np.fromiter((row[0] for row in found), np.int64)

    def drop_units(self, run: int, units: Iterable[tuple[int, int]]) -> None:
        """Forget what some (cell, item) of a run were found to be: it does not hold any more."""
        with self._clear_errors():
            self._db.executemany(
                "DELETE FROM unit WHERE run=? AND cell=? AND item=?", ((run, *place) for place in units)
            )
        self.changed()

    def put_units(self, run: int, units: Iterable[tuple[int, int, int, int]]) -> None:
        """(cell, item, restoration id, reference content id) rows of a run; what is there stays."""
        before = self._db.total_changes
        with self._clear_errors():
            self._db.executemany(
                "INSERT OR IGNORE INTO unit(run, cell, item, restoration, reference) VALUES(?,?,?,?,?)",
                ((run, *unit) for unit in units),
            )
        if self._db.total_changes != before:
            self.changed()

    def restorations_of(self, run: int) -> dict[int, tuple[bytes, StoredRestoration]]:
        """By restoration id, for every unit of a run: its input's content hash, and the restoration."""
        sql = (
            "SELECT DISTINCT given.hash, r.id, r.status, r.reason, r.output, made.hash, r.suffix, r.height, r.width, "
            "r.seconds, r.device, r.batch, r.threads FROM unit JOIN restoration r ON r.id=unit.restoration "
            "JOIN content given ON given.id=r.input LEFT JOIN content made ON made.id=r.output WHERE unit.run=?"
        )
        return {row[1]: (row[0], StoredRestoration(*row[1:]).checked()) for row in self._rows(sql, (run,))}

    # Housekeeping

    def sweep(self, doomed: Iterable[int] = ()) -> tuple[int, set[bytes]]:
        """Delete some runs, then the rows that no run names. Returns how many rows, and the outputs still needed.

        Values of whole sets stay: they are small, and which run they belong to is not written down. The caller's
        transaction is what makes the decision and the deletion one.
        """
        rows = 0
        with self._clear_errors():
            for run in doomed:
                self._db.execute("UPDATE lease SET run=NULL WHERE run=?", (run,))
                self._db.execute("DELETE FROM unit WHERE run=?", (run,))
                self._db.execute("DELETE FROM run WHERE id=?", (run,))
            for sql in (
                "DELETE FROM restoration WHERE id NOT IN (SELECT restoration FROM unit WHERE restoration IS NOT NULL)",
                "DELETE FROM score WHERE output NOT IN (SELECT output FROM restoration WHERE output IS NOT NULL) "
                "AND signature NOT IN (SELECT id FROM signature WHERE of_sets)",
                "DELETE FROM extraction WHERE output NOT IN (SELECT output FROM restoration WHERE output IS NOT NULL) "
                "AND output NOT IN (SELECT reference FROM unit)",
            ):
                rows += self._db.execute(sql).rowcount
            needed = self._db.execute(
                "SELECT hash FROM content JOIN restoration ON output=content.id WHERE suffix IS NOT NULL "
                "UNION SELECT hash FROM content JOIN stage ON picture=content.id"
            ).fetchall()
        return rows, {row[0] for row in needed}
