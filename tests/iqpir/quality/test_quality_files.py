"""Score files: every layout that exists, and one line with file and line number for a bad row."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from iqpir.errors import IQPIRError
from iqpir.quality.files import read_scores, write_scores, write_table
from iqpir.quality.prior import QualityPrior

# Counts of ⌊10·S⌋ over FFHQ's 70,000 images, and the raw range, for the papers' two published members.
PUBLISHED = {
    "MUSIQ-G": ((-0.004975, 0.929683), (2, 7, 18, 74, 218, 687, 2228, 8655, 34421, 23690)),
    "TOPIQ-G": ((0.036996, 0.961580), (5, 8, 40, 152, 458, 1415, 5967, 25281, 33934, 2740)),
}


def file(folder: Path, text: str) -> Path:
    path = folder / "scores.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("imagename,score\n00000.png,0.25\n00001.png,0.75\n", "score"),
        ("\ufeffimagename,score\r\n00000.png,0.25\r\n00001.png,0.75\r\n", "score"),
        ("image_name,musiq\n00000.png,0.25\n00001.png,0.75\n", "musiq"),
        ("00000.png,0.25\n00001.png,0.75\n", "score"),
        ("imagename,topiq_nr_face,score\n00000.png,9,0.25\n00001.png,8,0.75\n", "score"),
        (",image_name,score\n2,00000.png,0.25\n6400,00001.png,0.75\n", "score"),
        ("imagename,score\n00000.png,0.25\n00001.png,0.75\navg,0.5\n", "score"),
    ],
)
def test_every_layout_gives_the_same_scores(tmp_path: Path, text: str, column: str):
    found = read_scores(file(tmp_path, text))
    assert found.names == ("00000.png", "00001.png")
    assert found.scores.tolist() == [0.25, 0.75]
    assert found.column == column
    assert found.unusable == ()
    assert found.summary == (0.5 if "avg" in text else None)


def test_a_column_is_chosen_by_name(tmp_path: Path):
    path = file(tmp_path, "imagename,topiq_nr_face,musiq_gfiqa\na.png,0.1,0.9\n")
    assert read_scores(path, "musiq_gfiqa").scores.tolist() == [0.9]
    with pytest.raises(IQPIRError, match=r"scores\.csv:1: which column .* topiq_nr_face, musiq_gfiqa"):
        read_scores(path)
    with pytest.raises(IQPIRError, match="did you mean 'musiq_gfiqa'"):
        read_scores(path, "musiq_gfiq")


def test_rows_without_a_finite_score_are_named_with_their_line(tmp_path: Path):
    found = read_scores(file(tmp_path, "imagename,score\na.png,0.5\nb.png,nan\nc.png,\nd.png,-inf\n"))
    assert len(found) == 4
    np.testing.assert_array_equal(found.scores, [0.5, math.nan, math.nan, math.nan])
    assert [(one.name, one.line) for one in found.unusable] == [("b.png", 3), ("c.png", 4), ("d.png", 5)]
    assert "no score" in found.unusable[1].reason


def test_a_negative_score_is_a_score(tmp_path: Path):
    found = read_scores(file(tmp_path, "imagename,score\na.png,-0.004975\n"))
    assert found.scores.tolist() == [-0.004975]
    assert found.unusable == ()


def test_an_average_counts_as_a_summary_only_in_the_last_row(tmp_path: Path):
    found = read_scores(file(tmp_path, "imagename,score\navg,0.5\na.png,0.25\n"))
    assert found.names == ("avg", "a.png")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("imagename,score\na.png,0.5\nb.png,high\n", "scores.csv:3: 'high' is not a number"),
        ("imagename,score\na.png,0.5\nb.png\n", "scores.csv:3: 1 values where the first line has 2"),
        ("imagename,score\na.png,0.5\nb.png,1\na.png,0.6\n", "scores.csv:4: 'a.png' has a score already in line 2"),
        ("imagename,score\n,0.5\n", "scores.csv:2: no image name"),
        ("a.png,0.5\nb.png,oops\n", "scores.csv:2: 'oops' is not a number"),
        ("file,quality\na.png,0.5\n", "scores.csv:1: no column 'imagename' or 'image_name'"),
        ("imagename,score,score\na.png,0.5,0.6\n", "scores.csv:1: two columns are called 'score'"),
        ("imagename,score\n", "a header and no image"),
        ("", "empty"),
    ],
)
def test_a_bad_row_is_one_line_with_file_and_line(tmp_path: Path, text: str, message: str):
    with pytest.raises(IQPIRError) as caught:
        read_scores(file(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused_with_their_line(tmp_path: Path):
    path = tmp_path / "scores.csv"
    path.write_bytes(b"imagename,score\na.png,0.5\n\xff\xfe,1\n")
    with pytest.raises(IQPIRError, match=r"scores\.csv:3: not UTF-8"):
        read_scores(path)
    with pytest.raises(IQPIRError, match="cannot be read"):
        read_scores(tmp_path / "none.csv")


def test_scores_are_looked_up_by_whole_name_or_last_part_and_what_is_missing_is_named(tmp_path: Path):
    found = read_scores(file(tmp_path, "image_name,score\n/disk/x/a.png,0.1\n/disk/x/b.png,0.2\n/disk/y/b.png,0.3\n"))
    asked = ["a.png", "/disk/y/b.png", "b.png", "c.png"]
    np.testing.assert_array_equal(found.of(asked), [0.1, 0.3, math.nan, math.nan])
    assert found.missing(asked) == ["b.png", "c.png"]


def test_what_is_written_reads_back_as_the_same_numbers(tmp_path: Path):
    names, scores = ["a.png", 'we, "b".png', "ü.png"], np.array([0.1, 1 / 3, 0.30000000000000004])
    write_scores(tmp_path / "out.csv", names, scores)
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").startswith("imagename,score\na.png,0.1\n")
    found = read_scores(tmp_path / "out.csv")
    assert list(found.names) == names
    np.testing.assert_array_equal(found.scores, scores)


def test_scores_that_a_loader_would_drop_are_not_written(tmp_path: Path):
    with pytest.raises(IQPIRError, match=r"1 images have no finite score, the first is 'b\.png'"):
        write_scores(tmp_path / "out.csv", ["a.png", "b.png"], np.array([0.1, math.nan]))
    with pytest.raises(IQPIRError, match=r"'a\.png' comes twice"):
        write_scores(tmp_path / "out.csv", ["a.png", "a.png"], np.array([0.1, 0.2]))
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("model", PUBLISHED)
def test_a_file_of_ffhqs_size_gives_the_published_counts(tmp_path: Path, model: str):
    """70,000 rows whose scores lie in the middle of their bins, the extremes at the published ones, and `avg` last."""
    (low, high), counts = PUBLISHED[model]
    scores = np.concatenate(
        [np.full(count, low + (place + 0.5) / 10 * (high - low)) for place, count in enumerate(counts)]
    )
    scores[0], scores[-1] = low, high
    scores = np.random.default_rng(0).permutation(scores)
    rows = [[f"{place:05d}.png", float(score)] for place, score in enumerate(scores)]
    write_table(tmp_path / "ffhq.csv", ["imagename", "score"], [*rows, ["avg", float(scores.mean())]])

    found = read_scores(tmp_path / "ffhq.csv")
    assert len(found) == 70_000
    assert found.summary == pytest.approx(found.scores.mean())
    prior = QualityPrior.fit({model: found.scores})
    assert (prior.members[0].minimum, prior.members[0].maximum) == (low, high)
    score = prior.score({model: found.scores})
    assert tuple(np.bincount(prior.bin(score), minlength=10)) == counts
    assert int(prior.is_hq(score).sum()) == counts[9]
