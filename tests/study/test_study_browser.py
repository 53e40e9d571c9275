"""A study in a real browser: people click, press and tap, one reloads, and nothing that is sent names a method."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import bench
from support.studies import METHODS, QUALITY, study
from support.voters import Sitting, Voter, browser, key_of

from bench.results import votes
from bench.study import key as keys
from bench.study import server
from bench.study.vote_log import VoteLog

pytestmark = [pytest.mark.usefixtures("folder"), pytest.mark.slow]
STUDY = Path("asked")
PEOPLE = [
    Voter(1, keys=True),
    Voter(2, reloads=True),
    Voter(3, phone=True, language="de"),
    Voter(4, careless=True, keys=True),
]


@pytest.fixture
def address(design: str) -> Iterator[str]:
    """Of a server for the study."""
    with VoteLog(STUDY / "votes.jsonl") as log:
        taker = server.Taker(keys.read(STUDY / keys.FILE)[0], log, active=False)
        with server.Server(("127.0.0.1", 0), server.files_of(STUDY), taker) as serving:
            threading.Thread(target=serving.serve_forever, args=(0.05,), daemon=True).start()
            yield f"http://127.0.0.1:{serving.server_address[1]}/"
            serving.shutdown()


@pytest.fixture(params=["rating", "pairs", "ranking"])
def design(request: pytest.FixtureRequest, folder: Path) -> str:
    study("--design", request.param, "--items", "4", "--people", "4", "--traps", "2", "--repeats", "1", "--criteria",
          "overall" if request.param != "rating" else "overall,noise", "--votes", "7")  # fmt: skip
    return request.param


def test_people_vote_from_a_disk_and_by_a_server(design: str, address: str, capsys: pytest.CaptureFixture[str]):
    requests: list[str] = []
    Path("votes").mkdir()
    with browser() as started:
        for voter in PEOPLE:
            sitting = Sitting(started, voter, key_of(STUDY), QUALITY)
            served = voter.person % 2 == 1
            sitting.begin(address if served else (STUDY / "page/index.html").resolve().as_uri())
            sitting.vote()
            if served:
                sitting.wait_until_sent()
            else:
                sitting.save(Path("votes"))
            assert sitting.errors == []
            requests += sitting.requests
            sitting.close()
    capsys.readouterr()
    assert bench("study", "add", "asked", "votes", "--fastest", "0.3") == 0
    told = capsys.readouterr().out
    found = {one.observer: one for one in votes.sessions(Path("results"), kept=False)}
    assert set(found) == {"p1", "p2", "p3", "p4"}
    assert [found[f"p{n}"].kept for n in (1, 2, 3)] == [True] * 3, told
    assert not found["p4"].kept and re.search(r"p4 .*left out: (traps|straight)", told)
    assert found["p3"].language == "de"
    assert all(
        len(one.votes) == (14 if design == "rating" else 4 if design == "ranking" else 7) for one in found.values()
    )
    local = str(Path.cwd())
    sent = "\n".join(requests).replace(local, "")
    secret = [*METHODS, "Dragonet", "scene", *(one["hash"] for one in key_of(STUDY)["images"].values())]
    assert [name for name in secret if name in sent] == []


@pytest.mark.parametrize("design", ["pairs"], indirect=True)
def test_images_are_zoomed_together(design: str, address: str) -> None:
    with browser() as started:
        sitting = Sitting(started, Voter(1), key_of(STUDY), QUALITY)
        sitting.begin(address)
        sitting.page.wait_for_selector("#next")
        before = sitting.page.eval_on_selector_all(".frame img", "all => all.map(one => one.style.transform)")
        sitting.page.mouse.move(400, 300)
        sitting.page.mouse.wheel(0, -400)
        sitting.page.wait_for_timeout(50)
        after = sitting.page.eval_on_selector_all(".frame img", "all => all.map(one => one.style.transform)")
        assert len(after) == 3 and len(set(after)) == 1 and after != before
        sitting.close()


@pytest.mark.parametrize("design", ["pairs"], indirect=True)
def test_nobody_begins_before_the_answers_of_the_one_before_are_safe(design: str, address: str, tmp_path: Path) -> None:
    with browser() as started:
        sitting = Sitting(started, Voter(1), key_of(STUDY), QUALITY)
        sitting.begin((STUDY / "page/index.html").resolve().as_uri())
        sitting.vote()
        another = sitting.page.locator("#another")
        assert another.is_disabled()
        sitting.save(tmp_path)
        assert another.is_enabled()
        sitting.close()
        cut = Sitting(started, Voter(2), key_of(STUDY), QUALITY)
        cut.begin(address)
        cut.page.route("**/api/vote", lambda route: route.abort())
        cut.vote()
        assert cut.page.locator("#another").is_disabled()
        cut.page.unroute("**/api/vote")
        cut.wait_until_sent()
        assert cut.page.locator("#another").is_enabled()
        cut.close()
