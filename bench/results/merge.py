"""Several results folders as one: rows by their keys, outputs by their hashes, the runs of one plan as one run.

Nothing depends on the order of the folders, and one that was merged before changes nothing. The newest run is the one
that was begun last; in a folder whose clock was set back, the one that it has as its newest. Where two folders hold
different values under one key, both are named and nothing is written. Values of whole sets are not made here: whoever
merges asks for them once the rows are together.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from bench import files
from bench.errors import BenchError, one_line
from bench.results import artefacts, votes
from bench.results.leases import Lease, reading
from bench.results.store import Store

_SHOWN = 5
"""Conflicts that are named one by one."""


class Merged(NamedTuple):
    """What was brought together."""

    runs: tuple[int, ...]
    """Numbers of the runs in the folder that holds all, oldest first."""
    files: int
    """Outputs that were copied."""
    sessions: int
    """Of votes, that were copied."""


class _Undone(Exception):
    """Takes a transaction back that only looked for conflicts."""


def merge(folders: Sequence[Path], target: Path) -> Merged:
    """Bring results folders into `target`, which may hold results already. Raises `BenchError` for a conflict."""
    others = [folder for folder in dict.fromkeys(path.resolve() for path in folders) if folder != target.resolve()]
    with ExitStack() as stack:
        sources = [(folder, stack.enter_context(reading(folder))) for folder in others]
        together = stack.enter_context(Store(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        names: list[str] = []
        for folder, source in sources:  # first all of them beside each other, so that a conflict changes nothing
            with together.beside(source), together.transaction():
                _bring(together, str(folder), " and ".join(names[:3]) + (" …" if len(names) > 3 else ""))
            names.append(str(folder))
        store = stack.enter_context(Store(target))
        lease = stack.enter_context(Lease(store, "run"))
        with store.beside(together):
            try:
                with store.transaction():
                    _bring(store, ", ".join(names), str(target))
                    raise _Undone
            except _Undone:
                pass
            copied = sum(_copy(folder, target, lease) for folder in others)
            said = sum(_copy_votes(folder, target) for folder in others)
            with store.transaction():
                lease.check()
                runs = _bring(store, ", ".join(names), str(target))
    return Merged(tuple(runs), copied, said)


def _copy_votes(source: Path, target: Path) -> int:
    """Copy sessions of votes and keys of studies that are not there yet; how many sessions. They cannot be made again.

    Raises `BenchError` for one that is there and says something else.
    """
    count = 0
    for kind, pattern in ((votes.FOLDER, "*/*.json"), (votes.KEYS, "*.json")):
        for file in sorted((source / kind).glob(pattern)):
            place = target / file.relative_to(source)
            try:
                if place.is_file():
                    if place.read_bytes() != file.read_bytes():
                        raise BenchError(f"{file} and {place} are not the same: keep one of them, and merge again")
                    continue
                place.parent.mkdir(parents=True, exist_ok=True)
                with files.replacing(place) as temporary:
                    shutil.copyfile(file, temporary)
            except OSError as error:
                raise BenchError(f"{place}: {one_line(error)}; merge again to go on") from error
            count += kind == votes.FOLDER
    return count


def _copy(source: Path, target: Path, lease: Lease) -> int:
    """Copy the outputs that are not there yet."""
    count = 0
    for file in sorted((source / artefacts.FOLDER).glob("*/*")):
        place = target / artefacts.FOLDER / file.parent.name / file.name
        if file.name.startswith(".part-") or not file.is_file() or place.is_file():
            continue
        if count % 100 == 0:
            lease.check()
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with files.replacing(place) as temporary:
                shutil.copyfile(file, temporary)
        except OSError as error:
            raise BenchError(f"{place}: {one_line(error)}; merge again to go on") from error
        count += 1
    return count


# Rows: of `other` into `main`

_MAPS = (
    "DROP TABLE IF EXISTS temp.content_of", "DROP TABLE IF EXISTS temp.signature_of",
    "DROP TABLE IF EXISTS temp.restoration_of",
    "CREATE TEMP TABLE content_of(theirs INTEGER PRIMARY KEY, ours INTEGER NOT NULL)",
    "CREATE TEMP TABLE signature_of(theirs INTEGER PRIMARY KEY, ours INTEGER NOT NULL)",
    "CREATE TEMP TABLE restoration_of(theirs INTEGER PRIMARY KEY, ours INTEGER NOT NULL)",
    "INSERT OR IGNORE INTO main.content(hash) SELECT hash FROM other.content ORDER BY id",
    "INSERT INTO content_of SELECT o.id, m.id FROM other.content o JOIN main.content m ON m.hash=o.hash",
    "INSERT OR IGNORE INTO main.signature(text, mode, of_sets) SELECT text, mode, of_sets FROM other.signature",
    "INSERT INTO signature_of SELECT o.id, m.id FROM other.signature o "
    "JOIN main.signature m ON m.text=o.text AND m.mode=o.mode",
)  # fmt: skip
"""Which of our numbers stands for which of theirs."""

_MADE = ("suffix", "seconds", "batch", "threads", "device", "height", "width", "reason", "status")
_RESTORATIONS = (
    f"INSERT INTO main.restoration(key, input, output, written, {', '.join(_MADE)}) "  # noqa: S608
    "SELECT o.key, i.ours, (SELECT ours FROM content_of WHERE theirs=o.output), o.written, "
    f"{', '.join('o.' + name for name in _MADE)} FROM other.restoration o JOIN content_of i ON i.theirs=o.input "
    "WHERE true ON CONFLICT(key) DO UPDATE SET input=excluded.input, output=excluded.output, "
    f"written=excluded.written, {', '.join(f'{name}=excluded.{name}' for name in _MADE)} "
    # What was made wins over what failed, then what was kept over what was not, then the older of two rows.
    "WHERE (excluded.status='ok', excluded.suffix IS NOT NULL, -excluded.written) > "
    "(restoration.status='ok', restoration.suffix IS NOT NULL, -restoration.written)",
    "INSERT INTO restoration_of SELECT o.id, m.id FROM other.restoration o JOIN main.restoration m ON m.key=o.key",
)


def _rank(row: str) -> str:
    return f"CASE {row}.status WHEN 'ok' THEN 2 WHEN 'inf' THEN 2 WHEN 'input' THEN 1 ELSE 0 END"


def _values(table: str, value: str) -> str:
    """Statement that takes in scores or features: what was scored wins over what was not."""
    better = (
        f"{_rank('excluded')} > {_rank(table)} OR {_rank('excluded')} = {_rank(table)} AND {_rank(table)} < 2 "
        f"AND coalesce(excluded.reason, '') < coalesce({table}.reason, '')"
    )
    return (
        f"INSERT INTO main.{table}(output, reference, signature, status, {value}, reason, seconds) "  # noqa: S608
        f"SELECT p.ours, q.ours, g.ours, o.status, o.{value}, o.reason, o.seconds FROM other.{table} o "
        "JOIN content_of p ON p.theirs=o.output JOIN content_of q ON q.theirs=o.reference "
        "JOIN signature_of g ON g.theirs=o.signature WHERE true ON CONFLICT DO UPDATE SET status=excluded.status, "
        f"{value}=excluded.{value}, reason=excluded.reason, seconds=excluded.seconds WHERE {better}"
    )


_REST = (
    _values("score", "value"),
    _values("extraction", "features"),
    "INSERT OR IGNORE INTO main.memo SELECT o.locator, o.size, o.mtime_ns, o.ctime_ns, o.inode, c.ours, o.height, "
    "o.width, o.error FROM other.memo o JOIN content_of c ON c.theirs=o.content",
    "INSERT OR IGNORE INTO main.trace SELECT r.ours, o.steps FROM other.trace o "
    "JOIN restoration_of r ON r.theirs=o.restoration",
    "INSERT OR IGNORE INTO main.stage SELECT r.ours, o.number, c.ours FROM other.stage o "
    "JOIN restoration_of r ON r.theirs=o.restoration JOIN content_of c ON c.theirs=o.picture",
    "INSERT OR IGNORE INTO main.machine(digest, description) SELECT digest, description FROM other.machine",
)
_TIMED = (
    "session", "label", "name", "method", "request", "height", "width", "batch", "dtype", "device", "mode", "threads",
    "status", "reason", "samples", "events", "cpu", "record", "written",
)  # fmt: skip
_TIMES = (
    f"INSERT INTO main.latency(machine, {', '.join(_TIMED)}) "  # noqa: S608
    f"SELECT m.id, {', '.join('o.' + one for one in _TIMED)} "
    "FROM other.latency o JOIN other.machine t ON t.id=o.machine JOIN main.machine m ON m.digest=t.digest "
    "WHERE NOT EXISTS (SELECT 1 FROM main.latency k WHERE k.session=o.session AND k.label=o.label "
    "AND k.request=o.request AND k.mode=o.mode AND k.written=o.written) ORDER BY o.id"
)


def _bring(store: Store, theirs: str, ours: str) -> list[int]:
    """Take in all rows of `other`, inside a transaction. Returns our numbers of their runs."""
    for sql in _MAPS:
        store.execute(sql)
    _refuse(_conflicts(store), theirs, ours)
    for sql in (*_RESTORATIONS, *_REST, _TIMES):
        store.execute(sql)
    times = {number: time for number, _, _, time in _in_time(store, "main")}
    newest = {(suite, digest): (number, time) for number, suite, digest, time in _in_time(store, "other")}
    found = []
    for number, time in newest.values():  # an older run of a plan rests on inputs that have changed since
        ((_, *row),) = store.select("SELECT id, suite, digest, finished, record FROM other.run WHERE id=?", (number,))
        mine = _run(store, _TheirRun(number, time, *row), theirs, ours)
        times[mine] = max(times.get(mine, time), time)
        found.append(mine)
    renamed = _ordered(store, times)
    store.changed()
    return sorted(renamed.get(number, number) for number in found)


_INSTANT = 1e-3
"""Seconds between two runs of a folder whose clock was set back."""


def _in_time(store: Store, whose: str) -> list[tuple[int, str, bytes, float]]:
    """A folder's runs by their numbers: (number, suite, digest, time), where none begins before the one ahead of it."""
    found: list[tuple[int, str, bytes, float]] = []
    for number, suite, digest, time in store.select(f"SELECT id, suite, digest, created FROM {whose}.run ORDER BY id"):  # noqa: S608
        found.append((number, suite, digest, max(time, found[-1][3] + _INSTANT) if found else time))
    return found


