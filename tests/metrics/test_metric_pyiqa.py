"""pyiqa through the adapter: equal values, weights from the checked cache alone, every failure one line."""

from __future__ import annotations

import importlib.metadata
import re
import socket
import urllib.request

import pytest
import torch
import yaml
from support.pyiqa_catalogue import NATIVE

from bench import paths
from bench.catalog.registry import Entry, registry
from bench.errors import BenchError, ItemError, MissingFile
from bench.fetch import pins
from bench.identity import file_hash
from bench.metrics.build import build_metric
from bench.metrics.scorer import Scorer

VERSION = importlib.metadata.version("pyiqa")
WEIGHTLESS = [
    "cw_ssim",
    "entropy",
    "pyiqa-fsim",
    "pyiqa-gmsd",
    "pyiqa-ms_ssim",
    "nlpd",
    "pyiqa-piqe",
    "pyiqa-psnr",
    "psnry",
    "pyiqa-ssim",
    "pyiqa-vif",
    "vsi",
]


def metric(name: str, fields=None):
    entry = registry("metric").get(name)
    if fields is not None:
        entry = Entry(name, "metric", {**entry.fields, **fields}, "test:1")
    return build_metric(entry, {}, {"view": {}, "metrics": {}})


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and a network that fails the test when anybody reaches for it."""
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))

    def reached(*arguments, **_):
        raise AssertionError(f"the network was reached: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", reached)
    monkeypatch.setattr(socket, "getaddrinfo", reached)
    folder = tmp_path / "weights" / "pyiqa"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", WEIGHTLESS)
def test_a_metric_without_weights_gives_what_pyiqa_gives(pair, name):
    import pyiqa

    direct = pyiqa.create_metric(name.removeprefix("pyiqa-"), device="cpu")
    images = [torch.from_numpy(image.transpose(2, 0, 1).copy()).float().div(255)[None] for image in pair]
    expected = float(direct(*images) if direct.metric_mode == "FR" else direct(images[0]))
    (outcome,) = Scorer([metric(name)], "cpu").score(*pair)
    assert outcome.value == expected


def test_space_bgr_shows_pyiqa_red_and_blue_exchanged(pair):
    swapped = [image[:, :, ::-1].copy() for image in pair]
    plain = metric("pyiqa-gmsd")
    exchanged = build_metric(registry("metric").get("pyiqa-gmsd"), {"space": "bgr"}, {})
    (asked,) = Scorer([exchanged], "cpu").score(*pair)
    (expected,), (other,) = (Scorer([plain], "cpu").score(*images) for images in (swapped, pair))
    assert asked.value == expected.value != other.value
    assert "|space:bgr|" in str(exchanged.signature())


def test_images_of_a_batch_are_scored_one_by_one(pair):
    gmsd = metric("pyiqa-gmsd")
    restored, reference = pair.tensors()
    together = gmsd.score(torch.cat([restored, reference.flip(-1)]), torch.cat([reference, reference]))
    alone = [float(gmsd.score(restored, reference)), float(gmsd.score(reference.flip(-1), reference))]
    assert together.tolist() == alone


@pytest.mark.parametrize(
    "name, size", [("pyiqa-ssim", 10), ("pyiqa-ms_ssim", 160), ("pyiqa-vif", 40), ("pyiqa-piqe", 7), ("cw_ssim", 40)]
)
def test_an_image_that_is_too_small_is_an_item_error_of_one_line(name, size):
    image = torch.rand((1, 3, size, size), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with pytest.raises(ItemError, match=f"{size}×{size}") as caught:
        metric(name).score(image, image * 0.9 if metric(name).mode == "FR" else None)
    assert "\n" not in str(caught.value)


def test_nan_is_an_item_error():
    image = torch.full((1, 3, 2, 2), 0.5, dtype=torch.float64)
    with pytest.raises(ItemError, match="gmsd gives NaN"):
        metric("pyiqa-gmsd").score(image, image)


def test_the_signature_holds_version_options_and_weights():
    impl = f"impl:pyiqa-{VERSION}"
    assert str(metric("pyiqa-gmsd").signature()) == f"pyiqa-gmsd|{impl}|space:rgb|range:u8|crop:0|gtmean:no|v:1"
    assert str(metric("pyiqa-ssim").signature()) == (
        f"pyiqa-ssim|{impl}|space:rgb|range:u8|crop:0|gtmean:no|luma:yiq|v:1"
    )
    assert str(metric("lpips").signature()) == (
        f"lpips|{impl}|space:rgb|range:u8|crop:0|gtmean:no|weights:7be5be79+df73285e|v:1"
    )


def test_another_luma_is_another_value_and_another_signature(pair):
    entry = registry("metric").get("pyiqa-ssim")
    other = build_metric(entry, {"luma": "ycbcr"}, {"view": {}, "metrics": {}})
    restored, reference = pair.tensors()
    assert float(other.score(restored, reference)) != float(metric("pyiqa-ssim").score(restored, reference))
    assert "luma:ycbcr" in str(other.signature())


@pytest.mark.parametrize("name, file, known", [
    ("musiq", "musiq_koniq_ckpt-e95806b9.pth", "e95806b9"),
    ("lpips", "alexnet-owt-7be5be79.pth", "7be5be79"),
    ("topiq_nr", "cfanet_nr_koniq_res50-9a73138b.pth", "9a73138b"),
    ("clipiqa", "RN50.pt", "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"),
])  # fmt: skip
def test_missing_weights_are_one_line_with_file_address_hash_and_command(cache, name, file, known):
    with pytest.raises(MissingFile) as caught:
        metric(name).load("cpu")
    line = str(caught.value)
    assert "\n" not in line
    assert re.search(rf"{name} needs weights/pyiqa/{file} \(https://\S+{file}, sha256 {known}", line)
    assert line.endswith(f"bench fetch {name}")


def test_no_metric_that_lacks_weights_reaches_for_the_network(cache):
    for entry in registry("metric"):
        if entry.fields.get("library") == "pyiqa" and entry.fields.get("weights"):
            with pytest.raises(MissingFile):
                metric(entry.name).load("cpu")


def brisque_checkpoint(folder):
    """A file of the shape of pyiqa's BRISQUE weights: one support vector of 36 features."""
    path = folder / "brisque_svm_weights.pth"
    torch.save((torch.full((1, 1), 2.0), torch.zeros(1, 36)), path)
    return path


