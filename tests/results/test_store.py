"""The store: rows are written once, kept unless they failed, and never read by an older program."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from bench import identity
from bench.data.items import Stamp
from bench.errors import BenchError
from bench.results import timings
from bench.results.claims import Claims
from bench.results.record import problem
from bench.results.schema import SCHEMA_VERSION
from bench.results.store import FILE_NAME, Memo, Score, Store


def key(text: str) -> bytes:
    return identity.digest(text)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def put(store: Store, name: str, status: str = "ok", output: str | None = "out", reason: str | None = None) -> int:
    made = None if output is None else key(output)
    return store.put_restoration(
        key(name), input_hash=key("in"), status=status, reason=reason, output_hash=made, suffix="png", size=(4, 5)
    )


def test_content_ids_are_stable_across_connections(tmp_path: Path):
    with Store(tmp_path) as first:
        number = first.content_id(key("a"))
    with Store(tmp_path, writable=False) as second:
        assert second.content_id(key("a"), create=False) == number
        assert second.content_id(key("b"), create=False) is None


def test_a_good_restoration_is_never_made_worse(store: Store):
    put(store, "k")
    put(store, "k", status="failed", output=None, reason="later")
    assert store.restorations([key("k")])[key("k")].status == "ok"


def test_a_failed_restoration_is_replaced_under_the_same_id(store: Store):
    first = put(store, "k", status="failed", output=None, reason="out of memory")
    assert put(store, "k") == first
    row = store.restorations([key("k")])[key("k")]
    assert (row.status, row.reason, row.output_hash, row.height, row.width) == ("ok", None, key("out"), 4, 5)


def test_a_score_is_written_once_and_only_a_failure_gives_way(store: Store):
    place = (store.content_id(key("out")) or 0, 0, store.signature_id("psnr|v:1", "") or 0)
    store.put_score(*place, Score("failed", None, "no"))
    store.put_score(*place, Score("ok", 30.0, None))
    store.put_score(*place, Score("ok", 99.0, None))
    assert store.scores([place[0]], place[2]) == {(place[0], 0): Score("ok", 30.0, None)}


@pytest.mark.parametrize("damage", ["value='abc'", "value=x'00'", "value=NULL", "status='weird'"])
def test_a_damaged_score_is_a_failure_that_gives_way(store: Store, tmp_path: Path, damage: str):
    place = (store.content_id(key("out")) or 0, 0, store.signature_id("psnr|v:1", "") or 0)
    store.put_score(*place, Score("ok", 30.0, None))
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as db, db:
        db.execute(f"UPDATE score SET {damage}")
    read = store.scores([place[0]], place[2])[place[0], 0]
    assert read.status == "failed" and read.value is None and "its stored row is damaged" in str(read.reason)
    store.put_score(*place, Score("ok", 30.0, None))
    assert store.scores([place[0]], place[2])[place[0], 0] == Score("ok", 30.0, None)


@pytest.mark.parametrize("damage", ["status='weird'", "status=''", "status=7", "output=NULL", "status='failed'"])
def test_a_damaged_restoration_is_a_failure_that_gives_way(store: Store, tmp_path: Path, damage: str):
    first = put(store, "k")
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as db, db:
        db.execute(f"UPDATE restoration SET {damage}")
    read = store.restorations([key("k")])[key("k")]
    assert (read.status, read.output, read.output_hash) == ("failed", None, None)
    assert "its stored row is damaged" in str(read.reason)
    number = store.create_run("s", key("plan"), "{}")
    store.put_units(number, [(0, 0, first, 0)])
    assert store.restorations_of(number)[first][1] == read
    assert put(store, "k") == first and store.restorations([key("k")])[key("k")].status == "ok"


@pytest.mark.parametrize("damage", ["status='weird'", "features=NULL", "features='abc'"])
def test_a_damaged_row_of_features_is_a_failure_that_gives_way(store: Store, tmp_path: Path, damage: str):
    output, signature = store.content_id(key("out")) or 0, store.signature_id("fid|v:1", "") or 0
    store.put_extraction(output, 0, signature, status="ok", features=b"numbers", reason=None)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as db, db:
        db.execute(f"UPDATE extraction SET {damage}")
    read = store.extractions([output], signature)[output, 0]
    assert read.status == "failed" and "its stored row is damaged" in str(read.reason)
    store.put_extraction(output, 0, signature, status="ok", features=b"numbers", reason=None)
    assert store.extractions([output], signature)[output, 0].status == "ok"
    assert store.features(output, 0, signature) == b"numbers"


@pytest.mark.parametrize("damage", ["created='abc'", "finished='abc'", "suite=x'ff'"])
def test_a_damaged_line_of_a_run_is_read_as_a_damaged_record(store: Store, tmp_path: Path, damage: str):
    number = store.create_run("s", key("plan"), "{}")
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as db, db:
        db.execute(f"UPDATE run SET {damage}")
    row = store.run(number)
    assert row is not None and isinstance(row.created, float) and problem(row.record) is not None


def test_an_infinite_value_comes_back_as_it_was(store: Store):
    output, signature = store.content_id(key("out")) or 0, store.signature_id("psnr|v:1", "") or 0
    store.put_score(output, 0, signature, Score("inf", float("inf"), None))
    assert store.scores([output], signature)[output, 0].value == float("inf")


def test_the_same_signature_in_another_numeric_mode_is_another(store: Store):
    assert store.signature_id("lpips|v:1", '{"device":"cpu"}') != store.signature_id("lpips|v:1", '{"device":"cuda"}')


def test_a_memo_counts_only_while_size_and_time_are_the_same(store: Store):
    stamp = Stamp("/a.png", 10, 123)
    store.remember(stamp, Memo(key("a"), 4, 5, None))
    assert store.memos([stamp])["/a.png"] == Memo(key("a"), 4, 5, None)
    assert store.memos([stamp._replace(mtime_ns=124)]) == {}
    assert store.memos([stamp._replace(size=11)]) == {}


def test_more_keys_than_one_statement_holds_are_found(store: Store):
    for number in range(1203):
        put(store, f"k{number}", output=f"o{number}")
    assert len(store.restorations(key(f"k{number}") for number in range(1203))) == 1203


def test_what_happens_in_a_transaction_that_fails_did_not_happen(store: Store):
    with pytest.raises(RuntimeError), store.transaction():
        put(store, "k", output="new")
        raise RuntimeError
    assert store.restorations([key("k")]) == {}
    # The id handed out inside is gone too: asking again must not answer from a memory of it.
    assert store.content_id(key("new"), create=False) is None


def test_a_set_does_not_depend_on_the_order_of_its_members(store: Store):
    outputs, references = [key("a"), key("b")], [store.content_id(key(name)) or 0 for name in ("c", "d")]
    assert store.set_place(outputs, references) == store.set_place(outputs[::-1], references[::-1])
    assert store.set_place(outputs, references) != store.set_place(outputs[:1], references)
    assert store.set_place(outputs, references) != store.set_place([*outputs, outputs[0]], references)
    assert store.set_place(outputs, references) != store.set_place(outputs, [*references, references[0]])
    assert store.set_place(outputs, references) != store.set_place(outputs, [])


def test_a_newer_schema_is_refused_in_one_line(tmp_path: Path):
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    with pytest.raises(BenchError, match=f"has schema {SCHEMA_VERSION + 1}, this bench reads up to {SCHEMA_VERSION}"):
        Store(tmp_path)


def test_every_released_schema_still_opens(tmp_path: Path):
    for script in sorted((Path(__file__).parent / "schemas").glob("*.sql")):
        folder = tmp_path / script.stem
        folder.mkdir()
        with sqlite3.connect(folder / FILE_NAME) as db:
            db.executescript(script.read_text(encoding="utf-8"))
        with Store(folder) as store:
            assert store.runs()[0].suite == "released"
            assert store.restorations([key("kept")])[key("kept")].output_hash == key("out")
            times = timings.find(store, methods=[key("kept")])
            assert [one.samples.tolist() for one in times] == [[1e6, 2e6, 4e6]]
            assert {path.stem for path in (Path(__file__).parent / "schemas").glob("*.sql")} >= {f"v{SCHEMA_VERSION}"}


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path):
    (tmp_path / FILE_NAME).write_bytes(b"not a database" * 100)
    with pytest.raises(BenchError, match="file is not a database"):
        Store(tmp_path)


def test_a_folder_without_results_is_not_made_by_reading(tmp_path: Path):
    with pytest.raises(BenchError, match="no results at"):
        Store(tmp_path / "nowhere", writable=False)
    assert not (tmp_path / "nowhere").exists()


def test_a_claim_holds_for_its_owner_and_ends_when_released(store: Store):
    claims = Claims(store)
    assert claims.take([key("u")]) == {key("u")}
    assert claims.take([key("u")]) == {key("u")}
    assert store.claims([key("u")])
    store.release([key("u")])
    assert not store.claims([key("u")])


def _claim_in_another_process(folder: str, connection: object) -> None:
    with Store(Path(folder)) as store:
        connection.send(len(Claims(store).take([key("u"), key("v")])))  # type: ignore[attr-defined]
        connection.recv()  # type: ignore[attr-defined]


def test_what_a_living_process_claimed_is_not_ours_and_what_a_dead_one_claimed_is(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    with Store(tmp_path) as store:
        claims = Claims(store)
        assert claims.take([key("u")])
        other = context.Process(target=_claim_in_another_process, args=(str(tmp_path), there))
        other.start()
        assert here.recv() == 1  # v only: u is ours
        assert claims.take([key("u"), key("v")]) == {key("u")}
        os.kill(other.pid or 0, 9)
        other.join()
        deadline = time.monotonic() + 5
        while claims.take([key("v")]) != {key("v")}:
            assert time.monotonic() < deadline


def test_collecting_drops_what_no_run_names_and_keeps_the_rest(store: Store):
    kept, _ = put(store, "kept", output="a"), put(store, "orphan", output="b")
    run = store.create_run("s", key("plan"), "{}")
    store.put_units(run, [(0, 0, kept, 0)])
    signature = store.signature_id("psnr|v:1", "") or 0
    for name in ("a", "b"):
        store.put_score(store.content_id(key(name)) or 0, 0, signature, Score("ok", 1.0, None))
    assert store.sweep() == (2, {key("a")})
    assert set(store.restorations([key("kept"), key("orphan")])) == {key("kept")}
    assert store.sweep([run]) == (2, set())


def test_content_is_pixels_with_their_type_and_shape():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert identity.content_hash(image) == identity.content_hash(np.asfortranarray(image))
    assert identity.content_hash(image) != identity.content_hash(image.astype(np.uint16))
    assert identity.content_hash(image) != identity.content_hash(image.reshape(1, 4, 3))


def test_a_key_changes_with_everything_that_can_change_an_output():
    base = {
        "method": {"name": "m", "options": {"a": 1}},
        "content": b"x",
        "seed": None,
        "mode": {"device": "cpu"},
        "quantise": "round",
    }
    others = [
        {**base, "method": {"name": "m", "options": {"a": 2}}}, {**base, "content": b"y"}, {**base, "seed": 1},
        {**base, "mode": {"device": "cuda"}}, {**base, "quantise": "none"},
    ]  # fmt: skip
    keys = {
        identity.restoration_key(
            one["method"], one["content"], seed=one["seed"], mode=one["mode"], quantise=one["quantise"]
        )
        for one in [base, *others]
    }  # type: ignore[arg-type]
    assert len(keys) == 6


def test_an_items_seed_depends_on_its_content_the_suites_seed_and_the_repeat_only():
    assert identity.item_seed(b"x", 0, 0) == identity.item_seed(b"x", 0, 0)
    assert (
        len(
            {
                identity.item_seed(b"x", 0, 0),
                identity.item_seed(b"y", 0, 0),
                identity.item_seed(b"x", 1, 0),
                identity.item_seed(b"x", 0, 1),
            }
        )
        == 4
    )
    assert 0 <= identity.item_seed(b"x", 0, 0) < 2**63
