"""What is counted of a run holds until something is written that the run could show."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.results import tallies
from bench.results.store import Score, Store
from bench.results.tallies import Tally

COUNTED = Tally(1, 2, 30, 4, 5, 6, "a processor")


def key(text: str) -> bytes:
    return text.encode().ljust(32, b".")


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path) as made:
        made.put_restoration(key("r"), input_hash=key("in"), status="ok", output_hash=key("out"))
        number = made.create_run("suite", b"digest", "{}")
        row = made.run(number)
        assert row is not None
        tallies.keep(made, row, COUNTED, made.changes())
        yield made


def held(store: Store) -> Tally | None:
    return tallies.known(store, store.runs()).get(1)


def test_it_holds_while_nothing_changes_that_a_run_shows(store: Store):
    store.finish_run(1)
    store.create_run("another", b"digest", "{}")
    store.put_units(1, [])
    assert held(store) == COUNTED


@pytest.mark.parametrize(
    "write",
    [
        lambda store: store.put_score(1, 0, store.signature_id("s", "") or 0, Score("ok", 1.0, None)),
        lambda store: store.put_restoration(key("q"), input_hash=key("in"), status="failed"),
        lambda store: store.put_units(1, [(0, 0, 1, 0)]),
        lambda store: store.put_extraction(
            1, 0, store.signature_id("s", "") or 0, status="ok", features=b"", reason=None
        ),
    ],
)
@pytest.mark.parametrize("together", [False, True])
def test_it_holds_no_more_once_something_was_written(store: Store, write, together: bool):
    if together:
        with store.transaction():
            write(store)
    else:
        write(store)
    assert held(store) is None


def test_what_was_undone_has_not_changed_anything(store: Store):
    with pytest.raises(ZeroDivisionError), store.transaction():
        store.put_restoration(key("q"), input_hash=key("in"), status="failed")
        raise ZeroDivisionError
    store.put_claim(key("c"), "host", 1, 0.0, 0.0)
    assert held(store) == COUNTED


def test_it_is_of_the_record_that_was_read(store: Store):
    store.execute("UPDATE run SET record='damaged'")
    assert held(store) is None


def test_it_goes_with_its_run(store: Store):
    with store.transaction():
        store.sweep([1])
    assert list(store.select("SELECT run FROM tally")) == []
