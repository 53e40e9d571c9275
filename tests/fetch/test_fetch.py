"""The command and the orchestration: pins, people, several processes, hubs."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from bench.catalog.registry import Entry
from bench.cli import fetch as cli
from bench.errors import BenchError
from bench.fetch import hubs
from bench.fetch.assets import Asset
from bench.fetch.download import Network
from bench.fetch.fetch import fetch
from bench.fetch.part import FetchError


def test_a_file_without_a_hash_is_only_taken_with_pin(server, asset, bring, answer):
    server.routes["/file"] = answer()
    unhashed = replace(asset, sha256=None)
    refused = bring(unhashed)
    assert refused.status == "failed" and "--pin" in refused.detail and server.requests == []
    assert bring(unhashed, pin=True).status == "downloaded"
    assert unhashed.require_verified() == unhashed.path


def test_a_pinned_file_is_held_to_its_first_content(server, asset, bring, answer, data):
    unhashed = replace(asset, sha256=None)
    server.routes["/file"] = [answer(), answer(data=bytes(len(data)))]
    bring(unhashed, pin=True)
    unhashed.path.unlink()
    result = bring(unhashed, pin=True)
    assert result.status == "failed" and str(asset.sha256) in result.detail


def test_force_and_pin_together_accept_new_content(server, asset, bring, answer, data):
    unhashed = replace(asset, sha256=None)
    server.routes["/file"] = [answer(), answer(data=bytes(len(data)))]
    bring(unhashed, pin=True)
    assert bring(unhashed, pin=True, force=True).status == "downloaded"
    assert unhashed.expected() == hashlib.sha256(bytes(len(data))).hexdigest()


def test_pin_accepts_a_file_that_a_person_put_there(asset, bring, data):
    by_hand = replace(asset, url=None, sha256=None)
    by_hand.path.parent.mkdir(parents=True)
    by_hand.path.write_bytes(data)
    assert "unverified" in bring(by_hand).detail
    assert bring(by_hand, pin=True).status == "present"
    assert by_hand.verify().status == "verified"


@pytest.fixture
def prefixed(asset) -> Asset:
    """The asset with only the first eight digits of its hash published, as in torch.hub's names."""
    digits = str(asset.sha256)[:8]
    return replace(asset, file=f"weights/thing-{digits}.pth", sha256=None, prefix=digits)


def test_a_file_known_by_a_prefix_is_fetched_without_pin_checked_and_held_to_its_whole_hash(
    server, prefixed, bring, answer, data
):
    server.routes["/file"] = answer()
    result = bring(prefixed)
    assert result.status == "downloaded" and f"begins with the published {prefixed.prefix}, pinned" in result.detail
    assert prefixed.expected() == hashlib.sha256(data).hexdigest()
    assert prefixed.require_verified() == prefixed.path and not prefixed.vouched()
    assert bring(prefixed).status == "present" and len(server.requests) == 1


def test_a_file_that_does_not_begin_with_its_prefix_is_refused_and_deleted(server, prefixed, bring, answer, data, home):
    server.routes["/file"] = answer(data=bytes(len(data)))
    result = bring(prefixed)
    assert result.status == "failed" and f"expected {prefixed.prefix}…" in result.detail
    assert not prefixed.path.exists() and not list(home.rglob("*.part*"))
    assert prefixed.expected() is None


def test_pin_cannot_excuse_a_wrong_prefix(server, prefixed, bring, answer, data):
    server.routes["/file"] = answer(data=bytes(len(data)))
    assert bring(prefixed, pin=True).status == "failed" and prefixed.expected() is None


def test_the_whole_hash_holds_after_the_prefix_was_checked(server, prefixed, bring, answer, home):
    server.routes["/file"] = answer()
    bring(prefixed)
    prefixed.path.write_bytes(b"swapped")
    assert prefixed.verify().status == "wrong"
    assert bring(prefixed).status == "downloaded"
    assert prefixed.verify().status == "verified"


