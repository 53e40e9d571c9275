"""A run's memory does not grow with the number of its images; `tests/benchmarks/memory_growth.py` has it in full."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_four_times_the_images_need_no_more_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    sys.modules.pop("memory_growth", None)
    import memory_growth

    memory_growth.make_data(tmp_path, 48, 384, ["psnr", "psnr-pooled"])
    few, many = memory_growth.peak(tmp_path, 12), memory_growth.peak(tmp_path, 48)
    # 36 more inputs, references and two outputs each would be 64 MB.
    assert many - few < 20, f"{few:.1f} MB for 12 images, {many:.1f} MB for 48"
