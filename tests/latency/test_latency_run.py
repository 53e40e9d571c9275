"""A suite with `latency:`: its methods are timed once per machine, and stand in its table."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from bench.errors import BenchError
from bench.latency import suite_timing
from bench.results import timings, view
from bench.results.store import Store
from bench.runner import steps
from bench.runner.forecast import render_plan
from bench.runner.request import Request, resolve_request
from bench.suite import definition
from bench.tables import render

PLUGIN = Path(__file__).parents[1] / "support" / "timed_plugin.py"
SUITE = """
schema: 1
datasets: [{{dataset: folder, options: {{lq: "{folder}/lq", gt: "{folder}/lq"}}, label: mine}}]
methods: [identity, {{method: timed-slowed, label: "(c)"}}, {{method: timed-broken, label: broken}}]
metrics: [psnr]
published: iqpir/table5
latency: {{size: 32x24, samples: 12}}
"""


class Ran(NamedTuple):
    folder: Path
    request: Request
    number: int
    said: list[str]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("run")
    (folder / "lq").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "lq" / "a.png")
    (folder / "mine.yaml").write_text(SUITE.format(folder=folder), encoding="utf-8")
    request = Request(str(folder / "mine.yaml"), results=str(folder / "results"), plugins=(str(PLUGIN),))
    said: list[str] = []
    return Ran(folder, request, steps.run(request, note=said.append).run, said)


def test_methods_are_timed_after_the_run_and_a_broken_one_is_a_row(ran: Ran):
    with Store(ran.request.folder, writable=False) as store:
        found = {timing.label: timing for timing in timings.of_run(store, ran.number)}
    assert list(found) == ["identity", "(c)", "broken"]
    assert found["identity"].samples.size == found["(c)"].samples.size == 12
    assert found["(c)"].median_ms > 5 and found["broken"].reason == "ValueError: never works"
    assert any("measuring at 32×24" in line for line in ran.said)


def test_the_table_has_a_column_of_times_with_what_they_rest_on(ran: Ran):
    with Store(ran.request.folder, writable=False) as store:
        data = view.read_cells(store, ran.number)
    shown = render.render(data, "markdown")
    line = next(line for line in shown.splitlines() if "(c)" in line)
    slowed = next(timing for timing in data.timings if timing.label == "(c)")
    told = float(line.split("|")[-3].strip(" ~"))  # four digits, marked where the machine was disturbed
    assert "Latency, ms ↓" in shown and told == pytest.approx(slowed.median_ms, rel=1e-3)
    assert "32×24, batch 1, float32, cpu" in shown and "torch" in shown
    assert "latency failed: broken: ValueError: never works" in shown
    assert "Latency, ms" in render.render(data, "html")
    assert r"\shortstack[r]{Latency,\\ms $\downarrow$}" in render.render(data, "latex")
    untimed = render.render(data._replace(timings=()), "markdown")
    assert "Latency" not in untimed


def test_beside_the_papers_values_stand_its_times(ran: Ran):
    from bench.tables import beside

    with Store(ran.request.folder, writable=False) as store:
        shown = beside.render_beside(view.read_cells(store, ran.number), "markdown")
    assert "(5.63)" in next(line for line in shown.splitlines() if "(c)" in line)
    assert "without waiting for the GPU" in shown


def test_what_this_machine_has_measured_is_not_measured_again(ran: Ran):
    again: list[str] = []
    assert steps.run(ran.request, note=again.append).run == ran.number
    told = [line for line in again if line.startswith("latency: ")]
    assert {line.split(": ")[1] for line in told if "loading" in line} == {"broken"}, "failures are tried again"
    plan = render_plan(ran.request)
    assert "latency: 1 methods to be timed at 32×24, batch 1, float32, cpu; 2 known on this machine" in plan
    with Store(ran.request.folder, writable=False) as store:
        resolved = resolve_request(ran.request)
        fresh = suite_timing.wanted(resolved, store, "cpu", fresh=True)
        assert fresh is not None and len(fresh.todo) == 3 and not fresh.known


def test_a_time_that_failed_since_is_measured_again(ran: Ran, tmp_path: Path):
    """Or a table would say failed for good, whatever the method does by now."""
    shutil.copytree(ran.request.folder, tmp_path / "results")
    with Store(tmp_path / "results") as store:
        resolved = resolve_request(ran.request)
        before = suite_timing.wanted(resolved, store, "cpu")
        assert before is not None and "identity" in before.known
        row = next(one for one in timings.of_run(store, ran.number) if one.label == "identity")
        timings.put(store, row._replace(status="failed", reason="busy", samples=np.array([])))
        after = suite_timing.wanted(resolved, store, "cpu")
        assert after is not None and "identity" in {one.label for one in after.todo}


def test_times_are_those_of_the_selection_and_can_be_left_out(ran: Ran):
    def asked(**changes: object) -> list[str] | None:
        with Store(ran.request.folder, writable=False) as store:
            resolved = resolve_request(replace(ran.request, **changes))  # type: ignore[arg-type]
            found = suite_timing.wanted(resolved, store, "cpu", fresh=True)
        return None if found is None else [subject.label for subject in found.todo]

    assert asked(methods=("identity",)) == ["identity"]
    assert asked(latency=False) is None
    weightless = {"available": True, "suite": str(ran.folder / "weightless.yaml")}
    text = (ran.folder / "mine.yaml").read_text().replace("[identity,", "[identity, iqpir-ablation-c,")
    (ran.folder / "weightless.yaml").write_text(text)
    assert asked(**weightless) == ["identity", "iqpir-ablation-c", "(c)", "broken"], "with random weights"
    assert asked(**weightless, limit=1) == ["identity", "(c)", "broken"]


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("{size: [512]}", "latency"),
        ("{size: 12ab}", "a side such as 512"),
        ("{size: '1,2'}", "a side such as 512"),
        ("{dtype: bf61}", "did you mean 'bf16'"),
        ("{samples: 0}", "must be 1 or more, got 0"),
        ("{sise: 3}", "did you mean 'size'"),
    ],
)
def test_a_wrong_latency_key_is_named_with_its_line(written, complaint):
    text = f"schema: 1\ndatasets: [x]\nmethods: [y]\nmetrics: [z]\nlatency: {written}\n"
    with pytest.raises(BenchError, match=complaint) as error:
        definition.parse(text)
    assert "suite:5" in str(error.value)
