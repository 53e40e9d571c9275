"""Every metric of the catalogue keeps the contract, and the kit that says so notices when one does not.

New entries are found through the registry. What differs from metric to metric stands in `precision.yaml`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from support.metric_tester import builds, claims, entries, fill_cache, has_weights, precision, slow, subject

from bench import paths
from bench.catalog.registry import registry
from bench.cli.info import command as info
from bench.errors import ItemError, MissingFile
from bench.metrics.base import ImageMetric, SetMetric, Signature
from bench.metrics.build import build_metric
from bench.metrics.view import View
from bench.testing import CHECKS, Claims, ContractError, Skipped, check_metric, photograph, run_check

NAMES = [entry.name for entry in entries()]
BUILT = [entry.name for entry in entries() if builds(entry)]
PEOPLE = ("bench.metrics.ratings:", "bench.metrics.people:")
READY = [entry for entry in entries() if has_weights(entry.name) and not (entry.target or "").startswith(PEOPLE)]
"""Ratings are read from people's votes, not computed from pixels; tests of their own hold them."""


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Weights of the user's cache and of the mirror, in a cache of our own."""
    before, home = paths.home(), tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_HOME", str(home))
        fill_cache(home, before)
        yield
    subject.cache_clear()


def cases():
    for entry in READY:
        for check in CHECKS:
            marks = [pytest.mark.slow] if slow(entry) else []
            yield pytest.param(entry.name, check, id=f"{entry.name}-{check}", marks=marks)


@pytest.mark.parametrize("name, check", cases())
def test_a_metric_keeps_its_contract(request, name, check):
    if slow(registry("metric").get(name)) and "slow" not in (request.config.option.markexpr or ""):
        pytest.skip("the other metrics of pyiqa are tried with -m slow")
    try:
        run_check(subject(name), check)
    except Skipped as reason:
        if check == "device":
            pytest.skip(str(reason))


def test_metrics_whose_weights_are_not_here_wait():
    absent = [name for name in NAMES if not has_weights(name)]
    if absent:
        pytest.skip(f"{len(absent)} metrics lack weights (bench fetch NAME): {', '.join(absent)}")


@pytest.mark.parametrize("name", NAMES)
def test_info_tells_what_a_metric_is(name):
    done = CliRunner().invoke(info, [name], standalone_mode=False)
    assert done.exit_code == 0, done.exception
    entry = registry("metric").get(name)
    assert f"name: {name}" in done.output.replace("'", "")
    assert "signature (default protocol)" in done.output
    # Weights may come without a licence (which is then not commercial-safe); code of our own may not.
    for key in ("title", "mode", "better", "range", *([] if entry.fields.get("weights") else ["licence"])):
        assert key in entry.fields, f"{entry.origin}: {name} has no {key}"


def test_a_metric_without_its_weights_says_what_to_do_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    for name in BUILT:
        metric = build_metric(registry("metric").get(name), {}, {})
        if metric.assets():
            with pytest.raises(MissingFile) as caught:
                metric.load("cpu")
            line = str(caught.value)
            files = [asset for asset in metric.assets() if asset.file in line]
            assert "\n" not in line and files, line
            # A file that no machine can download has no command, but instructions.
            fetched = re.search(r"bench fetch (\S+)$", line)
            assert files[0].url is None or (fetched and fetched[1] in registry("metric")), line
            assert files[0].url is None or files[0].url in line, line
            assert "sha256" in line or "hash" in line, line


def test_precision_names_metrics_and_says_why():
    said = precision()
    assert set(said["metrics"]) <= set(registry("metric").names())
    for name, row in [*said["metrics"].items(), *said["libraries"].items()]:
        made = Claims(**row)
        unusual = made.tolerance or (made.worse_with is not None and row["worse_with"] != ["noise", "blur"])
        assert not unusual or made.reason, f"precision.yaml: {name} departs from the usual and does not say why"
    assert claims(registry("metric").get("psnr")).best == math.inf


# The kit itself: a metric that breaks a promise is found, by the check that proves that promise.


