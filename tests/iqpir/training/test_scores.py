"""Scores of a file in training, and training on the better images alone."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from iqpir.errors import IQPIRError
from iqpir.training.batch_loading import training_loader
from iqpir.training.crop_dataset import Flaw, TrainingImages
from iqpir.training.engine import train
from iqpir.training.settings import AutoencoderSettings, Data
from iqpir.training.stage_data import collate, paired, quality_of
from iqpir.training.stages import make_stage

SCORES = {"a.png": 0.25, "b.png": 0.95, "more/c.png": 0.5, "more/d.png": 0.9, "e.png": 0.91}
CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One gray per image, in the order of SCORES: 40, 80, …"""
    home = tmp_path / "photos"
    (home / "more").mkdir(parents=True)
    for place, name in enumerate(SCORES):
        cv2.imwrite(str(home / name), np.full((40, 40, 3), 40 * (place + 1), np.uint8))
    return home


def written(path: Path, rows: dict[str, Any]) -> str:
    path.write_text("".join(f"{name},{score}\n" for name, score in rows.items()), encoding="utf-8")
    return str(path)


def batches(data: Data, count: int, above: float | None = None, workers: int = 0) -> list[dict[str, Any]]:
    samples = paired(data, 32, degraded=True, above=above)
    return [collate(raw, data, CPU) for raw in training_loader(samples, 5, count, workers=workers)]


def seen(found: list[dict[str, Any]]) -> list[tuple[str, float]]:
    """Name, by its gray, and score of each sample."""
    names = list(SCORES)
    pairs = []
    for batch in found:
        gray = ((batch["gt"][:, 0, 0, 0] + 1) / 2 * 255).round().long()
        pairs += [(names[int(one) // 40 - 1], float(score)) for one, score in zip(gray, batch["score"], strict=True)]
    return pairs


@pytest.mark.parametrize("workers", [0, 1])
def test_each_sample_has_the_score_of_its_file(folder, workers):
    scores = written(folder.parent / "scores.csv", {**SCORES, "absent.png": 0.1})
    pairs = seen(batches(Data(source=str(folder), count=20, scores=scores), 4, workers=workers))
    assert all(score == pytest.approx(SCORES[name]) for name, score in pairs)
    assert Counter(name for name, _ in pairs) == dict.fromkeys(SCORES, 4)


def test_a_file_name_alone_finds_an_image_in_a_folder_of_the_folder(folder):
    scores = written(folder.parent / "s.csv", {Path(name).name: score for name, score in SCORES.items()})
    pairs = seen(batches(Data(source=str(folder), count=20, scores=scores), 1))
    assert dict(pairs) == pytest.approx(SCORES)


def test_images_without_a_score_are_counted_and_named(folder):
    rows = {**SCORES, "b.png": "nan"}
    del rows["more/c.png"]
    scores = written(folder.parent / "scores.csv", rows)
    with pytest.raises(IQPIRError, match=r"no score for 2 of 5 images: b\.png, more/c\.png; iqpir assess") as error:
        batches(Data(source=str(folder), count=20, scores=scores), 1)
    assert "\n" not in str(error.value)


def test_a_raw_column_is_refused_or_normalised_by_its_own_range(folder):
    raw = dict(zip(SCORES, (20, 70, 45, 60, 30), strict=True))
    scores = written(folder.parent / "scores.csv", raw)
    with pytest.raises(IQPIRError, match=r"scores from 20 to 70, and training takes \[0,1\]"):
        batches(Data(source=str(folder), count=20, scores=scores), 1)
    pairs = seen(batches(Data(source=str(folder), count=20, scores=scores, normalise=True), 1))
    assert dict(pairs) == pytest.approx({name: (score - 20) / (50 + 1e-5) for name, score in raw.items()})


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"scores": "scores.csv"}, "generated images are none: use flaw, or a folder"),
        ({"scores": "none", "hq_only": True}, "data.hq_only needs scores"),
        ({"normalise": True}, "data.normalise is for a CSV"),
        ({"source": "photos", "scores": "scores.csv", "flawed": 0.2}, "know nothing of flaws"),
    ],
)
def test_settings_that_contradict_each_other_are_one_line(settings, message):
    with pytest.raises(IQPIRError, match=message):
        Data.from_dict(settings)


