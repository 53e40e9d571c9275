"""Downloads from a server that stalls, truncates, lies, redirects and changes its mind."""

from __future__ import annotations

import errno
import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.fetch.download import Network
from bench.fetch.part import Part


def leftovers(home: Path) -> list[str]:
    return sorted(path.name for path in home.rglob("*.part*"))


def test_a_good_server_gives_the_file_and_its_hash(server, asset, bring, answer, data, home):
    server.routes["/file"] = answer()
    result = bring(asset)
    assert result.status == "downloaded"
    assert asset.path.read_bytes() == data
    assert hashlib.sha256(data).hexdigest() in result.detail
    assert leftovers(home) == []


def test_the_licence_is_said_before_the_download(server, asset, bring, answer):
    server.routes["/file"] = answer()
    bring(asset)
    assert bring.lines[0] == "thing: licence MIT"


def test_a_file_that_is_there_is_not_asked_for_again(server, asset, bring, answer):
    server.routes["/file"] = answer()
    bring(asset)
    assert bring(asset).status == "present"
    assert len(server.requests) == 1


def test_force_brings_a_present_file_again(server, asset, bring, answer):
    server.routes["/file"] = answer()
    bring(asset)
    assert bring(asset, force=True).status == "downloaded"
    assert len(server.requests) == 2


def test_a_wrong_file_in_the_cache_is_replaced(server, asset, bring, answer, data):
    server.routes["/file"] = answer()
    asset.path.parent.mkdir(parents=True)
    asset.path.write_bytes(b"not it")
    assert bring(asset).status == "downloaded"
    assert asset.path.read_bytes() == data


def test_a_wrong_file_in_the_cache_stays_until_the_right_one_came(server, asset, bring, answer):
    server.routes["/file"] = answer(status=404)
    asset.path.parent.mkdir(parents=True)
    asset.path.write_bytes(b"not it")
    assert bring(asset).status == "failed"
    assert asset.path.read_bytes() == b"not it"


def test_chunked_answers_without_a_length_are_taken(server, asset, bring, answer, data):
    server.routes["/file"] = answer(chunked=True)
    assert bring(asset).status == "downloaded"
    assert asset.path.read_bytes() == data


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_breaks_off_is_continued_where_it_stopped(server, asset, bring, answer, data, chunked):
    server.routes["/file"] = [answer(send=100_000, chunked=chunked), answer()]
    assert bring(asset).status == "downloaded"
    assert asset.path.read_bytes() == data
    assert server.ranges() == [None, "bytes=100000-"]
    assert server.requests[1][1]["if-range"] == '"one"'
    assert "broke off after 100000 of 204800 bytes" in bring.text


def test_a_length_larger_than_the_file_fails_after_the_retries(server, asset, bring, answer, data):
    server.routes["/file"] = answer(length=len(data) + 10)
    result = bring(replace(asset, bytes=len(data) + 10))
    assert result.status == "failed" and not asset.path.exists()
    assert len(server.requests) > 1


def test_a_stalled_server_is_noticed_and_the_rest_fetched(server, asset, bring, answer, data, elapsed):
    server.routes["/file"] = [answer(stall=50_000), answer()]
    assert bring(asset).status == "downloaded"
    assert "stalled" in bring.text
    assert server.ranges()[1] == "bytes=50000-"
    assert elapsed() < 3


def test_a_server_that_stalls_for_ever_is_given_up_and_the_beginning_kept(server, asset, bring, answer, elapsed):
    server.routes["/file"] = answer(stall=1000)
    result = bring(asset, network=Network(connect=1, read=0.15, retries=1, backoff=0.01))
    assert result.status == "failed"
    assert "stalled" in result.detail and "run again" in result.detail
    assert asset.path.with_name("thing.bin.part").stat().st_size == 2000
    assert elapsed() < 3


def test_a_trickle_below_the_floor_counts_as_stalled(server, asset, bring, answer, elapsed):
    server.routes["/file"] = answer(drip=0.02)
    result = bring(asset, network=Network(connect=1, read=0.2, floor=1000, retries=0))
    assert "stalled" in result.detail
    assert elapsed() < 3


