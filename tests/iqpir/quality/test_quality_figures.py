"""The figures show the table: bars are its counts, and the contact sheet has a row for every bin."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from iqpir.errors import IQPIRError
from iqpir.quality import figures
from iqpir.quality.assess import FolderAssessment
from iqpir.quality.prior import QualityPrior

SCORES = np.array([0.0, 0.03, 0.31, 0.35, 0.36, *np.linspace(0.61, 0.69, 11), 0.86, 0.88, 0.97, 1.0, np.nan])


@pytest.fixture
def found(tmp_path: Path) -> FolderAssessment:
    """20 images with scores (almost) as above and one without."""
    names = tuple(f"{place:02d}.png" for place in range(len(SCORES)))
    for place, name in enumerate(names):
        Image.new("RGB", (8 + place % 3, 8), (place, 0, 0)).save(tmp_path / name)
    raw = {"bench:up": SCORES, "bench:down": -SCORES}
    prior = QualityPrior.fit(raw, lower_better=["bench:down"], threshold=0.87)
    return FolderAssessment(tmp_path, names, raw, {names[-1]: "bench:up: no face"}, prior)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    kept: list[Any] = []
    monkeypatch.setattr(figures, "_write", lambda figure, stem: kept.append(figure) or [])
    return kept


def test_bars_are_the_counts_of_the_bins_and_hq_is_a_part_of_its_bar(
    found: FolderAssessment, drawn: list, tmp_path: Path
):
    figures.distribution(found, tmp_path)
    [figure] = drawn
    panels = [axes for axes in figure.axes if axes.patches]
    assert [axes.get_title() for axes in panels] == [
        "up (higher is better)",
        "down (lower is better)",
        "ensemble, 20 images",
    ]
    expected = [2, 0, 0, 3, 0, 0, 11, 0, 2, 2]
    for axes in panels:
        heights = np.array([bar.get_height() for bar in axes.patches]).reshape(2, 10)
        assert heights.sum(axis=0).tolist() == expected
    ensemble = np.array([bar.get_height() for bar in panels[2].patches]).reshape(2, 10)
    assert ensemble[1].tolist() == [0] * 8 + [1, 2]  # above 0.87
    assert "HQ+ (> 0.87): 3" in [text.get_text() for text in panels[2].texts]


def test_the_upper_axis_of_a_lower_is_better_member_runs_from_its_worst_to_its_best(
    found: FolderAssessment, drawn: list, tmp_path: Path
):
    figures.distribution(found, tmp_path)
    down = drawn[0].axes[1]
    drawn[0].savefig(io.BytesIO())  # limits are set when it is drawn
    for raw, score in ((0.0, 0.0), (-0.5, 0.5), (-1.0, 1.0)):
        above, below = down.child_axes[0].transData.transform((raw, 0)), down.transData.transform((score, 0))
        assert above[0] == pytest.approx(below[0], abs=0.1)  # dots


def test_the_contact_sheet_has_a_row_for_every_bin_spread_over_its_scores(
    found: FolderAssessment, drawn: list, tmp_path: Path
):
    figures.contact_sheet(found, tmp_path)
    [figure] = drawn
    captions = [axes.get_xlabel() for axes in figure.axes if axes.images]
    assert len(captions) == 2 + 3 + 8 + 2 + 2  # eight at most
    crowded = [caption for caption in captions if caption.startswith("0.6")]
    assert (crowded[0], crowded[-1]) == ("0.610", "0.690")
    assert [caption for caption in captions if "HQ+" in caption] == ["0.880  HQ+", "0.970  HQ+", "1.000  HQ+"]
    words = " ".join(text.get_text() for text in figure.texts)
    for place in (1, 2, 4, 5, 7):
        assert f"bin {place}: no image" in words
    assert "11 images" in words
    tops = [axes.get_position().y1 for axes in figure.axes if axes.images]
    assert tops == sorted(tops, reverse=True)


def test_nothing_to_draw_is_said(found: FolderAssessment, tmp_path: Path):
    nothing = FolderAssessment(found.folder, found.names, found.raw, {}, None)
    with pytest.raises(IQPIRError, match="nothing to draw"):
        figures.distribution(nothing, tmp_path)


def test_drawing_leaves_matplotlibs_settings_alone(found: FolderAssessment, tmp_path: Path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    written = [*figures.distribution(found, tmp_path / "out"), *figures.contact_sheet(found, tmp_path / "out")]
    assert dict(matplotlib.rcParams) == before
    assert [path.name for path in written] == [
        "distribution.png",
        "distribution.pdf",
        "contact-sheet.png",
        "contact-sheet.pdf",
    ]
    assert all(path.stat().st_size > 1000 for path in written)
