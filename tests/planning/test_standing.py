"""Columns against single units: what is counted in the store for all is what is found by looking at each."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from benchmarks import scores_store

import bench
from bench.planning.jobs import Facts, Job, examine, facts_of_items
from bench.planning.plan import make_plan
from bench.planning.standing import stand
from bench.results import view
from bench.results.artefacts import Shelf
from bench.results.status import of_unit
from bench.results.store import Store
from bench.runner.request import Request, resolve_request

DAMAGE = (
    "UPDATE score SET status='odd' WHERE rowid_of % 97 = 1",
    "UPDATE score SET value=NULL WHERE rowid_of % 97 = 2",
    "UPDATE score SET value='a word' WHERE rowid_of % 97 = 3",
    "UPDATE score SET value=x'00' WHERE rowid_of % 97 = 4",
    "UPDATE score SET status='failed', value=NULL, reason='no memory' WHERE rowid_of % 97 = 5",
    "UPDATE score SET status='nan', value=NULL WHERE rowid_of % 97 = 6",
    "DELETE FROM score WHERE rowid_of % 97 = 7",
    "UPDATE restoration SET status='failed', output=NULL, reason='broke' WHERE id % 23 = 1",
    "UPDATE restoration SET status='odd' WHERE id % 23 = 2",
    "UPDATE restoration SET suffix=NULL WHERE id % 5 = 3",
    "DELETE FROM memo WHERE locator LIKE '%/high/000003.png%'",
)
"""Everything that a row can be; `rowid_of` stands for a number of a score."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 3 methods and 4 metrics on 60 items, recorded whole, and then every kind of row that there is."""
    made = tmp_path_factory.mktemp("scores") / "store"
    scores_store.make(made, 60, 3, 4, flaws=True)
    bench.run(str(made / "suite.yaml"), results=made / "results")
    with closing(sqlite3.connect(made / "results" / "bench.db")) as db, db:
        for sql in DAMAGE:
            db.execute(sql.replace("rowid_of", "(output * 7 + signature)"))
    for lost in sorted((made / "results" / "outputs").glob("*/*"))[:20]:
        lost.unlink()
    return made


def request(folder: Path) -> Request:
    return Request(str(folder / "suite.yaml"), results=str(folder / "results"))


def jobs_and_facts(folder: Path, store: Store) -> list[tuple[Job, list[Facts]]]:
    plan = make_plan(resolve_request(request(folder)), store, "cpu")
    return [(job, facts_of_items(store, job.dataset.dataset.items)) for job in plan.jobs]


def test_what_stands_of_all_units_is_what_stands_of_each(folder: Path):
    with Store(folder / "results") as store:
        kinds = set()
        for job, facts in jobs_and_facts(folder, store):
            shelf = Shelf(store.folder)
            found = stand(store, job, facts, shelf)
            states = examine(store, job, range(job.units), facts, shelf)
            assert found.done.tolist() == [state.done for state in states]
            assert found.unknown.tolist() == [state.unknown for state in states]
            assert found.restorations.tolist() == [one.restoration.id if one.restoration else 0 for one in states]
            assert found.scorable.tolist() == [bool(one.todo) and not one.done and not one.gone for one in states]
            kinds |= {(one.done, bool(one.todo), one.gone, one.unkept) for one in states}
        # Done, with and without pixels; scorable; gone; and not kept where another value is due.
        assert {(True, False, False, False), (True, False, False, True), (False, True, False, False)} <= kinds
        assert {(False, False, True, False), (False, True, True, True)} <= kinds


def test_values_of_all_units_are_those_of_each(folder: Path):
    with Store(folder / "results") as store:
        data = view.read_cells(store, 1)
        statuses = set()
        for cell in data.cells:
            dataset = data.record.datasets[0]
            method = next(one for one in data.record.methods if one.label == cell.method)
            units = data.units[cell.dataset, cell.method]
            signature = store.signature_id(cell.column.row_signature, cell.column.mode, create=False)
            assert signature is not None
            held = store.scores([unit.made.output for unit in units if unit.made and unit.made.output], signature)
            verdicts = [of_unit(unit, dataset, method, cell.column, held) for unit in units]
            assert [score[2:] for score in cell.scores] == [tuple(one) for one in verdicts]
            assert [cell.scores[place] for place in range(len(units))] == list(cell.scores)
            statuses |= {one.status for one in verdicts}
            values = [one.value for one in verdicts if one.status in ("ok", "inf")]
            assert cell.n == len(values) and list(cell.item_values) == values
        assert statuses >= {"ok", "inf", "nan", "failed", "input", "pending"}


def test_the_long_form_is_the_same_whether_it_is_read_at_once_or_streamed(folder: Path):
    with Store(folder / "results") as store:
        assert list(view.stream(store, 1)) == list(view.rows(view.read_cells(store, 1)))


def test_resamples_that_are_shared_are_those_of_each_sample_alone():
    from bench.tables import statistics

    samples = [np.random.default_rng(seed).normal(size=700 + 10 * (seed % 2)) for seed in range(5)]
    samples += [np.array([1.0, np.inf]), np.array([2.0])]
    drawn = np.random.Generator(np.random.PCG64(statistics.SEED)).integers(0, 700, (statistics.RESAMPLES, 700))
    low, high = np.quantile(samples[0][drawn].mean(axis=1), [0.025, 0.975])
    found = statistics.bootstraps(samples)
    assert found[0] == (low, high) and found[-2:] == [None, None]
    assert found == [statistics.bootstrap(values) for values in samples]


def test_keys_of_many_inputs_are_those_of_each():
    """Written out as JSON by hand: the form in which every stored restoration is found again."""
    import hashlib

    from bench.identity import restoration_key, restoration_keys

    method = {"name": "é\ud800", "b": [1, None], "a": 0.5}
    mode, content = {"tf32": False, "device": "cpu"}, bytes(range(32))
    many = restoration_keys(method, mode=mode, quantise="round")
    for seed, said in ((None, "null"), (2**62, str(2**62))):
        text = (
            '["restoration",1,{"a":0.5,"b":[1,null],"name":"é\ud800"},"' + content.hex() + f'",{said},'
            '{"device":"cpu","tf32":false},"round"]'
        )
        expected = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        assert many(content, seed) == expected
        assert restoration_key(method, content, seed=seed, mode=mode, quantise="round") == expected
