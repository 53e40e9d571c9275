"""Both MUSIQ networks against other people's code on the same arithmetic weights, and their weight files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.procedural_weights import picture, procedural

from bench.catalog.registry import Entry, registry
from bench.errors import BenchError, MissingFile
from bench.identity import file_hash
from bench.metrics.build import build_metric

NONE = {"view": {}, "metrics": {}}


def metric(name, options=None, view=None):
    return build_metric(registry("metric").get(name), options or {}, {"view": view or {}, "metrics": {}})


def tensor(image):
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)) / 255.0)[None]


@pytest.fixture(scope="module")
def theirs():
    """pyiqa's network with one class, and its weights in a file's form."""
    from pyiqa.archs.musiq_arch import MUSIQ

    net = MUSIQ(num_class=1, pretrained=False).eval()
    net.load_state_dict(procedural(net.state_dict()))
    return net


@pytest.fixture(scope="module")
def checkpoint(theirs, tmp_path_factory):
    path = tmp_path_factory.mktemp("musiq") / "koniq.pth"
    torch.save(theirs.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def ours(checkpoint):
    return metric("musiq-native", {"weights": str(checkpoint)})


@pytest.mark.parametrize("size", [(201, 223), (37, 300), (384, 224), (33, 31), (7, 9)])
def test_musiq_gives_what_pyiqas_class_gives(theirs, ours, size):
    image = tensor(picture(*size))
    with torch.no_grad():
        expected = float(theirs(image.float()))
    assert float(ours.score(image, None)) == pytest.approx(expected, abs=1e-5)


def test_a_head_of_ten_classes_gives_pyiqas_mean_opinion(tmp_path):
    from pyiqa.archs.musiq_arch import MUSIQ

    net = MUSIQ(num_class=10, pretrained=False).eval()
    net.load_state_dict(procedural(net.state_dict()))
    torch.save(net.state_dict(), tmp_path / "ava.pth")
    image = tensor(picture(90, 160))
    with torch.no_grad():
        expected = float(net(image.float()))
    found = float(metric("musiq-native-ava", {"weights": str(tmp_path / "ava.pth")}).score(image, None))
    assert found == pytest.approx(expected, abs=1e-5) and 1 < found < 10


def test_musiq_has_the_names_and_shapes_of_pyiqas_checkpoints(theirs):
    from bench.metrics.networks.musiq import Musiq

    own = {name: tuple(value.shape) for name, value in Musiq().state_dict().items()}
    assert own == {name: tuple(value.shape) for name, value in theirs.state_dict().items()}


def test_a_batch_is_scored_image_by_image(ours):
    images = torch.cat([tensor(picture(48, 64)), tensor(picture(48, 64)[:, ::-1])])
    alone = [float(ours.score(image[None], None)) for image in images]
    assert ours.score(images, None).tolist() == alone


def test_the_hash_of_a_given_file_is_signed_and_nothing_needs_fetching(checkpoint, ours):
    assert f"weights:{file_hash(checkpoint)[:8]}|" in str(ours.signature())
    assert ours.assets() == []


def test_a_weights_file_that_is_not_there_is_refused_before_any_work():
    with pytest.raises(BenchError, match=r"'musiq-g': weights file nowhere\.pth does not exist"):
        metric("musiq-g", {"weights": "nowhere.pth"})


@pytest.mark.parametrize("name", ["musiq-native", "musiq-g", "idd"])
@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2], {"head.weight": torch.zeros(1, 384)}])
def test_another_files_contents_are_refused_in_one_line(tmp_path, name, content):
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(BenchError, match=f"'{name}'") as caught:
        metric(name, {"weights": str(tmp_path / "odd.pth")}).load("cpu")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_is_read_without_running_what_it_pickles(tmp_path):
    struck = tmp_path / "struck"

    class Strike:
        def __reduce__(self):
            return (open, (str(struck), "w"))

    torch.save({"head.weight": Strike()}, tmp_path / "evil.pth")
    with pytest.raises(BenchError, match="cannot be read"):
        metric("musiq-native", {"weights": str(tmp_path / "evil.pth")}).load("cpu")
    assert not struck.exists()


@pytest.fixture(scope="module")
def gfiqa(tmp_path_factory):
    from iqpir.quality.musiq_gfiqa import Regression

    with torch.device("meta"):
        from torchvision.models import resnet50

        backbone, regression = resnet50(), Regression()
    shapes = {name: value for name, value in backbone.state_dict().items() if not name.startswith("fc.")}
    path = tmp_path_factory.mktemp("gfiqa") / "epoch80.pth"
    state = {
        "epoch": 80,
        "model_backbone_state_dict": procedural(shapes),
        "model_transformer_state_dict": procedural(regression.state_dict()),
    }
    torch.save(state, path)
    return metric("musiq-g", {"weights": str(path)})


def test_musiq_gfiqa_gives_what_the_authors_network_gives(gfiqa):
    # Their model/backbone.py, model/model_main.py and the steps of test_0713.py, run on these weights and this picture.
    found = float(gfiqa.score(tensor(picture(300, 420)), None))
    assert found == pytest.approx(-0.8770878, abs=2e-5)


def test_musiq_gfiqa_has_the_names_of_the_authors_checkpoint():
    from iqpir.quality.musiq_gfiqa import Regression

    with torch.device("meta"):
        names = list(Regression().state_dict())
    # Written down from their module definitions.
    layers = [
        f"transformer.encoder.layers.{index}.{part}.{kind}"
        for index in range(14)
        for part in (
            "self_attn.W_Q", "self_attn.W_K", "self_attn.W_V", "self_attn.linear",
            "layer_norm1", "pos_ffn.conv1", "pos_ffn.conv2", "layer_norm2",
        )
        for kind in ("weight", "bias")
    ]  # fmt: skip
    embeddings = ("scale_org_embedding", "scale_1_embedding", "scale_2_embedding", "pos_embedding", "cls_token")
    rest = [
        "conv_enc.weight", "conv_enc.bias", "projection.0.weight", "projection.2.weight",
        *(f"transformer.encoder.{name}" for name in embeddings),
    ]  # fmt: skip
    assert sorted(names) == sorted([*layers, *rest])


def test_an_image_of_512_is_not_resized_and_other_sizes_are_by_opencv():
    import cv2

    from bench.metrics.musiq import _squared

    image = tensor(picture(512, 512)).float()
    assert _squared(image, eight_bit=True) is image
    small = picture(100, 77)
    expected = cv2.resize(small, (512, 512)).astype(np.float32) / 255
    assert np.array_equal(_squared(tensor(small).float(), eight_bit=True)[0].permute(1, 2, 0).numpy(), expected)


def test_unpublished_weights_say_how_a_person_gets_them(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    with pytest.raises(MissingFile, match=r"musiq-g needs weights/musiq-gfiqa/epoch80.pth \(its authors have not"):
        metric("musiq-g").load("cpu")


def test_pinned_files_in_the_cache_are_used(tmp_path, monkeypatch, checkpoint, ours):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    entry = registry("metric").get("musiq-native")
    file = {"file": "weights/x.pth", "url": "https://example.org/x.pth", "sha256": file_hash(checkpoint)}
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "x.pth").symlink_to(checkpoint)
    image = tensor(picture(40, 50))
    own = build_metric(Entry("musiq-native", "metric", {**entry.fields, "weights": [file]}, "test:1"), {}, NONE)
    assert float(own.score(image, None)) == float(ours.score(image, None))
    wrong = {**file, "sha256": "0" * 64}
    with pytest.raises(BenchError, match="not the pinned"):
        build_metric(Entry("x", "metric", {**entry.fields, "weights": [wrong]}, "test:1"), {}, NONE).load("cpu")
