"""Training MUSIQ-GFIQA's network on ratings: what it learns from, what is held out, the file that the metric takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from bench.catalog.registry import registry
from bench.metrics.build import build_metric
from iqpir.cli import group
from iqpir.errors import IQPIRError
from iqpir.quality.musiq_gfiqa import MusiqGfiqa
from iqpir.training.rated import RatedImages, RatedSettings


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Eleven images, of which ten are rated, from 20 to 65, and a settings file."""
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for number in range(11):
        pixels = rng.integers(0, 256, (40, 30, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number:02d}.png")
    rows = [f"{number:02d}.png,{20 + 5 * number}" for number in range(10)]
    (tmp_path / "ratings.csv").write_text("\n".join(["imagename,mos", *rows, "gone.png,99"]) + "\n")
    (tmp_path / "like.yaml").write_text("images: images\nratings: ratings.csv\ncolumn: mos\nsteps: 2\nbatch: 1\n")
    return tmp_path


def test_every_eighth_rated_image_is_held_out_and_scores_fill_zero_to_one(place):
    rated = RatedImages(RatedSettings.load(place / "like.yaml"))
    assert [path.name for path, _ in rated.held_out] == ["00.png", "08.png"]
    assert [path.name for path, _ in rated.train] == [f"{number:02d}.png" for number in (1, 2, 3, 4, 5, 6, 7, 9)]
    assert {path.name: score for path, score in rated.train}["09.png"] == 1.0
    assert rated.held_out[0][1] == 0.0 and rated.held_out[1][1] == pytest.approx(40 / 45)


def test_images_of_one_name_have_each_their_own_rating(place):
    for number in range(10):
        folder = place / "images" / "ab"[number // 5]
        folder.mkdir(exist_ok=True)
        (place / "images" / f"{number:02d}.png").rename(folder / f"{number % 5}.png")
    rows = [f"{folder}/{number}.png,{first + number}" for folder, first in (("a", 0), ("b", 50)) for number in range(5)]
    (place / "ratings.csv").write_text("\n".join(["imagename,mos", *rows]) + "\n")
    rated = RatedImages(RatedSettings.load(place / "like.yaml"))
    found = {path.relative_to(place / "images").as_posix(): score for path, score in (*rated.train, *rated.held_out)}
    assert found["a/0.png"] == 0 and found["b/4.png"] == 1 and found["b/0.png"] == pytest.approx(50 / 54)
    assert rated.without == 1
    (place / "ratings.csv").write_text("\n".join(["imagename,mos", *(f"{number}.png,{number}" for number in range(5))]))
    with pytest.raises(IQPIRError, match=r"0\.png may be a/0\.png or b/0\.png: give names with their folders"):
        RatedImages(RatedSettings.load(place / "like.yaml"))


@pytest.mark.parametrize(
    "text, said",
    [
        ("images: nowhere\nratings: ratings.csv\n", "there is no such folder of images"),
        ("images: images\n", "the key 'ratings' is missing"),
        ("images: images\nratings: ratings.csv\nstep: 3\n", "unknown key 'step'.*steps"),
        ("images: images\nratings: ratings.csv\nheld_out: 1\n", "held_out: at least 2"),
        ("images: images\nratings: few.csv\n", "rates 2 of the images"),
        ("images: images\nratings: flat.csv\n", "all 9 images are rated 3"),
    ],
)
def test_what_cannot_be_learnt_from_is_one_line(place, text, said):
    (place / "few.csv").write_text("imagename,score\n00.png,1\n01.png,2\n")
    (place / "flat.csv").write_text("imagename,score\n" + "".join(f"{number:02d}.png,3\n" for number in range(9)))
    (place / "other.yaml").write_text(text)
    with pytest.raises(IQPIRError, match=said):
        RatedImages(RatedSettings.load(place / "other.yaml"))


def test_the_command_says_what_it_knows_and_needs(place):
    arguments = ["train", "quality", str(place / "like.yaml"), "--like", "musiq"]
    result = CliRunner().invoke(group, arguments)
    assert isinstance(result.exception, IQPIRError) and "musiq-gfiqa" in str(result.exception)
    result = CliRunner().invoke(group, ["train", "quality", "--like", "musiq-gfiqa"])
    assert "needs a settings file with the keys images and ratings" in str(result.exception)


@pytest.fixture
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """One block in each of the backbone's stages, two layers of the transformer: what is asked needs no more."""
    from torchvision.models.resnet import Bottleneck, ResNet

    monkeypatch.setattr("torchvision.models.resnet50", lambda weights=None: ResNet(Bottleneck, [1, 1, 1, 1]))
    monkeypatch.setattr("iqpir.quality.musiq_gfiqa._LAYERS", 2)


@pytest.mark.usefixtures("shallow")
def test_what_is_trained_is_a_checkpoint_that_musiq_g_measures_with(place):
    made = place / "mine.pth"
    arguments = ["train", "quality", str(place / "like.yaml"), "--like", "musiq-gfiqa", "-o", str(made)]
    result = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert "with the ratings of 2 held-out images" in result.output
    held = torch.load(made, weights_only=True)
    network = MusiqGfiqa().eval()
    network.backbone.load_state_dict(held["model_backbone_state_dict"])
    network.regression.load_state_dict(held["model_transformer_state_dict"])
    image = torch.rand(1, 3, 512, 512, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255
    metric = build_metric(registry("metric").get("musiq-g"), {"weights": str(made)}, {})
    with torch.no_grad():
        expected = float(network(image))
    assert float(metric.score(image.double(), None)) == pytest.approx(expected, abs=1e-5)
    assert "weights:unpinned" not in str(metric.signature())
