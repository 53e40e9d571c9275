"""A part of a run is shown in the order asked for, ranked by itself, in any of the forms that papers have."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from support.records import run_record

from bench.errors import BenchError
from bench.results.record import Column
from bench.results.view import Cell, ItemScore, RunView
from bench.tables import layout, render
from bench.tables.layout import Extras
from bench.tables.render import Style
from bench.tables.selection import Choice, select, split_metrics

LOWER = {"fid"}
ITEMS = range(20)


def column(label: str) -> Column:
    return Column(label, label.upper(), f"{label}|v:1", f"{label}|v:1", "", True, False, label not in LOWER, 2, None)


def run(**definition: object) -> RunView:
    """Two datasets, a host, its + and another method, and two metrics; values grow from host to other."""
    values = {"Host": (20.0, 50.0), "Host+": (22.0, 40.0), "other": (24.0, 30.0)}
    cells = [
        Cell(
            dataset, method, column(metric), 20, [ItemScore(f"i{n}", 0, "ok", value + n / 10, None) for n in range(20)]
        )
        for dataset in ("day", "night")
        for method, pair in values.items()
        for metric, value in zip(("psnr", "fid"), pair, strict=True)
    ]
    sets = [{"label": name, "name": f"{name}-set", "items": [f"i{n}" for n in ITEMS]} for name in ("day", "night")]
    methods = [{"label": name, "name": "folder"} for name in values]
    told = {"metrics": [{"metric": "psnr"}, {"metric": "fid"}], **definition}
    return RunView(1, run_record("s", "T", told, sets, methods), {}, cells, frozenset({"cpu"}))


def chosen(choice: Choice, extras: Extras = layout.PLAIN, **definition: object) -> layout.Table:
    return layout.lay_out(*select(run(**definition), choice, extras))


def rows(table: layout.Table) -> list[tuple[str, str]]:
    return [(row.dataset, row.method) for row in table.rows]


def test_what_is_chosen_stands_in_the_order_given():
    table = chosen(Choice(["night", "day"], ["other", "Host"], ["fid", "psnr"]))
    assert rows(table) == [("night", "other"), ("night", "Host"), ("day", "other"), ("day", "Host")]
    assert table.header == ["FID", "PSNR"] and [row.first for row in table.rows] == [True, False, True, False]


def test_patterns_and_the_catalogues_names_choose_too():
    assert rows(chosen(Choice(["ni*"], ["Host*"]))) == [("night", "Host"), ("night", "Host+")]
    assert rows(chosen(Choice(["day-set"], ["OTHER"]))) == [("day", "other")]
    assert chosen(Choice(metrics=["PS*"])).header == ["PSNR"]


def test_ranks_are_among_what_is_shown():
    def ranks(table: layout.Table) -> list[int]:
        return [row.cells[0].rank for row in table.rows]

    assert ranks(chosen(Choice(["day"], (), ["psnr"]))) == [0, 2, 1]
    assert ranks(chosen(Choice(["day"], ["Host", "Host+"], ["psnr"]))) == [2, 1]


def test_a_gain_stays_the_mean_over_all_metrics_of_the_run():
    whole = layout.lay_out(run(gain=True))
    part = chosen(Choice(methods=["Host+"], metrics=["psnr", "gain"]), gain=True)
    assert part.header == ["PSNR", "Gain, %"]
    assert part.rows[0].cells[-1].text == whole.rows[1].cells[-1].text != "–"
    assert chosen(Choice(metrics=["psnr"]), gain=True).header == ["PSNR"]


def test_what_is_tested_against_need_not_be_shown():
    against = Extras(against="Host")
    table = chosen(Choice(methods=["Host+"]), against)
    assert [cell.stars for cell in table.rows[0].cells] == ["∗∗∗", "∗∗∗"]
    records = json.loads(render.render(run(), Style("json", choice=Choice(methods=["Host+"])), against))
    assert [row["difference"] for row in records if row["metric"] == "psnr"] == pytest.approx([2.0, 2.0])


@pytest.mark.parametrize("kind", ["dataset", "method", "metric"])
def test_what_the_run_does_not_have_is_answered_with_the_nearest(kind: str):
    wrong = {"dataset": "dya", "method": "Hots", "metric": "pnsr"}[kind]
    with pytest.raises(BenchError, match=rf"no {kind} '{wrong}' in this run; did you mean"):
        chosen(Choice(**{f"{kind}s": [wrong]}))


def test_lists_are_cut_at_commas_outside_of_brackets():
    assert split_metrics(["psnr(space=y,crop=4), ssim", "fid"]) == ["psnr(space=y,crop=4)", "ssim", "fid"]


def test_stars_say_how_sure_a_difference_is_and_a_legend_what_they_mean():
    data = run()
    hosts = {cell.dataset: cell for cell in data.cells if (cell.method, cell.column.label) == ("Host", "psnr")}

    def near(cell: Cell) -> Cell:
        """The host's values, half of them a little better and half a little worse."""
        scores = hosts[cell.dataset].scores
        moved = [one._replace(value=(one.value or 0) + (0.1 if n % 2 else -0.1)) for n, one in enumerate(scores)]
        return replace(cell, scores=moved)

    close = [near(cell) if (cell.method, cell.column.label) == ("other", "psnr") else cell for cell in data.cells]
    text = render.render(data._replace(cells=close), "markdown", Extras(against="Host"))
    lines = {line.split("|")[2].strip(): line for line in text.splitlines() if line.startswith("| ")}
    assert "∗∗∗" in lines["Host+"] and "∗" not in lines["Host"] and "p=" not in text.replace("p<", "")
    assert lines["other"].count("∗∗∗") == 1, "half a tenth up, half down is no difference"
    assert any(line.startswith("- ∗ p<0.05, ∗∗ p<0.01, ∗∗∗ p<0.001: differs from Host") for line in text.splitlines())


