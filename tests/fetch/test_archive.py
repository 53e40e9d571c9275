"""Unpacking what was fetched: whole, below its folder, and never a bomb."""

from __future__ import annotations

import hashlib
import io
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bench.catalog.registry import registry
from bench.cli.fetch import assets_of_entry, command
from bench.data.images import encode_png
from bench.errors import BenchError
from bench.fetch.archive import Limits, unpack
from bench.fetch.assets import Asset
from bench.fetch.part import FetchError

FILES = {"LOL/eval15/low/1.png": b"one", "LOL/eval15/low/22 (2).png": b"two", "LOL/READ ME": b""}


def zipped(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for name, target in (links or {}).items():
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, target)
    return out.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w:gz", **special: object) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        if special:
            info = tarfile.TarInfo("odd")
            for key, value in special.items():
                setattr(info, key, value)
            archive.addfile(info)
    return out.getvalue()


def tree(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "in/here"


def put(place: Path, content: bytes) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    file = place.parent / "archive"
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("content", [zipped(FILES), tarred(FILES), tarred(FILES, "w"), tarred(FILES, "w:xz")])
def test_files_arrive_as_they_were(place: Path, content: bytes) -> None:
    assert unpack(put(place, content), place) == 3
    assert tree(place) == FILES


def test_what_lies_there_stays_and_the_same_name_is_replaced(place: Path) -> None:
    (place / "LOL/eval15/low").mkdir(parents=True)
    (place / "LOL/eval15/low/1.png").write_bytes(b"old")
    (place / "mine").write_bytes(b"mine")
    unpack(put(place, zipped(FILES)), place)
    assert tree(place) == {**FILES, "mine": b"mine"}


def test_what_desktops_add_is_left_out(place: Path) -> None:
    assert (
        unpack(put(place, zipped({**FILES, "__MACOSX/._a": b"", "LOL/.DS_Store": b"", "LOL/._1.png": b""})), place) == 3
    )


BAD = ["../out.png", "a/../../out.png", "/root.png", "C:/out.png", "C:out.png", "a\\..\\out.png", "//host/out.png"]


@pytest.mark.parametrize("name", BAD)
def test_no_name_leads_out_of_the_folder(place: Path, name: str) -> None:
    for content in (zipped({"a.png": b"a", name: b"x"}), tarred({"a.png": b"a", name: b"x"})):
        with pytest.raises(FetchError, match="leads out of the folder: refused"):
            unpack(put(place, content), place)
    assert tree(place) == {} and [file.name for file in place.parent.iterdir() if file.is_file()] == ["archive"]


@pytest.mark.parametrize(
    "content",
    [
        zipped({"a.png": b"a"}, {"link.png": "/etc/passwd"}),
        zipped({"a.png": b"a"}, {"a": ".."}),
        tarred({"a.png": b"a"}, type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        tarred({"a.png": b"a"}, type=tarfile.LNKTYPE, linkname="a.png"),
    ],
)
def test_links_are_refused(place: Path, content: bytes) -> None:
    with pytest.raises(FetchError, match="is a link: refused"):
        unpack(put(place, content), place)
    assert tree(place) == {}


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_devices_are_refused(place: Path, kind: bytes) -> None:
    with pytest.raises(FetchError, match="not a plain file"):
        unpack(put(place, tarred(FILES, type=kind)), place)


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_bomb_is_refused_before_a_byte_of_it_is_written(place: Path, pack: object) -> None:
    content = pack({"a.png": b"a", "zeros.png": bytes(100 << 20)})  # type: ignore[operator]
    assert len(content) < 1 << 20
    with pytest.raises(FetchError, match="refused as a bomb"):
        unpack(put(place, content), place)
    assert tree(place) == {}


def test_neither_number_nor_bytes_pass_their_limits(place: Path) -> None:
    file = put(place, zipped(FILES))
    with pytest.raises(FetchError, match="more than 2 files"):
        unpack(file, place, Limits(members=2))
    with pytest.raises(FetchError, match="more than 5 bytes"):
        unpack(file, place, Limits(bytes=5))
    assert unpack(file, place, Limits(members=3, bytes=6)) == 3


def test_a_name_twice_is_refused(place: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a.png", b"1")
        archive.writestr("a.png", b"2")
    with pytest.raises(FetchError, match=r"'a\.png' twice"):
        unpack(put(place, out.getvalue()), place)


def test_damaged_and_foreign_files_are_one_line(place: Path) -> None:
    whole = zipped({"a.png": bytes(range(256)) * 40})
    damaged = whole[:60] + bytes([whole[60] ^ 255]) + whole[61:]
    for content, reason in (
        (damaged, "cannot be unpacked"), (b"Rarely", "neither a zip nor a tar"),
        (tarred(FILES)[:-40], "cannot be unpacked|neither"),
    ):  # fmt: skip
        with pytest.raises(FetchError, match=reason) as caught:
            unpack(put(place, content), place)
        assert "\n" not in str(caught.value)
        assert tree(place) == {}


def fetched_asset(url: str, content: bytes, **more: object) -> Asset:
    sha256 = hashlib.sha256(content).hexdigest()
    return Asset("lol", "archives/lol.zip", url, sha256, len(content), "MIT", unpack="data/lol", **more)  # type: ignore[arg-type]


def test_fetch_downloads_checks_and_unpacks(server, answer, bring, home):
    content = zipped(FILES)
    server.routes["/lol.zip"] = answer(data=content)
    result = bring(fetched_asset(server.url("/lol.zip"), content))
    assert result.status == "downloaded" and f"3 files into {home / 'data/lol'}" in result.detail
    assert tree(home / "data/lol") == FILES


@pytest.mark.parametrize(
    "content", [zipped({"../evil.png": b"x"}), zipped(FILES, {"l": "/etc"}), zipped({"z": bytes(100 << 20)})]
)
def test_fetch_of_a_hostile_archive_fails_and_leaves_no_data(server, answer, bring, home, content):
    server.routes["/lol.zip"] = answer(data=content)
    result = bring(fetched_asset(server.url("/lol.zip"), content))
    assert result.status == "failed" and "refused" in result.detail
    assert not list((home / "data").rglob("*.png")) and not list(home.rglob("evil.png"))


def test_an_archive_without_a_published_hash_waits_for_a_person(server, answer, bring, home):
    content = zipped(FILES)
    server.routes["/lol.zip"] = answer(data=content)
    asset = Asset("lol", "archives/lol.zip", server.url("/lol.zip"), None, unpack="data/lol")
    assert "--pin" in bring(asset).detail and not (home / "data").exists()
    asset.path.parent.mkdir(parents=True, exist_ok=True)
    asset.path.write_bytes(content)  # put there by hand: still nobody vouches for it
    assert "unverified" in bring(asset).detail and not (home / "data").exists()
    assert "pinned" in bring(asset, pin=True).detail and tree(home / "data/lol") == FILES


@pytest.mark.parametrize("folder", ["../x", "/x", "", "a\\b"])
def test_an_asset_unpacks_below_the_cache_folder_only(folder: str) -> None:
    with pytest.raises(BenchError, match="must be a folder below"):
        Asset("lol", "archives/lol.zip", None, None, unpack=folder)


def test_catalogued_archives_go_where_their_dataset_is_looked_for() -> None:
    for entry in registry("dataset"):
        folder = (entry.fields.get("options") or {}).get("folder", entry.name)
        for asset in assets_of_entry(entry):
            if asset.unpack is not None:
                assert asset.unpack == f"data/{folder}" and asset.url and asset.url.startswith(("hf://", "gdrive://"))


LOL = "1 22 23 55 79 111 146 179 493 547 665 669 748 778 780"


@pytest.mark.parametrize("gone, code, said", [("", 0, "present     lol-v1: 15 images with references"),
                                              ("low/778", 1, "partial     lol-v1: 14 of 15 images")])  # fmt: skip
def test_the_command_brings_a_whole_test_set_and_checks_it(
    server, answer, home, monkeypatch, gone: str, code: int, said: str
) -> None:
    image = encode_png(np.zeros((400, 600, 3), np.uint8))
    names = [f"{side}/{number}" for side in ("low", "high") for number in LOL.split()]
    content = zipped({f"LOLdataset/eval15/{name}.png": image for name in names if name != gone})
    server.routes["/LOLdataset.zip"] = answer(data=content)
    entry = registry("dataset").get("lol-v1")
    (file,) = entry.fields["files"]
    monkeypatch.setitem(entry.fields, "files", [{**file, "url": server.url("/LOLdataset.zip")}])
    monkeypatch.delenv("BENCH_DATA", raising=False)
    run = CliRunner().invoke(command, ["lol-v1", "--pin"], standalone_mode=False)
    assert run.return_value == code and run.stdout.startswith("downloaded") and said in run.stdout
    assert ("missing 778" in run.stdout) is bool(gone)
    again = CliRunner().invoke(command, ["lol-v1"], standalone_mode=False)
    assert again.return_value == code and len(server.requests) == 1  # nothing is downloaded twice
