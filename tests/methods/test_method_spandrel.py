"""Checkpoints through spandrel: small ones of several architectures, made here, against the architectures alone."""

from __future__ import annotations

import hashlib
import importlib
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.networks import picture, sines

from bench.catalog.registry import Entry, registry
from bench.cli.fetch import assets_of_entry
from bench.errors import BenchError, ItemError
from bench.methods.build import build_method

MIRROR = os.environ.get("BENCH_TEST_MIRROR")
ENTRIES = [entry for entry in registry("method") if entry.fields["kind"] == "spandrel"]
CATALOGUED = [entry for entry in ENTRIES if entry.name != "spandrel"]


def architecture(name, **arguments):
    """A network of spandrel's, whose import takes seconds."""
    return getattr(importlib.import_module(f"spandrel.architectures.{name}"), name)(**arguments)


def checkpoint(descriptor, options):
    from bench.methods.networks.checkpoint import Checkpoint

    return Checkpoint(descriptor, options)


SMALL = {
    "esrgan": lambda: architecture("ESRGAN", num_filters=4, num_blocks=1, scale=2),
    "span": lambda: architecture("SPAN", num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=4),
    "swinir": lambda: architecture(
        "SwinIR", img_size=16, window_size=8, depths=[2], num_heads=[2], embed_dim=8, upscale=2,
        upsampler="pixelshuffledirect",
    ),
    "nafnet": lambda: architecture("NAFNet", width=4, middle_blk_num=1, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1]),
}  # fmt: skip
SCALES = {"esrgan": 2, "span": 4, "swinir": 2, "nafnet": 1}
SIZE = (24, 32)


