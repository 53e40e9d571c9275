"""Signs in a table: metrics that the paper's methods were made for, methods that were trained on the test set."""

from __future__ import annotations

import pytest
from support.records import run_record

from bench.catalog.registry import registry
from bench.results.record import Column
from bench.results.view import Cell, ItemScore, RunView
from bench.tables import footnotes
from bench.tables.layout import lay_out
from bench.tables.render import html_page, latex, markdown


def column(name: str) -> Column:
    return Column(name, name.upper(), name, name, "", False, False, True, 2, None)


def run(datasets: list[str], methods: list[dict[str, object]], metrics: list[str], key: str | None = None) -> RunView:
    cells = [
        Cell(dataset, str(method["label"]), column(metric), 1, [ItemScore("i", 0, "ok", 1.0, None)])
        for dataset in datasets
        for method in methods
        if dataset in method.get("datasets", [dataset])  # type: ignore[operator]
        for metric in metrics
    ]
    definition = {"published": key, "metrics": [{"metric": metric} for metric in metrics]}
    named = [{"label": name, "name": name} for name in datasets]
    return RunView(1, run_record("s", "T", definition, named, methods), {}, cells, frozenset({"cpu"}))


METHODS: list[dict[str, object]] = [
    {"label": name, "name": name} for name in ("zero-dce", "zero-dce++", "pairlie", "sci-medium", "iat-lol", "identity")
]


def test_methods_trained_on_sice_and_lol_v2_are_marked_where_they_are_tested_on_them() -> None:
    data = run(["sice12", "lol-v1", "lol-v2-real"], METHODS, ["psnr"])
    table = lay_out(data)
    signed = {(row.dataset, row.method) for row in table.rows if row.sign}
    # IAT's first weights are of LOL-v2; PairLIE saw LOL-v1's own training part, which is no part of the test.
    assert signed == {("sice12", "zero-dce"), ("sice12", "zero-dce++"), ("sice12", "pairlie"), ("lol-v1", "iat-lol")}
    assert [line for line in table.footer if line.startswith("‡")] == [
        "‡ Trained on what sice12 tests: zero-dce, zero-dce++, pairlie (frames of its training part).",
        "‡ Trained on what lol-v1 tests: iat-lol (its training part holds scenes of this set).",
    ]


@pytest.mark.parametrize("page, sign", [(markdown, "iat-lol‡"), (html_page, "iat-lol‡"), (latex, r"iat-lol$\ddagger$")])
def test_every_format_shows_the_sign(page: object, sign: str) -> None:
    assert sign in page(lay_out(run(["lol-v1"], METHODS, ["psnr"])))  # type: ignore[operator]


def test_a_host_with_a_score_has_seen_what_its_host_has() -> None:
    plus: list[dict[str, object]] = [
        {"label": "A+", "name": "plus", "options": {"host": "hvi-cidnet-lol-v2-real"}},
        {"label": "B+", "name": "plus", "options": {"host": "hvi-cidnet"}},
    ]
    assert [one.method for one in footnotes.overlaps(run(["lol-v1"], plus, ["psnr"]))] == ["A+"]


def test_a_line_for_some_datasets_is_marked_on_those_alone() -> None:
    methods: list[dict[str, object]] = [{"label": "IAT", "name": "iat-lol", "datasets": ["lol-v2-real"]}]
    assert footnotes.overlaps(run(["lol-v1", "lol-v2-real"], methods, ["psnr"])) == []


def test_metrics_that_the_papers_methods_were_made_for_carry_a_dagger_in_every_table_of_the_suite() -> None:
    metrics = ["topiq-g", "musiq-g", "q-align", "clip-iqa"]
    methods: list[dict[str, object]] = [{"label": "IQPIR", "name": "iqpir"}]
    table = lay_out(run(["lfw-test"], methods, metrics, "iqpir/table1"))
    assert [name.endswith("†") for name in table.header] == [True, True, True, False]
    assert footnotes.PRIOR_LINE in table.footer
    for key in (None, "iqpir/table2", "iqpir/gone"):
        plain = lay_out(run(["lfw-test"], methods, metrics, key))
        assert not any("†" in text for text in [*plain.header, *plain.footer])


def test_names_that_the_catalogue_no_longer_has_are_without_signs() -> None:
    assert footnotes.overlaps(run(["gone"], [{"label": "x", "name": "gone"}], ["psnr"])) == []


def test_what_overlaps_is_something_that_a_method_was_trained_on() -> None:
    trained = {one for entry in registry("method") for one in entry.fields.get("trained_on", [])}
    for entry in registry("dataset"):
        assert set(entry.fields.get("overlaps", {})) <= trained, entry.name


@pytest.mark.parametrize(
    "tuned, said",
    [
        (
            "|tuned:each-method,epochs=25,size=608",
            "anew on what each method makes of the train part (epochs 25, size 608)",
        ),
        ("", "AP of one yolov3u for all methods, not trained on their images"),
    ],
)
def test_what_an_ap_is_of_is_said_below_the_table(tuned: str, said: str) -> None:
    signature = f"ap50|det:yolov3u@abcd{tuned}|names:12345678|in:608|class:mean of 12"
    columns = [Column("ap50", "AP50", signature, "detections", "", False, False, True, 2, None)] * 2
    [line] = footnotes.detection_lines([*columns, column("psnr")])
    assert said in line and "Not comparable with AP of" in line


def lost(metric: str) -> Cell:
    return Cell("lfw-test", "identity", column(metric), 1, [ItemScore("i", 0, "unavailable", None, "no weights")])


def scored(metric: str) -> Cell:
    return Cell("lfw-test", "identity", column(metric), 1, [ItemScore("i", 0, "ok", 1.0, None)])


def test_a_metric_that_cannot_be_had_is_marked_with_what_stands_for_it_best() -> None:
    data = run(["lfw-test"], [{"label": "identity", "name": "identity"}], ["musiq-g", "musiq-k", "psnr"])
    data = data._replace(cells=[lost("musiq-g"), scored("musiq-k"), scored("psnr")])
    table = lay_out(data)
    assert list(table.header) == ["MUSIQ-G¶", "MUSIQ-K", "PSNR"]
    [line] = [note.text for note in table.notes if note.text.startswith("¶") and note.needed]
    assert "TOPIQ-G (the same faces and ratings" in line and "MUSIQ-K, in this table (Google's MUSIQ" in line
    assert r"MUSIQ-G\P{}" in latex(table) and "¶" not in "".join(lay_out(run(["lfw-test"], METHODS, ["psnr"])).footer)


def test_a_metric_with_some_value_or_that_only_failed_is_not_marked() -> None:
    data = run(["lfw-test"], [{"label": "identity", "name": "identity"}], ["musiq-g"])
    assert footnotes.nearest(data) == {}
    failed = Cell("lfw-test", "identity", column("musiq-g"), 1, [ItemScore("i", 0, "error", None, "why")])
    assert footnotes.nearest(data._replace(cells=[failed])) == {}
