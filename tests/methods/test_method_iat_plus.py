"""The host with a score that comes with the package, and the host that was fine-tuned beside it without one."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from bench.catalog.registry import registry
from bench.data import builtin
from bench.methods.availability import why_not
from bench.methods.build import build_method
from bench.suite import definition
from iqpir.cli import main
from iqpir.image_files import to_tensor
from iqpir.weights import shipped

BOTH = ("iat+", "iat-finetuned")
SUITES = Path(__file__).parents[2] / "suites"


@pytest.fixture(autouse=True)
def empty_home(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))


@cache
def photographs() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """LQ and GT of every second of the dark built-in photographs, [1,3,H,W] in [0,1]."""
    items = builtin.lowlight("builtin-lowlight", None, side=192).items[::2]
    return [(to_tensor(item.lq.load())[None], to_tensor(item.gt.load())[None]) for item in items]


def restored(name: str, **options: object) -> list[torch.Tensor]:
    method = build_method(registry("method").get(name), options, None)
    method.load("cpu", "float32")
    with torch.inference_mode():
        return [method.restore(lq) for lq, _ in photographs()]


@pytest.mark.parametrize("name", BOTH)
def test_it_runs_where_nothing_was_downloaded(name: str):
    entry = registry("method").get(name)
    method = build_method(entry, {}, None)
    assert method.assets() == [] and why_not(entry) is None
    assert method.identity() != build_method(entry, {"score": 0.1}, None).identity()


def test_the_score_says_how_much_is_restored():
    """The brighter the more is asked, and nearer to the photograph than what hardly anything was asked of."""
    pictures = {score: restored("iat+", score=score) for score in (0.1, 0.3, 0.5, 0.7, 0.9)}
    means = [float(np.mean([float(image.mean()) for image in images])) for images in pictures.values()]
    assert (np.diff(means) > 0).all(), means
    gts = [gt for _, gt in photographs()]
    errors = [
        [float((one - gt).square().mean()) for one, gt in zip(pictures[score], gts, strict=True)]
        for score in (0.1, 0.9)
    ]
    low, high = (-10 * np.log10(each).mean() for each in errors)
    assert high - low > 3, (low, high)


def test_the_control_has_learned_no_score():
    for one, other in zip(restored("iat-finetuned", score=0.1), restored("iat-finetuned", score=0.9), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(restored("iat-finetuned")[0], restored("iat+")[0])


def test_the_files_hold_what_the_catalogue_says():
    for name, file in zip(BOTH, ("iat-plus", "iat-finetuned"), strict=True):
        path = shipped(file)
        assert path is not None and path.stat().st_size < 500_000
        with safe_open(path, framework="np") as opened:
            told = opened.metadata()
        sites = [{key: site[key] for key in ("module", "kind", "channels")} for site in json.loads(told["sites"])]
        assert sites == registry("method").get(name).fields["sites"] and told["host"] == "included"


def test_its_card_says_whose_network_it_is_and_who_changed_it():
    """Apache-2.0, section 4: the licence, the notice of copyright, and that the files were changed."""
    path = shipped("iat-plus")
    assert path is not None
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    notice = "Copyright 2022 The University of Tokyo. All rights reserved."  # first line of their LICENSE
    for said in (
        "Apache License, Version 2.0",
        notice,
        registry("method").get("iat+").fields["home"],
        "changed",
        "iqpir train plus",
    ):
        assert said in card, said


def test_both_stand_in_the_suite_of_small_networks():
    methods = {spec.method for spec in definition.load(SUITES / "lowlight-lite.yaml").suite.methods}
    assert {*BOTH, "iat-lol"} <= methods


def test_the_restorers_command_says_where_it_runs(tmp_path, capsys):
    from PIL import Image

    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    with pytest.raises(SystemExit) as ended:
        main(["restore", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "--weights", "iat-plus"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "no restorer of its own: it runs in a suite" in said and "{method: plus" in said
