"""FID from files to table: network and pixels against pyiqa's, features stored once, references by name and by file.

No weights can be had here, so that they are made by arithmetic: what the real ones would give is not tested.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from procedural_weights import picture, procedural

from bench import paths
from bench.cli import main
from bench.errors import BenchError, MissingFile
from bench.identity import file_hash
from bench.metrics import extractors, references
from bench.metrics.build import build_metric
from bench.metrics.frechet import Gaussian, frechet_distance, polynomial_mmd
from bench.metrics.networks.inception import FidInception
from bench.metrics.protocols import protocol
from bench.registry import registry
from bench.scores import score

NONE = {"view": {}, "metrics": {}}
WEIGHTS = "weights/inception/pt_inception-2015-12-05-6726825d.pth"


def built(name: str, **options):
    return build_metric(registry("metric").get(name), options, NONE)


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


# A cache with a checkpoint whose hash is pinned in place of the real one's


@pytest.fixture
def empty_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "home" / WEIGHTS
    place.parent.mkdir(parents=True)
    (tmp_path / "home" / "statistics").mkdir()
    return place


def pin(monkeypatch, file: Path) -> None:
    for one in extractors.catalogue()["extractors"].values():
        monkeypatch.setitem(one["weights"], "sha256", file_hash(file))


class Toy(torch.nn.Module):
    """Stands in for the network where only the way of its features matters: 48 pixels on a grid."""

    seen = 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        Toy.seen += 1
        return image[:, :, 30::70, 30::70].flatten(1)


DIMENSIONS = 48


@pytest.fixture
def toy(empty_cache, monkeypatch) -> Iterator[type[Toy]]:
    empty_cache.write_bytes(b"a network")
    pin(monkeypatch, empty_cache)
    monkeypatch.setattr(extractors, "_inception", lambda path, sha256, device: Toy())
    monkeypatch.setattr(Toy, "seen", 0)
    yield Toy
    references._gaussian.cache_clear()
    references._features.cache_clear()


def photographs(folder: str, count: int, seed: int = 0, dark: float = 1.0) -> str:
    Path(folder).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        noise = np.random.default_rng(1000 * seed + index).normal(128, 40, (5, 6, 3))
        small = Image.fromarray((np.clip(noise, 0, 255) * dark).astype(np.uint8))
        small.resize((48, 40), Image.Resampling.BICUBIC).save(f"{folder}/{index:02d}.png")
    return folder


def vectors(folder: str) -> np.ndarray:
    """What the toy makes of a folder, computed here."""
    found = []
    for file in sorted(Path(folder).glob("*.png")):
        image = torch.from_numpy(np.asarray(Image.open(file)).transpose(2, 0, 1).copy())[None].float() / 255 * 2 - 1
        large = torch.nn.functional.interpolate(image, (299, 299), mode="bilinear", align_corners=False)
        found.append(large[:, :, 30::70, 30::70].flatten().double().numpy())
    return np.stack(found)


def fid_of(first: np.ndarray, second: np.ndarray) -> float:
    return frechet_distance(Gaussian.of_samples(first), Gaussian.of_samples(second))


def value(restored: str, reference: str | None, spec) -> float:
    (row,) = score(restored, reference, metrics=[spec])
    assert row["status"] == "ok", row
    assert row["value"] is not None
    return row["value"]


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


def suite(name: str, metrics: str, methods: str = "[identity]", data: str = "{lq: a/*.png, gt: b/*.png}") -> str:
    text = f"schema: 1\ndatasets: [{{dataset: folder, options: {data}, label: mine}}]\n"
    Path(f"{name}.yaml").write_text(f"{text}methods: {methods}\nmetrics: {metrics}\n")
    return f"{name}.yaml"


def command(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    said = capsys.readouterr()
    return int(caught.value.code or 0), said.out, said.err


def table(capsys, results: str = "results") -> dict[tuple[str, str], dict]:
    code, out, err = command(capsys, "table", "--format", "json", "--results", results)
    assert code == 0, err
    return {(row["method"], row["metric"]): row for row in json.loads(out)}


def run(capsys, *arguments: str) -> str:
    code, _, err = command(capsys, "run", *arguments)
    assert code == 0, err
    return err


def rows(sql: str) -> list[tuple]:
    with sqlite3.connect("results/bench.db") as store:
        return store.execute(sql).fetchall()


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


# Weights that are missing or not the right ones


def test_missing_weights_are_one_line_with_file_address_hash_and_command(empty_cache):
    photographs("a", 2)
    with pytest.raises(MissingFile) as caught:
        score("a", "a", metrics=["kid"])
    line = str(caught.value)
    assert "\n" not in line and line.endswith("bench fetch kid")
    assert f"kid needs {WEIGHTS} (https://github.com/mseitzer/pytorch-fid/releases/" in line
    assert "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2" in line


def test_missing_statistics_name_the_entry_that_fetches_them(toy, capsys):
    photographs("a", 2)
    for name in ("fid[ref=ffhq-512]", "fid-ffhq-512"):
        with pytest.raises(MissingFile) as caught:
            score("a", None, metrics=[name])
        line = str(caught.value)
        assert "statistics/inception_FFHQ_512-f7b384ab.pth" in line and "sha256 f7b384ab…" in line
        assert "hf://LIAGM/DAEFR_pretrain_model/" in line and line.endswith("bench fetch fid-ffhq-512")
    code, out, _ = command(capsys, "fetch", "fid-ffhq-512", "--dry-run")
    assert code == 0 and "statistics/inception_FFHQ_512-f7b384ab.pth" in out and Path(WEIGHTS).name in out


def test_a_run_without_the_weights_says_it_and_with_available_goes_on(empty_cache, capsys):
    photographs("a", 2), photographs("b", 2, seed=1)
    job = suite("one", "[psnr, fid]")
    code, _, err = command(capsys, "run", job)
    assert code == 2 and "metric weights  bench fetch fid" in err
    run(capsys, job, "--available")
    found = table(capsys)
    assert found["identity", "psnr"]["n"] == 2
    assert found["identity", "fid"]["value"] is None


def test_a_file_with_another_hash_or_other_tensors_is_refused(empty_cache, monkeypatch):
    photographs("a", 2)
    empty_cache.write_bytes(b"something else")
    with pytest.raises(BenchError, match="not the pinned 6726825d"):
        score("a", "a", metrics=["fid"])
    torch.save({"conv.weight": torch.zeros(3)}, empty_cache)
    pin(monkeypatch, empty_cache)
    with pytest.raises(BenchError, match="does not fit the network") as caught:
        score("a", "a", metrics=["fid"])
    assert "\n" not in str(caught.value)


# Reference sets


def moments(seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    samples = np.random.default_rng(seed).normal(size=(200, DIMENSIONS))
    return samples.mean(axis=0), np.cov(samples, rowvar=False)


def write_moments(kind: str) -> str:
    mean, covariance = moments()
    if kind == "npz of pytorch-fid":
        np.savez("stats.npz", mu=mean, sigma=covariance)
        return "stats.npz"
    if kind == "pth of BasicSR":  # NumPy arrays, in the older format
        held = {"name": "FFHQ", "size": 512, "mean": mean, "cov": covariance}
        torch.save(held, "stats.pth", _use_new_zipfile_serialization=False)
        return "stats.pth"
    torch.save({"mean": torch.from_numpy(mean), "cov": torch.from_numpy(covariance)}, "tensors.pt")
    return "tensors.pt"


@pytest.mark.parametrize("kind", ["npz of pytorch-fid", "pth of BasicSR", "pth of tensors"])
def test_statistics_are_read_as_others_write_them(toy, kind):
    photographs("a", 5)
    file = write_moments(kind)
    expected = frechet_distance(Gaussian.of_samples(vectors("a")), Gaussian.of_moments(*moments()))
    assert value("a", None, {"fid": {"ref": file}}) == pytest.approx(expected, rel=1e-6)


def test_statistics_of_an_older_numpy_are_read(toy):
    file = Path(write_moments("pth of BasicSR"))
    raw = file.read_bytes()
    file.write_bytes(raw.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    found = references.reference("stats.pth", "basicsr", "moments").gaussian(DIMENSIONS)
    assert found.mean.tolist() == moments()[0].tolist()


def test_statistics_that_would_run_code_are_refused(toy):
    import pickle

    class Command:
        def __reduce__(self):
            return (Path("broken-into").touch, ())

    Path("stats.pth").write_bytes(pickle.dumps({"mean": Command()}))
    np.savez("stats.npz", mu=np.array([{"an": "object"}], dtype=object), sigma=np.eye(1))
    photographs("a", 2)
    for file in ("stats.pth", "stats.npz"):
        (row,) = score("a", None, metrics=[{"fid": {"ref": file}}])
        assert row["status"] == "failed" and "cannot be read" in row["reason"]
    assert not Path("broken-into").exists()


def test_features_serve_both_and_moments_only_fid(toy):
    photographs("a", 5)
    features = np.random.default_rng(3).normal(size=(9, DIMENSIONS))
    np.savez("feats.npz", feats=features)
    np.save("plain.npy", features)
    assert value("a", None, "fid[ref=feats.npz]") == pytest.approx(fid_of(vectors("a"), features), rel=1e-6)
    for file in ("feats.npz", "plain.npy"):
        expected = polynomial_mmd(vectors("a"), features)
        assert value("a", None, {"kid": {"ref": file}}) == pytest.approx(expected, rel=1e-6)
    write_moments("npz of pytorch-fid")
    (row,) = score("a", None, metrics=["kid[ref=stats.npz]"])
    assert row["status"] == "failed" and "stats.npz holds mean, covariance, no features" in row["reason"]


def test_the_signature_holds_the_files_hash_and_not_its_name(toy):
    first = write_moments("npz of pytorch-fid")
    text = str(built("fid", ref=first).signature())
    assert f"|ref:file@{file_hash(Path(first))[:8]}|" in text
    Path("copy.npz").write_bytes(Path(first).read_bytes())
    assert str(built("fid", ref="copy.npz").signature()) == text
    np.savez("copy.npz", mu=moments(4)[0], sigma=moments(4)[1])
    assert str(built("fid", ref="copy.npz").signature()) != text


def test_a_file_of_another_extractors_size_is_a_reason(toy):
    np.savez("stats.npz", mu=np.zeros(7), sigma=np.eye(7))
    photographs("a", 3)
    (row,) = score("a", None, metrics=["fid[ref=stats.npz]"])
    assert row["status"] == "failed" and "describes 7 dimensions, the extractor gives 48" in row["reason"]


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("fid", {"ref": "ffhq-511"}, "did you mean 'ffhq-512'"),
        ("fid", {"ref": "missing.npz"}, "there is no such file"),
        ("fid", {"ref": "ffhq-512", "ext": "clean-fid"}, "has moments for ext basicsr, this metric needs moments for"),
        ("kid", {"ref": "ffhq-512"}, "this metric needs features for ext basicsr"),
        ("fid", {"ext": "clean-fed"}, "did you mean 'clean-fid'"),
        ("fid", {"gtmean": "gray"}, "compares sets, not pairs: option 'gtmean' does not apply"),
        ("fid", {"space": "y"}, "space 'y' does not apply"),
        ("fid", {"mode": "NR"}, "no option 'mode'"),
    ],
)
def test_a_request_that_means_nothing_is_refused(empty_cache, name, options, message):
    with pytest.raises(BenchError, match=message):
        built(name, **options)


# Signatures and protocols


def test_the_signatures_say_all_that_changes_the_number():
    assert str(built("fid").signature()) == "fid|ext:basicsr@6726825d|ref:gt|space:rgb|range:u8|crop:0|v:1"
    assert "|ref:ffhq-512@f7b384ab|" in str(built("fid-ffhq-512").signature())
    assert str(built("fid-ffhq-512").signature()) == str(built("fid", ref="ffhq-512").signature())
    assert "|ext:clean-fid@6726825d|" in str(built("fid-clean").signature())


def test_distances_and_reference_sets_share_features_that_pixels_and_extractors_do_not():
    shared = {str(built(*one).extractor()) for one in (["fid"], ["kid"], ["fid-ffhq-512"])}
    shared |= {str(built("kid", subsets=2, size=5).extractor())}
    assert shared == {"features|ext:basicsr@6726825d|space:rgb|range:u8|crop:0|v:1"}
    assert not shared & {str(built("fid-clean").extractor()), str(built("fid", crop=4).extractor())}


def test_the_face_protocol_compares_with_ffhq_and_says_that_nothing_proves_it():
    rules = protocol("faces/basicsr")
    metric = build_metric(registry("metric").get("fid"), {}, rules)
    assert metric.mode == "NR" and not metric.two_sets
    signature = str(metric.signature())
    assert "|ref:ffhq-512@f7b384ab|" in signature and "|proto:unverified|" in signature
    assert "proto" not in str(metric.extractor())


def test_a_protocol_of_pairs_leaves_sets_alone():
    metric = build_metric(registry("metric").get("fid"), {}, protocol("hvi-cidnet/lol-v1"))
    assert (metric.view.gtmean, metric.view.resize) == ("no", "no")


def test_the_cache_is_not_asked_while_planning(empty_cache):
    """Signatures are there before any file is."""
    assert not list(paths.home().rglob("*.pth"))
    assert str(built("fid-clean-ffhq-70k").signature()).startswith("fid|ext:clean-fid@6726825d|ref:ffhq-70k@")
