"""Assessing a folder: the table, what is computed again and what not, and what an image that fails leaves behind."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from iqpir import image_files
from iqpir.errors import ImageFailure, IQPIRError
from iqpir.quality.assess import assess
from iqpir.quality.files import read_scores
from iqpir.quality.prior import QualityPrior
from iqpir.quality.report import summary


class Brightness:
    """Mean of all pixels, 0 to 1; counts how often and with how many images it is asked."""

    def __init__(self, name: str = "bright", *, lower_better: bool = False, signature: str = "bright|v:1") -> None:
        self.name = name
        self.lower_better = lower_better
        self.signature = signature
        self.batches: list[int] = []

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        assert batch.dtype == torch.float32
        assert 0 <= float(batch.min()) <= float(batch.max()) <= 1
        self.batches.append(len(batch))
        return batch.double().mean(dim=(1, 2, 3))


def brightness(path: Path) -> float:
    return float(np.asarray(Image.open(path).convert("RGB")).mean() / 255)


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "scores.csv").open(encoding="utf-8", newline="") as file:
        return {row["imagename"]: row for row in csv.DictReader(file)}


def test_the_table_holds_raw_normalised_ensemble_bin_and_hq(photographs: Path, tmp_path: Path):
    out = tmp_path / "out"
    scorers = [Brightness(), Brightness("dark", lower_better=True, signature="dark|v:1")]
    found = assess(photographs, scorers, out, threshold=0.4)
    table = rows(out)
    names = sorted(path.relative_to(photographs).as_posix() for path in photographs.rglob("*.png"))
    assert sorted(table) == names
    assert "below/chelsea-a.png" in table

    raw = {name: brightness(photographs / name) for name in names}
    low, high = min(raw.values()), max(raw.values())
    for name, row in table.items():
        up, down = (raw[name] - low) / (high - low + 1e-5), (high - raw[name]) / (high - low + 1e-5)
        assert float(row["bright"]) == pytest.approx(raw[name], abs=1e-6)
        assert float(row["bright normalised"]) == pytest.approx(up, abs=1e-5)
        assert float(row["dark normalised"]) == pytest.approx(down, abs=1e-5)
        assert float(row["score"]) == pytest.approx((up + down) / 2, abs=1e-5)
        assert int(row["bin"]) == 4  # (up + down) / 2 is just below 0.5 for every image
        assert row["hq"] == "1"
        assert row["reason"] == ""
    assert not found.reasons


def test_the_table_and_the_statistics_are_what_training_reads(photographs: Path, tmp_path: Path):
    out = tmp_path / "out"
    found = assess(photographs, [Brightness()], out, bins=5)
    scores = read_scores(out / "scores.csv")
    np.testing.assert_array_equal(scores.of(found.names), found.score)
    assert scores.unusable == ()
    prior = QualityPrior.load(out / "statistics.json")
    assert prior.bins == 5
    np.testing.assert_array_equal(prior.score(found.raw), found.score)
    assert prior.members[0].signature == "bright|v:1"


@pytest.mark.parametrize("batch", [1, 2, 4, 100])
def test_the_batch_changes_no_score_and_holds_one_size(photographs: Path, tmp_path: Path, batch: int):
    alone = assess(photographs, [Brightness()], tmp_path / "alone")
    scorer = Brightness()
    together = assess(photographs, [scorer], tmp_path / "together", batch=batch)
    assert sum(scorer.batches) == 7
    assert max(scorer.batches) == min(batch, 6)
    np.testing.assert_allclose(together.raw["bright"], alone.raw["bright"], rtol=1e-12)


def test_running_again_scores_nothing_and_gives_the_same_table(photographs: Path, tmp_path: Path):
    out = tmp_path / "out"
    assess(photographs, [Brightness()], out)
    before = (out / "scores.csv").read_bytes()
    again = Brightness()
    assess(photographs, [again], out)
    assert again.batches == []
    assert (out / "scores.csv").read_bytes() == before


def test_a_changed_image_a_new_image_and_another_signature_are_scored_again(photographs: Path, tmp_path: Path):
    out = tmp_path / "out"
    assess(photographs, [Brightness()], out)
    Image.new("RGB", (64, 64), (255, 255, 255)).save(photographs / "coffee-a.png")
    (photographs / "chelsea-b.png").rename(photographs / "moved.png")
    changed = Brightness()
    found = assess(photographs, [changed], out)
    assert changed.batches == [1]  # a renamed file holds the same image
    assert found.raw["bright"][found.names.index("coffee-a.png")] == 1.0
    other = Brightness(signature="bright|weights:new|v:1")
    assess(photographs, [other], out)
    assert sum(other.batches) == 7


def test_a_run_killed_in_the_middle_goes_on_where_it_was(photographs: Path, tmp_path: Path):
    out = tmp_path / "out"

    class Killed(Brightness):
        def __call__(self, batch: torch.Tensor) -> torch.Tensor:
            if len(self.batches) == 3:
                raise KeyboardInterrupt
            return super().__call__(batch)

    with pytest.raises(KeyboardInterrupt):
        assess(photographs, [Killed()], out)
    assert not (out / "scores.csv").exists()
    with (out / "raw-scores.csv").open("ab") as file:
        file.write(b"0123abc,bright@12")  # a line that the kill cut off
    rest = Brightness()
    found = assess(photographs, [rest], out)
    assert sum(rest.batches) == 4
    assert np.isfinite(found.score).all()
    fresh = assess(photographs, [Brightness()], tmp_path / "fresh")
    np.testing.assert_array_equal(found.score, fresh.score)
    assert b"0123abc" not in (out / "raw-scores.csv").read_bytes()


def test_a_file_of_raw_scores_that_is_something_else_is_refused(photographs: Path, tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "raw-scores.csv").write_text("sha256,member,raw\nnot,a\n")
    with pytest.raises(IQPIRError, match=r"raw-scores\.csv:2: not a raw score"):
        assess(photographs, [Brightness()], out)


def test_unreadable_images_are_rows_with_a_reason(photographs: Path, tmp_path: Path):
    whole = (photographs / "wide.png").read_bytes()
    (photographs / "empty.png").write_bytes(b"")
    (photographs / "text.jpg").write_text("no picture")
    (photographs / "cut.png").write_bytes(whole[: len(whole) // 2])
    found = assess(photographs, [Brightness()], tmp_path / "out")
    assert set(found.reasons) == {"empty.png", "text.jpg", "cut.png"}
    assert found.scored.sum() == 7
    table = rows(tmp_path / "out")
    assert len(table) == 10
    assert "empty file" in table["empty.png"]["reason"]
    assert "PNG is damaged (it ends early" in table["cut.png"]["reason"]
    assert [table["cut.png"][key] for key in ("bright", "score", "bin", "hq")] == ["", "", "", ""]
    assert "no score: 3 of 10 images" in summary(found)


def test_one_image_that_a_member_cannot_score_costs_its_batch_nothing(photographs: Path, tmp_path: Path):
    bad = brightness(photographs / "coffee-a.png")

    class Picky(Brightness):
        def __call__(self, batch: torch.Tensor) -> torch.Tensor:
            scores = super().__call__(batch)
            if ((scores - bad).abs() < 1e-6).any():
                raise ImageFailure("no face was found")
            return scores

    scorers = [Brightness(), Picky("picky", signature="picky")]
    found = assess(photographs, scorers, tmp_path / "out", batch=4)
    assert found.reasons == {"coffee-a.png": "picky: no face was found"}
    place = found.names.index("coffee-a.png")
    assert np.isfinite(found.raw["bright"][place])
    assert math.isnan(found.score[place])
    assert found.bins[place] == -1
    assert found.scored.sum() == 6
    again = Picky("picky", signature="picky")
    assess(photographs, [scorers[0], again], tmp_path / "out")
    assert again.batches == [1]  # what failed is tried again, and nothing else


@pytest.mark.parametrize(("value", "word"), [(math.nan, "nan"), (math.inf, "inf")])
def test_a_score_that_is_not_finite_is_a_reason(photographs: Path, tmp_path: Path, value: float, word: str):
    class Odd(Brightness):
        def __call__(self, batch: torch.Tensor) -> torch.Tensor:
            scores = super().__call__(batch)
            return torch.where(scores == scores.max(), value, scores) if batch.shape[-1] == 80 else scores

    found = assess(photographs, [Odd()], tmp_path / "out")
    assert found.reasons == {"wide.png": f"bright: the score is {word}"}


def test_a_defect_of_a_scorer_is_named_with_its_kind_and_no_image_has_a_score(photographs: Path, tmp_path: Path):
    class Broken(Brightness):
        def __call__(self, batch: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("size mismatch\nat layer 3")

    found = assess(photographs, [Broken()], tmp_path / "out")
    assert found.prior is None
    assert set(found.reasons.values()) == {"bright: RuntimeError: size mismatch at layer 3"}
    assert len(rows(tmp_path / "out")) == 7
    assert not (tmp_path / "out" / "statistics.json").exists()


def test_a_scorer_that_gives_another_shape_is_refused(photographs: Path, tmp_path: Path):
    class Wrong(Brightness):
        def __call__(self, batch: torch.Tensor) -> torch.Tensor:
            return batch.mean(dim=(2, 3))

    with pytest.raises(IQPIRError, match=r"scorer 'bright' gave \(1, 3\) for 1 images"):
        assess(photographs, [Wrong()], tmp_path / "out")


def test_a_prior_places_another_folder_by_its_own_range(photographs: Path, tmp_path: Path):
    assess(photographs, [Brightness()], tmp_path / "first", bins=4, threshold=0.25)
    prior = QualityPrior.load(tmp_path / "first" / "statistics.json")
    other = tmp_path / "other"
    other.mkdir()
    levels = {"black.png": 0, "white.png": 255}
    for name, level in levels.items():
        Image.new("RGB", (8, 8), (level,) * 3).save(other / name)
    found = assess(other, [Brightness()], tmp_path / "second", prior=prior)
    low, high = prior.members[0].minimum, prior.members[0].maximum
    np.testing.assert_allclose(found.score, [(x - low) / (high - low + 1e-5) for x in (0.0, 1.0)], rtol=1e-12)
    assert found.bins.tolist() == [0, 3]
    assert QualityPrior.load(tmp_path / "second" / "statistics.json") == prior
    assert "outside the prior's range: bright 2" in summary(found)


def test_a_prior_of_other_numbers_is_refused(photographs: Path, tmp_path: Path):
    prior = QualityPrior.fit({"bright": np.array([0.0, 1.0])}, signatures={"bright": "bright|v:1"})
    with pytest.raises(IQPIRError, match=r"fitted to bright\|v:1, this one is bright\|v:2"):
        assess(photographs, [Brightness(signature="bright|v:2")], tmp_path / "out", prior=prior)
    with pytest.raises(IQPIRError, match="the prior's members are bright, not dark"):
        assess(photographs, [Brightness("dark")], tmp_path / "out", prior=prior)
    with pytest.raises(IQPIRError, match="disagree about lower_better"):
        assess(photographs, [Brightness(lower_better=True)], tmp_path / "out", prior=prior)


def test_results_below_the_folder_are_not_assessed(photographs: Path):
    out = photographs / "results"
    out.mkdir()
    Image.new("RGB", (8, 8)).save(out / "distribution.png")
    assert len(assess(photographs, [Brightness()], out).names) == 7
    with pytest.raises(IQPIRError, match="choose another -o"):
        assess(photographs, [Brightness()], photographs)


def test_decoding_agrees_with_the_pixels_that_were_saved(tmp_path: Path):
    import cv2

    deep = np.random.default_rng(0).integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    assert cv2.imwrite(str(tmp_path / "deep.png"), deep[:, :, ::-1])
    np.testing.assert_array_equal(image_files.decode((tmp_path / "deep.png").read_bytes()), deep)
    gray = np.random.default_rng(1).integers(0, 256, (5, 7), dtype=np.uint8)
    Image.fromarray(gray).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(
        image_files.decode((tmp_path / "gray.png").read_bytes()), np.stack([gray] * 3, axis=2)
    )
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    Image.fromarray(deep.astype(np.uint8)).save(tmp_path / "turned.png", exif=exif)
    turned = image_files.decode((tmp_path / "turned.png").read_bytes())
    np.testing.assert_array_equal(turned, np.rot90(deep.astype(np.uint8), -1))
    floats = image_files.to_tensor(deep)
    assert floats.shape == (3, 5, 7)
    np.testing.assert_allclose(floats.numpy(), deep.transpose(2, 0, 1) / 65535, rtol=1e-6)