def test_a_server_that_never_answers_is_given_up(server, asset, bring, answer, monkeypatch, elapsed):
    monkeypatch.setattr(server, "answer", lambda handler: server.closing.wait(5))
    result = bring(asset, network=Network(connect=1, read=0.15, retries=1, backoff=0.01))
    assert "does not answer within 0.15 s" in result.detail
    assert elapsed() < 3


def test_nobody_listening_is_one_clear_line(asset, bring):
    gone = replace(asset, url="http://127.0.0.1:9/file")
    result = bring(gone, network=Network(connect=0.5, read=0.5, retries=1, backoff=0.01))
    assert result.status == "failed"
    assert "no connection to 127.0.0.1" in result.detail and "\n" not in result.detail


def test_a_download_broken_by_an_earlier_process_is_continued(server, asset, bring, answer, data):
    server.routes["/file"] = [answer(send=70_000), answer(status=404), answer()]
    assert bring(asset, network=replace_retries(1)).status == "failed"
    assert bring(asset).status == "downloaded"
    assert server.ranges() == [None, "bytes=70000-", "bytes=70000-"]
    assert asset.path.read_bytes() == data


def replace_retries(count: int) -> Network:
    return Network(connect=1, read=0.3, retries=count, backoff=0.01)


def test_a_server_that_ignores_ranges_starts_over(server, asset, bring, answer, data):
    server.routes["/file"] = [answer(send=100_000, ranges=False), answer(ranges=False)]
    assert bring(asset).status == "downloaded"
    assert asset.path.read_bytes() == data


def test_a_file_that_changed_between_attempts_starts_over(server, asset, bring, answer, data):
    old = bytes(len(data))
    server.routes["/file"] = [answer(data=old, etag='"old"', send=100_000), answer(etag='"new"')]
    assert bring(asset).status == "downloaded"
    assert asset.path.read_bytes() == data


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"etag": '"old"'}, {"etag": '"new"'}),
        (
            {"etag": None, "modified": "Mon, 01 Jan 2024 00:00:00 GMT"},
            {"etag": None, "modified": "Tue, 02 Jan 2024 00:00:00 GMT"},
        ),
    ],
)
def test_a_change_is_seen_even_where_the_server_ignores_if_range(server, asset, bring, answer, data, before, after):
    old = bytes(len(data))
    server.routes["/file"] = [
        answer(data=old, send=100_000, **before),
        answer(honour_if_range=False, **after),
    ]
    # No hash is known, so nothing later would notice a mixture of the two.
    assert bring(replace(asset, sha256=None), pin=True).status == "downloaded"
    assert asset.path.read_bytes() == data
    assert server.ranges() == [None, "bytes=100000-", None]


def test_a_server_that_continues_at_another_place_starts_over(server, asset, bring, answer, data):
    server.routes["/file"] = [answer(send=100_000), answer(shift=1000)]
    assert bring(replace(asset, sha256=None), pin=True).status == "downloaded"
    assert asset.path.read_bytes() == data
    assert server.ranges() == [None, "bytes=100000-", None]


def test_a_part_that_nobody_asked_for_is_refused(server, asset, bring, answer):
    server.routes["/file"] = answer(status=206, headers={"Content-Range": "bytes 5-9/10"}, data=b"56789")
    assert "nobody asked for" in bring(replace(asset, bytes=None)).detail


def test_halves_of_two_files_that_nothing_tells_apart_are_found_by_the_hash(server, asset, bring, answer, data):
    old = bytes(len(data))
    server.routes["/file"] = [answer(data=old, etag=None, send=100_000), answer(etag=None)]
    assert bring(asset).status == "downloaded"
    assert asset.path.read_bytes() == data
    assert server.ranges() == [None, "bytes=100000-", None]


def test_without_a_hash_a_beginning_that_nothing_vouches_for_is_not_continued(server, asset, bring, answer, data):
    old = bytes(len(data))
    server.routes["/file"] = [answer(data=old, etag=None, send=100_000), answer(etag=None)]
    assert bring(replace(asset, sha256=None), pin=True).status == "downloaded"
    assert asset.path.read_bytes() == data


