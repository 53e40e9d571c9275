"""The file of a results folder: ours in any version, damaged, another program's, empty, or on read-only media."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bench import identity
from bench.errors import BenchError
from bench.results import view
from bench.results.database import Database
from bench.results.schema import OLDEST, SCHEMA_VERSION
from bench.results.store import FILE_NAME, Score, Store

SCHEMAS = Path(__file__).parent / "schemas"


def made(folder: Path, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    with closing(sqlite3.connect(folder / FILE_NAME)) as db:
        db.executescript(script)
    return folder / FILE_NAME


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def tables(file: Path) -> dict[str, str]:
    """Definitions by name, without the quotes and spaces that renaming leaves."""
    with closing(sqlite3.connect(file)) as db:
        rows = db.execute("SELECT name, sql FROM sqlite_master WHERE sql NOT NULL").fetchall()
    return {name: re.sub(r'["\s]', "", sql) for name, sql in rows}


@pytest.mark.parametrize("version", range(OLDEST, SCHEMA_VERSION + 1))
def test_a_released_file_becomes_what_a_new_one_is(tmp_path: Path, version: int):
    old = made(tmp_path / "old", (SCHEMAS / f"v{version}.sql").read_text(encoding="utf-8"))
    Store(tmp_path / "old").close()
    Store(tmp_path / "new").close()
    assert tables(old) == tables(tmp_path / "new" / FILE_NAME)
    with closing(sqlite3.connect(old)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []


def test_a_file_from_before_the_first_release_is_refused_and_left_as_it_is(tmp_path: Path):
    Store(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as db:
        db.execute("PRAGMA user_version=2")
    before = (tmp_path / FILE_NAME).read_bytes()
    for writable in (True, False):
        with pytest.raises(BenchError, match=r"has schema 2, from before the first release.*--results DIR"):
            Store(tmp_path, writable=writable)
    assert (tmp_path / FILE_NAME).read_bytes() == before


def test_references_are_enforced(tmp_path: Path):
    with Store(tmp_path) as store:
        run = store.create_run("s", b"d", "{}")
        with pytest.raises(BenchError, match="FOREIGN KEY"):
            store.put_units(run, [(0, 0, 12345, 0)])
        with pytest.raises(BenchError, match="FOREIGN KEY"):
            store.put_score(777, 0, 1, Score("ok", 1.0, None))


@pytest.mark.parametrize("version", [0, 2, 3, 84, -3])
def test_another_programs_file_is_left_as_it_is(tmp_path: Path, version: int):
    file = made(tmp_path, f"CREATE TABLE moz_places(id); PRAGMA user_version={version};")
    before = file.read_bytes()
    for writable in (True, False):
        with pytest.raises(BenchError, match=r"another program's database \(tables: moz_places\), left as it is"):
            Store(tmp_path, writable=writable)
    assert file.read_bytes() == before and names(tmp_path) == [FILE_NAME]


def test_a_version_that_nobody_wrote_is_damage(tmp_path: Path):
    Store(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as db:
        db.execute("PRAGMA user_version=-3")
    for writable in (True, False):
        with pytest.raises(BenchError, match=r"says schema -3, which no bench wrote.*restore it from a copy"):
            Store(tmp_path, writable=writable)


def test_an_empty_file_has_no_results_yet(tmp_path: Path):
    (tmp_path / FILE_NAME).touch()
    with pytest.raises(BenchError, match=r"is empty: bench run SUITE makes results"):
        Store(tmp_path, writable=False)
    with Store(tmp_path) as store:  # what a run killed at its first step left behind
        assert store.runs() == []


def test_a_pipe_in_its_place_is_refused_at_once(tmp_path: Path):
    os.mkfifo(tmp_path / FILE_NAME)
    with pytest.raises(BenchError, match="is not a file"):
        Store(tmp_path)


class _Frozen:
    """Makes folders read-only for this process, also where root runs the tests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "access", lambda place, mode: mode != os.W_OK)


@pytest.mark.parametrize("version", range(OLDEST, SCHEMA_VERSION + 1))
def test_an_older_file_on_read_only_media_is_read_from_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
):
    file = made(tmp_path / "old", (SCHEMAS / f"v{version}.sql").read_text(encoding="utf-8"))
    before = file.read_bytes()
    _Frozen(monkeypatch)
    with Store.reading(tmp_path / "old") as store:
        assert store.runs()[0].suite == "released"
    assert file.read_bytes() == before and names(tmp_path / "old") == [FILE_NAME]


def test_what_only_the_log_holds_is_read_on_read_only_media(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with Store(tmp_path / "live") as store:
        store.create_run("logged", b"d", "{}")
        # As a killed run leaves it: the log was never written back.
        (tmp_path / "medium").mkdir()
        for name in (FILE_NAME, f"{FILE_NAME}-wal"):
            (tmp_path / "medium" / name).write_bytes((tmp_path / "live" / name).read_bytes())
    _Frozen(monkeypatch)
    with Database.reading(tmp_path / "medium") as _, Store.reading(tmp_path / "medium") as frozen:
        assert [row.suite for row in frozen.runs()] == ["logged"]
    assert names(tmp_path / "medium") == [FILE_NAME, f"{FILE_NAME}-wal"]


def test_a_reader_sees_one_instant(tmp_path: Path):
    with Store(tmp_path) as writer:
        writer.create_run("before", b"d", "{}")
        with Store.reading(tmp_path) as reader:
            assert len(reader.runs()) == 1
            writer.create_run("after", b"d", "{}")
            assert len(reader.runs()) == 1
        with Store.reading(tmp_path) as reader:
            assert len(reader.runs()) == 2


RECORD = (
    '{"suite": "s", "title": "", "definition": {}, "datasets": [{"label": "d", "name": "folder", "paired": true, '
    '"protocol": null, "items": ["a"], "columns": []}], "methods": [{"label": "m", "name": "identity", "options": {}, '
    '"identity": {}, "mode": {}, "repeats": 1, "unavailable": null, "licence": null, "restores": true, "scale": 1}], '
    '"provenance": {}}'
)


def test_a_whole_record_is_read(tmp_path: Path):
    with Store(tmp_path) as store:
        number = store.create_run("s", b"d", RECORD)
        assert view.read_cells(store, number).record.suite == "s"


@pytest.mark.parametrize(
    "damaged",
    [
        "", "{", "null", "[]", "7", RECORD[:200], RECORD.replace('"title": "", ', ""),
        RECORD.replace('"items": ["a"]', '"items": "a"'), RECORD.replace('"repeats": 1', '"repeats": 0'),
        RECORD.replace('"repeats": 1', '"repeats": "1"'), RECORD.replace('"columns": []', '"columns": [{}]'),
        RECORD.replace('"definition": {}', '"definition": []'), RECORD.replace('"identity": {}', '"identity": null'),
        RECORD.replace('"provenance": {}', '"provenance": "x"'), "[" * 100_000,
    ],
)  # fmt: skip
def test_a_damaged_record_is_one_line_with_the_remedy(tmp_path: Path, damaged: str):
    with Store(tmp_path) as store:
        number = store.create_run("s", b"d", damaged)
        with pytest.raises(
            BenchError, match=r"run 1 of s: its record is damaged \(.*bench run s records it anew"
        ) as said:
            view.read_cells(store, number)
    assert "\n" not in str(said.value)


def test_content_zero_stands_for_none(tmp_path: Path):
    with Store(tmp_path) as store:
        assert store.content_hashes([0]) == {0: b""}
        assert (store.content_id(identity.digest("first")) or 0) > 0