def test_a_prefixed_file_put_there_by_a_person_is_checked_and_pinned(prefixed, bring, data):
    by_hand = replace(prefixed, url=None)
    by_hand.path.parent.mkdir(parents=True)
    by_hand.path.write_bytes(data)
    result = bring(by_hand)
    assert result.status == "present" and "begins with the published" in result.detail
    assert by_hand.verify().status == "verified"


def test_pin_vouches_for_a_file_that_a_prefix_has_pinned(server, prefixed, bring, answer):
    server.routes["/file"] = answer()
    bring(prefixed)
    assert not prefixed.vouched()
    assert bring(prefixed, pin=True).detail.endswith(", pinned")
    assert prefixed.vouched() and len(server.requests) == 1


def test_a_mirror_gives_a_prefixed_file_by_its_place_or_by_the_manifest(prefixed, bring, data, tmp_path):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "any.bin").write_bytes(data)
    (mirror / "MANIFEST.csv").write_text(f"file,sha256\nany.bin,{hashlib.sha256(data).hexdigest()}\n")
    assert bring(prefixed, mirror=mirror).status == "mirrored"
    assert prefixed.verify().status == "verified"


def test_what_one_owner_knows_by_prefix_and_another_whole_is_one_file(server, prefixed, asset, answer, data):
    server.routes["/file"] = answer()
    whole = replace(asset, file=prefixed.file, owner="other")
    (result,) = fetch([prefixed, whole], progress=False, say=lambda _: None)
    assert result.asset == whole and result.status == "downloaded"
    with pytest.raises(BenchError, match="want different contents"):
        fetch([prefixed, replace(whole, sha256="0" * 64)])


def test_what_only_a_person_can_get_says_how_and_where(asset, bring):
    by_hand = replace(asset, url=None, instructions="Fill in the form at https://example.org/form.\n")
    result = bring(by_hand)
    assert result.status == "manual"
    for part in ("https://example.org/form", str(by_hand.path), str(by_hand.sha256)):
        assert part in result.detail
    assert "\n" not in result.detail


def test_a_wrong_file_put_there_by_a_person_is_a_failure_with_both_hashes(asset, bring):
    by_hand = replace(asset, url=None, instructions="Ask the authors")
    by_hand.path.parent.mkdir(parents=True)
    by_hand.path.write_bytes(b"something else")
    result = bring(by_hand)
    assert result.status == "failed"
    assert hashlib.sha256(b"something else").hexdigest() in result.detail and str(asset.sha256) in result.detail
    assert by_hand.path.exists()


def test_a_file_that_two_owners_share_is_fetched_once(server, asset, answer):
    server.routes["/file"] = answer()
    results = fetch([asset, replace(asset, owner="other")], progress=False, say=lambda _: None)
    assert len(results) == len(server.requests) == 1


def test_two_contents_for_one_place_are_a_contradiction(asset):
    with pytest.raises(BenchError, match="thing and other want different contents"):
        fetch([asset, replace(asset, owner="other", sha256="0" * 64)])


def _fetch_in_process(asset: Asset, home: str, results: Any) -> None:
    os.environ["BENCH_HOME"] = home
    (result,) = fetch([asset], progress=False, say=lambda _: None)
    results.put(result.status)


def test_two_processes_fetch_a_file_once(server, asset, answer, data, home):
    server.routes["/file"] = answer(drip=0)
    slow = server.answer
    server.answer = lambda handler: (server.closing.wait(0.5), slow(handler))
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_fetch_in_process, args=(asset, str(home), results)) for _ in range(2)]
    for process in processes:
        process.start()
    statuses = sorted(results.get(timeout=20) for _ in processes)
    for process in processes:
        process.join(timeout=20)
    assert statuses == ["downloaded", "present"]
    assert len(server.requests) == 1
    assert asset.path.read_bytes() == data


def test_a_verified_file_in_a_read_only_cache_is_present(asset, bring, data, home, monkeypatch):
    asset.path.parent.mkdir(parents=True)
    asset.path.write_bytes(data)
    (home / "locks").write_text("no lock can be made here")
    assert bring(asset).status == "present"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("hf://owner/name/a/b.pth", ("model", "owner/name", "a/b.pth", None)),
        ("hf://owner/name/b.pth@v1.0", ("model", "owner/name", "b.pth", "v1.0")),
        ("hf://owner/name/b.pth@refs/pr/1", ("model", "owner/name", "b.pth", "refs/pr/1")),
        ("hf://datasets/owner/name/b.zip@abc", ("dataset", "owner/name", "b.zip", "abc")),
    ],
)
def test_hub_addresses_are_read(url, expected):
    assert hubs.parse_hub(url) == expected


