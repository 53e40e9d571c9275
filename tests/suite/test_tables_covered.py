"""Every value of the papers' tables has a cell in the suite that names its table, or a reason why it has none."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bench.catalog import published
from bench.catalog.published import Value, canonical
from bench.planning.bind import Resolved, resolve
from bench.suite import definition
from bench.tables.meeting import datasets_met as _datasets
from bench.tables.meeting import methods_met as _methods

SUITES = {name: definition.load(definition.find(name)) for name in definition.names()}
OF_TABLE = {file.suite.published: name for name, file in SUITES.items() if file.suite.published}
APART = yaml.safe_load((published.folder() / "INDEX.yaml").read_text(encoding="utf-8"))["apart"]


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def apart(value: Value) -> bool:
    whole, _, part = value.metric.partition("/")
    return value.dataset in APART["datasets"] or bool({whole, part, value.metric} & set(APART["metrics"]))


def cells(resolved: Resolved, table: published.PublishedTable) -> set[tuple[str, str, str]]:
    """(dataset, method, metric) as printed, metrics by the catalogue's names, of every cell of a suite."""
    sets = dict(_datasets(resolved.datasets, table))
    methods = _methods(resolved.methods, table)
    return {
        (sets.get(dataset.label, ""), methods.get(method.label, ""), canonical(metric.label))
        for dataset, method in resolved.jobs()
        if method.is_for(dataset.label)
        for metric in dataset.metrics
    }


def test_every_table_of_the_papers_has_one_suite() -> None:
    assert set(OF_TABLE) == set(published.names())
    assert len(OF_TABLE) == sum(file.suite.published is not None for file in SUITES.values())


@pytest.mark.parametrize("key", published.names())
def test_every_printed_value_has_a_cell_or_a_reason(key: str) -> None:
    table = published.load(key)
    found = cells(resolve(SUITES[OF_TABLE[key]]), table)
    lost = [
        value[2:5] for value in table.values
        if not apart(value) and (value.dataset, value.method, canonical(value.metric)) not in found
    ]  # fmt: skip
    assert not lost


@pytest.mark.parametrize("key", published.names())
def test_a_suite_has_no_method_that_meets_nothing_but_the_input(key: str) -> None:
    """A label that is misspelt would be a row of its own beside the paper's."""
    table = published.load(key)
    ours = resolve(SUITES[OF_TABLE[key]]).methods
    strangers = {one.label for one in ours} - set(_methods(ours, table))
    assert strangers <= EXTRA.get(key, set()) | {"identity"}


ARMS = {
    "rar-tiny", "rar-tiny, always 1", "rar-tiny, always 2", "rar-tiny, always 4", "rar-tiny, not verified",
    "rar-tiny, no roll-back", "rar-tiny, restorer untold", "rar-tiny, code steps", "tool-agent", "oracle-chain",
}  # fmt: skip
EXTRA = {
    "iqpfr/table7": {"GT"}, "rar/unknown": {"autodir", *ARMS}, "rar/composite": ARMS, "rar/efficiency": ARMS,
    "rar/single": ARMS, "rar/ablation": ARMS, "onerestore/cdd11": ARMS,
}  # fmt: skip
"""Rows that a suite has beside those of its table, on purpose."""


def test_what_is_apart_occurs_in_a_table_and_says_why() -> None:
    values = [value for key in published.names() for value in published.load(key).values]
    parts = {part for value in values for part in value.metric.split("/")}
    assert set(APART["metrics"]) <= parts and set(APART["datasets"]) <= {value.dataset for value in values}
    assert all(len(reason) > 10 for kind in APART.values() for reason in kind.values())
    assert sum(map(apart, values)) < 0.2 * len(values)


def test_every_suite_of_a_table_is_short_and_names_the_table_in_its_title() -> None:
    for name in SUITES:
        assert len(definition.find(name).read_text(encoding="utf-8").splitlines()) <= 40, name
    for key, name in OF_TABLE.items():
        paper, _, number = key.partition("/")
        assert paper in SUITES[name].suite.title.casefold()
        if number.startswith("table"):
            assert f"Table {number.removeprefix('table').rstrip('ab')}" in SUITES[name].suite.title