def _ordered(store: Store, times: Mapping[int, float]) -> dict[int, int]:
    """Give runs that would stand before an earlier one a new number. Returns old and new numbers of these."""
    renamed, last = {}, 0
    for number in sorted(times, key=lambda each: (times[each], each)):
        if number > last:
            last = number
            continue
        columns = "suite, digest, created, finished, record"
        store.execute(f"INSERT INTO main.run({columns}) SELECT {columns} FROM main.run WHERE id=?", (number,))  # noqa: S608
        ((last,),) = store.select("SELECT max(id) FROM main.run")
        for table in ("unit", "lease"):
            store.execute(f"UPDATE main.{table} SET run=? WHERE run=?", (last, number))  # noqa: S608
        store.execute("DELETE FROM main.run WHERE id=?", (number,))
        renamed[number] = int(last)
    return renamed


_UNITS = (
    "INSERT INTO main.unit(run, cell, item, restoration, reference) "
    "SELECT ?, o.cell, o.item, (SELECT ours FROM restoration_of WHERE theirs=o.restoration), c.ours "
    "FROM other.unit o JOIN content_of c ON c.theirs=o.reference WHERE o.run=? "
    "ON CONFLICT(run, cell, item) DO UPDATE SET restoration=excluded.restoration, reference=excluded.reference "
    "WHERE (SELECT status='ok' FROM main.restoration WHERE id=excluded.restoration) > "
    "coalesce((SELECT status='ok' FROM main.restoration WHERE id=unit.restoration), 0)"
)


