"""The server of a study: it takes votes from several people at once, loses none, and gives nothing else away."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.commands import bench
from support.studies import by_quality, filled, study

from bench.errors import BenchError
from bench.study import key as keys
from bench.study import server, submission
from bench.study.vote_log import VoteLog

pytestmark = pytest.mark.usefixtures("folder")
STUDY = Path("asked")


class Running(NamedTuple):
    port: int
    key: dict[str, Any]

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def post(self, path: str, body: object) -> tuple[int, dict[str, Any]]:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, told = self.ask("POST", path, raw, Content_Type="application/json")
        return status, json.loads(told)


def started(active: bool) -> tuple[server.Server, VoteLog]:
    key, _ = keys.read(STUDY / keys.FILE)
    log = VoteLog(STUDY / "votes.jsonl").__enter__()
    taker = server.Taker(key, log, active=active)
    taker.resume()
    return server.Server(("127.0.0.1", 0), server.files_of(STUDY), taker), log


@pytest.fixture
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    active = getattr(request, "param", False)
    key = study("--design", "pairs", *(("--votes", "8") if active else ()))
    serving, log = started(active)
    thread = threading.Thread(target=serving.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield Running(serving.server_address[1], key)
    serving.shutdown()
    serving.server_close()
    log.close()


def lines(running: Running, person: int) -> list[dict[str, Any]]:
    """What the page would send for somebody."""
    votes = filled(running.key, person, by_quality("pairs", person))
    return [
        {"study": votes["study"], "session": votes["session"], "number": number, "event": event}
        for number, event in enumerate(votes["events"])
    ]


def test_several_people_at_once_lose_nothing(running: Running):
    def send(person: int) -> None:
        for line in lines(running, person):
            status, told = running.post("/api/vote", line)
            assert (status, told) == (200, {"taken": line["number"]})
            if random.random() < 0.2:  # its answer was lost, and it is sent again
                assert running.post("/api/vote", line)[0] == 200

    people = [threading.Thread(target=send, args=(person,)) for person in range(1, 9)]
    for one in people:
        one.start()
    for one in people:
        one.join()
    read = submission.read(STUDY / "votes.jsonl")
    assert read.problems == [] and len(read.sittings) == 8
    assert all(len(one.events) == len(lines(running, 1)) and not one.clash for one in read.sittings)
    raw = (STUDY / "votes.jsonl").read_bytes()
    assert raw.count(b"\n") == sum(len(one.events) for one in read.sittings)
    assert bench("study", "add", "asked") == 0


def test_only_the_page_and_its_images_are_served(running: Running):
    assert running.ask("GET", "/?p=3")[0] == running.ask("GET", "/index.html")[0] == 200
    image = next(iter(running.key["images"]))
    assert running.ask("GET", f"/images/{image}.png")[1].startswith(b"\x89PNG")
    assert running.ask("HEAD", f"/images/{image}.png") == (200, b"")
    for path in (
        "/images/", "/images", "/key.json", "/../key.json", "/images/../../key.json", "/%2e%2e/key.json",
        "/votes.jsonl", "//etc/passwd", "/images/..%2f..%2fkey.json", "/.git/config", "/api/", "/people.txt",
        "/page/index.html", "*",
    ):  # fmt: skip
        assert running.ask("GET", path)[0] == 404, path


def test_a_hundred_malformed_requests_are_a_line_each_and_write_nothing(running: Running):
    good = lines(running, 1)[1]
    draw = random.Random(1)
    bodies: list[bytes] = [
        b"", b"null", b"[]", b"{}", b"\xff\xfe", b"[" * 60_000, b'{"a":' * 9_000, b'"x"', b"1e999", b"{]",
        json.dumps(good).encode()[:-1], json.dumps(good).replace('"turn"', '"turm"').encode(),
        json.dumps({**good, "number": -1}).encode(), json.dumps({**good, "number": 10_000}).encode(),
        json.dumps({**good, "number": True}).encode(), json.dumps({**good, "study": "other"}).encode(),
        json.dumps({**good, "more": 1}).encode(),
    ]  # fmt: skip
    for name in ("study", "session", "number", "event"):
        for value in (None, [], {}, "../x", "'; DROP TABLE", "x" * 70, 1.5, "A B"):
            bodies.append(json.dumps({**good, name: value}).encode())
    while len(bodies) < 110:
        event = dict(good["event"])
        event[draw.choice(list(event))] = draw.choice(
            [None, [], {}, "<script>", -1, [[]], ["../a"], {"a": []}, "9" * 99]
        )
        bodies.append(json.dumps({**good, "event": event}).encode())
    for body in bodies:
        status, told = running.post("/api/vote", body)
        assert status == 400 and list(told) == ["error"] and len(told["error"].splitlines()) <= 1, body[:200]
    assert (STUDY / "votes.jsonl").read_bytes() == b""
    assert running.post("/api/vote", good)[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/api/vote", {"Content-Type": "text/plain", "Content-Length": "2"}, 415),
        ("POST", "/api/vote", {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}, 411),
        ("POST", "/api/vote", {"Content-Type": "application/json", "Content-Length": "-1"}, 411),
        ("POST", "/api/vote", {"Content-Type": "application/json", "Content-Length": "99999999999999999999"}, 413),
        ("POST", "/api/vote", {"Content-Type": "application/json", "Content-Length": str((64 << 10) + 1)}, 413),
        ("POST", "/api/none", {"Content-Type": "application/json", "Content-Length": "2"}, 404),
        ("GET", "/", {"Host": "attacker.example"}, 421),
        ("POST", "/api/vote", {"Host": "attacker.example:8080", "Content-Type": "application/json"}, 421),
        ("PUT", "/api/vote", {"Content-Length": "0"}, 501),
        ("DELETE", "/index.html", {}, 501),
    ],
)
def test_what_is_no_request_of_the_page_is_refused(
    running: Running, method: str, path: str, headers: dict[str, str], status: int
):
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as raw:
        head = {"Host": f"127.0.0.1:{running.port}", **headers}
        raw.sendall(
            f"{method} {path} HTTP/1.1\r\n".encode() + b"".join(f"{k}: {v}\r\n".encode() for k, v in head.items())
        )
        raw.sendall(b"\r\n{}")
        assert raw.recv(100).split()[1] == str(status).encode()


def test_garbage_on_the_line_and_somebody_who_hangs_up_do_not_stop_it(running: Running):
    for sent in (
        b"\x16\x03\x01\x02\x00" * 20,
        b"GET\r\n\r\n",
        b"\r\n" * 50,
        b"POST /api/vote HTTP/1.1\r\nContent-Le",
        b"A" * 70_000,
    ):
        with socket.create_connection(("127.0.0.1", running.port), timeout=20) as raw:
            raw.sendall(sent)
    assert running.ask("GET", "/")[0] == 200


@pytest.mark.parametrize("running", [True], indirect=True)
def test_questions_are_chosen_while_people_answer(running: Running):
    status, told = running.post("/api/next", {"session": "a", "person": 1, "step": 0})
    assert status == 200 and set(told) == {"question", "turn"}
    assert running.post("/api/next", {"session": "a", "person": 1, "step": 0})[1] == told
    length = len(running.key["plans"][0])
    asked = [running.post("/api/next", {"session": "a", "person": 1, "step": step})[1] for step in range(length)]
    # Three come twice, with their sides changed.
    sides: dict[int, list[int]] = {}
    for one in asked:
        sides.setdefault(one["question"], []).append(one["turn"])
    assert sorted(map(len, sides.values())) == [1] * (length - 6) + [2] * 3
    assert all(sorted(turns) == [0, 1] for turns in sides.values() if len(turns) == 2)
    assert running.post("/api/next", {"session": "a", "person": 1, "step": length})[1] == {"done": True}
    order = list(running.key["questions"])
    traps = [running.key["questions"][order[one["question"]]]["trap"] for one in asked]
    assert sum(traps) == 3
    for body in ({"session": "a", "person": 99, "step": 0}, {"session": "../a", "person": 1, "step": 0}, {"person": 1}):
        assert running.post("/api/next", body)[0] == 400


def test_active_choice_is_for_pairs_alone(capsys: pytest.CaptureFixture[str]):
    study()
    assert bench("study", "serve", "asked", "--port", "0", "--active") == 2
    assert "--active chooses pairs" in capsys.readouterr().err


def test_a_second_server_and_a_folder_without_a_study_are_refused(running: Running, capsys: pytest.CaptureFixture[str]):
    for place, said in (("asked", "another server takes votes"), ("low", "no study")):
        assert bench("study", "serve", place, "--port", "0") == 2
        assert said in capsys.readouterr().err


def test_a_log_that_is_full_takes_nothing_and_says_so(running: Running, monkeypatch: pytest.MonkeyPatch):
    from bench.study import vote_log

    sent = lines(running, 1)
    assert running.post("/api/vote", sent[0])[0] == 200
    before = (STUDY / "votes.jsonl").read_bytes()
    monkeypatch.setattr(vote_log, "MOST_LOG", len(before) + 10)
    assert running.post("/api/vote", sent[1])[0] == 507
    assert (STUDY / "votes.jsonl").read_bytes() == before


def _serve(port_file: Path) -> None:
    """Until killed, in a process of its own."""
    serving, _ = started(active=True)
    port_file.write_text(str(serving.server_address[1]))
    port_file.rename(port_file.with_suffix(".ready"))
    serving.serve_forever(0.05)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_killed_at_any_moment_it_has_every_vote_that_was_acknowledged():
    key = study("--design", "pairs", "--people", "12", "--votes", "15")
    every = [line for person in range(1, 13) for line in lines(Running(0, key), person)]
    acknowledged: list[dict[str, Any]] = []
    moments = 50 if "BENCH_TEST_LONG" in os.environ else 20
    draw = random.Random(5)
    for moment in range(moments):
        port_file = Path(f"port{moment}.new")
        child = os.fork()
        if child == 0:
            try:
                _serve(port_file)
            finally:
                os._exit(1)
        ready = port_file.with_suffix(".ready")
        deadline = time.monotonic() + 60
        while not ready.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        serving = Running(int(ready.read_text()), key)
        timer = threading.Timer(draw.uniform(0.0, 0.1), os.kill, (child, signal.SIGKILL))
        try:
            while True:
                line = every[len(acknowledged) % len(every)]
                if serving.post("/api/vote", line)[0] != 200:
                    break
                acknowledged.append(line)
                if timer.ident is None:
                    timer.start()
        except (OSError, http.client.HTTPException, ValueError):
            pass
        if timer.ident is not None:
            timer.join()
        os.waitpid(child, 0)
    with (STUDY / "votes.jsonl").open("ab") as log:
        log.write(b'{"study":"torn')
    with VoteLog(STUDY / "votes.jsonl"):
        pass
    read = submission.read(STUDY / "votes.jsonl")
    assert len(read.problems) == 1 and "torn when the server was stopped" in read.problems[0]
    held = {(one.session, number) for one in read.sittings for number in range(len(one.events))}
    assert len(acknowledged) >= moments
    assert {(line["session"], line["number"]) for line in acknowledged} <= held
    assert not any(one.clash for one in read.sittings)


def test_a_log_is_of_one_server(tmp_path: Path):
    with VoteLog(tmp_path / "votes.jsonl") as log:
        log.append(b"{}")
        with pytest.raises(BenchError, match="another server takes votes"):
            VoteLog(tmp_path / "votes.jsonl").__enter__()


def test_a_log_that_was_moved_takes_nothing_until_it_is_back(running: Running):
    sent = lines(running, 1)
    assert running.post("/api/vote", sent[0])[0] == 200
    log = STUDY / "votes.jsonl"
    log.rename("elsewhere")
    assert running.post("/api/vote", sent[1])[0] == 507 and not log.exists()
    Path("elsewhere").rename(log)
    assert running.post("/api/vote", sent[1])[0] == 200
    assert len(submission.read(log).sittings[0].events) == 2


def test_a_link_among_the_images_leads_nowhere(running: Running):
    (STUDY / "page/images/0123456789abcdef.png").symlink_to(Path("asked/key.json").resolve())
    assert "/images/0123456789abcdef.png" not in server.files_of(STUDY)


@pytest.mark.parametrize(
    ("host", "local"), [("127.0.0.1", True), ("127.0.0.2", True), ("localhost", True), ("0.0.0.0", False)]
)
def test_who_can_reach_an_address(host: str, local: bool):
    assert server.is_local(host) is local


def test_outputs_that_are_the_same_pixels_are_no_method_of_their_own():
    key = study("--design", "pairs")
    names = {name: one["what"] for name, one in key["images"].items()}
    shared = next(name for name, what in names.items() if what == ["Amberfox"])
    key["images"][shared]["what"] = ["Amberfox", "Bluejay"]
    Path("asked/key.json").write_text(json.dumps(key), encoding="utf-8")
    chooser = server._chooser(keys.read(Path("asked/key.json"))[0])
    assert chooser._wins.shape == (3, 3)
