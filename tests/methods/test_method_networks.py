"""Every network of the catalogue: equal to its authors' code, any size, one image at a time or several, clear refusals.

The two golden files hold outputs of the authors' published code (float32, HWC), some of the pixels: with weights and
pictures made of sines (`networks_sines.npz`), and with the official weights on real photographs, cut out of larger ones
(`networks_official.npz`). A key is a catalogue name, with the options that differ from the catalogue's after a bar.

They are compared with our networks in float64, so that no processor's rounding enters; what float32 may be off by is
measured on each network (`rounding`).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from support.networks import assert_float32_is_near, defaults, make_official, picture, put, sines

from bench.catalog.registry import registry
from bench.errors import BenchError, ItemError
from bench.methods.build import build_method

GOLDEN = Path(__file__).parents[1] / "golden"
SINES = np.load(GOLDEN / "networks_sines.npz")
OFFICIAL = np.load(GOLDEN / "networks_official.npz")
MIRROR = os.environ.get("BENCH_TEST_MIRROR")
NAMES = sorted(
    entry.name
    for entry in registry("method")
    if entry.fields["kind"] == "network" and entry.fields.get("status") == "runs"
)
"""Those whose official files can be pinned; the others have tests of their own."""
OWN_TESTS = {"sci-easy", "sci-medium", "sci-difficult", "maxim-lol"}
"""test_method_sci.py has the equations of SCI, test_method_maxim.py what TensorFlow makes of MAXIM's graph."""
TRUNCATE = {"sci", "ruas", "pairlie", "uretinex", "maxim"}
REGISTRIES = {"maxim-lol": "https://registry.npmjs.org/@upscalerjs/"}
"""Where the weights come from, if not from the authors' repository."""
ROUNDED = {"cue": 1e-4}
"""How far the float32 of the golden file itself is off, where it is more than 2e-5."""
MULTIPLES = {"zero-dce++": 12}
"""What the official script crops its input to."""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    return tmp_path


def parse(key):
    """`name|option=value` → name, options in the types that the catalogue declares."""
    name, _, text = key.partition("|")
    if not text:
        return name, {}
    option, _, value = text.partition("=")
    kind = type(defaults(registry("method").get(name))[option])
    return name, {option: value == "true" if kind is bool else kind(value)}


def loaded(entry, options=None, dtype="float32"):
    method = build_method(entry, options or {}, None)
    method.load("cpu", dtype)
    return method


def restored(method, images):
    with torch.inference_mode():
        return method.restore(images)


def sample(output, first, step):
    return output[0].permute(1, 2, 0)[first::step, first::step].numpy()


def image_for(name, height=33, width=47):
    """A picture with odd sides that the network takes."""
    least = registry("method").get(name).fields.get("min_size", 1)
    return picture(max(height, least + 1), max(width, least + 3), 0.3)


def test_every_network_of_the_catalogue_has_outputs_of_its_authors_code():
    for golden in (SINES, OFFICIAL):
        assert {key.partition("|")[0] for key in golden} == set(NAMES) - OWN_TESTS


@pytest.mark.parametrize("key", sorted(SINES))
def test_a_network_gives_what_its_authors_code_gives_with_the_same_weights(key, home):
    name, options = parse(key)
    method = loaded(make_official(name, home), options, "float64")
    big = name.startswith("fa+net")
    output = restored(method, picture(132, 140, 0.4) if big else picture(44, 52, 0.25))
    limit = ROUNDED.get(name, 2e-5)
    np.testing.assert_allclose(sample(output, *((3, 9) if big else (1, 5))), SINES[key], atol=limit, rtol=0)


@pytest.mark.parametrize("key", sorted(SINES))
def test_float32_is_as_near_as_the_networks_condition_lets_it(key, home):
    name, options = parse(key)
    image = picture(132, 140, 0.4) if name.startswith("fa+net") else picture(44, 52, 0.25)
    assert_float32_is_near(loaded(make_official(name, home), options), image)


@pytest.mark.skipif(not MIRROR, reason="BENCH_TEST_MIRROR names no folder of official files")
@pytest.mark.parametrize("key", sorted(OFFICIAL))
def test_a_network_gives_what_its_authors_code_gives_on_a_real_photograph(key, monkeypatch):
    from PIL import Image

    monkeypatch.setenv("BENCH_HOME", str(MIRROR))
    name, options = parse(key)
    underwater = name.startswith("fa+net")
    path = Path(str(MIRROR)) / "data" / ("euvp/input/1.jpg" if underwater else "sice/low/0002.jpg")
    photo = torch.from_numpy(np.asarray(Image.open(path).convert("RGB"), dtype=np.float32) / 255)
    photo = photo.permute(2, 0, 1)[None, :, *(() if underwater else (slice(100, 296), slice(60, 316)))]
    output = restored(loaded(registry("method").get(name), options, "float64"), photo)
    np.testing.assert_allclose(sample(output, 3, 7), OFFICIAL[key], atol=2e-5, rtol=0)


