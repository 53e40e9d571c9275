"""NU2Net, PUIE-Net and SNR-Net: networks whose official scripts resize, draw and measure noise around them.

`networks_scripts.npz` holds what the authors' own scripts made of `scene`, saved as a PNG, with the weights of
`lively`: before it is rounded, HWC, every third pixel from the second; keys are a catalogue name and the size. NU2Net's
are of its authors' module in float64, since with these weights its float32 differs by 2e-4 between two processors.
`networks_keys.txt` lists every tensor of the authors' modules, with its shape.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from support.networks import LEVEL, defaults, make_official, picture, sines
from support.rounding import exactly

from bench.catalog.registry import Entry, registry
from bench.errors import BenchError, ItemError
from bench.methods.build import build_method
from bench.methods.networks.nu2net import stretched
from bench.methods.networks.puie import draws
from bench.methods.networks.resize import pillow_resize
from bench.methods.networks.snr import Snr, snr_map

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "networks_scripts.npz")
KEYS = (Path(__file__).parents[1] / "golden" / "networks_keys.txt").read_text(encoding="utf-8").splitlines()
NAMES = ["nu2net", "puie-net", "puie-net-mp", "snr-net"]
SMALL = {"snr-net": {"height": 64, "width": 80}, "puie-net": {"samples": 2}}
"""In place of the official sizes and number of draws, where these do not matter."""
SEED = 7


def lively(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Sines twice as large: with these the image, and not the biases, decides the output of deep networks."""
    return sines(name, shape) * (2 if len(shape) > 1 else 1)


def filled(name: str, **options) -> torch.nn.Module:
    entry = registry("method").get(name)
    network = entry.load()(**{**defaults(entry), **options}).eval()
    network.load_state_dict({key: lively(key, tuple(held.shape)) for key, held in network.state_dict().items()})
    return network.requires_grad_(False)


def applied(network: torch.nn.Module, name: str, images: torch.Tensor, *seeds: int) -> torch.Tensor:
    given = torch.tensor(seeds or [SEED] * len(images))
    with torch.inference_mode():
        return network(images, given) if registry("method").get(name).fields.get("stochastic") else network(images)


