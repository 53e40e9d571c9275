"""The papers' test sets in miniature: every layout, odd names, what is missing and how it is said."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bench.catalog.registry import Entry, registry
from bench.cli import main as bench_main
from bench.cli.doctor import command as doctor
from bench.cli.fetch import command as fetch
from bench.data.build import build_dataset
from bench.data.images import encode_png
from bench.data.items import Dataset
from bench.data.official import Incomplete, official, pair_shared
from bench.data.pairing import Listed
from bench.data.survey import adopt, survey
from bench.errors import BenchError, MissingFile

PNG = encode_png(np.zeros((4, 6, 3), np.uint8))
OFFICIAL = [entry for entry in registry("dataset") if entry.fields.get("kind") == "official"]
LOL = ["1", "22", "23", "55", "79", "111", "146", "179", "493", "547", "665", "669", "748", "778", "780"]
"""eval15 as every repository with low-light results names its images."""


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder of an empty cache."""
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "home/data"
    folder.mkdir(parents=True)
    return folder


def write(folder: Path, *names: str, raw: bytes = PNG) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)


def build(name: str, **options: object) -> Dataset:
    return build_dataset(registry("dataset").get(name), options, None)


def pairs(dataset: Dataset) -> dict[str, str | None]:
    return {item.id: item.gt.where.rpartition("/")[2] if item.gt else None for item in dataset.items}


def lol(root: Path, *without: str) -> None:
    names = [f"{side}/{name}.png" for side in ("low", "high") for name in LOL]
    write(root / "lol-v1/eval15", *(name for name in names if name not in without))


# Layouts


@pytest.mark.parametrize("top", ["lol-v1", "lol-v1/LOLdataset"])
def test_lol_v1_pairs_its_fifteen_in_either_place_of_the_archive(root: Path, top: str) -> None:
    write(root / top, *(f"eval15/{side}/{name}.png" for side in ("low", "high") for name in LOL), "our485/low/2.png")
    dataset = build("lol-v1")
    assert pairs(dataset) == {name: f"{name}.png" for name in LOL} and dataset.paired and not dataset.notes


def test_lol_v1_as_retinexformer_lays_it_out(root: Path) -> None:
    write(root / "lol-v1", *(f"Test/{side}/{name}.png" for side in ("input", "target") for name in LOL))
    assert len(build("lol-v1").items) == 15


@pytest.mark.parametrize("top", ["LOLv2/Real_captured", "Real_captured", "LOL-v2-real"])
@pytest.mark.parametrize("low, normal", [("low", "normal"), ("", "")])
def test_lol_v2_real_pairs_original_and_bare_names(root: Path, top: str, low: str, normal: str) -> None:
    numbers = [f"{number:05d}" for number in range(690, 790)]
    below = root / "lol-v2" / top / "Test"
    write(below, *(f"Low/{low}{n}.png" for n in numbers), *(f"Normal/{normal}{n}.png" for n in numbers))
    dataset = build("lol-v2-real")
    assert pairs(dataset) == {n: f"{normal}{n}.png" for n in numbers} and not dataset.notes


def test_lol_v2_synthetic_lies_beside_it_in_the_same_folder(root: Path) -> None:
    names = [f"r{number:08x}t.png" for number in range(100)]
    write(root / "lol-v2/LOLv2/Synthetic/Test", *(f"{side}/{name}" for side in ("Low", "Normal") for name in names))
    assert len(build("lol-v2-synthetic").items) == 100
    with pytest.raises(MissingFile, match="lol-v2-real"):
        build("lol-v2-real")


def test_uieb_takes_the_listed_ninety_of_890(root: Path) -> None:
    listed = [f"{number}_img_.png" for number in range(1, 91)]
    others = ["10139.png", "10151.png"]
    write(root / "uieb", *(f"{side}/{name}" for side in ("raw-890", "reference-890") for name in listed + others))
    write(root / "uieb", "splits/uie_test_list.txt", raw="\n".join(listed).encode())
    dataset = build("uieb")
    assert len(dataset.items) == 90 and dataset.paired and "10139" not in pairs(dataset)
    assert [re.sub("below .* are", "are", note) for note in dataset.notes] == ["2 more images are not of its list"]
    with pytest.raises(Incomplete, match="uieb-890: 92 of 890 images"):
        build("uieb-890")


