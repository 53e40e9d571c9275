"""From images of any size to restored ones: fits, gray photographs, scores; the command on files and folders."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import iqpir
from iqpir.cli import group
from iqpir.cli.fitting import check
from iqpir.cli.restore import plan
from iqpir.errors import IQPIRError
from iqpir.network.model import Restoration
from iqpir.restore import Options, Restorer, _starts, is_gray

SIDE = 64


@pytest.fixture(scope="module")
def network() -> iqpir.IQPIR:
    torch.manual_seed(3)
    return iqpir.IQPIR(iqpir.preset("small")).eval()


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    iqpir.save_checkpoint(network, path)
    return path


class Copy(torch.nn.Module):
    """A network that gives back what it gets, and remembers the sizes."""

    def __init__(self, side: int = SIDE) -> None:
        super().__init__()
        self.config = iqpir.preset("small", image_size=side, conditioning="none")
        self.nothing = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[int, ...]] = []

    def forward(self, image, score=None, fidelity=0.0, adain=True):
        self.seen.append(tuple(image.shape))
        return Restoration(image, image, image)


def photograph(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Smooth colours, so that resizing loses little."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 4, 4, generator=draw)
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=True).clamp(0, 1)


def test_the_networks_own_size_goes_through_untouched(network):
    image = photograph(SIDE, SIDE)
    restored = Restorer(network, Options(score=0.9)).restore(image)
    direct = network(image * 2 - 1, score=0.9).image.clamp(-1, 1) / 2 + 0.5
    assert torch.allclose(restored, direct, atol=1e-6)


@pytest.mark.parametrize("options", [Options(score=0.9), Options(score=0.2, adain=False)])
def test_the_fast_plan_restores_what_the_network_does(network, options):
    images = torch.cat([photograph(SIDE, SIDE, seed) for seed in range(2)])
    plain, fast = (Restorer(each, options).restore(images) for each in (network, network.optimize()))
    assert torch.allclose(plain, fast, atol=1e-4)


@pytest.mark.parametrize("size", [(40, 64), (64, 150), (200, 90), (1, 70)])
@pytest.mark.parametrize("fit", ["resize", "tile"])
def test_every_pixel_of_another_size_comes_back_where_it_was(size, fit):
    copy = Copy()
    image = photograph(*size)
    restored = Restorer(copy, Options(fit=fit, overlap=16)).restore(image)
    assert restored.shape == image.shape
    assert all(shape[-2:] == (SIDE, SIDE) for shape in copy.seen)
    assert (restored - image).abs().max() < (1e-6 if fit == "tile" else 0.12)


def test_native_is_exact_at_the_training_size(network):
    image = photograph(SIDE, SIDE)
    for each in (network, network.optimize()):
        exact, native = (Restorer(each, Options(fit=fit)).restore(image) for fit in ("exact", "native"))
        assert torch.equal(exact, native)


@pytest.mark.parametrize("size", [(41, 57), (64, 150), (1, 70), (3, 3)])
def test_native_returns_the_size_that_it_is_given(network, size):
    images = torch.cat([photograph(*size, seed) for seed in range(2)])
    plain, fast = (Restorer(each, Options(fit="native")) for each in (network, network.optimize()))
    restored = plain.restore(images)
    assert restored.shape == images.shape
    torch.testing.assert_close(fast.restore(images), restored, atol=1e-4, rtol=0)
    alone = torch.cat([plain.restore(image[None]) for image in images])
    torch.testing.assert_close(restored, alone, atol=1e-5, rtol=0)


def test_native_extends_by_reflection_and_cuts_back(network):
    step = network.config.downsampling
    image = photograph(40, 3 * step - 1)
    grown = torch.nn.functional.pad(image, (0, 1, 0, -40 % step), mode="reflect")
    with torch.no_grad():
        direct = network(grown * 2 - 1, score=0.9, any_size=True).image.clamp(-1, 1) / 2 + 0.5
    restored = Restorer(network, Options(fit="native")).restore(image)
    assert torch.allclose(restored, direct[..., :40, : 3 * step - 1], atol=1e-6)


def test_a_square_stays_a_square_and_is_squeezed_as_opencv_does():
    import cv2

    image = photograph(90, 140)
    restored = Restorer(Copy(), Options(fit="square", gray=False)).restore(image)[0].permute(1, 2, 0).numpy()
    expected = cv2.resize(image[0].permute(1, 2, 0).numpy(), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(restored, expected, atol=2e-6)


def test_exact_refuses_another_size_in_one_line():
    with pytest.raises(IQPIRError, match=r"64×90 pixels; this network takes 64×64"):
        Restorer(Copy(), Options(fit="exact")).restore(photograph(90, SIDE))


@pytest.mark.parametrize("length, overlap", [(64, 0), (65, 16), (150, 16), (1000, 63)])
def test_tiles_cover_an_axis_and_share_their_overlap(length, overlap):
    starts = _starts(length, SIDE, overlap)
    assert starts[0] == 0 and starts[-1] == length - SIDE
    assert all(b - a <= SIDE - overlap for a, b in itertools.pairwise(starts))


def test_a_gray_photograph_stays_gray_with_its_brightness_and_contrast(network):
    gray = photograph(SIDE, SIDE).mean(dim=1, keepdim=True).expand(1, 3, SIDE, SIDE)
    restored = Restorer(network, Options()).restore(gray)
    assert (restored - restored.mean(dim=1, keepdim=True)).abs().max() < 1e-6
    # Before clipping the moments are those of the input; here hardly anything is clipped.
    assert restored.mean() == pytest.approx(float(gray.mean()), abs=0.02)
    assert restored.std() == pytest.approx(float(gray.std()), rel=0.1)
    coloured = Restorer(network, Options(gray=False)).restore(gray)
    assert (coloured - coloured.mean(dim=1, keepdim=True)).abs().max() > 1e-3


@pytest.mark.parametrize("spread, expected", [(3.0, True), (3.3, False)])
def test_gray_is_a_mean_variance_of_channel_differences_of_ten(spread, expected):
    # Green is off by ±spread levels in equal parts, so the three variances are spread², spread² and 0: 2/3 spread².
    # 3.0 → 6.0; for 3.3 red moves the other way: (2·3.3)², 3.3², 3.3² → 21.8.
    image = torch.full((3, 4, 4), 128.0, dtype=torch.float64)
    image[1] += torch.tensor([spread, -spread]).repeat(8).reshape(4, 4)
    if spread > 3.1:
        image[0] -= torch.tensor([spread, -spread]).repeat(8).reshape(4, 4)
    assert is_gray(image / 255) is expected


def test_a_batch_gives_what_its_members_give(network):
    images = torch.cat([photograph(SIDE, SIDE, seed) for seed in range(3)])
    restorer = Restorer(network, Options())
    alone = torch.cat([restorer.restore(image[None]) for image in images])
    assert torch.allclose(restorer.restore(images), alone, atol=1e-5)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"score": 1.5}, "the score is 1.5"),
        ({"fidelity": -0.1}, "fidelity is -0.1"),
        ({"fit": "resise"}, "did you mean 'resize'"),
        ({"fit": "tile", "overlap": 64}, "overlap is 64"),
        ({"score": (0.5, 0.9)}, "2 scores were given"),
    ],
)
def test_wrong_options_are_refused_in_one_line(network, options, message):
    with pytest.raises(IQPIRError, match=message) as error:
        Restorer(network, Options(**options)).restore(photograph(SIDE, SIDE))
    assert "\n" not in str(error.value)


def test_one_score_per_model(network):
    several = iqpir.IQPIR(iqpir.preset("small", conditioning="add-list", bins=(20, 20))).eval()
    image = photograph(SIDE, SIDE)
    same = Restorer(several, Options(score=0.5)).restore(image)
    assert torch.equal(same, Restorer(several, Options(score=(0.5, 0.5))).restore(image))
    direct = several(image * 2 - 1, score=[0.5, 0.5]).image.clamp(-1, 1) / 2 + 0.5
    assert torch.allclose(same, direct, atol=1e-6)


# The command


def run(*arguments: object):
    return CliRunner().invoke(group, [str(argument) for argument in arguments], standalone_mode=False)


def save(path: Path, height: int = SIDE, width: int = SIDE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (photograph(height, width)[0].permute(1, 2, 0) * 255).round().byte().numpy()
    Image.fromarray(pixels).save(path)
    return path


def test_a_folder_becomes_the_same_tree_and_a_broken_file_a_line(tmp_path, weights, network, caplog):
    good = save(tmp_path / "in/a/one.PNG")
    save(tmp_path / "in/two.jpg", 50, 80)
    (tmp_path / "in/broken.png").write_bytes(b"no image")
    done = run("restore", tmp_path / "in", tmp_path / "out", "--weights", weights, "--score", "0.9")
    assert done.return_value == 1, done.output
    assert "broken.png: failed: " in done.stderr and "2 of 3 images restored" in done.stderr
    made = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert made == ["a/one.png", "two.png"]
    assert Image.open(tmp_path / "out/two.png").size == (80, 50)
    given = torch.from_numpy(np.array(Image.open(good))).permute(2, 0, 1)[None] / 255
    expected = (network(given * 2 - 1, score=0.9).image.clamp(-1, 1)[0] / 2 + 0.5).permute(1, 2, 0) * 255
    found = np.array(Image.open(tmp_path / "out/a/one.png")).astype(float)
    assert np.abs(found - expected.detach().numpy()).max() <= 0.51


def test_a_network_that_gives_no_numbers_writes_no_picture(tmp_path, network):
    save(tmp_path / "in" / "a.png")
    done = run("restore", tmp_path / "in", tmp_path / "out", "--fidelity", "1e30", "--threads", "1")
    assert done.return_value == 1 and "a.png: failed: the network gave values that are no numbers" in done.stderr
    assert not (tmp_path / "out" / "a.png").exists()
    broken = {name: value.clone() for name, value in network.state_dict().items()}
    name = next(name for name, value in broken.items() if value.is_floating_point())
    broken[name].view(-1)[0] = float("nan")
    file = tmp_path / "broken.pth"
    torch.save(broken, file)
    with pytest.raises(IQPIRError, match="holds values that are no numbers"):
        iqpir.checkpoint.load(file)


def test_keep_goes_on_where_a_run_stopped(tmp_path, weights):
    save(tmp_path / "in/a.png")
    save(tmp_path / "out/a.png", 8, 8)
    assert run("restore", tmp_path / "in", tmp_path / "out", "--weights", weights, "--keep").return_value == 0
    assert Image.open(tmp_path / "out/a.png").size == (8, 8)
    save(tmp_path / "in/b.png")
    done = run("restore", tmp_path / "in", tmp_path / "out", "--weights", weights, "--keep")
    assert "1 of 2 images restored to" in done.stderr and ", 1 left as it was" in done.stderr
    assert run("restore", tmp_path / "in", tmp_path / "out", "--weights", weights).return_value == 0
    assert Image.open(tmp_path / "out/a.png").size == (SIDE, SIDE)


def test_threads_are_those_asked_for_and_otherwise_those_that_are_chosen(tmp_path, weights, monkeypatch):
    from iqpir import threads
    from iqpir.cli import restore

    used: list[int] = []
    one = restore._one
    monkeypatch.setattr(restore, "_one", lambda *given: used.append(torch.get_num_threads()) or one(*given))
    monkeypatch.setattr(threads, "choice", lambda usual: threads.Choice(2, "two of three"))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    given, usual = save(tmp_path / "in.png"), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        asked = run("restore", given, tmp_path / "asked.png", "--weights", weights, "--threads", 1)
        chosen = run("restore", given, tmp_path / "chosen.png", "--weights", weights)
        assert used == [1, 2] and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(usual)
    assert "two of three" in chosen.stderr and "two of three" not in asked.stderr


def test_one_file_to_a_file_or_into_a_folder(tmp_path):
    given = save(tmp_path / "face.jpg")
    assert plan(given, tmp_path / "x.png").jobs == [(given, tmp_path / "x.png")]
    assert plan(given, tmp_path / "out").jobs == [(given, tmp_path / "out/face.png")]


def test_one_file_into_its_own_folder_replaces_none_of_its_neighbours(tmp_path):
    given, neighbour = save(tmp_path / "a.jpg"), save(tmp_path / "a.png")
    with pytest.raises(IQPIRError, match=r"a\.png lies beside the input and would be replaced"):
        plan(given, tmp_path)
    assert plan(given, tmp_path / "a_restored.png").jobs == [(given, tmp_path / "a_restored.png")]
    assert plan(given, neighbour).jobs == [(given, neighbour)]  # somebody has named it
    neighbour.unlink()
    assert plan(given, tmp_path).jobs == [(given, neighbour)]


def test_wrong_requests_are_refused_before_any_work(tmp_path, weights):
    save(tmp_path / "in/a.png")
    for given, made, message in [
        (tmp_path / "absent", tmp_path / "out", "does not exist"),
        (tmp_path / "in", tmp_path / "in", "name another folder"),
        (tmp_path / "in", tmp_path / "x.png", "must be a folder too"),
        (tmp_path / "in/a.png", tmp_path / "in/a.png", "replaced by its own output"),
        (weights, tmp_path / "out", "is not an image"),
    ]:
        done = run("restore", given, made, "--weights", weights)
        assert isinstance(done.exception, IQPIRError) and message in str(done.exception), done
    save(tmp_path / "in/a.jpg")
    save(tmp_path / "in/b.png"), save(tmp_path / "in/b.jpg")
    said = str(run("restore", tmp_path / "in", tmp_path / "out", "--weights", weights).exception)
    assert "a.png would both" in said and "b.png would both" in said and "rename one of each" in said
    for extra, message in [
        (["--score", "high"], "is not a number"),
        (["--upscale", "2"], "goes with --faces"),
        (["--faces"], "needs --face-weights"),
        (["--faces", "--face-weights", tmp_path], "detection_Resnet50_Final.pth in"),
        (["--device", "gpu"], "unknown device 'gpu'"),
        (["--weights", tmp_path / "in/a.png"], "weights: neither .safetensors nor a PyTorch file of tensors alone"),
        (["--score", ".9,.8"], "takes one: --score 0.9"),
        (["--score", ".9,.8", "--weights", "iqpir-tiny"], "2 scores were given, and iqpir-tiny takes one"),
        (["--alpha", "nan"], "--alpha nan: not a finite number"),
        (["--fidelity", "inf"], "--fidelity inf: not a finite number"),
    ]:
        done = run("restore", tmp_path / "in/a.png", tmp_path / "out", "--weights", weights, *extra)
        assert isinstance(done.exception, IQPIRError) and message in str(done.exception), (extra, done)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["x.jpg", "x.TIF"])
def test_an_output_that_is_no_png_is_refused_and_makes_no_folder(name: str, tmp_path: Path):
    from iqpir.cli.restore import plan

    given = tmp_path / "in.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(given)
    with pytest.raises(IQPIRError, match=r"outputs are PNG files: name x\.png, or a folder"):
        plan(given, tmp_path / name)
    (tmp_path / name).mkdir()  # a folder may have any name
    assert plan(given, tmp_path / name).jobs == [(given, tmp_path / name / "in.png")]


def config(**fields: Any) -> SimpleNamespace:
    settings = {"conditioning": "add-list", "bins": (4, 4), "hq_codebook": 8, "connect": (16,), **fields}
    return SimpleNamespace(for_photographs=False, config=SimpleNamespace(**settings))


PHOTO = SimpleNamespace(for_photographs=True)


@pytest.mark.parametrize(
    ("network", "asked", "message"),
    [
        (PHOTO, {"adain": True}, "--adain has no effect on w, a network for photographs"),
        (PHOTO, {"score": (0.9, 0.8)}, "2 scores were given, and w takes one"),
        (PHOTO, {"adain": False, "score": 0.9, "fidelity": 0.5}, None),
        (config(), {"score": (0.9, 0.8, 0.7)}, "3 scores were given, and w takes one, or 2"),
        (config(), {"score": (0.9, 0.8)}, None),
        (config(conditioning="none"), {"score": 0.9}, "--score has no effect on w"),
        (config(conditioning="none"), {}, None),
        (config(hq_codebook=0), {"alpha": 0.5}, "--alpha has no effect on w, which has one codebook"),
        (config(connect=()), {"fidelity": 0.5}, "--fidelity has no effect on w"),
        (config(connect=()), {"fidelity": 0.0}, None),
    ],
)
def test_an_option_without_effect_is_refused(network: Any, asked: dict[str, Any], message: str | None):
    given = {"score": None, "alpha": None, "fidelity": None, "adain": None, **asked}
    if message is None:
        check(network, "w", given)
        return
    with pytest.raises(IQPIRError, match=message):
        check(network, "w", given)


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_stay_sixteen_bits(channels: int, tmp_path: Path, weights: Path, network: Any):
    pixels = (photograph(SIDE, SIDE)[0].permute(1, 2, 0).numpy() * 65535).round().astype(np.uint16)
    pixels = pixels[:, :, :channels]
    cv2.imwrite(str(tmp_path / "in.png"), pixels[:, :, ::-1])
    assert run("restore", tmp_path / "in.png", tmp_path / "out.png", "--weights", weights).return_value == 0
    made = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)[:, :, ::-1]
    assert made.dtype == np.uint16 and made.shape == (SIDE, SIDE, 3)
    if channels == 1:
        assert (made == made[:, :, :1]).all()
        return
    given = torch.from_numpy(pixels.astype(np.float32) / 65535).permute(2, 0, 1)[None]
    expected = (network(given * 2 - 1, score=0.9).image.clamp(-1, 1)[0] / 2 + 0.5).permute(1, 2, 0) * 65535
    assert np.abs(made.astype(float) - expected.detach().numpy()).max() <= 1