def scene(height: int, width: int) -> np.ndarray:
    """uint8 [H,W,3]: flat blocks, where the signal stands high above the noise, beside waves, where it does not."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(0.31 * x + c) + np.sin(0.17 * y - c) + np.sin(0.9 * (x - y)) for c in range(3)], axis=2)
    blocks = np.stack([(7 * (x // 12) + 11 * (y // 12) + 5 * c) % 17 for c in range(3)], axis=2)
    mixed = np.where((x < width // 2)[..., None], 10 + 6.0 * blocks, 60 + 16 * waves)
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def tensor(pixels: np.ndarray, dtype: type = np.float32) -> torch.Tensor:
    return torch.from_numpy(pixels.astype(dtype) / 255).permute(2, 0, 1)[None]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    return tmp_path


def loaded(entry: Entry, options=None):
    method = build_method(entry, options or {}, None)
    method.load("cpu", "float32")
    return method


@pytest.mark.parametrize("key", sorted(GOLDEN))
def test_a_network_gives_what_its_authors_script_gives_with_the_same_weights(key):
    name, _, size = key.partition(" ")
    height, width = map(int, size.split("x"))
    output = applied(filled(name).double(), name, tensor(scene(height, width), np.float64))
    assert output.shape == (1, 3, height, width)
    difference = np.abs(output[0].permute(1, 2, 0)[1::3, 1::3].numpy() - GOLDEN[key]).max()
    assert difference < (1e-12 if GOLDEN[key].dtype == np.float64 else 1e-5 * np.abs(GOLDEN[key]).max())


@pytest.mark.parametrize("name", NAMES)
def test_float32_is_as_near_as_the_networks_condition_lets_it(name):
    network, image = filled(name, **SMALL.get(name, {})), tensor(scene(48, 64))
    exact, limit = exactly(network, image, lambda network, images: applied(network, name, images))
    assert float((applied(network, name, image) - exact).abs().max()) <= limit < LEVEL


@pytest.mark.parametrize("name", ["nu2net", "puie-net", "snr-net"])
def test_names_and_shapes_are_those_of_the_authors_code(name):
    entry = registry("method").get(name)
    with torch.device("meta"):
        network = entry.load()(**defaults(entry))
    own = {f"{key} {'x'.join(map(str, held.shape))}" for key, held in network.state_dict().items()}
    theirs = {line.partition(" ")[2] for line in KEYS if line.partition(" ")[0] == name}
    assert own <= theirs
    assert all(line.startswith(getattr(network, "ignored_prefixes", ())) for line in theirs - own)
    if name != "puie-net":
        assert own == theirs
    assert sum(held.numel() for held in network.state_dict().values()) == entry.fields["parameters"]


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(48, 64), (53, 64), (48, 71), (53, 71), (90, 20), (1, 1)])
def test_resizing_is_pillows_to_the_last_level(mode, size):
    filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    hard = np.random.RandomState(0).randint(0, 256, (53, 71, 3), dtype=np.uint8)
    for pixels in (scene(53, 71), hard):
        # One side at a time, since the order that Pillow takes them in depends on its version.
        wide = Image.fromarray(pixels).resize((size[1], 53), filters[mode])
        expected = np.asarray(wide.resize((size[1], size[0]), filters[mode]))
        found = pillow_resize(torch.cat([tensor(pixels)] * 2), *size, mode)
        assert np.array_equal((found[1] * 255).round().permute(1, 2, 0).numpy(), expected)


def test_the_map_of_noise_is_that_of_opencv_and_the_official_steps():
    image = (picture(45, 61, 0.3) * 255).round() / 255
    pixels = image[0].permute(1, 2, 0).numpy()
    weights = np.array([0.299, 0.587, 0.114])
    light, dark = (cv2.blur(pixels * 255, (5, 5)) / 255) @ weights, pixels @ weights
    ratio = light / (np.abs(dark - light) + 1e-4)
    expected = np.clip(ratio / (ratio.max() + 1e-4), 0, 1)
    np.testing.assert_allclose(snr_map(image)[0, 0].numpy(), expected, atol=2e-3)
    assert (
        0.02 < float((snr_map(tensor(scene(45, 61))) > 0.5).float().mean()) < 0.9
    )  # the golden picture has both kinds


def test_draws_are_those_of_the_official_script_with_its_generator_seeded_alike():
    one = torch.distributions.Normal(torch.zeros(1, 20), torch.ones(1, 20))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        expected = [one.rsample() for _ in range(6)]
    assert torch.equal(draws(SEED, 3).flatten(0, 1), torch.cat(expected))


def test_an_images_seed_decides_its_draws_in_any_company():
    network = filled("puie-net", samples=2).double()
    images = torch.cat([picture(33, 47, 0.3), picture(33, 47, 0.3)]).double()
    together = applied(network, "puie-net", images, 5, 6)
    assert torch.equal(together, applied(network, "puie-net", images, 5, 6))
    torch.testing.assert_close(together[1:], applied(network, "puie-net", images[1:], 6), atol=1e-10, rtol=0)
    assert float((together[0] - together[1]).abs().max()) > 1e-2
    drawn = draws(5, 2).double()
    singles = [drawn[number : number + 1] for number in (0, 1)]
    small = pillow_resize(images[:1], 32, 40, "bicubic")
    mean = sum(network.decoder(small, noise[:, None]) for noise in singles) / 2
    torch.testing.assert_close(network.decoder(small, drawn[:, None]), mean, atol=1e-10, rtol=0)


def test_without_seeds_the_draws_are_the_means():
    images = picture(33, 47, 0.3)
    with torch.inference_mode():
        assert torch.equal(filled("puie-net")(images), filled("puie-net-mp")(images))


def test_only_an_image_that_leaves_the_range_is_stretched_each_channel_for_itself():
    inside = torch.tensor([[0.25, 0.5, 1.0], [0.5, 0.5, 0.5], [0.0, 0.25, 0.5]]).view(1, 3, 1, 3)
    outside = torch.tensor([[-1.0, 0.0, 1.0], [0.5, 0.5, 0.5], [0.0, 0.25, 0.5]]).view(1, 3, 1, 3)
    expected = torch.tensor([[0.0, 0.5, 1.0], [0.0, 0.0, 0.0], [0.0, 0.5, 1.0]]).view(1, 3, 1, 3)
    both = stretched(torch.cat([inside, outside]))
    assert torch.equal(both[:1], inside)
    torch.testing.assert_close(both[1:], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_does_not_depend_on_the_others_in_its_batch(name):
    network = filled(name, **SMALL.get(name, {})).double()
    images = [picture(33, 47, 0.3).double(), picture(33, 47, 0.2).flip(3).double()]
    together = applied(network, name, torch.cat(images))
    for number, image in enumerate(images):
        torch.testing.assert_close(together[number : number + 1], applied(network, name, image), atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_black_and_white_stay_finite(name, level):
    network = filled(name, **SMALL.get(name, {}))
    assert bool(applied(network, name, torch.full((1, 3, 17, 19), level)).isfinite().all())


def test_sides_that_patches_do_not_fill_are_refused():
    with pytest.raises(BenchError, match="SNR-Net: options height and width must be multiples of 16, not 400 and 600"):
        Snr(400, 600)


@pytest.mark.parametrize("name", ["nu2net", "puie-net", "puie-net-mp"])
def test_any_size_from_the_least_comes_back_whole(name, home):
    method = loaded(make_official(name, home, lively), SMALL.get(name))
    for height, width in ((16, 16), (33, 47), (17, 80)):
        with torch.inference_mode():
            output = method.restore(picture(height, width, 0.3), torch.tensor([SEED]))
        assert output.shape == (1, 3, height, width) and method.valid_crop(height, width) is None
    with pytest.raises(ItemError, match=f"too small: {name} takes 16×16 pixels or more"):
        method.restore(picture(15, 20), torch.tensor([SEED]))


def pinned(entry: Entry, home: Path, content: object) -> Entry:
    """The entry with another file at its place."""
    path = home / entry.fields["weights"]["file"]
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    weights = {**entry.fields["weights"], "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return Entry(entry.name, "method", {**entry.fields, "weights": weights}, entry.origin)


def test_what_training_left_in_the_files_does_not_disturb(home):
    """NU2Net's trainer saves its best scores as NumPy numbers; PUIE-Net's the loss network and the posterior."""
    entry = make_official("nu2net", home, lively)
    content = torch.load(home / entry.fields["weights"]["file"], weights_only=True)
    scores = {"max_psnr": np.float64(22.5), "max_ssim": np.float32(0.9), "epoch": np.int64(3)}
    loaded(pinned(entry, home, {**content, "optimizer": {"state": {}, "param_groups": [{"lr": 1e-3}]}, **scores}))
    entry = make_official("puie-net", home, lively)
    content = torch.load(home / entry.fields["weights"]["file"], weights_only=True)
    extra = {line.split()[1]: torch.zeros(1) for line in KEYS if line.startswith("puie-net ")}
    assert len(extra) == 2 * len(content) == 132
    loaded(pinned(entry, home, {**extra, **content}))


def test_a_number_of_an_older_numpy_is_read(home):
    from bench.methods.weights import read_weights

    torch.save({"best": np.float64(22.5)}, home / "new.pth", _use_new_zipfile_serialization=False)
    renamed = (home / "new.pth").read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (home / "old.pth").write_bytes(renamed)
    assert read_weights(home / "new.pth") == read_weights(home / "old.pth") == {"best": 22.5}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_another_architecture_is_refused_in_one_line(name, home):
    tensors = {"conv_first.weight": torch.zeros(3, 3)}
    entry = pinned(registry("method").get(name), home, {"net": tensors} if name == "nu2net" else tensors)
    with pytest.raises(
        BenchError, match=f"{name}: weights/.* does not fit .*: missing .*; foreign conv_first.weight"
    ) as error:
        loaded(entry)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [*NAMES, "snr-net-lol-v2-real", "snr-net-lol-v2-syn"])
def test_an_entry_says_how_its_file_is_had(name, home):
    entry = registry("method").get(name)
    assert entry.fields["status"] == "download" and entry.fields["quantise"] == "round"
    method = build_method(entry, {}, None)
    (asset,) = method.assets()
    with pytest.raises(
        BenchError, match=rf"{name} needs weights/.*(drive\.google\.com|gdrive://).*bench fetch {name}$"
    ) as error:
        asset.require()
    assert "\n" not in str(error.value)
    assert method.stochastic == (name == "puie-net")
