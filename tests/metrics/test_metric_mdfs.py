"""MDFS and the identity distance against the authors' code on the same arithmetic weights, and against plain NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support.procedural_weights import noise, picture, procedural

from bench.catalog.registry import Entry, registry
from bench.errors import BenchError, ItemError, MissingFile
from bench.metrics.build import build_metric

NONE = {"view": {}, "metrics": {}}


def tensor(image):
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)) / 255.0)[None]


@pytest.fixture(scope="module")
def backbone_state():
    from bench.metrics.networks.mdfs import MdfsFeatures

    with torch.device("meta"):
        shapes = MdfsFeatures().features.state_dict()
    return {f"features.{name}": value for name, value in procedural(shapes).items()}


@pytest.fixture(scope="module")
def cache(tmp_path_factory, backbone_state):
    """A cache with both files of MDFS: a checkpoint like torchvision's, and 3000 pristine vectors."""
    home = tmp_path_factory.mktemp("cache")
    pristine = noise("pristine", 3000 * 544).reshape(3000, 544).astype(np.float32) * np.float32(0.05)
    files = {
        "efficientnet.pth": {
            **backbone_state,
            "features.7.0.0.weight": torch.zeros(3),
            "classifier.1.bias": torch.zeros(2),
        },
        "MDFS_weights.pth": torch.from_numpy(pristine) + 0.12,
    }
    (home / "weights").mkdir()
    for name, content in files.items():
        torch.save(content, home / "weights" / name)
    return home


@pytest.fixture
def mdfs(cache, monkeypatch):
    from bench.identity import file_hash

    monkeypatch.setenv("BENCH_HOME", str(cache))
    files = [
        {"file": f"weights/{name}", "url": "https://example.org/x", "sha256": file_hash(cache / "weights" / name)}
        for name in ("efficientnet.pth", "MDFS_weights.pth")
    ]
    return build_metric(
        Entry("mdfs", "metric", {**registry("metric").get("mdfs").fields, "weights": files}, "t"), {}, NONE
    )


@pytest.mark.parametrize("size, expected", [((70, 120), 192.688934), ((300, 340), 192.487122)])
def test_mdfs_gives_what_the_authors_script_gives(mdfs, size, expected):
    # Their model.py and the steps of test.py (float32), run on these weights, these vectors and this picture.
    assert float(mdfs.score(tensor(picture(*size)), None)) == pytest.approx(expected, rel=2e-6)


def test_the_distance_is_the_definition():
    from bench.metrics.mdfs import distance, moments

    generator = np.random.default_rng(3)
    features, pristine = generator.normal(size=(40, 6)), generator.normal(size=(500, 6)) * 2 + 1
    weights = generator.uniform(size=40)
    inverse = np.linalg.inv((np.cov(features.T) + np.cov(pristine.T)) / 2)
    offsets = features - pristine.mean(axis=0)
    expected = np.average([math.sqrt(row @ inverse @ row) for row in offsets], weights=weights)
    found = distance(torch.from_numpy(features), torch.from_numpy(weights), *moments(torch.from_numpy(pristine)))
    assert found == pytest.approx(expected, rel=1e-12)