@pytest.mark.parametrize("url", ["hf://", "hf://owner", "hf://owner/name", "hf://owner//x", "hf://o/n/../x"])
def test_hub_addresses_without_a_file_are_refused(url):
    with pytest.raises(FetchError, match="is not hf://"):
        hubs.parse_hub(url)


class Drive(types.ModuleType):
    """Stands for gdown, whose own server is not ours to start."""

    content = b""

    def download(self, *, id: str, output: Any, quiet: bool, use_cookies: bool) -> None:
        if id == "gone":
            raise RuntimeError("Cannot retrieve the public link\nof the file")
        for at in range(0, len(self.content), 1000):
            output.write(self.content[at : at + 1000])
        output.flush()


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch, data: bytes) -> Drive:
    fake = Drive("gdown")
    fake.content = data
    monkeypatch.setitem(sys.modules, "gdown", fake)
    return fake


def test_a_file_of_the_drive_is_brought_and_verified(drive, asset, bring, data):
    assert bring(replace(asset, url="gdrive://abc_-1")).status == "downloaded"
    assert asset.path.read_bytes() == data


def test_a_wrong_file_of_the_drive_is_refused(drive, asset, bring, data):
    drive.content = bytes(len(data))
    result = bring(replace(asset, url="gdrive://abc"))
    assert result.status == "failed" and str(asset.sha256) in result.detail


def test_a_drive_that_sends_too_much_is_stopped(drive, asset, bring, data):
    drive.content = data + b"x"
    assert "sends more than" in bring(replace(asset, url="gdrive://abc")).detail


def test_a_drive_that_refuses_is_one_line(drive, asset, bring):
    result = bring(replace(asset, url="gdrive://gone"))
    assert result.status == "failed" and "Cannot retrieve" in result.detail and "\n" not in result.detail