@dataclass(frozen=True)
class Error(ImageMetric):
    """A sound metric: root mean squared error. Every fault below is made of it."""

    view: View = field(default_factory=View)
    power: float = 2.0
    fault: str = field(default="", metadata={"entry": True})
    calls: list[int] = field(default_factory=list, compare=False, metadata={"entry": True})
    name = "error"
    higher_is_better = False
    differentiable = True

    def signature(self) -> Signature:
        own = [] if self.fault == "options" else [("power", self.power)]
        version = [] if self.fault == "signature" else [("v", 1)]
        view = self.view.signature("FR")
        if self.fault == "crop":
            view = [pair for pair in view if pair[0] != "crop"]
        return Signature.of("error", [*view, *own, *version])

    def score(self, restored, reference):
        self.calls.append(len(restored))
        difference = (restored - reference).abs()
        if min(restored.shape[-2:]) < 4 and self.fault != "small":
            raise ItemError("error needs 4 pixels or more")
        if min(restored.shape[-2:]) < 4:
            raise IndexError("window out of bounds")
        value = difference.pow(self.power).mean(dim=(1, 2, 3)).sqrt()
        if self.fault == "batch":
            value = value + 1e-9 * (len(restored) - 1)
        if self.fault == "order":
            value = value.flip(0)
        if self.fault == "repeat":
            value = value + 1e-9 * len(self.calls)
        if self.fault == "threads":
            value = value + 1e-15 * torch.get_num_threads()
        if self.fault == "inputs":
            restored.clamp_(0.2, 0.8)
        if self.fault == "dtype":
            value = value.float()
        if self.fault == "identity":
            value = -value
        if self.fault == "symmetry":
            value = value * restored.mean()
        if self.fault == "channels":
            value = difference[:, 0].pow(2).mean(dim=(1, 2)).sqrt()
        if self.fault == "noise":
            value = value.clamp(max=0.05)
        if self.fault == "flat":
            value = value / restored.amax(dim=(1, 2, 3)) * restored.amax(dim=(1, 2, 3))
        if self.fault == "gradient":
            value = value.detach()
        return value


SOUND = Claims(best=0.0, symmetric=True, channels="same", tolerance=1e-15, reason="threads of torch's sums")


def test_a_sound_metric_passes_every_check_that_applies():
    report = check_metric(Error(), SOUND)
    assert set(CHECKS) - set(report.held) <= {"device", "aggregate", "catalogue"}


@pytest.mark.parametrize("fault", [
    "batch", "order", "repeat", "threads", "inputs", "dtype", "crop", "channels", "identity", "symmetry", "noise",
    "flat", "small", "gradient", "signature", "options",
])  # fmt: skip
def test_a_broken_promise_is_found(fault):
    broken = Error(fault=fault)
    exact = replace(SOUND, tolerance=0.0) if fault in ("threads", "batch", "repeat") else SOUND
    with pytest.raises(ContractError) as caught:
        check_metric(broken, exact, only=[fault])
    assert re.search(rf"^error: {fault}: \S", str(caught.value), re.MULTILINE), str(caught.value)


def test_a_set_metric_that_depends_on_the_order_of_its_members_is_found():
    @dataclass(frozen=True)
    class First(SetMetric):
        view: View = field(default_factory=View)
        name = "first"

        def signature(self) -> Signature:
            return Signature.of("first", [*self.view.signature("FR"), ("v", 1)])

        extractor = signature

        def extract(self, restored, reference):
            return (restored - reference).abs().mean(dim=(1, 2, 3)).numpy()[:, None]

        def aggregate(self, features):
            return float(features[0, 0])

    with pytest.raises(ContractError, match="aggregate: members in another order"):
        check_metric(First(), only=["aggregate"])


def test_catalogue_and_class_must_agree(monkeypatch):
    from bench.testing import Subject

    entry = registry("metric").get("psnr")
    wrong = replace(entry, fields={**entry.fields, "better": "lower"})
    with pytest.raises(ContractError, match="says better: lower, the metric higher"):
        run_check(Subject(build_metric(entry, {}, {}), Claims(), wrong), "catalogue")
    narrow = replace(entry, fields={**entry.fields, "range": [0, 20]})
    with pytest.raises(ContractError, match=r"says range \[0, 20\]"):
        run_check(Subject(build_metric(entry, {}, {}), Claims(), narrow), "catalogue")


def test_test_images_look_like_photographs():
    """Neighbours resemble each other as in a photograph (correlation above 0.8), and all of the range is used."""
    image = photograph(128, 0).astype(float)
    assert np.corrcoef(image[:, 1:].ravel(), image[:, :-1].ravel())[0, 1] > 0.8
    assert image.min() < 40 and image.max() > 190
    assert np.array_equal(photograph(128, 0), image) and not np.array_equal(photograph(128, 1), image)
