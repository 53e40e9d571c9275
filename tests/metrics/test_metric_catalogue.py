"""Every metric entry says what a reader of its number needs, and every column of the papers has an entry."""

from __future__ import annotations

import math
import re

import pytest
import yaml
from click.testing import CliRunner

from bench.catalog.registry import registry
from bench.cli import info
from bench.metrics.build import build_metric, describe_options

ENTRIES = list(registry("metric"))
OWN = [entry for entry in ENTRIES if entry.fields.get("library") != "pyiqa"]
BUILDABLE = [entry for entry in ENTRIES if not entry.fields.get("unavailable")]

# Headings of IQPIR tables 1 to 9, IQPFR tables 1 to 8 and RAR's evaluation, as printed, and what their text calls them.
COLUMNS = {
    "PSNR": "psnr", "SSIM": "ssim", "LPIPS": "lpips", "FID": "fid", "BIQE": "biqi", "UCIQE": "uciqe", "UIQM": "uiqm",
    "TOPIQ-G": "topiq_nr-face-v1", "Musiq-G": "musiq-g", "Musiq-K": "musiq", "Musiq-A": "musiq-ava", "Arniqa": "arniqa",
    "MDFS": "mdfs", "Q-Align": "q-align", "CLIP-IQA": "clipiqa", "Uranker": "uranker", "MANIQA": "maniqa",
    "NIMA": "nima",
}  # fmt: skip
SPELLINGS = {
    "topiq-gfiqa": "topiq_nr-face-v1", "musiq-gfiqa": "musiq-g", "musiq-koniq": "musiq", "musiq-ava": "musiq-ava",
    "biqi": "biqi", "lpips-alex": "lpips", "lpips-vgg": "lpips-vgg", "niqe": "niqe", "brisque": "brisque",
    "dists": "dists", "idd": "idd",
}  # fmt: skip


@pytest.mark.parametrize("heading, name", COLUMNS.items())
def test_every_column_of_the_papers_resolves_and_its_entry_says_so(heading, name):
    entry = registry("metric").get(heading.lower())
    assert entry.name == name
    assert entry.fields["paper"]["column"] == heading
    assert re.search("IQPIR|IQPFR|RAR", entry.fields["paper"]["tables"])


@pytest.mark.parametrize("spelling, name", SPELLINGS.items())
def test_what_the_texts_of_the_papers_call_a_metric_resolves(spelling, name):
    assert registry("metric").get(spelling).name == name


def test_no_entry_claims_a_column_that_no_paper_has():
    assert {(entry.fields.get("paper") or {}).get("column") for entry in ENTRIES} - {None} == set(COLUMNS)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_an_entry_states_licence_direction_range_mode_and_source(entry):
    fields = entry.fields
    assert fields["licence"].strip() and fields["licence"] not in ("unknown", "not stated")
    assert fields["better"] in ("higher", "lower")
    assert fields["mode"] in ("FR", "NR", "set")
    assert fields["source"].strip() and fields["title"].strip()
    low, high = fields["range"]  # null where a side is open or unknown
    assert low is None or high is None or low < high
    assert all(side is None or not math.isnan(side) for side in (low, high))


@pytest.mark.parametrize("entry", OWN, ids=lambda entry: entry.name)
def test_an_entry_of_our_own_states_formula_paper_cost_and_symbol(entry):
    fields = entry.fields
    for key in ("formula", "description", "cost", "symbol"):
        assert fields[key].strip(), key
    assert fields["paper"]["title"].strip()
    assert isinstance(fields["digits"], int)


def test_nothing_that_states_no_licence_counts_as_free_to_use():
    for entry in ENTRIES:
        if "stated" in entry.fields["licence"]:
            assert not entry.commercial_safe, entry.name
    assert not registry("metric").get("idd").commercial_safe and registry("metric").get("niqe").commercial_safe


def test_a_file_whose_name_carries_its_hash_is_held_to_it():
    checked = 0
    for entry in BUILDABLE:
        for asset in build_metric(entry, {}, {}).assets():
            digits = re.search(r"-([0-9a-f]{8})\.[a-z]+$", asset.file)
            if digits:
                checked += 1
                assert (asset.sha256 or asset.prefix or "").startswith(digits[1]), asset.file
    assert checked > 50
    fid = build_metric(registry("metric").get("fid-ffhq-512"), {}, {}).assets()
    assert any(asset.prefix == "f7b384ab" for asset in fid)


@pytest.mark.parametrize("entry", BUILDABLE, ids=lambda entry: entry.name)
def test_what_an_entry_takes_can_be_said(entry):
    takes = describe_options(entry)
    assert takes["rounding"] == "default u8; one of u8, truncate, none"
    assert ("gtmean" in takes) == (entry.fields["mode"] == "FR")


def shown(name: str) -> str:
    result = CliRunner().invoke(info.command, [name], standalone_mode=False)
    assert result.exception is None
    return result.output


def test_the_page_of_a_metric_tells_formula_variants_cost_licence_and_signature():
    page = shown("ssim")
    for text in (
        "formula: mean of (2 μx μy + C₁)",
        "  window: default gauss11s1.5; one of gauss11s1.5, gauss13s1.5, uniform7\n",
        "  data_range: default 1; one of 1, 2, restored\n",
        "licence: Apache-2.0\n",
        "commercial use: allowed\n",
        "cost: 20 ms",
        "signature (default protocol): ssim|",
    ):
        assert text in page
    assert page.index("formula:") < page.index("licence:") < page.index("takes:")
    assert "  variant: default jou-uip; one of jou-uip, adpcc," in shown("uciqe")
    assert "  space: default yiq; one of y, yiq, gray, gray-u8, gray-u8-swapped\n" in shown("gmsd")


def test_the_page_of_an_alias_is_that_of_its_metric():
    assert shown("biqe") == shown("biqi")


def test_the_page_of_a_metric_without_a_stated_licence_says_so():
    assert "licence: none stated\n" in shown("musiq-g") and "commercial use: not allowed" in shown("idd")


def test_the_page_of_a_protocol_shows_its_view_and_whether_it_is_proved():
    page = shown("nu2net/uieb")
    assert "view: {space: rgb, rounding: none, resize: torch-corners}\n" in page and "verified: true\n" in page
    assert shown("uranker/uieb") == page


def test_the_page_of_a_protocol_says_what_its_options_do_and_how_metrics_are_signed_under_it():
    page = yaml.safe_load(shown("snr/lol-v2-real-608x400"))
    assert page["means"]["fit cv2-linear@608x400"].startswith("every image to W×H by OpenCV's bilinear")
    signature = "psnr|space:rgb|range:u8|crop:0|gtmean:no|fit:cv2-linear@608x400|proto:unverified|v:1"
    assert page["signatures"]["psnr"] == signature
    assert list(yaml.safe_load(shown("gsad/lol"))["signatures"]) == ["psnr", "ssim", "lpips"]