@pytest.fixture
def other_server(server: Any) -> Iterator[Any]:
    running = type(server)()
    yield running
    running.close()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, server: Any) -> Any:
    """A hub of our own: what the library asks of it is what it asks of the real one."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", server.url(""))
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url("/{repo_id}/resolve/{revision}/{filename}")
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    return server


IMPATIENT = Network(connect=2, read=0.3, retries=0)
HUB_FILE = "/owner/name/resolve/abc/a/thing.bin"


def test_a_file_of_the_hub_is_brought_and_verified(hub, asset, bring, data, home, answer):
    hub.routes[HUB_FILE] = answer()
    assert bring(replace(asset, url="hf://owner/name/a/thing.bin@abc")).status == "downloaded"
    assert [path for path, _ in hub.requests] == [HUB_FILE]
    assert asset.path.read_bytes() == data
    assert [path.name for path in asset.path.parent.iterdir()] == ["thing.bin"]


def test_a_file_of_the_hub_goes_on_where_an_earlier_call_broke_off(hub, asset, bring, data, answer):
    hub.routes[HUB_FILE] = answer(send=70_000)
    wanted = replace(asset, url="hf://owner/name/a/thing.bin@abc")
    broken = bring(wanted, network=IMPATIENT)
    assert broken.status == "failed" and "70000 bytes are kept" in broken.detail
    hub.requests.clear()
    hub.routes[HUB_FILE] = answer()
    assert bring(wanted).status == "downloaded" and asset.path.read_bytes() == data
    assert [headers.get("range") for _, headers in hub.requests] == ["bytes=70000-"]


def test_the_login_is_for_the_hub_and_not_for_where_it_sends_us(hub, other_server, asset, bring, answer):
    other_server.routes["/blob"] = answer()
    hub.routes[HUB_FILE] = answer(status=302, headers={"Location": other_server.url("/blob")})
    assert bring(replace(asset, url="hf://owner/name/a/thing.bin@abc")).status == "downloaded"
    assert [headers.get("authorization") for _, headers in hub.requests] == ["Bearer hf_secret"]
    assert [headers.get("authorization") for _, headers in other_server.requests] == [None]


def test_an_offline_hub_is_not_asked(hub, asset, bring, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE forbids it" in bring(replace(asset, url="hf://owner/name/a/thing.bin@abc")).detail
    assert hub.requests == []


def test_a_file_of_the_hub_with_another_size_is_not_downloaded(hub, asset, bring, answer):
    hub.routes["/owner/name/resolve/main/x"] = answer(data=b"12345")
    assert "offers 5 bytes" in bring(replace(asset, url="hf://owner/name/x")).detail
    assert not asset.path.exists()


def test_a_wrong_file_of_the_hub_is_refused(hub, asset, bring, data, answer):
    hub.routes["/owner/name/resolve/main/x"] = answer(data=bytes(len(data)))
    assert str(asset.sha256) in bring(replace(asset, url="hf://owner/name/x")).detail
    assert not asset.path.exists()


def test_a_large_download_is_announced_before_its_first_byte(asset, bring, server, answer):
    said: list[str] = []
    server.routes["/thing.bin"] = answer(status=404)
    shards = [replace(asset, file=f"a/{part}.bin", bytes=None, gigabytes=6.25) for part in ("one", "two")]
    fetch(shards, progress=False, network=IMPATIENT, say=said.append)
    assert said[0].startswith(f"{asset.owner}: 2 files, 12.5 GB to download; ")
    assert "GB are free at" in said[0]


def run(*arguments: str) -> tuple[Any, str, str]:
    outcome = CliRunner().invoke(cli.command, arguments, standalone_mode=False)
    if outcome.exception:
        raise outcome.exception
    return outcome.return_value, outcome.stdout, outcome.stderr


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch, asset: Asset) -> Asset:
    names = {"thing": [asset], "nothing": [], "form": [replace(asset, url=None, instructions="Ask")]}

    def assets_for(name: str) -> list[Asset]:
        if name not in names:
            raise BenchError(f"no suite, method, metric or dataset {name!r}")
        return names[name]

    monkeypatch.setattr(cli, "assets_for", assets_for)
    monkeypatch.setattr(cli, "datasets_for", lambda _: [])
    return asset


def test_the_command_prints_results_on_stdout_and_the_rest_on_stderr(named, server, answer):
    server.routes["/file"] = answer()
    code, out, err = run("thing", "nothing")
    assert code == 0
    assert out.startswith("downloaded  weights/thing.bin") and len(out.splitlines()) == 1
    assert "licence MIT" in err and "nothing needs no files" in err


def test_a_failure_exits_1(named):
    code, out, _ = run("thing")
    assert code == 1 and out.startswith("failed")


def test_a_file_that_needs_a_person_exits_1(named):
    code, out, _ = run("form")
    assert code == 1 and out.startswith("manual")


def test_an_unknown_name_stops_before_any_download(named, server, answer):
    server.routes["/file"] = answer()
    with pytest.raises(BenchError, match="thingy"):
        run("thing", "thingy")
    assert server.requests == []


def test_a_dry_run_lists_and_fetches_nothing(named, server, answer):
    server.routes["/file"] = answer()
    code, out, _ = run("thing", "--dry-run")
    assert code == 0 and "missing" in out and "204,800 bytes" in out and str(named.url) in out
    assert server.requests == []


def test_a_dataset_gives_its_files_with_shared_licence_and_steps():
    fields = {"licence": "NC", "instructions": "Fill in the form", "files": [{"file": "data/a.zip"}]}
    assert cli.assets_of_entry(Entry("d", "dataset", fields, "here")) == [
        Asset("d", "data/a.zip", None, None, None, "NC", "Fill in the form")
    ]


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(BenchError, match="did you mean 'sci-medium'"):
        cli.assets_for("sci-medum")


def test_a_method_gives_its_weights_and_a_metric_nothing():
    assert [asset.file for asset in cli.assets_for("sci-medium")] == ["weights/sci/medium.pt"]
    assert cli.assets_for("psnr") == []