def pinned(path, **known):
    return {"weights": [{"file": f"weights/pyiqa/{path.name}", "url": "https://example.org/x", **known}]}


def test_weights_are_read_from_the_cache_when_their_hash_is_right(cache, pair):
    path = brisque_checkpoint(cache)
    brisque = metric("pyiqa-brisque", pinned(path, sha256=file_hash(path)))
    value = float(brisque.score(pair.tensors()[0], None))
    # One support vector with coefficient 2: 2·k − ρ with a kernel k in [0, 1] and pyiqa's ρ = −153.591.
    assert 153.591 <= value <= 155.592
    assert file_hash(path)[:8] in str(brisque.signature())


def test_a_file_with_another_hash_is_refused(cache):
    path = brisque_checkpoint(cache)
    for known in ({"sha256": "0" * 64}, {"prefix": "00000000"}):
        with pytest.raises(BenchError, match="sha256") as caught:
            metric("pyiqa-brisque", pinned(path, **known)).load("cpu")
        assert not isinstance(caught.value, MissingFile)


def test_a_file_whose_hash_nobody_knows_is_refused(cache):
    path = brisque_checkpoint(cache)
    with pytest.raises(BenchError, match="--pin"):
        metric("pyiqa-brisque", pinned(path)).load("cpu")


def test_a_file_known_by_a_prefix_is_read_without_running_what_it_pickles(cache, tmp_path):
    path = cache / "CNNIQA_koniq10k-e6f14c91.pth"
    struck = tmp_path / "struck"

    class Strike:
        def __reduce__(self):
            return (open, (str(struck), "w"))

    torch.save({"weight": Strike()}, path)
    digits = file_hash(path)[:8]
    with pytest.raises(BenchError, match="cannot build cnniqa"):
        metric("cnniqa", pinned(path, prefix=digits)).load("cpu")
    # Nor after bench fetch has pinned the whole hash on the word of its first digits.
    pins.accept(f"weights/pyiqa/{path.name}", file_hash(path), digits)
    with pytest.raises(BenchError, match="bench fetch cnniqa --pin vouches for it"):
        metric("cnniqa", pinned(path, prefix=digits)).load("cpu")
    assert not struck.exists()


def test_a_network_scores_with_the_checkpoint_that_was_put_in_the_cache(cache, pair):
    from pyiqa.archs.cnniqa_arch import CNNIQA

    torch.manual_seed(0)
    net = CNNIQA(pretrained=None).eval()
    path = cache / "CNNIQA_koniq10k-e6f14c91.pth"
    torch.save({"params": net.state_dict()}, path)
    cnniqa = metric("cnniqa", pinned(path, prefix=file_hash(path)[:8]))
    restored = pair.tensors()[0]
    with torch.no_grad():
        expected = float(net(restored.float()))
    assert float(cnniqa.score(restored, None)) == pytest.approx(expected, rel=1e-6)
    assert cnniqa.learned


