"""A run's table in the words and the form of the paper whose table its suite names.

Methods, datasets and metrics that the paper does not have keep their labels. Misprinted names are put right here; a
paper's table on its own keeps them, each with its doubt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from bench.catalog.published import PublishedTable, canonical
from bench.results.view import RunView
from bench.tables.layout import Table
from bench.tables.meeting import Meeting, meet, table_of
from bench.tables.notes import legend


def in_papers_words(table: Table, data: RunView) -> tuple[Table, str]:
    """The table and the form that the paper has; for a run of no paper's table, datasets side by side."""
    theirs = table_of(data)
    if theirs is None:
        several = len(data.record.datasets) > 1
        return table, "columns" if several else "rows"
    return worded(table, theirs, meet(data, theirs)), theirs.form


def worded(table: Table, theirs: PublishedTable, meeting: Meeting) -> Table:
    """A table with the paper's names of what both have, and without what the paper does not measure on a dataset."""
    datasets = {ours: theirs.dataset_title(name) for ours, name in meeting.datasets.items()}
    methods = {ours: theirs.method_title(name) for ours, name in meeting.methods.items()}
    printed = {canonical(metric): theirs.heading(metric) for metric in reversed(theirs.metrics)}
    header = [
        _heading(name, column, printed, meeting)
        for name, column in zip(table.header, table.columns, strict=True)
    ]  # fmt: skip
    used = {(value.dataset, canonical(value.metric)) for value in theirs.values}
    metrics = {metric for _, metric in used}
    rows = []
    for row in table.rows:
        name = meeting.datasets.get(row.dataset, row.dataset)
        cells = [
            cell._replace(text="", mark="", rank=0, beside="", interval="", stars="")
            if _foreign(meeting.metrics.get(column), name, used, metrics)
            else cell
            for cell, column in zip(row.cells, table.columns, strict=True)
        ]
        method = theirs.method_title(row.method) if row.scored == "paper" else methods.get(row.method, row.method)
        rows.append(row._replace(dataset=datasets.get(row.dataset, row.dataset), method=method, cells=cells))
    asides = {
        heading: _for_ours(words, methods, theirs) for heading, words in theirs.asides.items()
    }  # fmt: skip
    notes = [*table.notes, *map(legend, theirs.remarks())]
    return table._replace(
        header=header, rows=rows, asides=asides, notes=notes, first=theirs.first, venues=table.venues and not asides
    )


def _heading(name: str, column: str, printed: Mapping[str, str], meeting: Meeting) -> str:
    """The paper's heading of a column that means what the paper's does; signs behind it stay."""
    metric = meeting.metrics.get(column)
    if metric is None or metric not in printed or any(stranger == column for stranger, _ in meeting.strangers()):
        return name
    return printed[metric] + name[len(name.rstrip("†§¶")) :]


def _foreign(metric: str | None, dataset: str, used: set[tuple[str, str]], metrics: set[str]) -> bool:
    """Whether the paper has a metric, and not for this dataset of its own."""
    sets = {name for name, _ in used}
    return metric in metrics and dataset in sets and (dataset, metric) not in used


def _for_ours(words: Mapping[str, str], methods: Mapping[str, str], theirs: PublishedTable) -> dict[str, str]:
    """Words beside methods, by the names that the rows have."""
    return {theirs.method_title(name): text for name, text in words.items()}


_PLAIN_VENUE = re.compile(r"([A-Z][A-Za-z]*)(?: Workshops?)? (?:19|20)(\d\d)")
_ARXIV = re.compile(r"arXiv:(\d\d)\d\d\.\d+")


def short_venue(venue: str) -> str:
    """A venue as tables of papers have it: CVPR24, arXiv25; empty for a book or a journal without an acronym."""
    named = _PLAIN_VENUE.fullmatch(venue)
    if named:
        return f"{named[1]}{named[2]}"
    archived = _ARXIV.match(venue)
    return f"arXiv{archived[1]}" if archived else ""


def with_short_venues(table: Table) -> Table:
    """The table with short venues, and without any where fewer than half of the methods have one."""
    if not table.venues:
        return table
    rows = [row._replace(venue=short_venue(row.venue)) for row in table.rows]
    known = {row.method: row.venue for row in rows if row.scored != "paper"}
    return table._replace(rows=rows, venues=2 * sum(map(bool, known.values())) >= len(known))
