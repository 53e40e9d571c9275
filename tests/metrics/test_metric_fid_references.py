"""Weights and statistics of FID and KID: what is missing, wrong or foreign, and what their signatures say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.toy_features import (
    DIMENSIONS,
    WEIGHTS,
    built,
    command,
    fid_of,
    photographs,
    pin,
    run,
    suite,
    table,
    value,
    vectors,
)

from bench import paths
from bench.catalog.registry import registry
from bench.errors import BenchError, MissingFile
from bench.folder_scores import score
from bench.identity import file_hash
from bench.metrics import references
from bench.metrics.build import build_metric
from bench.metrics.primitives.frechet import Gaussian, frechet_distance, polynomial_mmd
from bench.metrics.protocols import protocol

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
