"""`--keep-outputs`: scores that stay valid without the pixels, and pixels that are made again where somebody asks."""

from __future__ import annotations

import pytest
from support.workplace import Workplace


def files(place: Workplace) -> int:
    return sum(1 for file in (place.results / "outputs").glob("*/*") if file.is_file())


@pytest.mark.parametrize("workers", [1, 2])
def test_without_outputs_the_table_is_the_same_and_a_run_again_does_nothing(workplace: Workplace, workers: int):
    workplace.pairs(4)
    suite = workplace.suite("[traced]", "[psnr, psnr-pooled]")
    assert workplace.run(suite, "--results", workplace.root / "all").code == 0
    before = workplace.restored()["traced"]
    done = workplace.run(suite, "--keep-outputs", "none", "--workers", workers)
    assert done.code == 0 and files(workplace) == 0
    assert workplace.table() == workplace.table(results=workplace.root / "all")
    for keep in ("none", "all"):  # what was scored is not made again for its pixels
        again = workplace.run(suite, "--keep-outputs", keep)
        assert "0 worked on" in again.err
    assert workplace.restored()["traced"] == 2 * before and files(workplace) == 0


def test_another_metric_makes_the_pixels_again_and_only_its_own_values(workplace: Workplace):
    workplace.pairs(3)
    assert workplace.run(workplace.suite("[traced]", "[psnr]"), "--keep-outputs", "none").code == 0
    first = workplace.rows("SELECT output, value, seconds FROM score ORDER BY output")
    plan = workplace.run(workplace.suite("[traced]", "[psnr, ssim]"), "--plan")
    assert plan.out.splitlines()[2].split()[2:6] == ["3", "0", "0", "3"]
    assert workplace.run(workplace.suite("[traced]", "[psnr, ssim]")).code == 0
    assert workplace.restored()["traced"] == 6 and files(workplace) == 3
    kept = "SELECT output, value, seconds FROM score WHERE signature=(SELECT min(id) FROM signature) ORDER BY output"
    assert workplace.rows(kept) == first
    assert workplace.run(workplace.suite("[traced]", "[psnr, ssim]"), "--keep-outputs", "none", "--fresh").code == 0
    assert files(workplace) == 3 and workplace.bench("gc").code == 0 and files(workplace) == 0


def test_failed_keeps_the_outputs_that_lack_a_value(workplace: Workplace):
    workplace.pairs(3)
    (workplace.root / "data" / "high" / "001.png").write_bytes(b"no image")
    suite = workplace.suite("[traced]", "[psnr]")
    assert workplace.run(suite, "--keep-outputs", "failed").code == 1
    assert files(workplace) == 1
    ((kept,),) = workplace.rows(
        "SELECT hex(hash) FROM restoration JOIN content ON content.id=output WHERE suffix='png'"
    )
    (file,) = (workplace.results / "outputs").glob("*/*")
    assert file.stem == str(kept).lower()


def test_export_and_report_say_that_it_was_not_kept(workplace: Workplace):
    workplace.pairs(2)
    assert workplace.run(workplace.suite("[traced]", "[psnr]"), "--keep-outputs", "none").code == 0
    done = workplace.bench("export", "--images", "images")
    assert done.code == 1 and "0 images in images, 2 not kept by the run" in done.err
    assert workplace.bench("report", "-o", "page.html").code == 0
    assert "the output was not kept" in (workplace.root / "page.html").read_text()


def test_export_says_what_else_lies_in_a_folder_that_is_scored_next(workplace: Workplace):
    workplace.pairs(2)
    assert workplace.run(workplace.suite("[identity]", "[psnr]")).code == 0
    first = workplace.bench("export", "--images", "laid")
    assert first.code == 0 and "2 images in laid" in first.err and "beside" not in first.err
    again = workplace.bench("export", "--images", "laid")
    assert again.code == 0 and "beside" not in again.err  # its own, replaced
    (laid,) = (workplace.root / "laid").glob("*/identity")
    (laid / "of an earlier run.png").write_bytes(b"x")
    told = workplace.bench("export", "--images", "laid")
    assert told.code == 0 and "; 1 other files lie beside them: export into a new folder" in told.err


def test_sizes_are_told_by_doctor_and_before_a_collection(workplace: Workplace):
    workplace.pairs(2)
    assert workplace.run(workplace.suite("[traced]", "[psnr]")).code == 0
    size = sum(file.stat().st_size for file in (workplace.results / "outputs").glob("*/*"))
    told = workplace.bench("gc", "--dry-run").out
    assert f"kept: 2 files of outputs, {size / 1e6:.1f} MB; rows, " in told and files(workplace) == 2
    assert "outputs" in workplace.bench("doctor").out and "2 files" in workplace.bench("doctor").out
