"""CLIP-FID: the encoder against pyiqa's CLIP, what it is shown against torchvision, the value against the formula."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image
from support.procedural_weights import procedural

from bench.catalog.registry import registry
from bench.errors import BenchError, MissingFile
from bench.metrics import extractors
from bench.metrics.build import build_metric
from bench.metrics.primitives.frechet import Gaussian, frechet_distance

NONE = {"view": {}, "metrics": {}}


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    import timm

    with torch.device("meta"):
        net = timm.create_model("vit_base_patch32_clip_quickgelu_224.openai", pretrained=False)
    shapes = {name: torch.empty(tensor.shape) for name, tensor in net.state_dict().items()}
    made = procedural(shapes)
    made.pop("head.bias")  # a projection without one, as in the published file
    return made


@pytest.fixture
def metric(state, tmp_path, monkeypatch):
    from safetensors.torch import save_file

    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    made = build_metric(registry("metric").get("clip-fid"), {}, NONE)
    (asset,) = made.assets()
    asset.path.parent.mkdir(parents=True)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, asset.path)
    catalogue = extractors.catalogue()["extractors"]["clip"]["weights"]
    monkeypatch.setitem(catalogue, "sha256", hashlib.sha256(asset.path.read_bytes()).hexdigest())
    extractors._clip.cache_clear()
    yield made
    extractors._clip.cache_clear()


def openai_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """timm's tensors under the names of OpenAI's release, where the projection stands on the right."""
    plain = {
        "cls_token": "class_embedding", "pos_embed": "positional_embedding", "patch_embed.proj.weight": "conv1.weight",
        "norm_pre.weight": "ln_pre.weight", "norm_pre.bias": "ln_pre.bias", "norm.weight": "ln_post.weight",
        "norm.bias": "ln_post.bias",
    }  # fmt: skip
    parts = {"norm1": "ln_1", "norm2": "ln_2", "attn.qkv.": "attn.in_proj_", "attn.proj": "attn.out_proj",
             "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj", "blocks.": "transformer.resblocks."}  # fmt: skip
    found = {}
    for name, tensor in state.items():
        if name == "head.weight":
            found["proj"] = tensor.T
            continue
        other = plain.get(name, name)
        for ours, theirs in parts.items() if name not in plain else ():
            other = other.replace(ours, theirs)
        found[other] = tensor.flatten() if name == "cls_token" else tensor[0] if name == "pos_embed" else tensor
    return found


def pictures(count: int = 3) -> list[np.ndarray]:
    from skimage import data

    photograph = data.astronaut()
    return [np.ascontiguousarray(photograph[40 * k : 40 * k + 200 + 7 * k, 60 : 320 + 11 * k]) for k in range(count)]


def as_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1) / 255.0)[None]


def test_embeddings_are_those_of_pyiqas_clip_behind_torchvisions_resizing(metric, state):
    from pyiqa.archs.clip_model import VisionTransformer
    from torchvision.transforms import Compose, InterpolationMode, Normalize, Resize, ToTensor

    peer = VisionTransformer(224, 32, 768, 12, 12, 512).eval()
    peer.load_state_dict(openai_names(state))
    show = Compose([
        Resize((224, 224), interpolation=InterpolationMode.BICUBIC), ToTensor(),
        Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    ])  # fmt: skip
    for image in pictures():
        with torch.no_grad():
            expected = peer(show(Image.fromarray(image))[None], pos_embedding=True)  # CLIP-IQA leaves it out
        expected = (expected[0] if isinstance(expected, tuple) else expected).numpy()
        found = metric.extract(as_tensor(image), None)
        assert found.shape == (1, 512) and found.dtype == np.float64
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_the_value_is_the_frechet_distance_of_the_embeddings(metric):
    features = [np.concatenate([metric.extract(as_tensor(image), None) for image in images])
                for images in (pictures(5)[:3], pictures(5)[2:])]  # fmt: skip
    expected = frechet_distance(*(Gaussian.of_samples(side) for side in features))
    assert metric.aggregate(*features) == pytest.approx(expected) and expected > 0
    assert str(metric.signature()).startswith("fid|ext:clip@")


def test_without_weights_one_line_names_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    (asset,) = build_metric(registry("metric").get("clip-fid"), {}, NONE).assets()
    with pytest.raises(MissingFile, match=r"hf://timm/vit_base_patch32_clip_224\.openai.*bench fetch clip-fid"):
        asset.require()


def test_a_foreign_file_is_one_line(metric, monkeypatch):
    from safetensors.torch import save_file

    (asset,) = metric.assets()
    save_file({"a": torch.zeros(1)}, asset.path)
    weights = extractors.catalogue()["extractors"]["clip"]["weights"]
    monkeypatch.setitem(weights, "sha256", hashlib.sha256(asset.path.read_bytes()).hexdigest())
    with pytest.raises(BenchError, match="CLIP: the checkpoint does not fit the network") as error:
        metric.load("cpu")
    assert "\n" not in str(error.value)