def test_moments_do_not_depend_on_the_chunks(monkeypatch):
    from bench.metrics import mdfs

    vectors = torch.from_numpy(np.random.default_rng(0).normal(size=(1001, 5)) + 100)
    monkeypatch.setattr(mdfs, "_CHUNK", 64)
    mean, covariance = mdfs.moments(vectors)
    np.testing.assert_allclose(mean.numpy(), vectors.numpy().mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(covariance.numpy(), np.cov(vectors.numpy().T), rtol=1e-9, atol=1e-12)


def test_windows_hold_parts_of_unit_length_and_weights_between_0_and_1(backbone_state):
    from bench.metrics.networks.mdfs import CHANNELS, MdfsFeatures

    net = MdfsFeatures().eval()
    net.features.load_state_dict({name.removeprefix("features."): value for name, value in backbone_state.items()})
    with torch.no_grad():
        features, weights = net(tensor(picture(90, 150)).float())
    # 90 × 150 → 6 × 10 positions; windows of 3, one apart → 4 × 8.
    assert features.shape == (32, 544) and weights.shape == (32,)
    for part in features.split(CHANNELS, dim=1):
        np.testing.assert_allclose(part.norm(dim=1).numpy(), 1, rtol=1e-5)
    assert 0 < float(weights.min()) < 0.5 < float(weights.max()) < 1


@pytest.mark.parametrize("size", [(32, 200), (33, 48)])
def test_an_image_with_fewer_than_two_windows_is_an_item_error(mdfs, size):
    with pytest.raises(ItemError, match="mdfs needs"):
        mdfs.score(tensor(picture(*size)), None)


def test_the_smallest_image_scores(mdfs):
    assert math.isfinite(float(mdfs.score(tensor(picture(33, 49)), None)))


def test_pristine_vectors_of_another_length_are_refused(mdfs, tmp_path):
    torch.save(torch.zeros(9, 8), tmp_path / "odd.pth")
    entry = Entry("mdfs", "metric", registry("metric").get("mdfs").fields, "t")
    other = build_metric(entry, {"weights": str(tmp_path / "odd.pth")}, NONE)
    paths = [mdfs.files[0].asset.path, tmp_path / "odd.pth"]
    with pytest.raises(BenchError, match=r"does not hold feature vectors \[M,544\]"):
        other.build(paths)


def test_mdfs_files_are_named_when_they_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    entry = registry("metric").get("mdfs")
    with pytest.raises(MissingFile, match=r"efficientnet_b7_lukemelas-c5b4e57e\.pth .*bench fetch mdfs"):
        build_metric(entry, {}, NONE).load("cpu")
    assert {asset.url for asset in build_metric(entry, {}, NONE).assets()} == {
        "https://download.pytorch.org/models/efficientnet_b7_lukemelas-c5b4e57e.pth",
        "gdrive://1HQq5l9kwhCPByY_6sHPqPveNcBY6-1O6",
    }


# Identity distance


@pytest.fixture(scope="module")
def arcface(tmp_path_factory):
    from bench.metrics.networks.arcface import ArcFaceResNet18

    with torch.device("meta"):
        shapes = ArcFaceResNet18().state_dict()
    path = tmp_path_factory.mktemp("arcface") / "arcface_resnet18.pth"
    torch.save({f"module.{name}": value for name, value in procedural(shapes).items()}, path)
    return str(path)


@pytest.fixture(scope="module")
def faces():
    """Two views of one size, as unlike as the picture allows."""
    return tensor(picture(200, 200)), tensor(picture(200, 260)[:, 60:, ::-1])


def idd(arcface, **options):
    return build_metric(registry("metric").get("idd"), {"weights": arcface, **options}, NONE)


def test_identity_distance_gives_what_the_papers_script_gives(arcface, faces):
    # DAEFR's arcface_arch.py and the steps of cal_identity_distance.py, run on these weights and pictures.
    assert float(idd(arcface).score(*faces)) == pytest.approx(0.1749019, abs=1e-6)


def test_cosine_and_angle_belong_together(arcface, faces):
    angle = float(idd(arcface).score(*faces))
    assert float(idd(arcface, measure="cosine").score(*faces)) == pytest.approx(1 - math.cos(angle), abs=1e-9)


def test_a_face_is_at_distance_zero_from_itself_and_distance_is_symmetric(arcface, faces):
    metric = idd(arcface)
    assert float(metric.score(faces[0], faces[0])) == pytest.approx(0, abs=1e-7)
    assert float(metric.score(*faces)) == float(metric.score(*faces[::-1]))


def test_the_papers_channel_order_is_signed_and_matters(arcface, faces):
    swapped, intended = idd(arcface), idd(arcface, gray="rgb")
    assert "gray:bgr" in str(swapped.signature()) and "gray:rgb" in str(intended.signature())
    assert float(swapped.score(*faces)) != float(intended.score(*faces))
    mirrored = tuple(face.flip(1) for face in faces)
    assert float(intended.score(*mirrored)) == pytest.approx(float(swapped.score(*faces)), abs=1e-6)


def test_a_measure_that_does_not_exist_is_refused(arcface):
    with pytest.raises(BenchError, match="measure 'euclid' is not one of angle, cosine"):
        idd(arcface, measure="euclid")