def test_uieb_without_its_list_says_what_brings_it(root: Path) -> None:
    write(root / "uieb", "raw-890/1_img_.png", "reference-890/1_img_.png")
    with pytest.raises(MissingFile, match=r"needs its list of images, .*/uieb/splits/uie_test_list.txt: bench fetch"):
        build("uieb")


def test_baid_scores_numbered_inputs_against_the_reference_they_share(root: Path) -> None:
    plain = [f"{number:04d}" for number in range(200, 564)]
    inputs = [*plain, "0152", "0152(1)", "0152(2)", "0153(1)"]
    write(root / "baid/test/resize_input", *(f"{name}.png" for name in inputs))
    write(root / "baid/test/resize_gt", *(f"{name}.jpg" for name in [*plain, "0152", "0153"]))
    dataset = build("baid")
    assert len(dataset.items) == 368 and all(item.problem is None for item in dataset.items)
    found = pairs(dataset)
    assert {name: found[name] for name in inputs[-4:]} == {
        "0152": "0152.jpg", "0152(1)": "0152.jpg", "0152(2)": "0152.jpg", "0153(1)": "0153.jpg"
    }  # fmt: skip
    rave = build("baid-rave")
    assert "0152(2)" not in pairs(rave) and "0152(1)" in pairs(rave) and len(rave.items) == 367
    assert any("1 images are not of this set" in note for note in rave.notes)


def test_a_shared_reference_is_that_of_the_same_name_before_one_that_contains_it() -> None:
    source = object()
    listed = [Listed(name, source) for name in ("7.png", "17.png", "a.png")]  # type: ignore[arg-type]
    references = [Listed(name, source) for name in ("17.jpg", "7.jpg", "0_a_gt.jpg", "b1.jpg", "b2.jpg")]  # type: ignore[arg-type]
    assert all(item.gt and not item.problem for item in pair_shared(listed, references, "(.*)", None).items)
    (unsure,) = pair_shared([Listed("b.png", source)], references, "(.*)", None).items  # type: ignore[arg-type]
    assert unsure.gt is None and unsure.problem == "2 GT files have the id 'b' of b.png"


CLASSES = ["Bicycle", "Boat", "Bottle", "Bus", "Car", "Cat", "Chair", "Cup", "Dog", "Motorbike", "People", "Table"]


@pytest.mark.parametrize("top", ["exdark/ExDark", "exdark"])
def test_exdark_takes_parts_by_its_list_whatever_the_case_of_suffixes(root: Path, top: str) -> None:
    suffixes = ["jpg", "JPG", "png", "JPEG", "jpeg"]
    rows = ["Name | Class | Light | In/Out | Train/Val/Test"]
    for number, name in enumerate(CLASSES, start=1):
        for part in (1, 2, 3):
            image = f"2015_{number:03d}{part:02d}"
            suffix = suffixes[(number + part) % 5]
            write(root / top, f"{name}/{image}.{suffix}")
            rows.append(f"{image}.{suffix.lower()} {number} 1 2 {part}")
    write(root / "exdark", "imageclasslist.txt", raw="\n".join(rows).encode())
    assert len(build("exdark").items) == 36
    test = build("exdark", part="test")
    assert len(test.items) == 12 and not test.paired and not any(item.problem for item in test.items)
    assert {item.id.split("/")[-2] for item in build("exdark", part="val").items} == set(CLASSES)
    (root / top / "Dog/2015_00903.png").rename(root / top / "Dog/moved.jpeg")
    with pytest.raises(Incomplete, match=r"exdark: 11 of 12 images below .*, missing 2015_00903: bench fetch exdark"):
        build("exdark", part="test")