class _TheirRun(NamedTuple):
    number: int
    created: float
    suite: str
    digest: bytes
    finished: float | None
    record: str


def _run(store: Store, run: _TheirRun, theirs: str, ours: str) -> int:
    """Their run as ours: the one of the same plan where there is one, with the units of both."""
    known = list(
        store.select(
            "SELECT id, created, finished, record FROM main.run WHERE suite=? AND digest=? ORDER BY id DESC LIMIT 1",
            (run.suite, run.digest),
        )
    )
    if not known:
        sql = "INSERT INTO main.run(created, suite, digest, finished, record) VALUES(?,?,?,?,?)"
        store.execute(sql, run[1:])
        ((mine,),) = store.select("SELECT max(id) FROM main.run")
    else:
        mine, begun, ended, told = known[0]
        _refuse(_moved(store, mine, run.number, run.record), theirs, ours)
        begun, told = max((begun, told), (run.created, run.record))
        ended = max((end for end in (ended, run.finished) if end is not None), default=None)
        sql = "UPDATE main.run SET created=?, finished=?, record=? WHERE id=?"
        store.execute(sql, (begun, ended, told, mine))
    store.execute(_UNITS, (mine, run.number))
    return int(mine)


# What cannot both be true

_OTHER_OUTPUTS = (
    "SELECT o.id FROM other.restoration o JOIN main.restoration m ON m.key=o.key "
    "JOIN content_of c ON c.theirs=o.output WHERE m.status='ok' AND o.status='ok' AND c.ours!=m.output LIMIT 1000"
)