def test_only_files_above_the_threshold_are_seen_and_nothing_else_changes(folder):
    data = Data(source=str(folder), count=20, scores=written(folder.parent / "scores.csv", SCORES))
    every = {int(index): batch["lq"][n] for batch in batches(data, 4) for n, index in enumerate(batch["index"])}
    found = batches(data, 2, above=0.9)
    assert {name for name, _ in seen(found)} == {"b.png", "e.png"}  # strictly: 0.9 is not above 0.9
    indices = [int(index) for batch in found for index in batch["index"]]
    assert len(indices) == 10 and len(set(indices)) == 8 == len(paired(data, 32, degraded=True, above=0.9))
    for batch in found:
        assert all(torch.equal(batch["lq"][n], every[int(index)]) for n, index in enumerate(batch["index"]))


def test_flawed_samples_are_passed_over_by_their_index(folder):
    data = Data(source=str(folder), count=300, flawed=0.7)
    images = TrainingImages(folder, crop=32, count=300, flawed=0.7)
    flaws = [images[index]["flaw"] for index in range(300)]
    assert flaws == [images.flaw(index) for index in range(300)]
    scores = quality_of(Flaw(*torch.tensor(flaws).T))
    expected = [index for index in range(300) if scores[index] > 0.8]
    assert 0 < len(expected) < 300
    samples = paired(data, 32, degraded=False, above=0.8)
    assert [samples[place]["index"] for place in range(len(samples))] == expected
    with pytest.raises(IQPIRError, match="none of 300 samples has a score greater than the threshold 1, the best"):
        paired(data, 32, degraded=False, above=1.0)


NETWORK = {
    "image_size": 32, "channels": 8, "groups": 8, "multipliers": [1, 2], "blocks": 1, "attention_sizes": [],
    "latent_channels": 16, "codebook": 16, "hq_codebook": 16, "connect": [32],
}  # fmt: skip


def settings(folder: Path, threshold: float = 0.9, **data: Any) -> AutoencoderSettings:
    return AutoencoderSettings.from_dict(
        {
            "changes": {**NETWORK, "threshold": threshold}, "steps": 2, "batch": 2, "held_out": 2, "ema": 0.0,
            "data": {"source": str(folder), "workers": 0, "count": 20, **data},
        }
    )  # fmt: skip


@pytest.mark.parametrize("hq_only", [True, False])
def test_the_threshold_of_hq_only_is_the_networks(folder, tmp_path, hq_only):
    scores = written(folder.parent / "scores.csv", SCORES)
    stage = make_stage(settings(folder, 0.94, scores=scores, hq_only=hq_only), tmp_path)
    met: list[float] = []
    losses = stage.losses
    stage.losses = lambda player, batch, step: met.extend(batch["score"].tolist()) or losses(player, batch, step)
    train(stage, tmp_path / "run")
    assert (met == pytest.approx([0.95] * len(met))) is hq_only


def test_a_run_from_before_a_setting_was_there_goes_on(folder, tmp_path):
    train(make_stage(settings(folder), tmp_path), tmp_path, steps=1)
    note = tmp_path / "settings.json"
    before = json.loads(note.read_text())
    del before["settings"]["data"]["normalise"], before["settings"]["data"]["hq_only"]
    note.write_text(json.dumps(before))
    assert train(make_stage(settings(folder), tmp_path), tmp_path).steps == 2
    with pytest.raises(IQPIRError, match="holds a run with another data"):
        train(make_stage(settings(folder, hq_only=True), tmp_path), tmp_path)