@pytest.mark.parametrize(
    "name, lq",
    [("celeba-test", "celeba_512_validation_lq"), ("celeba-test-daefr", "self_celeba_512_v2"),
     ("celeba-test-waveface", "CelebA_LQ_syn")],
)  # fmt: skip
def test_the_three_versions_of_celeba_test_share_their_references(root: Path, name: str, lq: str) -> None:
    write(root / "celeba-test", f"{lq}/00000000.png", f"{lq}/00000001.png", "celeba_512_validation/00000000.png")
    with pytest.raises(Incomplete, match=rf"{name}: 2 of 3000 images .*; {name}: 1 of 2 references .*missing 00000001"):
        build(name)
    here = build(name, available=True)
    assert [item.problem is None for item in here.items] == [True, False] and here.paired


@pytest.mark.parametrize("name, count", [("lfw-test", 1711), ("webphoto-test", 407), ("wider-test", 970),
                                         ("celebchild-test", 180)])  # fmt: skip
@pytest.mark.parametrize("inner", ["", "some_folder/", "a/b/"])
def test_a_face_set_is_a_folder_of_images_wherever_its_archive_put_it(
    root: Path, name: str, count: int, inner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root / name, f"{inner}Aaron_Guiel_0001_00.png", f"{inner}Abba_Eban_0001_00.png")
    with pytest.raises(Incomplete, match=f"{name}: 2 of {count} images below"):
        build(name)
    assert len(build(name, count=2).items) == 2 and not build(name, count=2).paired
    (extra,) = build(name, count=1).notes
    assert extra.startswith("2 images below") and extra.endswith("the official set has 1")


def test_cdd_11_pairs_every_mixture_with_the_clear_scene(root: Path) -> None:
    kinds = ["low", "haze", "rain", "snow", "low_haze", "low_rain", "low_snow", "haze_rain", "haze_snow"]
    kinds += ["low_haze_rain", "low_haze_snow"]
    write(root / "cdd-11/CDD-11_test", *(f"{kind}/{n:05d}.png" for kind in [*kinds, "clear"] for n in (1, 2)))
    dataset = build("cdd-11", count=22)
    assert len(dataset.items) == 22 and {item.id.split("/")[0] for item in dataset.items} == set(kinds)
    assert pairs(dataset)["low_haze_rain/00002"] == "00002.png"
    told = {item.id: item.done for item in dataset.items}
    assert told["low_haze_rain/00002"] == ("low light", "rain", "haze"), "as OneRestore's syn_data.py does it"
    assert told["haze_snow/00001"] == ("snow", "haze") and told["low/00001"] == ("low light",)
    assert [item.id for item in build("cdd-11", count=22, only="^rain/").items] == ["rain/00001", "rain/00002"]


GROUPS = {
    "mio100-a": [
        "d2/rain+haze", "d2/motion blur+low resolution", "d2/dark+noise", "d2/defocus blur+jpeg compression artifact",
        "d2/noise+jpeg compression artifact", "d2/rain+low resolution", "d2/motion blur+dark", "d2/defocus blur+haze",
    ],
    "mio100-b": [
        "d2/motion blur+jpeg compression artifact", "d2/haze+noise", "d2/defocus blur+low resolution", "d2/rain+dark",
    ],
    "mio100-c": [
        "d3/haze+motion blur+low resolution", "d3/rain+noise+low resolution",
        "d3/dark+defocus blur+jpeg compression artifact", "d3/motion blur+defocus blur+noise",
    ],
}  # fmt: skip
"""dataset/degradations.txt of AgenticIR at 9640a29, whose second blank line and third part the groups."""


def test_mio100_has_agenticirs_groups_and_says_what_was_done(root: Path) -> None:
    folders = [folder for group in GROUPS.values() for folder in group]
    write(root / "mio100", *(f"LQ/{folder}/{n:03d}.png" for folder in folders for n in (1, 2)))
    write(root / "mio100", "HQ/001.png", "HQ/002.png")
    for name, group in GROUPS.items():
        dataset = build(name, count=2 * len(group))
        assert {item.id.rpartition("/")[0] for item in dataset.items} == set(group) and not dataset.notes
    whole = build("mio100", count=32)
    assert len(whole.items) == 32 and pairs(whole)["d2/rain+dark/002"] == "002.png"
    told = {item.id: item.done for item in whole.items}
    assert told["d2/rain+dark/001"] == ("rain", "low light")
    assert told["d3/dark+defocus blur+jpeg compression artifact/001"] == ("low light", "defocus blur", "jpeg")
    with pytest.raises(Incomplete, match="mio100-b: 8 of 400 images"):
        build("mio100-b")


