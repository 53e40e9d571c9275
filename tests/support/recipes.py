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

from iqpir.checkpoint import save_checkpoint
from iqpir.cli.train import command
from iqpir.network.photo import PhotoConfig, PhotoIQPIR
from iqpir.training import example_photographs


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks are so small here that more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def small_examples() -> Iterator[None]:
    """Photographs that stages draw to be looked at, at a sixteenth of the pixels: most of a short training's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(example_photographs, "SIDE", 64)
        yield


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


CORE = {
    "image_size": 32, "channels": 8, "groups": 8, "multipliers": [1, 2], "blocks": 1, "latent_channels": 16,
    "codebook": 16, "hq_codebook": 8, "connect": [16, 32],
}  # fmt: skip
"""Of the smallest network for photographs."""
SMALL = {"front_width": 8, "detail_widths": [4, 8, 8], "detail_deep": 1, "overview": 48}


def smallest_ablation(folder: Path) -> Path:
    """A file of arms upon an untrained front end, two steps a stage, beside the photographs that it asks for.

    They are measured on the pairs in `data/low` and `data/high`, which are not made here.
    """
    sections: dict[str, Any] = {
        "seeds": [0, 1],
        "detail": "detail.safetensors",
        "common": {
            "data": {
                "source": "photographs", "workers": 0, "degradation": {"kind": "scene"}, "scores": "target", "crop": 64,
            },
            "steps": 2, "batch": 2, "save_every": 2, "sample_every": 100, "held_out": 0,
        },
        "quality": {"source": "photographs", "steps": 1, "batch": 2, "crop": 48, "workers": 0},
        "autoencoder": {"network": "small", "changes": CORE, "data": {"crop": 32}},
        "restorer": {"network": "small", "changes": {"width": 16, "heads": 2, "layers": 1, "mlp": 32}},
        "joint": {},
        "evaluation": {
            "sweep": ["dual"], "scores": [0.1, 0.9], "metrics": ["psnr", "piqe"],
            "datasets": [{"dataset": "folder", "label": "mine", "options": {"lq": "data/low", "gt": "data/high"}}],
        },
        "arms": {
            "plain": {
                "autoencoder": {"changes": {"hq_codebook": 0}}, "restorer": {"changes": {"conditioning": "none"}},
                "joint": {"changes": {"score": False}},
            },
            "score": {"autoencoder": {"changes": {"hq_codebook": 0}}},
            "dual": {},
            "quality": {"restorer": {"quality": 0.5, "quality_grad": "soft"}, "joint": {"quality": 0.1}},
            "ste": {
                "group": "gradient", "from": "quality", "seeds": [0], "restorer": {"quality_grad": "ste"},
                "joint": {"codes_grad": "ste"},
            },
            "small": {"group": "size", "seeds": [0], "autoencoder": {"changes": {"hq_codebook": 4}}},
            "good": {
                "group": "filter", "seeds": [0], "from": "plain",
                "common": {"data": {"degradation": {"kind": "scene", "top": 1.0}}},
            },
        },
    }  # fmt: skip
    path = written(folder, (96, 80), sections)
    sections["quality"]["source"] = str(folder / "photographs")
    path.write_text(yaml.safe_dump(sections, sort_keys=False))  # the order of arms counts
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = PhotoIQPIR(PhotoConfig.from_dict({"codes": False, "core": CORE, **SMALL}))
    save_checkpoint(network, folder / "detail.safetensors")
    return path