def _other_values(table: str, value: str, statuses: str) -> str:
    return (
        f"SELECT o.output, s.text, o.{value}, m.{value} FROM other.{table} o "  # noqa: S608
        "JOIN content_of p ON p.theirs=o.output JOIN content_of q ON q.theirs=o.reference "
        "JOIN signature_of g ON g.theirs=o.signature JOIN other.signature s ON s.id=o.signature "
        f"JOIN main.{table} m ON m.output=p.ours AND m.reference=q.ours AND m.signature=g.ours "
        f"WHERE o.status IN ({statuses}) AND m.status IN ({statuses}) AND o.{value} IS NOT m.{value} LIMIT 1000"
    )


def _conflicts(store: Store) -> Iterator[str]:
    for (restoration,) in list(store.select(_OTHER_OUTPUTS)):
        yield f"{_where(store, 'restoration', restoration)}: another output"
    for output, signature, first, second in list(store.select(_other_values("score", "value", "'ok','inf'"))):
        yield f"{_where(store, 'output', output)}: {signature} is {first!r} and {second!r}"
    for output, signature, _, _ in list(store.select(_other_values("extraction", "features", "'ok'"))):
        yield f"{_where(store, 'output', output)}: other features for {signature}"


def _moved(store: Store, mine: int, number: int, record: str) -> Iterator[str]:
    """Units of two runs of one plan that rest on different images, or have different outputs of such as are stored."""
    sql = (
        "SELECT o.cell, o.item, c.ours!=u.reference OR a.input!=b.input "
        "FROM other.unit o JOIN main.unit u ON u.run=? AND u.cell=o.cell AND u.item=o.item "
        "JOIN restoration_of r ON r.theirs=o.restoration JOIN main.restoration a ON a.id=r.ours "
        "JOIN main.restoration b ON b.id=u.restoration JOIN content_of c ON c.theirs=o.reference "
        "WHERE o.run=? AND a.status='ok' AND b.status='ok' AND (a.id!=b.id OR c.ours!=u.reference) LIMIT 1000"
    )
    for cell, item, given in list(store.select(sql, (mine, number))):
        what = "the input or the reference is another image" if given else "another output"
        yield f"{_named(record, cell, item)}: {what}"


def _refuse(conflicts: Iterator[str], theirs: str, ours: str) -> None:
    found = list(conflicts)
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise BenchError(
            f"{theirs} and {ours} disagree: {'; '.join(found[:_SHOWN])}{more}. Nothing was merged: leave one of them "
            "out, or run again what is wrong in it (bench run --fresh)"
        )


def _where(store: Store, column: str, number: int) -> str:
    """Which unit of theirs a restoration or its output is."""
    sql = (
        "SELECT run.record, unit.cell, unit.item FROM other.restoration r JOIN other.unit ON unit.restoration=r.id "  # noqa: S608
        f"JOIN other.run ON run.id=unit.run WHERE r.{'id' if column == 'restoration' else 'output'}=? LIMIT 1"
    )
    found: list[tuple[Any, ...]] = list(store.select(sql, (number,)))
    return _named(*found[0]) if found else "a value that no run shows"


def _named(record: str, cell: int, item: int) -> str:
    data = json.loads(record)
    dataset, method = divmod(cell, len(data["methods"]))
    dataset, method = data["datasets"][dataset], data["methods"][method]
    position, repeat = divmod(item, method["repeats"])
    again = f" (repeat {repeat + 1})" if repeat else ""
    return f"{method['label']} on {dataset['label']}, {dataset['items'][position]}{again}"
