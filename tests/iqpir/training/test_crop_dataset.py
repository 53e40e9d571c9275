"""Training data: one sample for one index, whatever the order, the workers or the restart; and no test photograph."""

from __future__ import annotations

import pickle
import shutil
import time
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from iqpir.errors import IQPIRError
from iqpir.training import crop_dataset
from iqpir.training.batch_loading import PairedTraining, StepBatches, Timed, training_loader
from iqpir.training.crop_dataset import NO_FLAW, Flaw, TrainingImages, add_flaw, recolour, relight
from iqpir.training.degrade import KINDS, Composite, Face, FaceParams, degradation
from iqpir.training.stage_data import quality_of
from iqpir.training.synthetic import generate

PHOTOS = Path(find_spec("skimage").submodule_search_locations[0]) / "data"


@pytest.fixture
def small_sheets(monkeypatch):
    """Sheets of a sixteenth of the area, with the code that is used for large ones."""
    monkeypatch.setattr(generate, "SIDE", 256)
    draw = generate.draw_sheet
    monkeypatch.setattr(generate, "draw_sheet", lambda seed, number: draw(seed, number, 256))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Five images of one gray each, 10 … 50, in two levels, one of them turned by EXIF."""
    home = tmp_path / "photos"
    (home / "more").mkdir(parents=True)
    for place in range(5):
        pixels = np.full((40, 64, 3), 10 * (place + 1), np.uint8)
        pixels[:, :8, 0] = 255  # a red stripe on the left
        exif = Image.Exif()
        if place == 4:
            exif[0x0112] = 6  # to be turned by 90° to the right: the stripe comes out on top
        name = home / ("more" if place > 2 else "") / f"{place}.png"
        Image.fromarray(pixels).save(name, exif=exif)
    return home


def same(left: dict, right: dict) -> bool:
    return (
        torch.equal(left["gt"], right["gt"])
        and torch.equal(left["lq"], right["lq"])
        and all(torch.equal(a, b) for a, b in zip(left["params"], right["params"], strict=True))
        and all(torch.equal(a, b) for a, b in zip(left["flaw"], right["flaw"], strict=True))
        and torch.equal(left["index"], right["index"])
    )


def test_a_generated_sample_is_a_function_of_seed_and_index(small_sheets):
    first, again = TrainingImages(crop=32, count=5000, seed=1), TrainingImages(crop=32, count=5000, seed=1)
    other = TrainingImages(crop=32, count=5000, seed=2)
    order = [3, 2600, 0, 17, 3]  # 2600 lies on another sheet than 3 …
    samples = {index: first[index] for index in order}
    for index in reversed(order):
        sample = again[index]
        assert torch.equal(sample["gt"], samples[index]["gt"])
        assert sample["flaw"] == samples[index]["flaw"]
    assert not torch.equal(samples[3]["gt"], samples[0]["gt"])
    assert not torch.equal(other[3]["gt"], samples[3]["gt"])
    assert samples[3]["gt"].shape == (3, 32, 32)
    assert samples[3]["gt"].dtype == torch.float32
    with pytest.raises(IndexError):
        first[5000]


def test_sheets_are_replaced_one_at_a_time_and_give_their_crops_once():
    sheets = TrainingImages(crop=64)._source
    numbers = [sheets.number(index) for index in range(40 * sheets.crops)]
    counts = np.bincount(numbers)
    assert counts.max() == sheets.crops
    assert len(set(numbers[:16])) == 16  # neighbours are on different sheets
    new = [index for index in range(1, len(numbers)) if numbers[index] not in numbers[max(0, index - 32) : index]]
    gaps = np.diff([index for index in new if index >= 32])
    assert gaps.min() > sheets.crops // 2  # never a row of sheets to draw before the next batch


def test_a_share_of_generated_images_has_flaws_of_the_stated_strength(small_sheets):
    data = TrainingImages(crop=16, count=2000)
    flaws = [data.flaw(index) for index in range(2000)]
    flawed = [flaw for flaw in flaws if flaw != NO_FLAW]
    assert abs(len(flawed) / 2000 - 0.4) < 5 * np.sqrt(0.24 / 2000)
    blur, noise, quality = (np.array([getattr(flaw, name) for flaw in flawed]) for name in Flaw._fields)
    for values, none, (low, high) in (
        (blur, 0, crop_dataset.BLUR),
        (noise, 0, crop_dataset.NOISE),
        (quality, 100, crop_dataset.QUALITY),
    ):
        suffered = values[values != none]
        assert abs(len(suffered) / len(flawed) - 4 / 7) < 0.1
        assert low <= suffered.min() < suffered.max() <= high
    assert all(sample["flaw"] == NO_FLAW for sample in (TrainingImages(crop=16, flawed=0.0)[i] for i in range(8)))


def test_a_flaw_is_the_one_that_is_recorded():
    rng = np.random.default_rng(0)
    flat = torch.full((3, 128, 128), 0.5)
    noisy = add_flaw(flat, Flaw(0.0, 6.0, 100.0), rng)
    assert noisy.std().item() * 255 == pytest.approx(6, rel=0.02)
    checks = (torch.arange(128) // 8 % 2).float().expand(3, 128, 128).contiguous()
    blurred = add_flaw(checks, Flaw(1.5, 0.0, 100.0), rng)
    # The slope of a blurred edge is 1/(σ√2π).
    assert blurred.diff(dim=2).abs().max().item() == pytest.approx(1 / (1.5 * np.sqrt(2 * np.pi)), rel=0.05)
    gray = noisy[:1].expand(3, -1, -1)  # JPEG halves the resolution of colours whatever its quality
    coarse, fine = (add_flaw(gray, Flaw(0.0, 0.0, q), rng) for q in (40.0, 90.0))
    assert (coarse - gray).abs().mean() > 1.5 * (fine - gray).abs().mean() > 0


def test_drawn_sheets_are_kept_where_asked(small_sheets, tmp_path, monkeypatch):
    cache = tmp_path / "sheets"
    first = TrainingImages(crop=32, count=64, cache=cache)[5]["gt"]
    kept = sorted(cache.iterdir())
    assert [path.suffix for path in kept] == [".npy"]
    with monkeypatch.context() as patch:
        patch.setattr(generate, "draw_sheet", None)  # nothing is drawn again
        assert torch.equal(TrainingImages(crop=32, count=64, cache=cache)[5]["gt"], first)
    kept[0].write_bytes(kept[0].read_bytes()[:1000])  # a copy that was cut off is
    assert torch.equal(TrainingImages(crop=32, count=64, cache=cache)[5]["gt"], first)


def test_a_folder_gives_every_image_once_before_any_twice_turned_the_right_way(folder):
    data = TrainingImages(folder, crop=40, count=200, seed=3)
    grays = [round(data[index]["gt"][1].median().item() * 255) for index in range(200)]
    for epoch in range(40):
        assert sorted(grays[5 * epoch : 5 * epoch + 5]) == [10, 20, 30, 40, 50]
    assert grays[:5] != grays[5:10] or grays[:5] != grays[10:15]
    assert all(sample["flaw"] == NO_FLAW for sample in (data[index] for index in range(10)))
    turned = [data[index]["gt"] for index in range(200) if grays[index] == 50]
    assert any(image[0, 0].eq(1).all() for image in turned)  # the stripe runs along the top
    assert not any(image[0, :, 0].eq(1).all() or image[0, :, -1].eq(1).all() for image in turned)
    plain = [data[index]["gt"] for index in range(200) if grays[index] == 10]
    sides = {(bool(image[0, :, 0].eq(1).all()), bool(image[0, :, -1].eq(1).all())) for image in plain}
    assert (True, False) in sides  # as it is
    assert (False, True) in sides  # and mirrored


def test_shorter_makes_large_photographs_smaller_first(folder):
    gt = TrainingImages(folder, crop=20, shorter=20, count=20)[0]["gt"]
    assert gt.shape == (3, 20, 20)
    stripes = {
        int((TrainingImages(folder, crop=20, shorter=20, count=20)[index]["gt"][0] > 0.9).sum(dim=1).max())
        for index in range(20)
    }
    assert max(stripes - {20}) == 4  # eight pixels at half size


def test_what_cannot_be_trained_on_is_refused_in_one_line(folder, tmp_path):
    with pytest.raises(IQPIRError, match=r"crop of 41 does not fit into 0\.png, 1\.png, 2\.png and 2 more"):
        TrainingImages(folder, crop=41)
    with pytest.raises(IQPIRError, match="crop is 4"):
        TrainingImages(crop=4)
    with pytest.raises(IQPIRError, match="does not exist"):
        TrainingImages(tmp_path / "nowhere", crop=16)
    (folder / "5.png").write_bytes(b"no image")
    with pytest.raises(IQPIRError, match=r"5\.png: not an image that can be read; take it out"):
        TrainingImages(folder, crop=16)


def test_test_photographs_never_enter_training(tmp_path):
    with pytest.raises(IQPIRError, match="scikit-image's photographs, which results are measured on"):
        TrainingImages(PHOTOS, crop=16)
    mine = tmp_path / "mine"
    mine.mkdir()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(mine / "fine.png")
    assert len(TrainingImages(mine, crop=16, count=3)) == 3
    shutil.copy(PHOTOS / "chelsea.png", mine / "holiday.png")
    with pytest.raises(IQPIRError, match=r"holiday\.png is one of scikit-image's photographs"):
        TrainingImages(mine, crop=16)
    (mine / "holiday.png").unlink()
    (mine / "link.png").symlink_to(PHOTOS / "coffee.png")
    with pytest.raises(IQPIRError, match=r"link\.png is one of"):
        TrainingImages(mine, crop=16)


# ---------------------------------------------------------------------------------------------------------------------


def test_workers_and_restarts_change_no_batch(small_sheets):
    pairs = PairedTraining(TrainingImages(crop=32, count=400, seed=5), degradation("low-light"))
    alone = list(training_loader(pairs, 4, 8, workers=0))
    assert len(alone) == 8
    torch.manual_seed(11)
    state = torch.get_rng_state()
    for workers, start in ((1, 0), (2, 0), (1, 5)):
        others = list(training_loader(pairs, 4, 8, start=start, workers=workers))
        assert len(others) == 8 - start
        assert all(same(left, right) for left, right in zip(others, alone[start:], strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert alone[0]["lq"].shape == alone[0]["gt"].shape == (4, 3, 32, 32)
    assert alone[2]["index"].tolist() == [8, 9, 10, 11]
    assert alone[0]["params"].exposure.shape == (4,)


def test_ranks_share_a_step_and_samples_come_round_again():
    alone = list(StepBatches(10, 4, 3))
    assert alone == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1]]
    parts = [list(StepBatches(10, 2, 3, rank=rank, world=2)) for rank in (0, 1)]
    assert [left + right for left, right in zip(*parts, strict=True)] == alone
    assert list(StepBatches(10, 4, 3, start=2)) == alone[2:]


def test_a_dataset_survives_being_sent_to_a_process(folder):
    data = PairedTraining(TrainingImages(folder, crop=16, count=20), Face.photo())
    before = data[7]
    after = pickle.loads(pickle.dumps(data))[7]
    assert torch.equal(before["lq"], after["lq"])
    assert isinstance(after["params"], FaceParams)


def test_waiting_is_measured():
    def slow():
        for _ in range(5):
            time.sleep(0.02)
            yield 1

    timed = Timed(slow())
    for _ in timed:
        time.sleep(0.02)
    assert timed.wait.first > 0.015
    assert 0.2 < timed.wait.share < 0.8
    quick = Timed(iter(range(5)))
    for _ in quick:
        time.sleep(0.02)
    assert quick.wait.share < 0.1


def test_the_preview_is_a_picture_of_images_and_pairs(small_sheets, tmp_path, capsys):
    from iqpir.training.preview import main

    assert main([str(tmp_path / "grid.png")]) == 0
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (12 * 128, (4 + len(KINDS)) * 128)
    assert main([str(tmp_path / "grid.png"), str(tmp_path / "nowhere")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert main([]) == 2


# Real pairs


def test_a_pair_is_the_same_crop_of_both_images(folder, tmp_path):
    from iqpir.training.settings import Data
    from iqpir.training.stage_data import paired

    dark = tmp_path / "dark"
    (dark / "more").mkdir(parents=True)
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    for name in ("0", "1", "2", "more/3", "more/4"):
        bright = np.broadcast_to(ramp[None, :, None], (40, 64, 3)).copy()
        bright[:, :, 1] = np.random.default_rng(len(name)).integers(0, 255, (40, 64))
        Image.fromarray(bright).save(folder / f"{name}.png")
        Image.fromarray(bright // 2).save(dark / f"{name}.bmp")
    data = Data(source=str(folder), lq=str(dark), count=40)
    pairs = paired(data, 24, degraded=True)
    assert isinstance(pairs, PairedTraining)
    for index in (0, 7, 39):
        sample = pairs[index]
        assert torch.equal((sample["lq"] * 255).round(), ((sample["gt"] * 255).round() / 2).floor())
    assert "lq" not in paired(data, 24, degraded=False)[0]
    assert next(iter(training_loader(pairs, 5, 1, workers=0)))["lq"].shape == (5, 3, 24, 24)
    assert torch.equal(paired(Data(source=str(folder), count=40), 24, degraded=True)[7]["gt"], pairs[7]["gt"])


def test_a_pair_is_one_crop_however_the_camera_was_held(tmp_path):
    """A JPEG that is stored on its side is as wide as it is seen; one that is not so is another picture."""
    drawn = np.random.default_rng(0).integers(0, 255, (6, 9, 3), dtype=np.uint8)
    seen = cv2.resize(drawn, (96, 64), interpolation=cv2.INTER_CUBIC)
    for kind in ("gt", "lq", "flat"):
        (tmp_path / kind).mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6  # stored as it lies, seen turned to the right
    Image.fromarray(np.rot90(seen).copy()).save(tmp_path / "gt" / "0.jpg", exif=turned, quality=100, subsampling=0)
    Image.fromarray(seen).save(tmp_path / "lq" / "0.png")
    pair = TrainingImages(tmp_path / "gt", crop=32, count=4, lq=tmp_path / "lq")
    for index in range(4):
        sample = pair[index]
        assert float((sample["gt"] - sample["lq"]).abs().mean()) < 0.02
    Image.fromarray(np.rot90(seen).copy()).save(tmp_path / "flat" / "0.png")
    with pytest.raises(IQPIRError, match="sizes differ"):
        TrainingImages(tmp_path / "gt", crop=32, count=4, lq=tmp_path / "flat")


def test_an_image_without_its_partner_is_refused(folder, tmp_path):
    dark = tmp_path / "dark"
    shutil.copytree(folder, dark)
    (dark / "more" / "3.png").unlink()
    with pytest.raises(IQPIRError, match=r"no LQ image for 1 of 5 images: 3\.png"):
        TrainingImages(folder, crop=16, lq=dark)
    shutil.copy(folder / "more" / "3.png", dark / "more" / "3.png")
    Image.fromarray(np.zeros((20, 64, 3), np.uint8)).save(dark / "0.png")
    with pytest.raises(IQPIRError, match=r"sizes differ in 1 pairs: 0\.png"):
        TrainingImages(folder, crop=16, lq=dark)
    for place, path in enumerate(sorted(dark.rglob("*.png"))):
        path.rename(dark / f"low0{place}.png")  # as LOL-v2 has them: normal01.png belongs to low01.png
    for place, path in enumerate(sorted(folder.rglob("*.png"))):
        path.rename(folder / f"normal0{place}.png")
    Image.fromarray(np.zeros((40, 64, 3), np.uint8)).save(dark / "low00.png")
    partners = TrainingImages(folder, crop=16, lq=dark)._source._partners
    assert [path.name for path in partners] == [f"low0{place}.png" for place in range(5)]
    with pytest.raises(IQPIRError, match="have partners"):
        TrainingImages(crop=16, lq=dark)


def test_stronger_flaws_are_the_same_ones_scaled_and_score_as_much() -> None:
    mild, strong = (TrainingImages(crop=32, count=300, flawed=0.8, flaw_scale=scale) for scale in (1.0, 1.5))
    for index in range(300):
        one, other = mild.flaw(index), strong.flaw(index)
        assert (other.blur, other.noise) == (1.5 * one.blur, 1.5 * one.noise)
        assert abs((100 - other.quality) - 1.5 * (100 - one.quality)) <= 0.5
        scores = [float(quality_of(Flaw(*map(np.array, flaw)), scale)) for flaw, scale in ((one, 1.0), (other, 1.5))]
        assert abs(scores[0] - scores[1]) < 0.5 / 90 / 3 + 1e-6  # JPEG's quality is a whole number


def test_colours_and_contrast_are_stretched_about_gray() -> None:
    """Two pixels by hand: grays 0.2 and 0.4 about their mean 0.3, and the first is 0.1 redder than its gray."""
    image = torch.tensor([[[0.3, 0.4]], [[0.15, 0.4]], [[0.15, 0.4]]])
    found = recolour(image, 2.0, 1.5)
    by_hand = torch.tensor([[[0.15 + 0.2, 0.45]], [[0.15 - 0.1, 0.45]], [[0.15 - 0.1, 0.45]]])
    assert (found - by_hand).abs().max() <= 0.5 / 255 + 1e-6 and torch.equal((found * 255).round() / 255, found)
    assert recolour(image, 10.0, 10.0).max() == 1 and recolour(image, 10.0, 10.0).min() == 0


def test_another_light_is_a_power_of_each_channel() -> None:
    """By hand: 0.6² = 0.36, 0.6, √0.36 = 0.6; black and white stay."""
    image = torch.tensor([[[0.0, 0.6, 1.0]], [[0.0, 0.6, 1.0]], [[0.0, 0.36, 1.0]]])
    found = relight(image, (2.0, 1.0, 0.5))
    by_hand = torch.tensor([[[0.0, 0.36, 1.0]], [[0.0, 0.6, 1.0]], [[0.0, 0.6, 1.0]]])
    assert (found - by_hand).abs().max() <= 0.5 / 255 + 1e-6 and torch.equal((found * 255).round() / 255, found)


def test_samples_stand_in_the_light_that_is_asked_for(folder: Path) -> None:
    plain, dark, tinted = (
        TrainingImages(folder, crop=32, count=40, **options) for options in ({}, {"gamma": (1.5, 2.0)}, {"tint": 0.5})
    )
    for index in range(40):
        given = plain[index]["gt"].double()
        inside = (given > 0.2) & (given < 0.8)
        if inside.any():
            powers = dark[index]["gt"].double()[inside].log() / given[inside].log()
            assert float(powers.min()) > 1.5 - 0.05 and float(powers.max()) < 2.0 + 0.05
        ratios = [
            float((tinted[index]["gt"][c].double()[inside[c]].log() / given[c][inside[c]].log()).median().log())
            for c in range(3)
            if inside[c].any()
        ]
        assert all(abs(ratio) < 0.5 + 0.05 for ratio in ratios)
        assert len(ratios) < 2 or max(ratios) - min(ratios) > 1e-3


def test_how_colourful_a_crop_is_says_nothing_of_what_is_done_to_it(small_sheets) -> None:
    """Both are drawn from the sample's index; where they shared their numbers, pale crops alone were left clean."""
    images = TrainingImages(crop=16, count=400, saturation=(0.5, 2.0), flawed=0.0)
    plain = TrainingImages(crop=16, count=400, flawed=0.0)
    pairs = PairedTraining(images, Composite(kinds=("noise",), counts=(0.5, 0.5, 0, 0)))
    colourful, spoiled = [], []
    for index in range(400):
        pair, given = pairs[index], plain[index]["gt"]
        colourful.append(float(chroma(pair["gt"]) / chroma(given).clamp_min(1e-4)))
        spoiled.append(float(pair["severity"][-1].sum() > 0))
    assert abs(np.corrcoef(colourful, spoiled)[0, 1]) < 0.2  # four deviations


