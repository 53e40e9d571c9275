"""A folder of small photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Six 64×64 crops of scikit-image's photographs and one of 48×80, as PNG, one of them in a folder below."""
    from PIL import Image
    from skimage import data

    folder = tmp_path / "photographs"
    (folder / "below").mkdir(parents=True)
    astronaut, chelsea, coffee = data.astronaut(), data.chelsea(), data.coffee()
    crops = {
        "astronaut-a.png": astronaut[:64, :64],
        "astronaut-b.png": astronaut[100:164, 200:264],
        "below/chelsea-a.png": chelsea[:64, :64],
        "chelsea-b.png": chelsea[100:164, 200:264],
        "coffee-a.png": coffee[:64, :64],
        "coffee-b.png": coffee[200:264, 300:364],
        "wide.png": coffee[100:148, 100:180],
    }
    for name, pixels in crops.items():
        Image.fromarray(np.ascontiguousarray(pixels)).save(folder / name)
    return folder
