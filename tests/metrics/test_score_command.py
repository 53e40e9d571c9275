"""`bench score`: pairing, rows, formats and exit codes, from Python and as the command."""

from __future__ import annotations

import csv
import io
import json
import math

import cv2
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from bench.cli import main
from bench.errors import BenchError
from bench.folder_scores import parse_spec, score, split_specs


@pytest.fixture
def folders(tmp_path, pair):
    """Three pairs, restored as .png and references as .bmp, in two folders."""
    for name in ("restored", "gt"):
        (tmp_path / name).mkdir()
    for index in range(3):
        restored, reference = (np.ascontiguousarray(np.roll(image, 9 * index, axis=0)) for image in pair)
        cv2.imwrite(str(tmp_path / "restored" / f"im{index}.png"), restored[:, :, ::-1])
        cv2.imwrite(str(tmp_path / "gt" / f"im{index}.bmp"), reference[:, :, ::-1])
    return tmp_path / "restored", tmp_path / "gt"


def command(capsys, *arguments):
    """(exit code, standard output, standard error)"""
    with pytest.raises(SystemExit) as caught:
        main(["score", *map(str, arguments)])
    output = capsys.readouterr()
    return caught.value.code or 0, output.out, output.err


def test_rows_are_per_item_and_metric_and_equal_scikit_image(folders, pair):
    rows = score(*folders)
    assert [(row["item"], row["metric"]) for row in rows] == [
        (f"im{i}", name) for i in range(3) for name in ("psnr", "ssim")
    ]
    psnr = peak_signal_noise_ratio(pair.reference, pair.restored)
    assert rows[0]["value"] == pytest.approx(psnr, abs=1e-9)
    ssim = structural_similarity(*pair, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    assert rows[1]["value"] == pytest.approx(ssim, abs=1e-9)
    assert all(row["status"] == "ok" for row in rows)


def test_the_number_of_threads_changes_nothing(folders):
    metrics = ["psnr", "ssim", "psnr-pooled", "gmsd"]
    assert score(*folders, metrics, threads=1) == score(*folders, metrics, threads=3)


def test_options_and_protocol_reach_the_signature(folders):
    rows = score(*folders, metrics=["psnr[crop=2]", {"ssim": {"space": "y"}}], protocol="basicsr/y-crop4")
    assert rows[0]["signature"] == "psnr|space:y|range:u8|crop:2|gtmean:no|v:1"
    assert rows[1]["signature"].startswith("ssim|space:y|range:u8|crop:4|")


def test_the_same_number_asked_for_twice_is_given_once(folders):
    rows = score(*folders, metrics=["psnr", "psnr[space=rgb]", "psnr[space=y]"])
    assert len(rows) == 6


def test_a_set_metric_is_one_row_at_the_end(folders, pair):
    rows = score(*folders, metrics=["psnr-pooled"])
    assert [(row["item"], row["status"]) for row in rows] == [("", "ok")]
    # The three pairs are rolled copies: they pool to the value of one.
    assert rows[0]["value"] == pytest.approx(peak_signal_noise_ratio(pair.reference, pair.restored), abs=1e-9)


def test_a_broken_file_is_a_row_and_the_rest_is_scored(folders):
    (folders[0] / "im1.png").write_bytes(b"not an image")
    rows = score(*folders, metrics=["psnr", "psnr-pooled"])
    by_item = {(row["item"], row["metric"]): row for row in rows}
    assert by_item["im1", "psnr"]["status"] == "input" and by_item["im1", "psnr"]["reason"]
    assert by_item["im0", "psnr"]["status"] == by_item["im2", "psnr"]["status"] == "ok"
    assert by_item["", "psnr-pooled"]["reason"] == "2 of 3 images"


def test_a_broken_reference_fails_fr_and_leaves_nr(folders):
    (folders[1] / "im1.bmp").write_bytes(b"BM")
    rows = {(row["item"], row["metric"]): row for row in score(*folders, metrics=["psnr", "piqe"])}
    assert rows["im1", "psnr"]["status"] == "input"
    assert rows["im1", "psnr"]["reason"].startswith("reference cannot be read")
    assert rows["im1", "piqe"]["status"] == "ok"


def test_a_missing_reference_is_a_failure_of_fr_alone(folders):
    (folders[1] / "im1.bmp").unlink()
    rows = {(row["item"], row["metric"]): row for row in score(*folders, metrics=["psnr", "piqe"])}
    assert rows["im1", "psnr"]["status"] == "input" and "no GT" in rows["im1", "psnr"]["reason"]
    assert rows["im1", "piqe"]["status"] == "ok"


def test_fr_metrics_alone_need_a_reference(folders):
    with pytest.raises(BenchError, match="--reference"):
        score(folders[0], metrics=["psnr"])


def test_without_references_fr_is_not_applicable_beside_nr(folders):
    rows = score(folders[0], metrics=["psnr", "piqe"])
    assert {(row["metric"], row["status"]) for row in rows} == {("psnr", "n/a"), ("piqe", "ok")}


def test_json_is_one_strict_array_with_null_for_inf(folders, capsys):
    code, out, _ = command(capsys, folders[1], "--reference", folders[1], "--metric", "psnr,ssim", "--format", "json")

    def refuse(name):
        raise AssertionError(name)

    rows = json.loads(out, parse_constant=refuse)
    assert code == 0
    assert rows[0] == {
        "item": "im0", "metric": "psnr", "signature": "psnr|space:rgb|range:u8|crop:0|gtmean:no|v:1", "value": None,
        "status": "inf",
    }  # fmt: skip
    assert list(rows[1]) == ["item", "metric", "signature", "value", "status"]


def test_csv_has_a_header_and_a_line_per_row(folders, capsys):
    code, out, _ = command(capsys, *folders[:1], "--reference", folders[1], "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0 and len(rows) == 6 and float(rows[0]["value"]) > 0


def test_the_table_has_means_counts_and_signatures(folders, capsys):
    code, out, _ = command(capsys, folders[0], "--reference", folders[1], "--metric", "psnr,psnr[space=y,crop=4]")
    mean = math.fsum(row["value"] for row in score(*folders, metrics=["psnr"])) / 3
    assert code == 0
    assert f"{mean:.2f}" in out and "3 / 3" in out and "psnr[space=y,crop=4]" in out
    assert "psnr|space:y|range:u8|crop:4|gtmean:no|v:1" in out


def test_per_item_lines_name_the_items(folders, capsys):
    _, out, _ = command(capsys, folders[0], "--reference", folders[1], "--metric", "psnr", "--per-item")
    assert all(f"im{index}" in out for index in range(3))


def test_a_failure_is_counted_named_and_exit_code_1(folders, capsys):
    (folders[0] / "im1.png").write_bytes(b"")
    code, out, _ = command(capsys, folders[0], "--reference", folders[1], "--metric", "psnr")
    assert code == 1 and "2 / 3" in out and "im1" in out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--metric", "psrn"], "did you mean 'psnr'"),
        (["--metric", "psnr[spce=y]"], "did you mean 'space'"),
        (["--metric", "psnr[space"], "NAME or NAME[option=value,...]"),
        (["--metric", "psnr[space]"], "is not option=value"),
        (["--metric", ","], "no metric is asked for"),
        (["--protocol", "basicsr/rbg"], "did you mean"),
        (["--metric", "inception_score"], "not available"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_code_2(folders, capsys, arguments, message):
    code, out, err = command(capsys, folders[0], "--reference", folders[1], *arguments)
    assert (code, out) == (2, "")
    assert message in err and len(err.strip().splitlines()) == 1


def test_missing_weights_of_several_metrics_are_named_together(folders, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "empty"))
    code, _, err = command(capsys, folders[0], "--metric", "musiq,topiq_nr")
    assert code == 2 and "bench fetch musiq" in err and "bench fetch topiq_nr" in err


def test_specs_are_split_at_commas_outside_brackets():
    assert split_specs("psnr[space=y,crop=4], ssim,,piqe") == ["psnr[space=y,crop=4]", "ssim", "piqe"]


def test_option_values_are_numbers_truth_or_words():
    assert parse_spec("ssim[k1=0.02,crop=4,clamp=true,gtmean=no]") == (
        "ssim", {"k1": 0.02, "crop": 4, "clamp": True, "gtmean": "no"}
    )  # fmt: skip


def test_the_python_function_can_be_called_again_and_again(folders):
    import bench

    for _ in range(2):
        assert len(bench.score(*folders)) == 6


# References without an output


def lose(folders, *names):
    for name in names:
        (folders[0] / f"{name}.png").unlink()


def test_a_reference_without_an_output_is_missing_and_exit_code_1(folders, capsys):
    lose(folders, "im1", "im2")
    code, out, err = command(capsys, folders[0], "--reference", folders[1], "--metric", "psnr,piqe,psnr-pooled")
    assert code == 1 and out.count("1 / 3") == 2 and "1 of 3 images" in out
    assert "failed: im1: no file for im1.bmp" in out
    assert "2 references have no image; --subset leaves them out" in err
    rows = {(row["item"], row["metric"]): row["status"] for row in score(*folders, ["psnr", "piqe"])}
    assert rows["im1", "psnr"] == rows["im1", "piqe"] == "input" and rows["im0", "psnr"] == "ok"


def test_a_set_metric_alone_tells_of_missing_outputs_too(folders, capsys):
    lose(folders, "im1")
    assert command(capsys, folders[0], "--reference", folders[1], "--metric", "psnr-pooled")[0] == 1


@pytest.mark.parametrize("style", ["table", "json", "csv"])
def test_subset_says_that_it_is_meant(folders, capsys, style):
    lose(folders, "im1", "im2")
    code, out, err = command(
        capsys, folders[0], "--reference", folders[1], "--metric", "psnr", "--subset", "--format", style
    )
    assert code == 0 and "im1" not in out and "2 references have no image: " in err


def test_one_named_file_against_a_folder_is_meant(folders, capsys):
    assert command(capsys, folders[0] / "im1.png", "--reference", folders[1], "--metric", "psnr")[0] == 0


def test_a_pattern_that_takes_some_outputs_is_no_statement_about_the_references(folders, capsys):
    pattern = str(folders[0] / "*[01].png")
    assert command(capsys, pattern, "--reference", folders[1], "--metric", "psnr")[0] == 1
    assert command(capsys, pattern, "--reference", folders[1], "--metric", "psnr", "--subset")[0] == 0


def test_python_has_the_same_switch(folders):
    import bench

    lose(folders, "im2")
    assert list(bench.score(*folders, metrics=["psnr"])["status"]) == ["ok", "ok", "input"]
    assert list(bench.score(*folders, metrics=["psnr"], subset=True)["status"]) == ["ok", "ok"]


# Compressed outputs


def test_jpeg_outputs_have_a_footnote(folders, capsys):
    image = cv2.imread(str(folders[0] / "im1.png"))
    (folders[0] / "im1.png").unlink()
    cv2.imwrite(str(folders[0] / "im1.jpg"), image)
    line = "1 JPEG of 3 files: compressed with loss, so scores are of the compressed files"
    code, out, _ = command(capsys, folders[0], "--reference", folders[1], "--metric", "psnr")
    assert code == 0 and line in out
    _, out, err = command(capsys, folders[0], "--reference", folders[1], "--metric", "psnr", "--format", "json")
    assert line in err and json.loads(out)


def test_lossless_outputs_have_none(folders, capsys):
    assert "compressed" not in "".join(map(str, command(capsys, folders[0], "--reference", folders[1])))