def test_sice_pairs_every_frame_with_the_label_of_its_sequence(root: Path) -> None:
    frames = [f"Dataset_Part{part}/{scene}/{n}.JPG" for part in (1, 2) for scene in (1, 12) for n in (1, 2, 3)]
    labels = [f"Dataset_Part{part}/Label/{scene}.{end}" for part, end in ((1, "JPG"), (2, "PNG")) for scene in (1, 12)]
    write(root / "sice", *frames, *labels)
    dataset = build("sice", count=12)
    gt = {item.id: item.gt.where.removeprefix(f"{root}/sice/") for item in dataset.items if item.gt}
    assert len(gt) == 12 and gt["Dataset_Part2/12/3"] == "Dataset_Part2/Label/12.PNG"
    assert gt["Dataset_Part1/1/1"] == "Dataset_Part1/Label/1.JPG"


@pytest.mark.parametrize(
    "name, files, items",
    [
        ("lime", [f"LIME/{n}.bmp" for n in range(1, 11)], 10),
        ("dicm", [f"{n:02d}.JPG" for n in range(64)], 64),
        ("backlit300", [f"Backlit300/{n}_o.jpg" for n in range(305)], 305),
        ("uieb-c60", [f"challenging-60/{n}.png" for n in range(60)], 60),
        ("euvp", [f"{side}/test_p{n}_.jpg" for side in ("Inp", "GTr") for n in range(515)], 515),
        ("mio100", [*(f"LQ/A/rain+haze/{n}.png" for n in range(3)), *(f"HQ/{n}.png" for n in range(3))], 3),
        ("ffhq", [f"images512x512/00000/{n:05d}.png" for n in range(3)], 3),
    ],
)
def test_the_other_layouts(root: Path, name: str, files: list[str], items: int) -> None:
    entry = registry("dataset").get(name)
    write(root / entry.fields["options"].get("folder", name), *files)
    dataset = build(name, **({"count": 3} if name in ("ffhq", "mio100") else {}))
    assert len(dataset.items) == items and dataset.paired is entry.fields["paired"] and not dataset.notes


# What is said of what is missing


def test_a_missing_input_is_named(root: Path) -> None:
    lol(root, "low/778.png")
    where = re.escape(str(root / "lol-v1/eval15/low"))
    with pytest.raises(Incomplete, match=f"^lol-v1: 14 of 15 images below {where}, missing 778: bench fetch lol-v1"):
        build("lol-v1")
    here = build("lol-v1", available=True)
    assert len(here.items) == 14 and here.paired and "running what is there" in here.notes[0]


def test_a_missing_reference_is_named_and_its_item_fails(root: Path) -> None:
    lol(root, "high/778.png")
    with pytest.raises(Incomplete, match=r"lol-v1: 14 of 15 references below .*/high, missing 778"):
        build("lol-v1")
    assert [item.id for item in build("lol-v1", available=True).items if item.problem] == ["778"]


def test_inputs_without_any_reference_are_lq_only_on_request(root: Path) -> None:
    lol(root, *(f"high/{name}.png" for name in LOL))
    with pytest.raises(Incomplete, match=r"no references \(eval15/high/\*\)"):
        build("lol-v1")
    here = build("lol-v1", available=True)
    assert len(here.items) == 15 and not here.paired and all(item.problem is None for item in here.items)
    assert survey(registry("dataset").get("lol-v1"), deep=False).short == "15/15 no GT"


def test_a_layout_with_references_goes_before_one_without(root: Path) -> None:
    write(root / "lol-v1", "eval15/low/1.png", *(f"Test/{s}/{n}.png" for s in ("input", "target") for n in LOL))
    assert len(build("lol-v1").items) == 15