def chroma(image: torch.Tensor) -> torch.Tensor:
    return (image - image.mean(dim=0)).abs().mean()


def test_recoloured_samples_keep_crop_and_flaw(folder: Path, tmp_path: Path) -> None:
    plain, vivid = (
        TrainingImages(folder, crop=32, count=20),
        TrainingImages(folder, crop=32, count=20, saturation=(2, 3)),
    )
    for index in range(20):
        ours, gray = (one[index]["gt"].mean(dim=0, keepdim=True) for one in (vivid, plain))
        assert (ours - gray).abs().mean() < 0.08  # the red stripe alone leaves the range
        redness = [float((one[index]["gt"][0] - one[index]["gt"][1]).mean()) for one in (plain, vivid)]
        assert redness[1] >= redness[0] and vivid.flaw(index) == plain.flaw(index)
        assert torch.equal(vivid[index]["gt"], vivid[index]["gt"])
    for wrong in ({"saturation": (0.0, 1.0)}, {"contrast": (2.0, 1.0)}):
        with pytest.raises(IQPIRError, match=r"must be a range in \(0,10\]"):
            TrainingImages(folder, crop=32, **wrong)
    dark = tmp_path / "dark"
    shutil.copytree(folder, dark)
    with pytest.raises(IQPIRError, match="keep their colours"):
        TrainingImages(folder, crop=32, lq=dark, contrast=(1.0, 2.0))
