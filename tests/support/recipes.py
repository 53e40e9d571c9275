"""Recipes of training for tests: a few photographs, a file of sections, and all of its stages trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner

from iqpir.cli.train import command


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks are so small here that more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def written(folder: Path, size: tuple[int, int], sections: Mapping[str, Any]) -> Path:
    """A recipe beside the folder `photographs`, which holds three images of `size`, width and height."""
    (folder / "photographs").mkdir()
    for seed in range(3):
        rough = np.random.default_rng(seed).integers(30, 220, (5, 5, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / "photographs" / f"{seed}.png"), cv2.resize(rough, size, interpolation=cv2.INTER_CUBIC))
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(sections))
    return path


def trained_by(recipe: Path) -> Path:
    """The folder with a folder per stage, trained on one thread as tests are: two threads add in another order."""
    out = recipe.parent / "runs"
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    ended = CliRunner().invoke(command, ["all", str(recipe), "-o", str(out)], catch_exceptions=False)
    torch.set_num_threads(before)
    assert ended.exit_code == 0, ended.output
    return out
