"""Metrics held against people, of a run and of sets as they are published."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from support.commands import bench
from support.studies import by_quality, filled, save, study
from support.workplace import photograph

from bench.study.agreement import read_opinions
from bench.tables.agreement import Opinions, Preferences, agree

pytestmark = pytest.mark.usefixtures("folder")


def test_correlations_are_scipys_and_pairs_are_counted():
    draw = np.random.default_rng(0)
    scores, scenes = draw.normal(size=40), np.repeat(np.arange(8), 5)
    values = scores + draw.normal(size=40)
    values[3], values[7] = values[4], math.nan
    found = agree("d", "p", "m", "s", values, Opinions(scores, scenes, None, within=False))
    used = np.isfinite(values)
    assert found.srocc.value == pytest.approx(stats.spearmanr(values[used], scores[used]).statistic, abs=1e-12)
    assert found.plcc.value == pytest.approx(stats.pearsonr(values[used], scores[used]).statistic, abs=1e-12)
    right = count = 0.0
    for i in range(40):
        for j in range(40):
            if scenes[i] == scenes[j] and scores[i] > scores[j] and used[i] and used[j]:
                count += 1
                right += (values[i] > values[j]) + 0.5 * (values[i] == values[j])
    assert found.accuracy.value == pytest.approx(right / count) and found.comparisons == count
    assert found.srocc.low < found.srocc.value < found.srocc.high and found.outputs == 39


def test_preferences_count_as_often_as_they_came():
    people = Opinions(
        np.array([0.9, 0.1]),
        np.array([0, 0]),
        Preferences(np.array([0, 1]), np.array([1, 0]), np.array([9.0, 1.0])),
        within=True,
    )
    found = agree("d", "p", "m", "s", np.array([2.0, 1.0]), people)
    assert (found.accuracy.value, found.srocc.value, found.comparisons) == (0.9, 1.0, 10.0)


def test_a_logistic_straightens_what_is_curved():
    scores = np.linspace(0, 5, 60)
    values = np.log(scores + 0.05) - np.log(5.05 - scores)
    people = Opinions(scores, np.arange(60), None, within=False)
    bent, straight = (agree("d", "p", "m", "s", values, people, logistic=one) for one in (False, True))
    assert straight.plcc.value > max(bent.plcc.value, 0.995)


@pytest.mark.parametrize("design", ["rating", "pairs", "ranking"])
def test_a_run_says_which_of_its_columns_to_believe(design: str, capsys: pytest.CaptureFixture[str]):
    key = study("--design", design, "--people", "4")
    for person in range(1, 5):
        save(filled(key, person, by_quality(design, person, noise=0.8)))
    assert bench("study", "add", "votes") == 0
    capsys.readouterr()
    assert bench("agreement", "mine", "--format", "json", "-o", "believe.svg") == 0
    rows = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert {row["metric"] for row in rows} == {"psnr", "ssim"}
    for row in rows:  # the noise that people saw is what both measure
        assert row["srocc"] > 0.8 and row["accuracy"] > 0.9 and row["accuracy_low"] <= row["accuracy"]
        assert row["signature"].startswith(row["metric"])
    assert b"SROCC" in Path("believe.svg").read_bytes()
    assert bench("agreement", "mine", "--format", "csv") == 0
    assert capsys.readouterr().out.startswith("dataset,people,metric,signature,srocc,srocc_low,")


def test_without_votes_it_says_what_to_do(capsys: pytest.CaptureFixture[str]):
    assert bench("agreement", "mine") == 2
    assert "bench study make" in capsys.readouterr().err


def opinion_set() -> list[tuple[str, str, float]]:
    """Distorted images in `bent`, references in `whole`: (image, reference, opinion)."""
    found = []
    for folder in ("bent", "whole"):
        Path(folder).mkdir()
    for scene in (1, 2, 12):
        clean = photograph(40, 40, scene)
        Image.fromarray(clean.astype(np.uint8)).save(f"whole/I{scene:02d}.BMP")
        for level in range(1, 6):
            noisy = clean + np.random.default_rng(level).normal(0, 4 * level, clean.shape)
            name = f"i{scene:02d}_08_{level}.bmp"
            Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(f"bent/{name}")
            found.append((name, f"I{scene:02d}.BMP", 6.0 - level))
    return found


@pytest.mark.parametrize(
    "text",
    [
        b"image;mos\na.bmp;3,25\nb, c.bmp;1.5\n",
        b'\xef\xbb\xbfimage,mos\r\na.bmp,3.25\r\n"b, c.bmp",1.5\r\n',
        b"mos\timage\n3,25\ta.bmp\n\n1,5\tb, c.bmp\n",
        b"a.bmp;3,25\nb, c.bmp;1,5\n",
        b'\n"image","MOS"\n"a.bmp","3.25"\n"b, c.bmp","1.5"\n',
    ],
)
def test_spreadsheets_of_any_country_are_read(text: bytes):
    Path("opinions.csv").write_bytes(text)
    found = read_opinions(Path("opinions.csv"))
    assert [(one.image, one.score) for one in found] == [("a.bmp", 3.25), ("b, c.bmp", 1.5)]


def test_an_infinite_value_has_a_rank_and_a_preference_and_lies_on_no_line():
    people = Opinions(np.array([1.0, 2.0, 3.0, 4.0]), np.zeros(4, dtype=int), None, within=False)
    found = agree("d", "p", "psnr", "s", np.array([20.0, 21.0, 30.0, math.inf]), people)
    assert (found.srocc.value, found.accuracy.value, found.comparisons, found.outputs) == (1.0, 1.0, 6, 4)
    assert found.plcc.value == pytest.approx(np.corrcoef([20, 21, 30], [1, 2, 3])[0, 1])
    behind = agree("d", "p", "psnr", "s", np.array([math.inf, 21.0, 30.0, 40.0]), people)
    assert behind.accuracy.value == 0.5


@pytest.mark.parametrize(
    ("values", "scores", "srocc", "accuracy"),
    [
        ([1.0, 2.0], [1.0, 2.0], math.nan, 1.0),  # two points lie on a line whatever they are
        ([2.0, 2.0, 2.0], [1.0, 2.0, 3.0], math.nan, 0.5),
        ([1.0, 2.0, 3.0], [4.0, 4.0, 4.0], math.nan, math.nan),
        ([1.0, math.nan, math.inf], [1.0, 2.0, 3.0], math.nan, 1.0),  # an infinite value is preferred to a finite one
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 1.0, 1.0),
    ],
)
@pytest.mark.filterwarnings("error")
def test_too_few_or_constant_values_agree_with_nobody(
    values: list[float], scores: list[float], srocc: float, accuracy: float
):
    people = Opinions(np.array(scores), np.zeros(len(scores), dtype=int), None, within=False)
    found = agree("d", "p", "m", "s", np.array(values), people)
    assert found.srocc.value == pytest.approx(srocc, nan_ok=True) == found.plcc.value or math.isnan(srocc)
    assert math.isnan(found.srocc.value) == math.isnan(srocc) == math.isnan(found.plcc.value)
    assert found.accuracy.value == pytest.approx(accuracy, nan_ok=True)


@pytest.mark.parametrize("form", ["tid2013", "kadid", "koniq", "spaq", "assessed", "pipal", "csv"])
def test_published_sets_are_read_as_they_are(form: str, capsys: pytest.CaptureFixture[str]):
    rows = opinion_set()
    text = {
        "tid2013": "".join(f"{score:.5f} {image}\n" for image, _, score in rows),
        "kadid": "dist_img,ref_img,dmos,var\n" + "".join(f"{i},{r},{s},0.5\n" for i, r, s in rows),
        "koniq": "image_name,c1,MOS,SD,MOS_zscore\n" + "".join(f"{i},0,{s},0.5,1\n" for i, _, s in rows),
        "spaq": "Image name,MOS\n" + "".join(f"{i},{s}\n" for i, _, s in rows),
        "assessed": "imagename,score\n" + "".join(f"{i},{s}\n" for i, _, s in rows),
        "pipal": "".join(f"{image},{1400 + score}\n" for image, _, score in rows),
        "csv": "mos,image\n" + "".join(f"{s},{i}\n" for i, _, s in rows),
    }[form]
    Path("opinions.txt").write_text(text, encoding="utf-8")
    capsys.readouterr()
    given = ("--opinions", "opinions.txt", "--images", "bent", "--references", "whole", "--metric", "psnr,gmsd")
    assert bench("agreement", *given, "--format", "json") == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    assert {row["metric"] for row in found} == {"psnr", "gmsd"}
    for row in found:  # GMSD is turned: less is better
        assert row["accuracy"] == 1.0 and row["srocc"] > 0.9 and row["comparisons"] == 3 * 10 and row["outputs"] == 15


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "opinions.csv: is empty"),
        ("a b c\n", "opinions.csv:1: neither a line of names"),
        ("image,mos\ni01_08_1.bmp,good\n", "opinions.csv:2: 'good' is no score"),
        ("image,mos\ni01_08_1.bmp,nan\n", "opinions.csv:2: 'nan' is no score"),
        ("image,mos\ni01_08_1.bmp,1\ni01_08_1.bmp,2\n", "opinions.csv:3: an image is named twice: i01_08_1.bmp"),
        ("image,mos\ni01_08_1.bmp\n", "opinions.csv:2: 1 columns, at least 2 are needed"),
        ("image,mos\n,3\n", "opinions.csv:2: no image"),
        ("image,mos\nnone.bmp,3\n", "bent: no none.bmp, of which opinions.csv has an opinion"),
        ("image,mos\n,,\nsame.bmp,3\n", "same.bmp is bent/a/same.bmp and bent/b/same.bmp: name it with its folder"),
        ('image,mos\n"i01_08_1.bmp,3\n', "opinions.csv: no CSV"),
        ('image,mos\ni01_08_1.bmp,"3,5"\n', "opinions.csv:2: '3,5' is no score"),
        ("image,ref,mos\ni01_08_1.bmp,I09.BMP,3\n", "whole: no reference of i01_08_1.bmp"),
    ],
)
def test_a_wrong_set_is_one_line(text: str, said: str, capsys: pytest.CaptureFixture[str]):
    opinion_set()
    for folder in ("a", "b"):
        Path("bent", folder).mkdir()
        shutil.copy("bent/i01_08_1.bmp", Path("bent", folder, "same.bmp"))
    Path("opinions.csv").write_text(text, encoding="utf-8")
    capsys.readouterr()
    assert bench("agreement", "--opinions", "opinions.csv", "--images", "bent", "--references", "whole") == 2
    told = capsys.readouterr().err
    assert said in told and len(told.splitlines()) == 1


def test_options_of_a_set_are_not_for_a_run(capsys: pytest.CaptureFixture[str]):
    assert bench("agreement", "mine", "--metric", "psnr") == 2
    assert bench("agreement", "--opinions", "mine.yaml") == 2
    assert "go with --opinions" in capsys.readouterr().err
