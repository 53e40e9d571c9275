"""The built-in datasets: paired, repeatable, independent of order, and made of scikit-image's files alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data import builtin
from bench.data.items import Dataset, Item
from bench.data.pairing import check_sizes
from bench.errors import BenchError, ImageError

BUILDERS = {
    "lowlight": builtin.lowlight,
    "lowlight-headroom": builtin.lowlight_headroom,
    "realworld": builtin.realworld,
    "underwater": builtin.underwater,
    "backlit": builtin.backlit,
}


def small(kind: str) -> Dataset:
    return BUILDERS[kind](f"builtin-{kind}", None, side=96)


def both(item: Item) -> tuple[np.ndarray, np.ndarray]:
    assert item.lq is not None and item.gt is not None
    return item.lq.load(), item.gt.load()


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((first.astype(float) - second) ** 2)))


def test_the_reference_is_the_shipped_photograph_cut_but_not_resized() -> None:
    items = {item.id: item for item in builtin.lowlight("x", None).items}
    folder = builtin.photo_folder()
    astronaut = np.asarray(Image.open(folder / "astronaut.png"))
    np.testing.assert_array_equal(both(items["astronaut"])[1], astronaut)
    coffee = np.asarray(Image.open(folder / "coffee.png"))  # 400×600
    np.testing.assert_array_equal(both(items["coffee"])[1], coffee[:, 44:556])
    right = np.asarray(Image.open(folder / "motorcycle_right.png"))  # 500×741
    np.testing.assert_array_equal(both(items["motorcycle-right"])[1], right[:, 229:])


@pytest.mark.parametrize("kind", BUILDERS)
def test_every_item_is_a_pair_of_equal_8_bit_sizes(kind: str) -> None:
    dataset = small(kind)
    assert dataset.paired and check_sizes(dataset.items) == []
    assert len({item.id for item in dataset.items}) == len(dataset.items) == 6
    for item in dataset.items:
        lq, gt = both(item)
        assert lq.dtype == gt.dtype == np.uint8 and lq.shape == gt.shape == (96, 96, 3)
        assert item.lq is not None and item.lq.size() == (96, 96)


@pytest.mark.parametrize("kind", BUILDERS)
def test_two_loads_are_equal_in_any_order_and_in_another_process(kind: str) -> None:
    first = [both(item)[0] for item in small(kind).items]
    second = [both(item)[0] for item in reversed(small(kind).items)][::-1]
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, two)
    code = (
        "from bench.data import builtin; import hashlib;"
        f"item = builtin.{BUILDERS[kind].__name__}('another name', None, side=96).items[3];"
        "print(hashlib.sha256(item.lq.load()).hexdigest())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    import hashlib

    assert told == hashlib.sha256(first[3]).hexdigest()


def test_items_and_kinds_have_seeds_of_their_own() -> None:
    states = {
        tuple(builtin.degrade.generator("v1", kind, photo.name).random(2))
        for kind in BUILDERS
        for photo in builtin.PHOTOS
    }
    assert len(states) == len(BUILDERS) * len(builtin.PHOTOS)


@pytest.mark.parametrize(
    "kind, low, high",
    [
        ("lowlight", 4, 16),
        ("lowlight-headroom", 6, 14),
        ("realworld", 18, 34),
        ("underwater", 8, 22),
        ("backlit", 8, 24),
    ],
)
def test_degradations_hurt_but_do_not_destroy(kind: str, low: float, high: float) -> None:
    for item in BUILDERS[kind]("x", None).items:
        lq, gt = both(item)
        assert low < psnr(lq, gt) < high, item.id
        correlation = np.corrcoef(lq.mean(2).ravel(), gt.mean(2).ravel())[0, 1]
        assert correlation > 0.5, item.id


@pytest.mark.parametrize(("kind", "part"), [("lowlight", 0.45), ("lowlight-headroom", 0.65)])
def test_low_light_is_dark_everywhere(kind: str, part: float) -> None:
    for item in small(kind).items:
        lq, gt = both(item)
        assert lq.mean() < part * gt.mean(), item.id


def test_under_water_red_is_lost_most() -> None:
    for item in small("underwater").items:
        if item.id == "rocket":
            continue  # a night sky is darker and bluer than any water
        lq, gt = (image.reshape(-1, 3).mean(0) for image in both(item))
        assert lq[0] / gt[0] < max(lq[1:] / gt[1:]), item.id


def test_stamps_are_unique_cheap_and_tell_the_photograph_from_its_degradation() -> None:
    stamps = [
        source.stamp() for kind in BUILDERS for item in small(kind).items for source in (item.lq, item.gt) if source
    ]
    # Five degradations, one reference of its own and one shared photograph for each of six items.
    assert len(set(stamps)) == 7 * 6
    assert all(stamp.locator.startswith("builtin:") and "version=" in stamp.locator for stamp in stamps)
    assert builtin.lowlight("x", None).items[0].lq.stamp() != small("lowlight").items[0].lq.stamp()  # type: ignore[union-attr]


def test_a_missing_photograph_is_a_failure_of_its_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin, "photo_folder", lambda: tmp_path)
    source = small("lowlight").items[0].lq
    assert source is not None
    for ask in (source.load, source.stamp, source.size, source.raw):
        with pytest.raises(ImageError, match="reinstall scikit-image"):
            ask()


def test_without_scikit_image_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin, "find_spec", lambda name: None)
    with pytest.raises(BenchError, match="pip install scikit-image"):
        builtin.photo_folder()


def test_a_tiny_side_is_refused() -> None:
    with pytest.raises(BenchError, match="too small"):
        builtin.backlit("x", None, side=4)


def test_loading_imports_neither_scikit_image_nor_torch() -> None:
    code = (
        "import sys; from bench.data import builtin;"
        "[item.lq.load() for item in builtin.realworld('x', None, side=64).items];"
        "print([name for name in ('skimage', 'pooch', 'torch', 'scipy') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