def test_a_file_that_the_catalogue_does_not_list_is_refused_by_its_address(cache):
    with pytest.raises(BenchError, match=r"asks for https://\S+CNNIQA_koniq10k-e6f14c91.pth, which the catalogue"):
        metric("cnniqa", {"weights": []}).load("cpu")


def test_building_leaves_the_libraries_as_they_were(cache):
    import huggingface_hub.constants
    import pyiqa.utils.download_util as download_util

    def state():
        return (
            torch.hub.get_dir(), torch.hub.download_url_to_file, download_util.DEFAULT_CACHE_DIR, torch.load,
            download_util.download_url_to_file, urllib.request.urlopen, huggingface_hub.constants.HF_HUB_OFFLINE,
        )  # fmt: skip

    before = state()
    with pytest.raises(BenchError):
        metric("cnniqa", {"weights": []}).load("cpu")
    metric("pyiqa-gmsd").load("cpu")
    assert state() == before


def test_building_prints_nothing(cache, capsys):
    metric("nlpd").load("cpu")
    assert capsys.readouterr().out == ""


def test_a_backbone_that_the_checkpoint_does_not_fill_is_refused(cache, monkeypatch):
    import timm
    from pyiqa.archs import cnniqa_arch

    class Half(torch.nn.Module):
        def __init__(self, **_):
            super().__init__()
            self.backbone = timm.create_model("resnet18", pretrained=True)

    monkeypatch.setitem(cnniqa_arch.ARCH_REGISTRY._obj_map, "CNNIQA", Half)
    with pytest.raises(BenchError, match="lacks part of the backbone"):
        metric("cnniqa", {"weights": []}).load("cpu")


# The catalogue against the installed library


CATALOGUE = (paths.catalog() / "metrics" / "pyiqa.yaml").read_text(encoding="utf-8")


def catalogue():
    return yaml.load(CATALOGUE, Loader=yaml.CSafeLoader)


@pytest.mark.skipif(f"pyiqa {VERSION}," not in CATALOGUE, reason="the catalogue is of another version of pyiqa")
def test_the_catalogue_has_pyiqas_names_modes_and_directions():
    from pyiqa.default_model_configs import DEFAULT_CONFIGS

    expected = {
        f"pyiqa-{name}" if name in NATIVE else name: (
            config["metric_mode"], "lower" if config.get("lower_better") else "higher"
        )
        for name, config in DEFAULT_CONFIGS.items()
    }  # fmt: skip
    found = {name: (one["mode"], one["better"]) for name, one in catalogue().items() if not name.startswith(".")}
    assert found == expected


def test_every_weight_file_has_an_address_and_lies_in_our_cache():
    for entry in registry("metric"):
        if entry.fields.get("library") == "pyiqa":
            for weight in entry.fields.get("weights", []):
                assert weight["file"].startswith("weights/pyiqa/") and weight["url"].startswith("https://")
                assert weight["url"].endswith(weight["file"].rpartition("/")[2])
                assert not ("sha256" in weight and "prefix" in weight)


def test_every_metric_of_pyiqa_states_its_licence():
    entries = [entry for entry in registry("metric") if entry.fields.get("library") == "pyiqa"]
    assert {entry.fields["licence"] for entry in entries} == {"PolyForm-Noncommercial-1.0.0"}


def test_tf32_stays_off_inside_the_metric(monkeypatch):
    """The context that wraps the network on a GPU: pyiqa's own would allow TF32 again."""
    from bench.metrics import pyiqa_metric

    torch.backends.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("high")
    try:
        with pyiqa_metric.full_precision("cuda:0"):
            assert not torch.backends.cudnn.allow_tf32
            assert torch.get_float32_matmul_precision() == "highest"
            assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
        assert torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.backends.cudnn.allow_tf32 = True
        torch.set_float32_matmul_precision("highest")


def test_inputs_reach_the_network_in_float32(pair):
    gmsd, seen = metric("pyiqa-gmsd"), []
    net = gmsd._net("cpu")
    net.register_forward_pre_hook(lambda _, inputs: seen.extend(tensor.dtype for tensor in inputs))
    gmsd.score(*pair.tensors())
    assert seen == [torch.float32] * 2
