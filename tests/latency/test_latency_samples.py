"""Statistics of times, stop rules, and how what is asked for is read."""

from __future__ import annotations

import numpy as np
import pytest

from bench.errors import BenchError
from bench.latency import selection
from bench.results.samples import FLOORS, ratio, stable, summarise
from bench.suite.setting import Rules, Size, parse_batches, parse_dtype, parse_sizes


def test_percentiles_are_told_from_so_many_samples_on_as_are_honest():
    # MLPerf's rule: n samples are honest for percentile p with 99 % confidence when the largest lies above it so often.
    for q, least in FLOORS.items():
        exact = next(n for n in range(1, 1000) if (1 - (q / 100) ** n) >= 0.99 or n > 900)
        assert least >= exact
    for n, told in ((63, 0), (64, 1), (129, 1), (130, 2), (661, 2), (662, 3)):
        found = summarise(np.arange(n, dtype=np.float64) + 1)
        assert sum(value is not None for value in (found.p90, found.p95, found.p99)) == told


def test_a_summary_is_that_of_the_samples():
    found = summarise(np.array([4.0, 1.0, 3.0, 2.0, 10.0]))
    assert (found.n, found.median, found.low, found.high, found.iqr) == (5, 3.0, 2.0, 4.0, 2.0)
    assert found.spread == pytest.approx(np.sqrt((0 + 9 + 1 + 4 + 36) / 4) / 4)


def test_drift_that_falls_on_both_cancels_in_a_ratio():
    drawn = np.random.default_rng(0)
    drift = np.linspace(1, 3, 200)
    base = drift * drawn.normal(1, 0.005, 200)
    found = ratio(base, base * 1.02 * drawn.normal(1, 0.005, 200))
    assert found is not None and found.rounds == 200 and found.low and found.high
    assert 1 < found.low < 1.02 < found.high < 1.04
    # Taken apart, the same samples could not tell 2 % in a drift of 200 %.
    apart = ratio(base, drawn.permutation(base * 1.02))
    assert apart is not None and apart.low and apart.high and apart.low < 1 < apart.high


def test_a_ratio_pairs_the_rounds_that_both_took_part_in():
    found = ratio(np.array([1.0, 1, 1, 1, 1, 1, 9, 9]), np.full(6, 2.0))
    assert found is not None and (found.value, found.low, found.high, found.rounds) == (2, 2, 2, 6)
    assert ratio(np.array([]), np.array([2.0, 3.0])) is None


def test_few_rounds_have_a_ratio_and_no_interval():
    found = ratio(np.array([1.0, 1, 9]), np.array([2.0, 2]))
    assert found is not None and (found.value, found.low, found.high, found.rounds) == (2, None, None, 2)


def test_warm_is_when_the_median_of_five_stands_still():
    assert not stable([100] * 8, 0.02)
    assert stable([900, 500, *[100] * 9], 0.02)
    assert not stable([1000 - 50 * index for index in range(12)], 0.02)
    assert stable([100, 101, 100, 99, 5000, 100, 101, 100, 99, 100], 0.02)  # one outlier is no trend


@pytest.mark.parametrize(
    ("count", "seconds", "spread", "said"),
    [
        (63, 30, 0.1, None),
        (64, 9.9, 0.1, None),
        (64, 10, 0.1, "≥ 64 samples and ≥ 10 s"),
        (11, 1, 0.004, "relative spread 0.40% < 0.5%"),
        (10, 1, 0.004, None),
        (20, 60, 0.1, "60 s; unmet: 20 < 64 samples, relative spread 10.00%"),
    ],
)
def test_the_rule_that_stops_is_said(count, seconds, spread, said):
    assert Rules().stop(count, seconds, spread) == said


def test_ones_own_rule_replaces_the_others():
    few = Rules.asked(5, None)
    assert few.stop(4, 1, 0.0) is None and few.stop(5, 0, 9) == "5 samples, as asked"
    brief = Rules.asked(None, 2.0)
    assert brief.stop(10**6, 1.9, 0.0) is None and brief.stop(7, 2.0, 9) == "2 s, as asked (7 samples)"
    assert Rules.asked(None, None) == Rules()


def test_sizes_types_and_batches_are_read_or_refused():
    assert parse_sizes("512,480x640") == (Size(512, 512), Size(480, 640))
    assert parse_dtype("bf16") == "bfloat16" and parse_batches("1,4,1") == (1, 4)
    for wrong in ("0", "a", "10x", "512;256", "999999x999999", ""):
        with pytest.raises(BenchError, match="is not a side"):
            parse_sizes(wrong)
    with pytest.raises(BenchError, match="did you mean 'bf16'"):
        parse_dtype("bf61")
    for wrong in ("0", "x", "1,", "-1"):
        with pytest.raises(BenchError, match="is not a whole number"):
            parse_batches(wrong)


def test_methods_or_a_suite_are_understood(tmp_path):
    found = selection.understand("sci-medium, identity")
    assert [one.label for one in found.subjects] == ["sci-medium", "identity"] and found.size == "512"
    with pytest.raises(BenchError, match="unknown method 'sci-medum'; did you mean 'sci-medium'"):
        selection.understand("sci-medum,identity")
    with pytest.raises(BenchError, match="neither a method nor a suite; did you mean 'quickstart'"):
        selection.understand("quickstar")
    path = tmp_path / "mine.yaml"
    path.write_text(
        "schema: 1\ndatasets: [quickstart]\nmetrics: [psnr]\nlatency: {size: 64x48, dtype: bf16, order: sequential}\n"
        "methods: [{method: iqpir, sweep: {score: [0.1, 0.9]}}, {method: folder, options: {path: x}, label: Mine}]\n",
        encoding="utf-8",
    )
    found = selection.understand(str(path))
    assert [one.options for one in found.subjects] == [{"score": 0.1}, {"score": 0.9}]
    assert (found.size, found.dtype, found.order, found.skipped) == ("64x48", "bf16", "sequential", ("Mine",))


def test_options_for_every_method_are_read_as_a_suite_reads_them():
    subjects = selection.understand("sci-medium,identity").subjects
    found = selection.with_options(subjects, ["gray=false", "score=0.5", "fit=tile"])
    assert found[0].options == {"gray": False, "score": 0.5, "fit": "tile"} and found[1].options == found[0].options
    for wrong in ("gray", "=1", "a b=1", "x={"):
        with pytest.raises(BenchError, match="is not NAME=VALUE"):
            selection.with_options(subjects, [wrong])
