"""`NAME+` in a suite: a host of the catalogue or of one's own, with a score, without an entry written for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from support.networks import picture
from torch import nn

import bench
from bench.bridge.hosts import host as provided
from bench.catalog.registry import registry
from bench.errors import BenchError
from bench.methods.build import build_method
from bench.methods.module import from_module
from iqpir.errors import IQPIRError
from iqpir.plus import ScoreConditioner, Site


class Halves(nn.Module):
    """A host that halves an image, with features to shift on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.features.weight.copy_(torch.eye(3)[:, :, None, None])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.features(image) / 2


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A method of the user's, and beside it a conditioner whose bin 9 adds 0.2 to the features."""
    methods = registry("method")
    monkeypatch.setattr(methods, "_entries", dict(methods._entries))
    bench.register_method("mine", lambda: from_module(Halves(), multiple=4))
    plus = ScoreConditioner(Halves(), [Site("features", "add", 3)])
    with torch.no_grad():
        plus.score[0].weight[9] = 0.2
    plus.save(tmp_path / "plus.safetensors")
    return tmp_path


def test_it_is_ones_own_host_with_the_score_that_is_asked_for(mine):
    image = picture(7, 9, 0.4)
    weights = str(mine / "plus.safetensors")
    for score, shift in ((0.95, 0.1), (0.05, 0.0)):
        method = bench.load_method("mine+", weights=weights, score=score)
        torch.testing.assert_close(method.restore(image), image / 2 + shift)
    torch.testing.assert_close(bench.load_method("mine").restore(image), image / 2)
    guided = bench.load_method("mine+", weights=weights, score=0.95, guidance=2.0)
    torch.testing.assert_close(guided.restore(image), image / 2 + 0.2)


def test_a_suite_runs_it_beside_its_host(mine, monkeypatch):
    monkeypatch.chdir(mine)
    rng = np.random.default_rng(0)
    for folder in ("low", "high"):
        (mine / folder).mkdir()
        for number in range(2):
            Image.fromarray(rng.integers(0, 256, (12, 14, 3), dtype=np.uint8)).save(mine / folder / f"{number}.png")
    (mine / "suite.yaml").write_text(
        "schema: 1\ntitle: A host of one's own\n"
        "datasets: [{dataset: folder, options: {lq: 'low/*.png', gt: 'high/*.png'}, label: pairs}]\n"
        "methods: [mine, {method: mine+, sweep: {score: [0.05, 0.95]}, options: {weights: plus.safetensors},"
        " label: 'mine+ {score}'}]\nmetrics: [psnr]\n"
    )
    assert bench.run("suite.yaml").failed == 0
    means = bench.load_results("results/bench.db").groupby("method")["value"].mean()
    assert means["mine+ 0.05"] == means["mine"] != means["mine+ 0.95"]


def test_its_identity_is_that_of_host_and_rows(mine):
    options = {"weights": str(mine / "plus.safetensors")}
    one = build_method(registry("method").get("mine+"), options, None).identity()
    assert one == build_method(registry("method").get("plus"), {"host": "mine", **options}, None).identity()
    assert one["host"] == build_method(registry("method").get("mine"), {}, None).identity()


def test_every_network_of_the_catalogue_may_be_followed_by_a_plus():
    methods = registry("method")
    assert "sci-medium+" in methods and "sci-medium+" not in methods.names()
    assert methods.get("sci-medium+").fields["options"]["host"] == "sci-medium"
    assert methods.get("zero-dce+++").fields["options"]["host"] == "zero-dce++"
    assert methods.get("reti-diff+").fields["sites"], "an entry of its own comes first"
    assert "sites" not in methods.get("hvi-cidnet+").fields and "no-such+" not in methods
    with pytest.raises(BenchError, match=r"unknown method 'sci-mediun\+'"):
        methods.get("sci-mediun+")
    assert "iqpir train plus makes them from sci-medium" in str(
        build_method(methods.get("sci-medium+"), {}, None).unavailable()
    )


def test_what_is_no_network_cannot_be_a_host(mine):
    bench.register_method("function", lambda: from_module(torch.sqrt))
    with pytest.raises(BenchError, match=r"host 'function' is no torch module; bench.methods.module.from_module"):
        build_method(registry("method").get("function+"), {}, None)
    with pytest.raises(BenchError, match="host 'gamma' is of kind 'classical'"):
        build_method(registry("method").get("gamma+"), {}, None)


def test_training_takes_it_by_either_name(mine):
    for name in ("mine", "mine+"):
        found = provided(name)
        assert isinstance(found.network, Halves) and found.sites == ()
    with pytest.raises(IQPIRError, match="host 'plus' is of kind 'plus'; a host is a network"):
        provided("plus")
