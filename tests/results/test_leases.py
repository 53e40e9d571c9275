"""Leases: a collection and whoever works with the store exclude each other, and the dead hold nothing."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.results import leases
from bench.results.garbage import collect
from bench.results.leases import Lease, Owner, me
from bench.results.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_runs_and_exports_go_together_and_a_collection_does_not(store: Store):
    refused = pytest.raises(BenchError, match=r"a run is working on .*: wait for it to end")
    with Lease(store, "run"), Lease(store, "export"), refused, Lease(store, "gc"):
        pass
    with Lease(store, "gc"), pytest.raises(BenchError, match="bench gc is collecting in"), Lease(store, "gc"):
        pass
    assert store.leases() == []


def test_whoever_comes_during_a_collection_waits_and_says_so(store: Store, tmp_path: Path):
    said: list[str] = []
    with Lease(store, "gc") as held:
        threading.Timer(0.3, lambda: held.__exit__()).start()
        with Store(tmp_path) as other, Lease(other, "run", said.append):
            assert [row.kind for row in store.leases()] == ["run"]
    assert len(said) == 1 and said[0].startswith("waiting: bench gc is collecting in")


def test_another_machine_is_believed_while_it_is_heard_of(store: Store):
    lease = store.put_lease("run", "elsewhere", 1, 5.0, time.time() - leases.SILENCE + 30)
    with pytest.raises(BenchError, match=r"process 1 on elsewhere"), Lease(store, "gc"):
        pass
    store.drop_lease(lease)
    store.put_lease("run", "elsewhere", 1, 5.0, time.time() - leases.SILENCE - 1)
    with Lease(store, "gc"):
        assert [row.kind for row in store.leases()] == ["gc"]


def test_a_process_whose_lease_was_taken_away_writes_nothing_more(store: Store, tmp_path: Path):
    with Lease(store, "run") as lease:
        lease.check()
        with Store(tmp_path) as other:  # another machine that has not heard of it for too long
            other.drop_lease(other.leases()[0].id)
        with pytest.raises(BenchError, match=r"taken for dead.*run again to go on"):
            lease.check()


def test_a_process_number_that_is_used_again_is_another_process():
    assert not me().gone
    assert Owner(me().host, me().pid, me().started - 100).gone
    assert Owner(me().host, 2**22 + 1, me().started).gone


def test_the_start_of_a_process_does_not_move_with_the_clock(monkeypatch: pytest.MonkeyPatch):
    owner, now = me(), time.time
    monkeypatch.setattr(time, "time", lambda: now() - 86400)
    assert not owner.gone and me() == owner


def test_signs_of_life_are_given_while_one_long_thing_is_done(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(leases, "BEAT", 0.05)
    store.put_claim(b"unit", *me(), 1.0)
    with Lease(store, "run"):
        first = store.leases()[0].beat
        deadline = time.monotonic() + 20
        while store.leases()[0].beat == first or store.claims([b"unit"])[b"unit"][3] == 1.0:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_dry_run_counts_and_deletes_nothing(store: Store, tmp_path: Path):
    run = store.create_run("s", b"d", "{}")
    content = b"\xab" * 32
    number = store.put_restoration(b"k", input_hash=b"i" * 32, status="ok", output_hash=content, suffix="png")
    store.put_units(run, [(0, 0, number, 0)])
    file = tmp_path / "outputs" / "ab" / f"{content.hex()}.png"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"12345")
    told = collect(store, tmp_path, 0, dry_run=True)
    assert told == (1, 1, 1, 5) and file.exists() and store.run(run) is not None
    assert collect(store, tmp_path, None, dry_run=False) == (0, 0, 0, 0) and file.exists()
    assert collect(store, tmp_path, 0, dry_run=False) == told and not file.exists() and store.runs() == []