def test_intervals_have_columns_of_their_own():
    text = render.render(run(), "markdown", Extras(ci=True))
    header = [part.strip() for part in text.splitlines()[2].strip("|").split("|")]
    assert header == ["Dataset", "Method", "PSNR ↑", "95 % interval", "FID ↓", "95 % interval", "n"]
    page = render.render(run(), "html", Extras(ci=True))
    assert page.count(">95 % interval<") == 2


def lines_of(text: str) -> list[list[str]]:
    return [[part.strip() for part in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_datasets_stand_side_by_side_as_groups_of_columns():
    lines = lines_of(render.render(run(), Style(layout="columns")))
    assert lines[0] == ["Method", "day", "", "night", ""]
    assert lines[2] == ["", "*PSNR ↑*", "*FID ↓*", "*PSNR ↑*", "*FID ↓*"]
    assert [line[0] for line in lines[3:]] == ["Host", "Host+", "other"]
    page = render.render(run(), Style("html", layout="columns"))
    assert page.count('colspan="2">day<') + page.count('colspan="2">night<') == 2


def test_methods_stand_across_with_their_gain_last():
    lines = lines_of(render.render(run(gain=True), Style(layout="methods")))
    assert lines[0] == ["Dataset", "Metric", "Host", "Host+", "other"]
    assert [line[:2] for line in lines[2:]] == [
        ["day", "PSNR ↑"], ["", "FID ↓"], ["", "Gain, % ↑"], ["night", "PSNR ↑"], ["", "FID ↓"], ["", "Gain, % ↑"],
    ]  # fmt: skip
    assert lines[4][2:] == ["–", layout.lay_out(run(gain=True)).rows[1].cells[-1].text, "–"]


def test_a_suite_says_its_layout_and_the_request_overrules_it():
    assert lines_of(render.render(run(layout="columns"), "markdown"))[0][1] == "day"
    assert lines_of(render.render(run(layout="columns"), Style(layout="rows")))[0][0] == "Dataset"


def test_notes_are_full_short_or_none():
    def notes(choice: str) -> list[str]:
        text = render.render(run(), Style(notes=choice), Extras(ci=True))
        return [line for line in text.splitlines() if line.startswith("- ")]

    assert "- PSNR: psnr|v:1" in notes("full")
    assert notes("short") == ["- [low, high]: 95% bootstrap interval of the mean over items."]
    assert notes("none") == []


@pytest.mark.parametrize(
    ("style", "said"),
    [
        (Style(layout="colums"), "did you mean 'columns'"),
        (Style(notes="shrot"), "did you mean 'short'"),
        (Style(width="pgae"), "did you mean 'page'"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_nearest(style: Style, said: str):
    with pytest.raises(BenchError, match=said):
        render.render(run(), style)
