"""What lies in the cache, its hash, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from bench import cli
from bench.errors import BenchError, MissingFile
from bench.fetch import memo, pins
from bench.fetch.assets import Asset

RIGHT = b"the right bytes"
SHA256 = hashlib.sha256(RIGHT).hexdigest()


@pytest.fixture
def thing() -> Asset:
    return Asset("thing", "weights/thing.bin", "https://example.org/thing.bin", SHA256, len(RIGHT))


def put(asset: Asset, content: bytes = RIGHT) -> None:
    asset.path.parent.mkdir(parents=True, exist_ok=True)
    asset.path.write_bytes(content)


def test_a_missing_file_names_the_command_that_brings_it(thing):
    for ask in (thing.require, thing.require_verified, thing.digest):
        with pytest.raises(MissingFile, match="bench fetch thing"):
            ask()


@pytest.mark.parametrize("file", ["/etc/passwd", "../x", "a/../../x", "", ".", "a\\..\\x"])
def test_a_place_outside_the_cache_is_refused(file):
    with pytest.raises(BenchError, match="below the cache folder"):
        Asset("thing", file, None, None)


def test_a_hash_that_is_none_is_refused():
    with pytest.raises(BenchError, match="not 64 hexadecimal digits"):
        Asset("thing", "x", None, "abc")


def test_verify_tells_the_four_cases_apart(thing):
    assert thing.verify().status == "missing"
    put(thing)
    assert thing.verify() == ("verified", SHA256, SHA256)
    assert replace(thing, sha256=SHA256.upper()).verify().status == "verified"
    assert replace(thing, sha256=None).verify() == ("unpinned", None, SHA256)
    put(thing, b"other bytes!!!!")
    assert thing.verify().status == "wrong"


def test_a_wrong_file_is_refused_with_both_hashes_and_the_remedy(thing):
    put(thing, b"evil")
    with pytest.raises(BenchError) as caught:
        thing.require_verified()
    message = str(caught.value)
    assert SHA256 in message and hashlib.sha256(b"evil").hexdigest() in message and "bench fetch thing" in message
    assert "\n" not in message
    assert thing.require() == thing.path  # existence only


def test_a_file_without_any_hash_is_refused_until_it_is_pinned(thing):
    unhashed = replace(thing, sha256=None)
    put(unhashed)
    with pytest.raises(BenchError, match="--pin"):
        unhashed.require_verified()
    pins.accept(unhashed.file, SHA256)
    assert unhashed.require_verified() == unhashed.path
    put(unhashed, b"changed since")
    with pytest.raises(BenchError, match="not the pinned"):
        unhashed.require_verified()


def test_the_catalogues_hash_wins_over_a_pin(thing):
    pins.accept(thing.file, "0" * 64)
    assert thing.expected() == SHA256


@pytest.fixture
def named(thing) -> Asset:
    """A file of whose hash only the first eight digits are published."""
    return replace(thing, file=f"weights/thing-{SHA256[:8]}.bin", sha256=None, prefix=SHA256[:8])


@pytest.mark.parametrize("prefix", ["abc", "ABCDEF01", "0123456g", "", "0" * 64])
def test_a_prefix_that_is_none_is_refused(prefix):
    with pytest.raises(BenchError, match="not 8 to 63 lower-case hex digits"):
        Asset("thing", "x", None, None, prefix=prefix)


def test_a_prefix_and_a_hash_that_contradict_each_other_are_refused():
    assert Asset("thing", "x", None, SHA256, prefix=SHA256[:8]).expected() == SHA256
    with pytest.raises(BenchError, match="does not begin with 00000000"):
        Asset("thing", "x", None, SHA256, prefix="00000000")


def test_a_file_that_does_not_begin_as_published_is_wrong_and_one_that_does_is_not_yet_verified(named):
    put(named)
    assert named.verify() == ("unpinned", None, SHA256)
    with pytest.raises(BenchError, match="bench fetch thing checks them and pins the whole"):
        named.require_verified()
    put(named, b"evil")
    assert named.verify() == ("wrong", f"{SHA256[:8]}…", hashlib.sha256(b"evil").hexdigest())


def test_a_file_pinned_by_its_prefix_is_verified_and_not_vouched_for(named, home):
    put(named)
    pins.accept(named.file, SHA256, SHA256[:8])
    assert named.verify().status == "verified" and not named.vouched()
    assert json.loads((home / "pins.json").read_text()) == {named.file: {"sha256": SHA256, "prefix": SHA256[:8]}}
    pins.accept(named.file, SHA256)  # a person's word
    assert named.vouched() and replace(named, sha256=SHA256).vouched()


def test_a_pin_of_another_prefix_no_longer_counts(named):
    pins.accept(named.file, "0" * 64, "00000000")
    assert named.expected() is None and not named.vouched()


def test_a_missing_file_says_the_digits_that_are_known(named):
    with pytest.raises(MissingFile, match=f"sha256 {SHA256[:8]}…"):
        named.require()


def test_a_damaged_pins_file_is_one_line_and_never_no_pins(thing, home):
    home.mkdir()
    forged = json.dumps({"a": {"sha256": SHA256, "prefix": "00000000"}})
    for text in ("{", "[]", '{"a": 1}', '{"a": "abc"}', '{"a": {}}', forged):
        (home / "pins.json").write_text(text)
        with pytest.raises(BenchError, match=r"pins\.json"):
            replace(thing, sha256=None).expected()


def test_pins_of_many_writers_are_all_kept():
    threads = [threading.Thread(target=pins.accept, args=(f"f{i}", f"{i:064x}")) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [pins.pinned(f"f{i}") for i in range(12)] == [(f"{i:064x}", None) for i in range(12)]


def test_a_digest_is_read_once(thing, monkeypatch):
    put(thing)
    assert thing.digest() == SHA256
    monkeypatch.setattr(memo, "file_hash", lambda _: pytest.fail("hashed again"))
    assert thing.digest() == SHA256


def test_a_changed_file_of_the_same_size_and_time_is_hashed_again(thing):
    put(thing)
    assert thing.digest() == SHA256
    times = thing.path.stat()
    swapped = RIGHT[::-1]
    thing.path.write_bytes(swapped)
    os.utime(thing.path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert thing.digest() == hashlib.sha256(swapped).hexdigest()


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"sha256": 5}', '{"sha256": "0"}'])
def test_a_damaged_memo_only_costs_time(thing, home, damage):
    put(thing)
    thing.digest()
    (entry,) = (home / "digests").glob("*.json")
    entry.write_text(damage)
    assert thing.digest() == SHA256


def test_a_memo_of_another_file_is_not_believed(thing, home):
    put(thing)
    thing.digest()
    (entry,) = (home / "digests").glob("*.json")
    entry.write_text(json.dumps({**json.loads(entry.read_text()), "path": "/other", "sha256": "0" * 64}))
    assert thing.digest() == SHA256


def test_a_cache_that_cannot_hold_the_memo_still_answers(thing, home):
    put(thing)
    (home / "digests").write_text("in the way")
    assert thing.digest() == SHA256


def test_fields_of_the_catalogue_make_an_asset(tmp_path: Path):
    made = Asset.from_fields("o", {"file": "a/b", "url": "u", "bytes": 3}, "MIT")
    assert made == Asset("o", "a/b", "u", None, 3, "MIT")
    assert (
        Asset.from_fields("o", {"file": "a-12345678.pth", "prefix": 12345678}).prefix == "12345678"
    )  # as YAML reads it
    with pytest.raises(BenchError, match="key 'file'"):
        Asset.from_fields("o", {"url": "u"})


@pytest.mark.parametrize(
    "url",
    [
        "http://[::bad/", "https://[::1/x", "http://[zz]/", "hf://[::bad/a/b", "gdrive://[x", "//[", "http://h:99999/",
        "http://h:port/", "http:///file", "https://?q", "http://a b/", "http://h/\n", "http://h/\0", 5, ["http://h"],
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_taken_apart_is_refused_in_one_line(url):
    with pytest.raises(BenchError) as caught:
        Asset.from_fields("mine", {"file": "a.bin", "url": url})
    said = str(caught.value)
    assert said.startswith("mine: url ") and "of a.bin is no address" in said and len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "url", ["https://h/x%20y?z=1#f", "http://[::1]:80/x", "http://h:8080/", "hf://a/b/c@v", "gdrive://i"]
)
def test_an_address_that_can_be_is_taken(url):
    assert Asset.from_fields("mine", {"file": "a.bin", "url": url}).url == url


PLUGIN = """
from bench.fetch.assets import Asset
from bench.methods.base import Method
import bench

class Far(Method):
    name = "far"
    def load(self, device, dtype): pass
    def restore(self, images, seeds=None): return images
    def identity(self): return {"name": "far"}
    def assets(self): return [Asset("far", "far.bin", "http://[::bad/", None)]

bench.register_method("far", Far)
"""


def test_a_plugins_address_is_one_line_and_exit_code_2(tmp_path, home, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "far.py").write_text(PLUGIN)
    (tmp_path / "s.yaml").write_text("schema: 1\ndatasets: [builtin-lowlight]\nmethods: [far]\nmetrics: [psnr]\n")
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", "s.yaml", "--plugin", "far.py"])
    shown = capsys.readouterr()
    assert stop.value.code == 2 and "url 'http://[::bad/' of far.bin is no address" in shown.err
    assert "Traceback" not in shown.err and len([line for line in shown.err.splitlines() if "error:" in line]) == 1