@pytest.mark.parametrize("entry", OFFICIAL, ids=lambda one: one.name)
def test_a_missing_set_is_one_line_and_the_steps_fit_a_screen(entry: Entry, root: Path) -> None:
    with pytest.raises(MissingFile) as caught:
        build_dataset(entry, {}, None)
    message = str(caught.value)
    assert "\n" not in message and f"bench fetch {entry.name}" in message
    outcome = CliRunner().invoke(doctor, [entry.name], standalone_mode=False)
    assert outcome.return_value == 1 and len(outcome.stdout.splitlines()) <= 12
    assert str(root) in outcome.stdout and f"bench doctor {entry.name}" in outcome.stdout


@pytest.mark.parametrize("entry", OFFICIAL, ids=lambda one: one.name)
def test_an_entry_says_where_it_comes_from_and_on_what_terms(entry: Entry) -> None:
    fields = entry.fields
    assert {"title", "task", "licence", "source", "home", "paired", "count"} <= set(fields)
    assert fields.get("files") or fields.get("instructions")
    assert any("gt" in layout for layout in fields["options"]["layouts"]) is fields["paired"]
    assert not entry.commercial_safe


def test_entries_stay_short() -> None:
    """A dataset costs at most fifteen lines; comments and blank ones aside."""
    for file in sorted((Path(official.__code__.co_filename).parents[1] / "catalog/datasets").glob("*.yaml")):
        if file.name not in ("small.yaml", "builtin.yaml", "folder.yaml", "hub.yaml"):
            for block in re.split(r"\n(?=\S)", file.read_text()):
                lines = [line for line in block.splitlines() if line.strip() and not line.startswith("#")]
                assert len(lines) <= 15, f"{file.name}: {lines[0]}"


def test_sizes_that_are_not_the_official_ones_are_named(root: Path) -> None:
    lol(root)
    state = survey(registry("dataset").get("lol-v1"), deep=True)
    assert state.status == "here" and state.lines[-1].startswith("15 of 15 images are not 600×400: 1 (6×4), 22 (6×4)")
    write(root / "lol-v1/eval15", "high/55.png", raw=encode_png(np.zeros((8, 6, 3), np.uint8)))
    assert "55: LQ 6×4 and GT 6×8 differ in size" in survey(registry("dataset").get("lol-v1"), deep=True).lines
    large = encode_png(np.zeros((400, 600, 3), np.uint8))
    write(root / "lol-v1/eval15", *(f"{side}/{name}.png" for side in ("low", "high") for name in LOL), raw=large)
    assert survey(registry("dataset").get("lol-v1"), deep=True).lines == ["lol-v1: 15 images with references"]


# Where the data lie


def test_bench_data_goes_before_the_cache_and_root_before_both(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lol(root)
    assert str(root) in build("lol-v1").items[0].lq.where  # type: ignore[union-attr]
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "mine"))
    assert str(root) in build("lol-v1").items[0].lq.where  # type: ignore[union-attr]
    lol(tmp_path / "mine")
    assert "mine/lol-v1" in build("lol-v1").items[0].lq.where  # type: ignore[union-attr]
    lol(tmp_path / "third [x]")
    assert "third [x]" in build("lol-v1", root="third [x]/lol-v1").items[0].lq.where  # type: ignore[union-attr]
    with pytest.raises(MissingFile, match="nowhere"):
        build("lol-v1", root="nowhere")


def test_two_folders_that_fit_are_not_chosen_between(root: Path) -> None:
    write(root / "lol-v1", *(f"{top}/eval15/{s}/{n}.png" for top in "ab" for s in ("low", "high") for n in LOL))
    with pytest.raises(BenchError, match=r"2 folders below .* \(a, b\): name one with the option root"):
        build("lol-v1")


@pytest.mark.parametrize(
    "options, reason",
    [({"only": "("}, "only: '\\(' is not a regular expression"), ({"only": "^zzz"}, "no image .* is left"),
     ({"layouts": [{"gt": "a"}]}, "lq always"), ({"part": "half"}, "option 'part'")],
)  # fmt: skip
def test_wrong_options_are_errors(root: Path, options: dict[str, object], reason: str) -> None:
    lol(root)
    with pytest.raises(BenchError, match=reason):
        build("lol-v1", **options)


# Commands


