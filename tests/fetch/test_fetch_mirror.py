"""The same files from a folder: by place, by manifest, by hash, and never from outside it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.fetch.assets import Asset


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    folder.mkdir()
    return folder


@pytest.fixture
def wanted(data: bytes) -> Asset:
    return Asset("thing", "weights/thing.bin", None, hashlib.sha256(data).hexdigest(), len(data), "MIT")


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def manifest(folder: Path, name: str, sha256: str | None) -> None:
    (folder / "MANIFEST.csv").write_text(f"file,bytes,sha256,source,licence\n{name},1,{sha256},somewhere,MIT\n")


def test_a_file_at_its_own_place_is_copied(mirror, wanted, bring, data):
    source = put(mirror / "weights/thing.bin", data)
    assert bring(wanted, mirror=mirror).status == "mirrored"
    assert wanted.path.read_bytes() == data
    assert not wanted.path.is_symlink() and not source.samefile(wanted.path)


def test_a_file_under_another_name_is_found_by_the_manifest(mirror, wanted, bring, data):
    put(mirror / "a/b/other.pth", data)
    manifest(mirror, "a/b/other.pth", wanted.sha256)
    result = bring(replace(wanted, bytes=None), mirror=mirror)  # no size: only the manifest can lead there
    assert result.status == "mirrored" and "other.pth" in result.detail


def test_a_nameless_file_is_found_by_size_and_hash(mirror, wanted, bring, data):
    put(mirror / "x/decoy", bytes(len(data)))
    put(mirror / "y/z/whatever", data)
    assert bring(wanted, mirror=mirror).status == "mirrored"
    assert wanted.path.read_bytes() == data


def test_a_wrong_file_at_the_right_place_is_refused_and_named(mirror, wanted, bring, data, home):
    put(mirror / "weights/thing.bin", bytes(len(data)))
    result = bring(wanted, mirror=mirror)
    assert not result.here and not wanted.path.exists()
    assert hashlib.sha256(bytes(len(data))).hexdigest() in result.detail and str(wanted.sha256) in result.detail
    assert list(home.rglob("*.part*")) == []


def test_a_file_that_is_too_large_is_named_with_both_sizes(mirror, wanted, bring, data):
    put(mirror / "weights/thing.bin", data + b"x")
    result = bring(wanted, mirror=mirror)
    assert not result.here and f"thing.bin: {len(data) + 1} bytes, more than {len(data)}" in result.detail


@pytest.mark.parametrize("more", [0, 1000])
def test_a_wrong_file_at_the_right_place_does_not_hide_the_right_one(mirror, wanted, bring, data, more):
    put(mirror / "weights/thing.bin", bytes(len(data) + more))
    put(mirror / "right", data)
    assert bring(wanted, mirror=mirror).status == "mirrored"


@pytest.mark.parametrize("name", ["../secret", "a/../../secret", "{outside}/secret", "C:\\secret", "..\\secret"])
def test_a_manifest_cannot_lead_out_of_the_folder(mirror, wanted, bring, data, tmp_path, name):
    put(tmp_path / "secret", data)
    (mirror / "a").mkdir()
    manifest(mirror, name.format(outside=tmp_path), wanted.sha256)
    result = bring(wanted, mirror=mirror)
    assert not result.here and "MANIFEST.csv:2" in result.detail and "outside the folder" in result.detail
    assert not wanted.path.exists()


@pytest.mark.parametrize("place", ["weights/thing.bin", "anything"])
def test_a_link_out_of_the_folder_is_not_followed(mirror, wanted, bring, data, tmp_path, place):
    secret = put(tmp_path / "secret", data)
    (mirror / place).parent.mkdir(exist_ok=True)
    (mirror / place).symlink_to(secret)
    assert not bring(wanted, mirror=mirror).here
    assert not wanted.path.exists()


def test_a_linked_folder_is_not_searched(mirror, wanted, bring, data, tmp_path):
    put(tmp_path / "outside/secret", data)
    (mirror / "in").symlink_to(tmp_path / "outside")
    assert not bring(wanted, mirror=mirror).here


def test_a_loop_of_links_is_survived(mirror, wanted, bring):
    (mirror / "weights").mkdir()
    (mirror / "weights/thing.bin").symlink_to(mirror / "weights/thing.bin")
    (mirror / "loop").symlink_to(mirror)
    assert not bring(wanted, mirror=mirror).here


def test_a_link_inside_the_folder_is_taken(mirror, wanted, bring, data):
    put(mirror / "store/abc", data)
    (mirror / "weights").mkdir()
    (mirror / "weights/thing.bin").symlink_to(mirror / "store/abc")
    assert bring(wanted, mirror=mirror).status == "mirrored"
    assert not wanted.path.is_symlink()


@pytest.mark.parametrize(
    "content", [b"\0\xff\xfe,,,\n\n", b"", b"file\n" + b"x" * 300_000, b"no,such,columns\n1,2,3\n"]
)
def test_a_broken_manifest_does_not_hide_the_file(mirror, wanted, bring, data, content):
    (mirror / "MANIFEST.csv").write_bytes(content)
    put(mirror / "x", data)
    assert bring(wanted, mirror=mirror).status == "mirrored"


def test_a_file_without_a_known_hash_needs_pin_and_its_own_place(mirror, wanted, bring, data):
    unhashed = replace(wanted, sha256=None)
    put(mirror / "elsewhere", data)
    assert not bring(unhashed, mirror=mirror, pin=True).here
    put(mirror / "weights/thing.bin", data)
    refused = bring(unhashed, mirror=mirror)
    assert refused.status == "failed" and "--pin" in refused.detail
    assert bring(unhashed, mirror=mirror, pin=True).status == "mirrored"
    assert unhashed.expected() == hashlib.sha256(data).hexdigest()


def test_with_a_mirror_the_network_is_not_asked(mirror, server, asset, bring, answer):
    server.routes["/file"] = answer()
    result = bring(asset, mirror=mirror)
    assert result.status == "failed" and f"is not in {mirror}" in result.detail
    assert server.requests == []


def test_a_mirror_that_is_no_folder_is_a_wrong_request(wanted, bring, tmp_path):
    with pytest.raises(BenchError, match="is not a folder"):
        bring(wanted, mirror=tmp_path / "nowhere")


def test_a_real_mirror_gives_the_published_weights(bring):
    folder = os.environ.get("BENCH_TEST_MIRROR")
    if not folder:
        pytest.skip("BENCH_TEST_MIRROR names no mirror")
    sha256 = "4ff1e7e66e8f18114f790e5085ca4c936f0858e329e7ad1cb65b8aa09a9c6916"
    medium = Asset("sci-medium", "elsewhere/sci.pt", None, sha256, 43967, "MIT")
    assert bring(medium, mirror=Path(folder)).status == "mirrored"
