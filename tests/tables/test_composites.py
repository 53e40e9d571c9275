"""Composite scores of challenges: by hand over a run's averages, with their gates, floors, signatures and refusals."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from support.commands import bench as command

import bench
from bench.catalog.formulas import Formula, find, formulas
from bench.errors import BenchError
from bench.results.record import Column
from bench.results.view import Cell
from bench.tables import composites

SUITE = """\
schema: 1
datasets: [builtin-lowlight]
methods: [identity, gamma]
metrics: [psnr, ssim, piqe]
"""
OURS = Formula(
    "ours", "Ours", "OURS", "psnr / 10 + 2 * ssim - max(0, (piqe - 20) / 100)", "by hand", "higher",
    {"psnr": "psnr", "ssim": "ssim", "piqe": "piqe"},
)  # fmt: skip


def test_ntires_perceptual_score_by_hand():
    names = {"lpips": 0.2, "dists": 0.15, "clipiqa": 0.7, "maniqa": 0.4, "musiq": 70.0, "niqe": 4.0}
    assert find("ntire-perceptual").value(names) == pytest.approx(0.8 + 0.85 + 0.7 + 0.4 + 0.7 + 0.6)
    assert find("ntire-perceptual").value({**names, "niqe": 12.0}) == pytest.approx(0.8 + 0.85 + 0.7 + 0.4 + 0.7)


def test_the_efficient_score_of_the_baseline_is_e_squared_and_halving_all_is_e():
    names = {"runtime": 10.0, "flops": 2e9, "parameters": 3e5}
    base = {f"base_{name}": value for name, value in names.items()}
    formula = find("ntire-efficient-2025")
    assert formula.value({**names, **base}) == pytest.approx(math.e**2)
    half = {name: value / 2 for name, value in names.items()}
    assert formula.value({**half, **base}) == pytest.approx(math.e)


def test_the_mobile_score_is_two_to_the_perceptual_one_times_the_fifth_root_of_the_speed_up():
    names = {"lpips": 0.2, "dists": 0.15, "clipiqa": 0.7, "maniqa": 0.4, "musiq": 70.0, "niqe": 4.0}
    formula = find("ntire-mobile-2026")
    perceptual = 0.8 + 0.85 + 0.7 + 0.4 + 0.7 + 0.6
    assert formula.value({**names, "runtime": 5.0, "base_runtime": 5.0}) == pytest.approx(2**perceptual)
    # 32 times as fast is 32 to the power of 0.2: twice the score.
    assert formula.value({**names, "runtime": 5.0, "base_runtime": 160.0}) == pytest.approx(2 * 2**perceptual)


def test_a_gate_is_by_a_metric_of_the_catalogue_or_says_what_it_measures():
    from bench.catalog.registry import registry

    gates = [formula.gate for formula in formulas().values() if formula.gate is not None]
    assert gates
    for gate in gates:
        assert gate["metric"] in registry("metric") or "measures" in gate


def test_every_formula_uses_exactly_its_terms_and_metrics_of_the_catalogue():
    from bench.catalog.registry import registry

    for formula in formulas().values():
        names = [*formula.terms, *(f"{before}{cost}" for cost in formula.costs for before in ("", "base_"))]
        assert math.isfinite(formula.value(dict.fromkeys(names, 0.5)))
        for name in names:  # one name less is no formula any more
            with pytest.raises(BenchError, match="no arithmetic"):
                formula.value({other: 0.5 for other in names if other != name})
        assert [metric for metric in formula.terms.values() if metric not in registry("metric")] == []


@pytest.mark.parametrize("text", ["__import__('os')", "psnr.real", "[psnr]", "psnr if 1 else 2", "max(*psnr)", "'a'"])
def test_a_formula_is_arithmetic_and_nothing_else(text: str):
    formula = Formula("x", "", "", text, "", "higher", {"psnr": "psnr"})
    with pytest.raises(BenchError, match="no arithmetic"):
        formula.value({"psnr": 1.0})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("composite")
    (folder / "mine.yaml").write_text(SUITE)
    return bench.run(str(folder / "mine.yaml"), limit=2, results=folder / "results")


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch):
    every = {**formulas(), "ours": OURS}
    monkeypatch.setattr("bench.catalog.formulas.formulas", lambda: every)


def test_a_table_has_the_score_of_its_own_averages(run, known, capsys: pytest.CaptureFixture[str]):
    means = run.cells().set_index(["method", "metric"])["value"]
    data = run._read()
    found = {method: one for _, method, one in composites.scores(data, "ours")}
    for method in ("identity", "gamma"):
        psnr, ssim, piqe = (means[method, metric] for metric in ("psnr", "ssim", "piqe"))
        assert found[method].value == pytest.approx(psnr / 10 + 2 * ssim - max(0, (piqe - 20) / 100))
    assert len({one.signature for one in found.values()}) == 1 and found["gamma"].signature.startswith("ours|terms:")
    asked = ("--results", str(run.results), "--formula", "ours", "--format", "markdown")
    assert command("table", str(run.run), *asked) == 0
    said = capsys.readouterr().out
    assert command("table", str(run.run), *asked, "--metric", "psnr") == 0
    assert "OURS ↑" in capsys.readouterr().out  # asked for by name, whatever metrics are chosen
    assert "OURS ↑" in said and f"{found['gamma'].value:.4f}" in said and "(by hand)" in said


def test_another_signature_of_a_term_is_another_score(run, known, tmp_path: Path):
    (tmp_path / "y.yaml").write_text(SUITE.replace("[psnr,", "[{psnr: {space: y}},"))
    other = bench.run(str(tmp_path / "y.yaml"), limit=2, results=tmp_path / "results")
    signatures = [next(one.signature for *_, one in composites.scores(each._read(), "ours")) for each in (run, other)]
    assert signatures[0] != signatures[1]


def test_what_a_run_lacks_is_the_reason(run, known, capsys: pytest.CaptureFixture[str]):
    reasons = {one.reason for *_, one in composites.scores(run._read(), "ntire-perceptual")}
    assert reasons == {"the run has no column of lpips"}
    arguments = ("table", str(run.run), "--results", str(run.results), "--formula")
    assert command(*arguments, "ntire-perceptual") == 0 and "no column of lpips" in capsys.readouterr().out
    assert command(*arguments, "ntire-perceptul") == 2
    assert "did you mean 'ntire-perceptual'" in capsys.readouterr().err


def test_a_floor_and_a_gate_disqualify(run, monkeypatch: pytest.MonkeyPatch):
    data = run._read()
    means = run.cells().set_index(["method", "metric"])["value"]
    between = (means["identity", "psnr"] + means["gamma", "psnr"]) / 2
    floored = Formula(
        "ours", "", "O", "psnr", "", "higher", {"psnr": "psnr"}, floor={"metric": "psnr", "at_least": between}
    )
    monkeypatch.setattr("bench.catalog.formulas.formulas", lambda: {"ours": floored})
    found = {method: one for _, method, one in composites.scores(data, "ours")}
    assert found["gamma"].value == pytest.approx(means["gamma", "psnr"])
    assert found["identity"].value is None and "below" in str(found["identity"].reason)
    for most, valid in ((1, False), (2, True)):
        gate = {"metric": "ssim", "below": {"lowlight": 1.1}, "most": most}  # every one of the two items is below it
        gated = Formula("ours", "", "O", "psnr", "", "higher", {"psnr": "psnr"}, gate=gate)
        monkeypatch.setattr("bench.catalog.formulas.formulas", lambda gated=gated: {"ours": gated})
        for *_, one in composites.scores(data, "ours"):
            assert (one.value is not None) is valid and "|gate:yes|" in one.signature
    unchecked = Formula("ours", "", "O", "psnr", "", "higher", {"psnr": "psnr"}, gate={**gate, "metric": "lpips"})
    monkeypatch.setattr("bench.catalog.formulas.formulas", lambda: {"ours": unchecked})
    assert all("|gate:unchecked|" in one.signature for *_, one in composites.scores(data, "ours"))
    gate = {"metric": "lpips", "below": {"lowlight": 1.1}, "most": 2, "measures": "what no metric here does"}
    gated = Formula("ours", "", "O", "psnr", "", "higher", {"psnr": "psnr"}, gate=gate)
    monkeypatch.setattr("bench.catalog.formulas.formulas", lambda: {"ours": gated})
    signatures = {one.signature for *_, one in composites.scores(data, "ours")}
    (said,) = [line for line in composites.footer("ours", signatures) if "not checked here" in line]
    assert "no valid entry" in said and "column lpips: what no metric here does" in said
    checked = [signature.replace("unchecked", "yes") for signature in signatures]
    assert not any("not checked here" in line for line in composites.footer("ours", checked))


def test_a_gate_counts_over_all_datasets_and_takes_no_gap_for_a_face_that_is_like(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    labelled = ", ".join(f"{{dataset: builtin-lowlight, label: {label}}}" for label in ("lfw-test", "wider-test"))
    (tmp_path / "two.yaml").write_text(f"schema: 1\ndatasets: [{labelled}]\nmethods: [gamma]\nmetrics: [psnr, ssim]\n")
    run = bench.run(str(tmp_path / "two.yaml"), limit=2, results=tmp_path / "results")
    data = run._read()

    def values(most: int, below: dict[str, float], data=data) -> dict[str, composites.Composite]:
        gate = {"metric": "ssim", "below": below, "most": most}
        gated = Formula("ours", "", "O", "psnr", "", "higher", {"psnr": "psnr"}, gate=gate)
        monkeypatch.setattr("bench.catalog.formulas.formulas", lambda: {"ours": gated})
        return {dataset: one for dataset, _, one in composites.scores(data, "ours")}

    both = {"lfw": 1.1, "wider": 1.1}  # an SSIM is never above 1: two items of each lie below
    assert all(one.value is not None for one in values(4, both).values())
    assert {one.reason for one in values(3, both).values()} == {"4 items have ssim below their threshold: invalid"}
    assert all(one.value is not None for one in values(2, {"lfw": 1.1, "wider": -1.1}).values())
    assert "no threshold for wider-test" in str(values(9, {"lfw": 1.1})["wider-test"].reason)
    gap = [
        replace(cell, scores=[*list(cell.scores)[:-1], cell.scores[-1]._replace(value=None, status="failed")])
        if (cell.dataset, cell.column.label) == ("wider-test", "ssim")
        else cell
        for cell in data.cells
    ]
    found = values(9, both, data._replace(cells=gap))
    assert all(one.value is None and "1/2 items of wider-test" in str(one.reason) for one in found.values())


def test_a_term_is_found_under_any_name_of_its_metric():
    """The catalogue's own name, the one that pyiqa has, the one that a formula has: one metric."""
    from bench.catalog.published import canonical
    from bench.catalog.registry import registry

    for formula in formulas().values():
        for metric in formula.terms.values():
            names = {registry("metric").get(metric).name, metric}
            for name in names:
                column = Column("x", "X", "s", "s", "", True, False, True, 2, None)
                assert composites._cells([Cell("d", "m", column, 0, [])], metric, {"x": canonical(name)}), name
    assert canonical("qalign") == canonical("q-align") and canonical("lpips-alex") == canonical("lpips")