def test_a_weak_etag_is_not_used_to_continue(server, asset, bring, answer):
    server.routes["/file"] = [answer(etag='W/"one"', send=100_000), answer(etag='W/"one"')]
    assert bring(asset).status == "downloaded"
    assert "if-range" not in server.requests[1][1]


def test_416_for_a_beginning_longer_than_the_file_starts_over(server, asset, bring, answer, data):
    server.routes["/file"] = answer()
    part = asset.path.with_name("thing.bin.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * (len(data) + 5))
    assert bring(replace(asset, bytes=None)).status == "downloaded"
    assert asset.path.read_bytes() == data
    assert len(server.requests) == 2


def test_a_complete_part_is_only_hashed(server, asset, bring, data):
    part = asset.path.with_name("thing.bin.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(data)
    assert bring(asset).status == "downloaded"
    assert server.requests == []


def test_a_part_from_another_address_is_not_continued(server, asset, bring, answer, data):
    server.routes["/file"] = answer(send=1000)
    server.routes["/other"] = answer(etag='"two"')
    bring(asset, network=replace_retries(0))
    assert bring(replace(asset, url=server.url("/other"))).status == "downloaded"
    assert server.ranges() == [None, None]


def test_wrong_bytes_of_the_right_size_are_deleted_and_both_hashes_said(server, asset, bring, answer, data, home):
    lie = bytes(len(data))
    server.routes["/file"] = answer(data=lie)
    result = bring(asset)
    assert result.status == "failed"
    assert hashlib.sha256(lie).hexdigest() in result.detail and str(asset.sha256) in result.detail
    assert not asset.path.exists() and leftovers(home) == []
    assert len(server.requests) == 1


PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in\x1b[31m</title></head><body>please</body></html>"


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
@pytest.mark.parametrize("pin", [False, True])
def test_a_login_page_with_status_200_is_called_one(server, asset, bring, answer, home, kind, pin):
    server.routes["/file"] = answer(data=PAGE, headers={"Content-Type": kind}, length=-1)
    wanted = replace(asset, sha256=None, bytes=None) if pin else asset
    result = bring(wanted, pin=pin)
    assert result.status == "failed"
    assert "HTML page ('Sign in [31m')" in result.detail and "login" in result.detail
    assert leftovers(home) == [] and not (home / "pins.json").exists()
    assert len(server.requests) == 1


def test_a_login_page_with_a_length_is_called_one_too(server, asset, bring, answer):
    server.routes["/file"] = answer(data=PAGE, headers={"Content-Type": "text/html"})
    assert "HTML page ('Sign in" in bring(asset).detail


def test_a_length_other_than_the_catalogues_is_refused_before_the_body(server, asset, bring, answer, data):
    server.routes["/file"] = answer(length=1000)
    result = bring(asset)
    assert f"offers 1000 bytes and the catalogue says {len(data)}" in result.detail
    assert not asset.path.exists()


def test_a_length_smaller_than_the_file_is_found_by_the_hash(server, asset, bring, answer):
    server.routes["/file"] = answer(length=1000)
    result = bring(replace(asset, bytes=None))
    assert result.status == "failed" and str(asset.sha256) in result.detail


def test_an_endless_body_is_stopped_at_the_declared_size(server, asset, bring, answer, home, elapsed):
    server.routes["/file"] = answer(endless=True)
    result = bring(asset)
    assert "sends more than 204800 bytes" in result.detail
    assert leftovers(home) == [] and elapsed() < 3


def test_an_endless_body_of_undeclared_size_is_stopped_too(server, asset, bring, answer, home, monkeypatch):
    monkeypatch.setattr("bench.fetch.part.UNDECLARED_LIMIT", 1 << 20)
    server.routes["/file"] = answer(endless=True)
    assert "sends more than 1048576 bytes" in bring(replace(asset, bytes=None)).detail
    assert leftovers(home) == []


@pytest.mark.parametrize(("status", "words"), [(404, "not found"), (403, "access denied"), (401, "login")])
def test_a_refusal_is_not_retried_and_names_the_address(server, asset, bring, answer, status, words):
    server.routes["/file"] = answer(status=status)
    result = bring(asset)
    assert result.status == "failed"
    assert f"HTTP {status}" in result.detail and words in result.detail and str(asset.url) in result.detail
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_failure_is_retried(server, asset, bring, answer, status):
    server.routes["/file"] = [answer(status=status, headers={"Retry-After": "9999"}), answer()]
    assert bring(asset).status == "downloaded"
    assert len(server.requests) == 2


def test_a_failure_that_does_not_pass_is_given_up(server, asset, bring, answer):
    server.routes["/file"] = answer(status=500)
    assert "HTTP 500" in bring(asset).detail
    assert len(server.requests) == 4


def test_redirects_are_followed(server, asset, bring, answer):
    server.routes["/file"] = answer(status=302, headers={"Location": "/there"}, data=b"")
    server.routes["/there"] = answer()
    assert bring(asset).status == "downloaded"


def test_a_redirect_loop_ends(server, asset, bring, answer):
    server.routes["/file"] = answer(status=302, headers={"Location": "/b"}, data=b"")
    server.routes["/b"] = answer(status=302, headers={"Location": "/file"}, data=b"")
    assert "redirects in a circle" in bring(asset).detail
    assert len(server.requests) == 2


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher:x"])
def test_a_redirect_to_another_scheme_is_refused(server, asset, bring, answer, target):
    server.routes["/file"] = answer(status=302, headers={"Location": target}, data=b"")
    result = bring(asset)
    assert result.status == "failed" and "only http and https are followed" in result.detail


@pytest.mark.parametrize("target", ["http://[::bad/", "//[", "http://127.0.0.1:99999/", "https://h:port/"])
def test_a_redirect_to_what_is_no_address_is_a_failure(server, asset, bring, answer, target):
    server.routes["/file"] = answer(status=302, headers={"Location": target}, data=b"")
    result = bring(asset)
    assert result.status == "failed" and "cannot be asked for" in result.detail and "\n" not in result.detail


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "/etc/passwd"])
def test_an_address_of_another_scheme_is_refused(asset, bring, url):
    assert "cannot fetch from" in bring(replace(asset, url=url)).detail


def test_a_compressed_answer_is_refused(server, asset, bring, answer):
    server.routes["/file"] = answer(headers={"Content-Encoding": "gzip"})
    assert "compressed" in bring(asset).detail


def test_a_full_disk_is_one_line_before_the_download(server, asset, bring, answer, monkeypatch):
    server.routes["/file"] = answer()
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    result = bring(asset)
    assert result.status == "failed"
    assert "204800 bytes" in result.detail and "1000 free" in result.detail and "BENCH_HOME" in result.detail


def test_a_disk_that_fills_up_is_one_line(server, asset, bring, answer, monkeypatch):
    server.routes["/file"] = answer()

    class Full:
        def __init__(self, file: Any) -> None:
            self.file = file

        def write(self, block: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    opened = Part._open_file
    monkeypatch.setattr(Part, "_open_file", lambda self: Full(opened(self)))
    result = bring(asset)
    assert result.status == "failed" and "the disk is full" in result.detail and "\n" not in result.detail


def test_a_cache_that_cannot_be_written_is_one_line(server, asset, bring, answer, home):
    home.parent.mkdir(exist_ok=True)
    home.write_text("a file where the folder should be")
    result = bring(asset)
    assert result.status == "failed" and str(home) in result.detail and "\n" not in result.detail


def test_one_failure_does_not_stop_the_others(server, asset, bring, answer):
    from bench.fetch.fetch import fetch

    server.routes["/file"] = answer()
    gone = replace(asset, file="weights/gone.bin", url=server.url("/gone"))
    results = fetch([gone, asset], progress=False, network=replace_retries(0), say=bring.lines.append)
    assert [result.status for result in results] == ["failed", "downloaded"]


def test_progress_goes_to_standard_error_only(server, asset, bring, answer, capsys):
    server.routes["/file"] = answer()
    bring(asset, progress=True)
    seen = capsys.readouterr()
    assert seen.out == "" and "weights/thing.bin" in seen.err
