"""FID from files to table: network and pixels against pyiqa's, features stored once, references by name and by file.

No weights can be had here, so that they are made by arithmetic: what the real ones would give is not tested.
"""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from support.procedural_weights import picture, procedural
from support.toy_features import (
    DIMENSIONS,
    WEIGHTS,
    command,
    fid_of,
    photographs,
    pin,
    rows,
    run,
    suite,
    table,
    value,
    vectors,
)

from bench.errors import BenchError
from bench.folder_scores import score
from bench.identity import file_hash
from bench.metrics import extractors
from bench.metrics.networks.inception import FidInception
from bench.metrics.primitives.frechet import Gaussian, frechet_distance, polynomial_mmd

# The network and what it is shown


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return procedural(FidInception().state_dict())


def test_the_network_is_the_one_that_pyiqa_takes_from_pytorch_fid(state, recwarn):
    """Same names, same vectors, for the same checkpoint."""
    import pyiqa.archs.inception as peer

    def fill(network: torch.nn.Module, url: str) -> None:
        assert url.endswith(Path(WEIGHTS).name)
        rest = {name: value for name, value in network.state_dict().items() if name.startswith("fc.")}
        network.load_state_dict({**state, **rest}, strict=True)

    with mock.patch.object(peer, "load_pretrained_network", fill):
        theirs = peer.InceptionV3([3]).eval()
    ours = FidInception().eval()
    ours.load_state_dict(state)
    pixels = torch.from_numpy(picture(90, 120).transpose(2, 0, 1).copy()).double()[None] / 255
    with torch.no_grad():
        found = ours(extractors._bilinear(pixels))
        expected = theirs(pixels.float(), resize_input=True, normalize_input=True)[0].flatten(1)
    assert found.shape == (1, 2048) and found.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(90, 120), (299, 299), (640, 333)])
def test_clean_fids_pixels_are_those_of_pyiqas_clean_mode(tmp_path, shape):
    from pyiqa.archs.fid_arch import ResizeDataset

    Image.fromarray(picture(*shape)).save(tmp_path / "a.png")
    expected = (ResizeDataset([tmp_path / "a.png"], "clean")[0] - 128) / 128
    pixels = torch.from_numpy(picture(*shape).transpose(2, 0, 1).copy()).double()[None] / 255
    torch.testing.assert_close(extractors._pil_bicubic(pixels)[0], expected, rtol=0, atol=1e-6)


# bench score


def test_a_folder_against_its_copy_is_nought_and_against_another_what_the_features_say(toy):
    ours, theirs = photographs("a", 6), photographs("b", 6, seed=1)
    photographs("copy", 6)
    assert value(ours, "copy", "fid") <= 1e-6
    assert value(ours, theirs, "fid") == pytest.approx(fid_of(vectors(ours), vectors(theirs)), abs=1e-6)
    assert value(ours, theirs, "kid") == pytest.approx(polynomial_mmd(vectors(ours), vectors(theirs)), abs=1e-6)


def test_fid_and_kid_share_one_pass_over_each_image(toy):
    rows = score(photographs("a", 4), photographs("b", 4, seed=1), metrics=["fid", "kid", "psnr"])
    assert toy.seen == 8
    assert [row["metric"] for row in rows if not row["item"]] == ["fid", "kid"]


def test_duplicates_are_members_of_their_own(toy):
    for folder, seed in (("a", 0), ("b", 1)):
        photographs(folder, 3, seed)
        (Path(folder) / "03.png").write_bytes((Path(folder) / "00.png").read_bytes())
    assert value("a", "b", "fid") == pytest.approx(fid_of(vectors("a"), vectors("b")), abs=1e-6)
    assert vectors("a").shape == (4, DIMENSIONS)


def test_neither_threads_nor_names_reach_the_value(toy):
    photographs("a", 5), photographs("b", 5, seed=1)
    for folder in ("a", "b"):
        Path(f"renamed/{folder}").mkdir(parents=True)
        for index in range(5):
            (Path("renamed") / folder / f"{9 - index}.png").write_bytes(Path(f"{folder}/{index:02d}.png").read_bytes())
    specs = ["fid", {"kid": {"subsets": 7, "size": 3}}]
    first = [row["value"] for row in score("a", "b", metrics=specs, threads=1)]
    assert [row["value"] for row in score("renamed/a", "renamed/b", metrics=specs, threads=4)] == first


def test_sizes_need_not_agree_between_the_sets(toy):
    photographs("a", 3), photographs("b", 3)
    for file in Path("b").glob("*.png"):
        Image.open(file).resize((96, 80)).save(file)
    assert value("a", "b", "fid") > 0


def test_one_image_has_no_fid_and_says_so(toy):
    (row,) = score(photographs("a", 1), photographs("b", 1, seed=1), metrics=["fid"])
    assert (row["status"], row["reason"]) == ("failed", "a covariance needs 2 images or more, there is 1")


def test_without_a_reference_folder_named_statistics_still_score(toy):
    np.savez("moments.npz", mu=np.zeros(DIMENSIONS), sigma=np.eye(DIMENSIONS))
    photographs("a", 5)
    expected = frechet_distance(
        Gaussian.of_samples(vectors("a")), Gaussian.of_moments(np.zeros(DIMENSIONS), np.eye(DIMENSIONS))
    )
    assert value("a", None, "fid[ref=moments.npz]") == pytest.approx(expected, rel=1e-6)
    with pytest.raises(BenchError, match="compares with a reference"):
        score("a", None, metrics=["fid"])