@pytest.mark.skipif(not MIRROR, reason="BENCH_TEST_MIRROR names no folder of official files")
@pytest.mark.parametrize("name", NAMES)
def test_the_official_files_are_those_pinned_and_hold_the_declared_number_of_parameters(name, monkeypatch):
    from bench.methods.weights import Layout, read_weights

    monkeypatch.setenv("BENCH_HOME", str(MIRROR))
    entry = registry("method").get(name)
    method = build_method(entry, {}, None)
    tensors = {}
    files = entry.fields["weights"]
    for asset, file in zip(method.assets(), files if isinstance(files, list) else [files], strict=True):
        assert asset.verify().status == "verified" and asset.path.stat().st_size == asset.bytes
        tensors |= Layout.from_fields(name, file).select(read_weights(asset.path), asset.path)
    counted = {
        key: value.numel()
        for key, value in tensors.items()
        if not key.startswith(("calibrate.", "enhance.blocks."))  # SCI: training only; stored twice
        and not key.endswith(("running_mean", "running_var", "num_batches_tracked", "fusion_mixer.scale"))
    }
    scale = tensors["fusion_mixer.scale"].numel() if "fusion_mixer.scale" in tensors else 0
    assert sum(counted.values()) + scale == entry.fields["parameters"]


@pytest.mark.parametrize("name", NAMES)
def test_odd_sizes_come_back_whole_or_cropped_as_the_official_script_crops(name, home):
    image = image_for(name)
    height, width = image.shape[-2:]
    method = loaded(make_official(name, home))
    output = restored(method, image)
    multiple = MULTIPLES.get(name, 1)
    kept = (height - height % multiple, width - width % multiple)
    assert tuple(output.shape) == (1, 3, *kept) and output.dtype == torch.float32
    assert bool(output.isfinite().all())
    box = method.valid_crop(height, width)
    assert box == (None if kept == (height, width) else (0, 0, *kept))


@pytest.mark.parametrize("name", NAMES)
def test_an_image_does_not_depend_on_the_others_in_its_batch(name, home):
    """In float64; CUE's spectra are float32 there too."""
    method = loaded(make_official(name, home), dtype="float64")
    images = [image_for(name), image_for(name).flip(3) * 0.5]
    together = restored(method, torch.cat(images))
    limit = 1e-5 if name == "cue" else 1e-6
    for number, image in enumerate(images):
        torch.testing.assert_close(together[number : number + 1], restored(method, image), atol=limit, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_black_and_white_stay_finite(name, level, home):
    method = loaded(make_official(name, home))
    assert bool(restored(method, torch.full_like(image_for(name), level)).isfinite().all())


@pytest.mark.parametrize("name", NAMES)
def test_the_least_size_is_taken_and_less_is_refused_in_one_line(name, home):
    method = loaded(make_official(name, home))
    least = max(registry("method").get(name).fields.get("min_size", 1), MULTIPLES.get(name, 1))
    assert tuple(restored(method, picture(least, least, 0.3)).shape) == (1, 3, least, least)
    if least > 1:
        with pytest.raises(ItemError, match=f"too small: .* takes {least}×{least} pixels or more"):
            restored(method, picture(least - 1, least + 9))


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_rounded_or_truncated_as_the_official_script_saves_it(name):
    method = build_method(registry("method").get(name), {}, None)
    assert method.quantise == ("truncate" if name.split("-")[0] in TRUNCATE else "round")


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_says_who_made_it_under_which_licence_and_that_it_runs(name):
    fields = registry("method").get(name).fields
    assert fields["status"] == "runs" and fields["licence"] and fields["trained_on"]
    assert fields["home"].startswith("https://github.com/")
    assert set(fields["paper"]) == {"title", "authors", "venue"}
    for asset in build_method(registry("method").get(name), {}, None).assets():
        source = REGISTRIES.get(name, fields["home"] + "/raw/")
        assert asset.url.startswith(source) and asset.sha256 and asset.bytes


@pytest.mark.parametrize("name", NAMES)
def test_a_foreign_file_is_refused_in_one_line(name, home):
    entry = make_official(name, home, lambda key, shape: sines(key, (*shape, 1)) if shape else sines(key, shape))
    with pytest.raises(BenchError, match=f"{name.replace('+', '[+]')}: weights/.* does not fit .*: shape ") as error:
        loaded(entry)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "place"), [("cue", "params_ema"), ("uretinex-net", "state_dict.model_R")])
