"""The checkpoint that comes with the package: what it is, and that it does what its card says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import bench
from bench.methods.build import build_method
from bench.registry import registry
from bench.tables.statistics import paired
from iqpir import preset
from iqpir.checkpoint import read_checkpoint
from iqpir.errors import IQPIRError
from iqpir.weights import shipped

FILE = shipped("iqpir-tiny")
CLASSICAL = ("gamma", "clahe", "agcwd", "msr", "gray-world", "underwater-fusion", "nlm", "unsharp")
"""The quickstart's."""


def test_it_is_small_and_says_what_it_is():
    assert FILE is not None and FILE.stat().st_size <= 10e6
    checkpoint = read_checkpoint(FILE)
    assert checkpoint.config == preset("tiny") and checkpoint.fidelity_trained
    assert sum(tensor.numel() for tensor in checkpoint.state.values()) == 3_733_168
    assert registry("method").get("iqpir-tiny").fields["parameters"] == 3_733_168
    assert FILE.with_suffix(".md").is_file()
    assert shipped("iqpir-huge") is None
    with pytest.raises(IQPIRError, match="iqpir-tinny: there is no such file; did you mean 'iqpir-tiny'"):
        read_checkpoint("iqpir-tinny")
    with pytest.raises(
        IQPIRError, match=r"my\.pth: there is no such file \(iqpir-tiny, iqpir-tiny-quality come along\)"
    ):
        read_checkpoint("my.pth")


def test_it_needs_nothing_and_its_weights_are_its_identity():
    method = build_method(registry("method").get("iqpir-tiny"), {}, None)
    assert method.assets() == [] and method.unavailable() is None
    other = build_method(registry("method").get("iqpir-tiny"), {"score": 0.1}, None)
    assert method.identity()["weights"] == other.identity()["weights"] and method.identity() != other.identity()


def test_it_is_brighter_and_truer_in_low_light_than_every_classical_method(tmp_path: Path):
    """As its card says: on average, on five of six photographs, and beyond doubt by the bootstrap alone."""
    suite = {"schema": 1, "datasets": ["builtin-lowlight"], "methods": ["iqpir-tiny", *CLASSICAL], "metrics": ["psnr"]}
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite))
    bench.run(str(tmp_path / "suite.yaml"), results=str(tmp_path / "results"))
    frame = bench.load_results(str(tmp_path / "results"))
    values = {name: rows.sort_values("item")["value"].tolist() for name, rows in frame.groupby("method")}
    assert {len(each) for each in values.values()} == {6}
    best = max(CLASSICAL, key=lambda name: sum(values[name]))
    found = paired(values[best], values["iqpir-tiny"])
    assert best == "gamma" and found is not None
    assert (
        found.interval.low > 1
        and sum(ours > theirs for ours, theirs in zip(values["iqpir-tiny"], values[best], strict=True)) >= 5
    )