def filled(model):
    """The model with weights made of sines; what is no weight (masks, indices, means) stays."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(sines(name, tuple(parameter.shape)))
    return model.eval()


def save(model, path, inside=None):
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file({key: value.clone() for key, value in state.items()}, path)
    else:
        torch.save({inside: state} if inside else state, path)
    return path


def make(path, **options):
    return build_method(registry("method").get("spandrel"), {"path": str(path), **options}, None)


def loaded(path, **options):
    method = make(path, **options)
    method.load("cpu", "float32")
    return method


def restored(method, images):
    with torch.inference_mode():
        return method.restore(images)


@pytest.mark.parametrize("file", ["m.pth", "m.safetensors", "m.ckpt"])
@pytest.mark.parametrize("name", SMALL)
def test_a_checkpoint_gives_what_its_architecture_gives(name, file, tmp_path):
    model = filled(SMALL[name]())
    path = save(model, tmp_path / file, inside="params_ema" if file.endswith(".ckpt") else None)
    image = picture(*SIZE, 0.3)
    with torch.inference_mode():
        expected = model(image).clamp(0, 1)
    output = restored(loaded(path, scale=SCALES[name]), image)
    assert tuple(output.shape) == (1, 3, SIZE[0] * SCALES[name], SIZE[1] * SCALES[name])
    assert expected.std() > 0.01
    torch.testing.assert_close(output, expected, atol=1e-6, rtol=0)


def test_sides_are_grown_by_reflection_to_what_the_architecture_takes_and_cut_back(tmp_path):
    model = filled(architecture("RetinexFormer", n_feat=8, stage=1, num_blocks=[1, 1, 1]))
    image = picture(33, 47, 0.3)
    mirrored = torch.from_numpy(np.pad(image.numpy(), ((0, 0), (0, 0), (0, 7), (0, 1)), mode="reflect"))
    with torch.inference_mode():
        expected = model(mirrored).clamp(0, 1)[..., :33, :47]
    torch.testing.assert_close(restored(loaded(save(model, tmp_path / "m.pth")), image), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", SMALL)
def test_the_smallest_images_are_taken(name, tmp_path):
    method = loaded(save(filled(SMALL[name]()), tmp_path / "m.pth"), scale=SCALES[name])
    for size in ((1, 1), (7, 5)):
        output = restored(method, picture(*size))
        assert tuple(output.shape[2:]) == (size[0] * SCALES[name], size[1] * SCALES[name])
        assert bool(output.isfinite().all())


def test_images_of_a_batch_are_restored_one_by_one(tmp_path):
    method = loaded(save(filled(SMALL["span"]()), tmp_path / "m.pth"), scale=4)
    images = [picture(*SIZE, 0.3), picture(*SIZE, 0.1)]
    together = restored(method, torch.cat(images))
    assert torch.equal(together, torch.cat([restored(method, image) for image in images]))


def test_tiles_are_put_together_at_the_checkpoints_scale(tmp_path):
    method = loaded(save(filled(SMALL["esrgan"]()), tmp_path / "m.pth"), scale=2, tile=20, overlap=8)
    assert tuple(restored(method, picture(30, 41, 0.3)).shape) == (1, 3, 60, 82)


def test_another_scale_than_the_files_is_refused(tmp_path):
    with pytest.raises(BenchError, match=r"m\.pth \(SPAN\) enlarges ×4, not ×1: set the option scale"):
        loaded(save(SMALL["span"](), tmp_path / "m.pth"))


def test_a_file_of_no_known_architecture_is_refused(tmp_path):
    torch.save({"a.weight": torch.zeros(3)}, tmp_path / "m.pth")
    with pytest.raises(BenchError, match=r"m\.pth is of no architecture that spandrel") as error:
        loaded(tmp_path / "m.pth")
    assert "\n" not in str(error.value)


def test_a_file_that_only_looks_like_an_architecture_is_refused_in_one_line(tmp_path):
    state = SMALL["nafnet"]().state_dict()
    state.popitem()
    torch.save(state, tmp_path / "m.pth")
    with pytest.raises(BenchError, match=r"m\.pth .*spandrel") as error:
        loaded(tmp_path / "m.pth")
    assert "\n" not in str(error.value)


def test_a_checkpoint_for_inpainting_is_refused(tmp_path):
    with pytest.raises(BenchError, match=r"m\.pth \(LaMa\) is for inpainting: it needs a mask"):
        loaded(save(architecture("LaMa"), tmp_path / "m.pth"))


def test_a_checkpoint_for_gray_images_is_refused(tmp_path):
    gray = architecture("ESRGAN", in_nc=1, out_nc=1, num_filters=4, num_blocks=1, scale=2)
    with pytest.raises(BenchError, match="takes and gives 1 → 1 channels; only RGB"):
        loaded(save(gray, tmp_path / "m.pth"), scale=2)


def test_a_path_without_a_file_is_refused_at_once(tmp_path):
    with pytest.raises(BenchError, match=r"option 'path' names .*gone\.pth, and there is no such file"):
        make(tmp_path / "gone.pth")
    with pytest.raises(BenchError, match="option 'path' is required"):
        build_method(registry("method").get("spandrel"), {}, None)


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    torch.save({"a": Bomb()}, tmp_path / "m.pth")
    with pytest.raises(BenchError, match="cannot be read as weights"):
        loaded(tmp_path / "m.pth")
    assert not (tmp_path / "exploded").exists()


def test_a_path_is_found_beside_the_suite_and_never_in_the_identity(tmp_path):
    save(SMALL["nafnet"](), tmp_path / "m.pth")
    method = build_method(registry("method").get("spandrel"), {"path": "m.pth"}, tmp_path)
    identity = method.identity()
    assert identity["weights"] == hashlib.sha256((tmp_path / "m.pth").read_bytes()).hexdigest()
    assert str(tmp_path) not in str(identity) and "m.pth" not in str(identity)
    assert set(identity["packages"]) == {"torch", "torchvision", "spandrel", "spandrel_extra_arches"}
    assert "absent" not in identity["packages"].values()
    assert method.assets() == [] and assets_of_entry(registry("method").get("spandrel")) == []


def test_a_catalogued_name_refuses_a_file_of_another_architecture(tmp_path):
    path = save(SMALL["span"](), tmp_path / "m.pth")
    method = build_method(registry("method").get("swinir-x4"), {"path": str(path)}, None)
    with pytest.raises(BenchError, match="is a checkpoint of SPAN, not of SwinIR"):
        method.load("cpu", "float32")


class Seen(torch.nn.Module):
    """Stands in for a face restorer of a hundred million parameters: notes its input, returns half of it."""

    def forward(self, image, **keywords):
        self.image, self.keywords = image, keywords
        return image / 2, None


@pytest.mark.parametrize(
    ("architecture", "options", "keywords"),
    [
        ("CodeFormer", {"fidelity": 0.0}, {"weight": 0.0}),
        ("CodeFormer", {"fidelity": 0.7}, {"weight": 0.7}),
        ("GFPGAN", {}, {"randomize_noise": False}),
    ],
)
def test_faces_go_in_and_come_out_centred_on_zero(architecture, options, keywords):
    """The two networks are trained in [-1,1], which spandrel leaves to its caller."""
    model = Seen()
    descriptor = SimpleNamespace(model=model, architecture=SimpleNamespace(id=architecture))
    image = picture(512, 512)
    output = checkpoint(descriptor, options)(image)
    torch.testing.assert_close(model.image, (image - 0.5) / 0.5)
    assert model.keywords == keywords
    torch.testing.assert_close(output, image / 2 + 0.25)


def test_faces_of_another_size_are_an_items_failure():
    descriptor = SimpleNamespace(model=Seen(), architecture=SimpleNamespace(id="GFPGAN"))
    with pytest.raises(ItemError, match=r"500×512: GFPGAN takes aligned faces of 512×512 pixels"):
        checkpoint(descriptor, {})(picture(512, 500))


def test_hvi_cidnets_gates_are_set_as_the_official_evaluation_sets_them():
    model = filled(architecture("HVICIDNet", channels=[12, 12, 24, 48]))
    descriptor = SimpleNamespace(model=model, architecture=SimpleNamespace(id="HVICIDNet"))
    checkpoint(descriptor, {"saturate": True, "brightness": 1.0})
    assert (model.trans.gated, model.trans.gated2) == (True, False)
    checkpoint(descriptor, {"saturate": False, "brightness": 0.84})
    assert (model.trans.gated, model.trans.gated2, model.trans.alpha) == (False, True, 0.84)


@pytest.mark.parametrize("entry", CATALOGUED, ids=lambda entry: entry.name)
def test_an_entry_names_an_architecture_that_spandrel_knows_and_where_the_file_is(entry):
    from spandrel import MAIN_REGISTRY
    from spandrel_extra_arches import EXTRA_REGISTRY

    known = {str(support.architecture.id) for support in (*MAIN_REGISTRY, *EXTRA_REGISTRY)}
    assert entry.fields["architecture"] in known
    assert entry.fields["status"] in {"runs", "download"} and entry.fields["licence"]
    assert set(entry.fields["paper"]) == {"title", "authors", "venue"}
    (asset,) = build_method(entry, {}, None).assets()
    assert (asset.url or "").startswith(("https://", "hf://", "gdrive://")) or asset.instructions
    assert asset.sha256 is not None or entry.fields["status"] == "download"


def test_a_switch_is_refused_by_another_architecture(tmp_path):
    path = save(SMALL["nafnet"](), tmp_path / "m.pth")
    entry = registry("method").get("codeformer")
    fields = {key: value for key, value in entry.fields.items() if key != "architecture"}
    method = build_method(Entry("x", "method", fields, "x.yaml:1"), {"path": str(path)}, None)
    with pytest.raises(BenchError, match="is a checkpoint of NAFNet; the option 'fidelity' is for CodeFormer"):
        method.load("cpu", "float32")


@pytest.mark.skipif(not MIRROR, reason="BENCH_TEST_MIRROR names no folder of official files")
def test_dctlsa_reaches_its_known_psnr_on_set5(monkeypatch):
    """×4, luma of 8-bit RGB, border 4: the values of the authors' network, whose mean is the published 32.52 dB."""
    from PIL import Image

    monkeypatch.setenv("BENCH_HOME", str(MIRROR))
    method = build_method(registry("method").get("dctlsa-x4"), {}, None)
    method.load("cpu", "float32")
    folder = Path(str(MIRROR)) / "data/set5"
    expected = {"baby": 33.91, "bird": 35.14, "butterfly": 29.58, "head": 32.99, "woman": 31.00}
    found = {}
    for name in expected:
        low, high = (
            np.asarray(Image.open(folder / path).convert("RGB"), dtype=np.float32) / 255
            for path in (f"LR_x4/{name}x4.png", f"HR/{name}.png")
        )
        output = restored(method, torch.from_numpy(low).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
        difference = (np.rint(output * 255) - np.rint(high[: output.shape[0], : output.shape[1]] * 255)) / 255
        luma = (difference @ (np.array([65.738, 129.057, 25.064]) / 256))[4:-4, 4:-4]
        found[name] = -10 * np.log10(np.mean(luma**2))
    assert found == pytest.approx(expected, abs=0.006)