def test_a_file_without_the_named_place_is_refused_in_one_line(name, place, home):
    entry = make_official(name, home)
    files = entry.fields["weights"]
    file = files[0] if isinstance(files, list) else files
    torch.save({"params": {}}, home / file["file"])
    entry.fields["weights"] = [{**file, "sha256": None}] + (files[1:] if isinstance(files, list) else [])
    with pytest.raises(BenchError, match=rf"has nothing at '{place}' \(it holds params\)") as error:
        loaded(entry)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("zero-dce++", {"scale_factor": 0}, "must be at least 1, not 0"),
        ("zero-dce++", {"scale_factor": 1.5}, "must be a whole number"),
        ("ruas-lol", {"denoise": "yes"}, "must be true or false"),
        ("pairlie", {"ratio": -0.1}, "must be at least 0.0, not -0.1"),
        ("iat-lol", {"centered": True}, "unknown option 'centered'.*centred"),
        ("cue", {"ratio": float("nan")}, "must be finite"),
        ("uretinex-net", {"ratio": 1e9}, "must be at most 100.0"),
        ("fa+net", {"alpha": 2.0}, "must be at most 1.0"),
        ("fa+net", {"tile": 64, "overlap": 8}, "'tile' must be 0 or at least 128"),
    ],
)
def test_an_option_out_of_range_is_refused_before_any_work(name, options, said):
    with pytest.raises(BenchError, match=said):
        build_method(registry("method").get(name), options, None)


def test_padding_mirrors_the_image_and_is_cut_off_again(home):
    method = loaded(make_official("cue", home))
    image = picture(33, 47, 0.3)
    mirrored = torch.from_numpy(np.pad(image.numpy(), ((0, 0), (0, 0), (0, 3), (0, 1)), mode="reflect"))
    torch.testing.assert_close(restored(method, image), restored(method, mirrored)[..., :33, :47])


def test_tiles_take_a_network_that_downsamples(home):
    """At tiles that are no multiple of the factor, too; an overlap hides the seams of a smooth curve map."""
    method = loaded(make_official("zero-dce++", home), {"scale_factor": 4, "tile": 30, "overlap": 6})
    assert tuple(restored(method, picture(45, 63, 0.3)).shape) == (1, 3, 44, 60)


def test_where_the_illumination_is_zero_a_pixel_is_white_or_black_but_never_nan(home):
    """A map of zeros: x / 0 is clamped to 1, and 0 / 0, which the authors' code leaves undefined, is 0."""

    def dark(key, shape):
        return torch.full(shape, -1.0) if key == "cond_add1.bias" else torch.zeros(shape)

    image = torch.tensor([0.0, 0.2, 1.0]).expand(1, 3, 4, 3)
    output = restored(loaded(make_official("clip-lit", home, dark)), image)
    torch.testing.assert_close(output, torch.tensor([0.0, 1.0, 1.0]).expand(1, 3, 4, 3))


def test_every_file_of_several_is_part_of_the_identity(home):
    entry = make_official("uretinex-net", home)
    before = build_method(entry, {}, None).identity()
    assert len(before["weights"]) == len(set(before["weights"])) == 3
    for number, file in enumerate(entry.fields["weights"]):
        content = torch.load(home / file["file"], weights_only=True)
        content["epoch"] = 7
        torch.save(content, home / file["file"])
        files = [{**one, "sha256": None} for one in entry.fields["weights"]]
        after = build_method(type(entry)(entry.name, "method", {**entry.fields, "weights": files}, ""), {}, None)
        weights = after.identity()["weights"]
        assert [a == b for a, b in zip(weights, before["weights"], strict=True)] == [n > number for n in range(3)]


def test_a_namespace_beside_the_tensors_is_read_and_any_other_class_is_refused(home):
    entry = make_official("uretinex-net", home)
    file = entry.fields["weights"][1]
    content = torch.load(home / file["file"], weights_only=True)
    torch.save({**content, "opts": argparse.Namespace(round=3)}, home / file["file"])
    entry.fields["weights"][1]["sha256"] = None
    loaded(entry)
    torch.save({**content, "opts": np.random.default_rng(0)}, home / file["file"])
    with pytest.raises(BenchError, match="cannot be read as weights") as error:
        loaded(entry)
    assert "\n" not in str(error.value)


def test_another_layout_of_the_same_file_is_another_identity(home):
    entry = make_official("clip-lit", home)
    plain = {**entry.fields, "weights": {**entry.fields["weights"], "strip": ""}}
    other = type(entry)(entry.name, "method", plain, "")
    assert build_method(other, {}, None).identity() != build_method(entry, {}, None).identity()
    with pytest.raises(BenchError, match="does not fit ClipLit: missing cond1"):
        loaded(other)


def test_a_place_may_be_nested():
    content: dict = {}
    put(content, "state_dict.model_R", {"a": 1})
    put(content, "state_dict.model_L", {"b": 2})
    assert content == {"state_dict": {"model_R": {"a": 1}, "model_L": {"b": 2}}}