def test_a_broken_reference_costs_its_image_and_no_other(toy):
    photographs("a", 5), photographs("b", 5, seed=1)
    Path("b/02.png").write_bytes(b"no image")
    rows = {row["item"]: row for row in score("a", "b", metrics=["fid"])}
    assert rows["02"]["status"] == "input"
    assert rows[""]["reason"] == "4 of 5 images"
    kept = [0, 1, 3, 4]
    Path("b/02.png").write_bytes(Path("b/00.png").read_bytes())
    assert rows[""]["value"] == pytest.approx(fid_of(vectors("a")[kept], vectors("b")[kept]), abs=1e-6)


# bench run


def test_a_run_gives_what_bench_score_gives_and_stores_each_image_once(toy, capsys):
    photographs("a", 4), photographs("b", 4, seed=1)
    run(capsys, suite("one", "[fid, kid]", "[identity, gamma]"))
    # 4 inputs as they are, 4 brightened, 4 references: one vector each, for two methods and two metrics.
    assert rows("SELECT count(*), sum(status = 'ok') FROM extraction") == [(12, 12)]
    found = table(capsys)
    assert found["identity", "fid"]["value"] == pytest.approx(value("a", "b", "fid"), abs=1e-9)
    assert found["identity", "kid"]["value"] == pytest.approx(value("a", "b", "kid"), abs=1e-12)
    assert found["gamma", "fid"]["value"] > 0
    assert (found["gamma", "fid"]["n"], found["gamma", "fid"]["expected"]) == (4, 4)


def test_another_method_or_reference_set_is_not_another_pass(toy, capsys):
    photographs("a", 4), photographs("b", 4, seed=1)
    np.savez("moments.npz", mu=np.zeros(DIMENSIONS), sigma=np.eye(DIMENSIONS))
    run(capsys, suite("one", "[fid]"))
    assert toy.seen == 8
    run(capsys, suite("two", "[fid, kid]", "[identity, gamma]"))
    assert toy.seen == 12
    run(capsys, suite("three", "[{fid: {ref: moments.npz}}]", "[gamma]"))
    run(capsys, suite("two", "[fid, kid]", "[identity, gamma]"))
    assert toy.seen == 12


def test_work_in_parts_gives_what_work_in_one_piece_gives(toy, capsys):
    photographs("a", 7), photographs("b", 7, seed=1)
    job = suite("one", "[fid, kid, {kid: {subsets: 3, size: 3}}]")
    for limit in ("3", "5", "7"):
        run(capsys, job, "--limit", limit)
    whole = suite("one", "[fid, kid, {kid: {subsets: 3, size: 3}}]")
    run(capsys, whole, "--results", "other")
    parts, piece = table(capsys), table(capsys, "other")
    assert len(parts) == 3
    for place, row in piece.items():
        assert parts[place]["value"] == pytest.approx(row["value"], abs=1e-6)


def test_a_broken_reference_is_counted_once_and_not_tried_again(toy, capsys):
    photographs("a", 4), photographs("b", 4, seed=1)
    Path("b/02.png").write_bytes(b"no image")
    job = suite("one", "[fid]")
    code, _, _ = command(capsys, "run", job)
    assert code == 1
    row = table(capsys)["identity", "fid"]
    assert (row["n"], row["expected"]) == (3, 4)
    seen = toy.seen
    command(capsys, "run", job)
    assert toy.seen == seen
    photographs("b", 4, seed=1)
    run(capsys, job)
    row = table(capsys)["identity", "fid"]
    assert row["n"] == 4 and row["value"] == pytest.approx(fid_of(vectors("a"), vectors("b")), abs=1e-6)


def test_data_without_gt_is_not_applicable_but_has_a_distance_to_statistics(toy, capsys):
    photographs("a", 4)
    np.savez("moments.npz", mu=np.zeros(DIMENSIONS), sigma=np.eye(DIMENSIONS))
    run(capsys, suite("one", "[fid, {fid: {ref: moments.npz}}]", data="{lq: a/*.png}"))
    found = table(capsys)
    assert found["identity", "fid"]["value"] is None
    (other,) = [row for row in found.values() if "ref:file@" in row["signature"]]
    assert (other["value"] > 0, other["n"]) == (True, 4)


def test_the_sweeper_leaves_the_features_of_references(toy, capsys):
    photographs("a", 3), photographs("b", 3, seed=1)
    job = suite("one", "[fid]")
    run(capsys, job)
    assert command(capsys, "gc")[0] == 0
    assert rows("SELECT count(*) FROM extraction") == [(6,)]


def test_a_real_network_runs_from_its_checkpoint_to_the_table(empty_cache, monkeypatch, capsys, state):
    """The one test through the 22 million parameters, with the classifier's tensors that the official file has."""
    torch.save({**state, "fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}, empty_cache)
    pin(monkeypatch, empty_cache)
    photographs("a", 2), photographs("b", 2)
    extractors._inception.cache_clear()
    try:
        run(capsys, suite("one", "[fid, kid]"))
        found = table(capsys)["identity", "fid"]
        assert found["value"] <= 1e-6 and found["n"] == 2
        assert found["signature"].startswith(f"fid|ext:basicsr@{file_hash(empty_cache)[:8]}|ref:gt|space:rgb|range:u8|")
    finally:
        extractors._inception.cache_clear()