def bench(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        bench_main(list(arguments))
    return int(ended.value.code or 0)


def suite(tmp_path: Path, *datasets: str) -> str:
    text = f"schema: 1\ndatasets: [{', '.join(datasets)}]\nmethods: [identity]\nmetrics: [psnr]\n"
    (tmp_path / "s.yaml").write_text(text)
    return "s.yaml"


def test_a_run_says_all_that_is_missing_and_available_runs_the_rest(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lol(root, *(f"high/{name}.png" for name in LOL))
    file = suite(tmp_path, "lol-v1", "baid", "builtin-lowlight")
    assert bench("run", file) == 2
    said = capsys.readouterr().err
    assert "lol-v1 has 15/15 no GT – bench fetch lol-v1" in said and "bench fetch baid prints the steps" in said
    assert "--available" in said and len(said.splitlines()) <= 6
    assert bench("run", file, "--available", "--limit", "2") == 0
    said = capsys.readouterr()
    assert "lol-v1: no references" in said.err and "n/a: lol-v1: no GT" in said.out
    assert bench("validate", file) == 0
    assert "2 things it needs are not on this machine" in capsys.readouterr().err


def test_fetch_takes_a_set_from_a_mirror_and_says_what_it_lacks(root: Path, tmp_path: Path) -> None:
    lol(tmp_path / "mirror/data", "high/55.png")
    run = CliRunner().invoke(fetch, ["lol-v1", "--mirror", str(tmp_path / "mirror")], standalone_mode=False)
    assert run.return_value == 1 and "mirrored    lol-v1  29 files into" in run.stdout
    assert "14 of 15 references" in run.stdout and "missing 55" in run.stdout
    lol(tmp_path / "mirror/data")
    run = CliRunner().invoke(fetch, ["lol-v1", "--mirror", str(tmp_path / "mirror")], standalone_mode=False)
    assert run.return_value == 0 and "lol-v1  1 files into" in run.stdout and "present" in run.stdout
    assert len(build("lol-v1").items) == 15 and not list(root.rglob("*.part"))


def test_a_mirror_cannot_lead_out_of_itself(root: Path, tmp_path: Path) -> None:
    lol(tmp_path / "mirror", "low/1.png")
    write(tmp_path, "secret.png")
    (tmp_path / "mirror/lol-v1/eval15/low/1.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(BenchError, match="leads out of the mirror"):
        adopt(registry("dataset").get("lol-v1"), tmp_path / "mirror")


def test_fetch_prints_the_steps_where_only_a_person_can(root: Path) -> None:
    run = CliRunner().invoke(fetch, ["baid"], standalone_mode=False)
    assert run.return_value == 1 and "drive.google.com/drive/folders/14_OvT17" in run.stdout
    assert "test/resize_input" in run.stdout and "BENCH_DATA" in run.stdout and len(run.stdout.splitlines()) <= 12


def test_the_list_says_what_is_here(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lol(root, "low/778.png")
    assert bench("list", "datasets") == 0
    rows = {line.split()[0]: line.rstrip() for line in capsys.readouterr().out.splitlines() if line}
    assert (
        rows["lol-v1"].endswith("14/15") and rows["baid"].endswith(" no") and rows["builtin-lowlight"].endswith("yes")
    )


# Real files, where there are any


@pytest.fixture
def mirror() -> Path:
    folder = os.environ.get("BENCH_TEST_MIRROR")
    if not folder:
        pytest.skip("BENCH_TEST_MIRROR names no mirror")
    return Path(folder) / "data"


def test_the_official_lists_have_the_counts_that_the_entries_state(
    mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(mirror))
    with pytest.raises(Incomplete, match="uieb: 2 of 90 images"):
        build("uieb")
    for part, count in {"all": 7363, "train": 3000, "val": 1800, "test": 2563}.items():
        with pytest.raises(Incomplete, match=rf"exdark: [0-9]+ of {count} images"):
            build("exdark", part=part)
    assert {item.id for item in build("uieb", available=True).items} == {"25_img_", "86_img_"}


def test_the_real_inputs_of_lol_v1_have_the_official_size(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(mirror))
    state = survey(registry("dataset").get("lol-v1"), deep=True)
    assert state.short == "15/15 no GT" and len(state.lines) == 1