COSTLY = Formula(
    "costly", "", "C", "psnr + runtime / base_runtime", "", "higher", {"psnr": "psnr"}, costs=("runtime",),
    floor={"metric": "ssim", "at_least": 0.0},
)  # fmt: skip


def _timed(data, size: int, bases: dict[str, str]):
    import numpy as np

    from bench.results.timings import Timing
    from bench.suite.setting import Setting, Size

    setting = Setting(Size(size, size), 1, "float32", "cpu", "synchronised", 2)
    timings = [
        Timing(label, label, setting, "m", {}, "ok", None, np.full(9, ms * 1e6), np.array([]), np.array([]), {}, "s",
               1.0, b"", b"")
        for label, ms in (("identity", 4.0), ("gamma", 8.0))
    ]  # fmt: skip
    record = replace(data.record, definition={**data.record.definition, "bases": bases})
    return data._replace(timings=timings, record=record)


def test_costs_are_set_against_a_base_that_the_signature_names(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bench.catalog.formulas.formulas", lambda: {"costly": COSTLY})
    means = run.cells().set_index(["method", "metric"])["value"]
    data = _timed(run._read(), 64, {"gamma": "identity"})
    found = {method: one for _, method, one in composites.scores(data, "costly")}
    assert found["gamma"].value == pytest.approx(means["gamma", "psnr"] + 8 / 4)
    assert found["identity"].value == pytest.approx(means["identity", "psnr"] + 1)  # the base, against itself
    assert found["gamma"].signature == found["identity"].signature
    others = [_timed(run._read(), 128, {"gamma": "identity"}), _timed(run._read(), 64, {"identity": "gamma"})]
    (tmp_path / "y.yaml").write_text(SUITE.replace("ssim,", "{ssim: {space: y}},"))
    floor = bench.run(str(tmp_path / "y.yaml"), limit=2, results=tmp_path / "results")._read()
    others.append(_timed(floor, 64, {"gamma": "identity"}))
    weightless = [replace(one, identity={}) for one in data.record.methods]  # as what is only timed is recorded
    others += [
        each._replace(record=replace(each.record, methods=weightless)) for each in (data, others[1])
    ]  # fmt: skip
    signatures = {next(one.signature for *_, one in composites.scores(each, "costly")) for each in (data, *others)}
    assert len(signatures) == 6


def test_an_infinite_value_is_above_every_floor_and_is_no_term(run, monkeypatch: pytest.MonkeyPatch):
    data = run._read()
    cells = [
        replace(cell, scores=[score._replace(value=math.inf, status="inf") for score in cell.scores])
        if cell.column.label == "ssim" else cell
        for cell in data.cells
    ]  # fmt: skip
    floored = Formula("o", "", "O", "psnr", "", "higher", {"psnr": "psnr"}, floor={"metric": "ssim", "at_least": 0.5})
    endless = Formula("e", "", "E", "ssim", "", "higher", {"ssim": "ssim"})
    monkeypatch.setattr("bench.catalog.formulas.formulas", lambda: {"o": floored, "e": endless})
    assert all(one.value is not None for *_, one in composites.scores(data._replace(cells=cells), "o"))
    assert {one.reason for *_, one in composites.scores(data._replace(cells=cells), "e")} == {"ssim is infinite"}
