"""A small server for one study: it hands out the page and its images, and takes votes. Nothing else.

It answers this machine alone unless told otherwise, lists no folder, opens no path that a request names (what it
serves is looked up among the files that were there when it started), and takes JSON of bounded size and known form.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from bench.errors import BenchError, one_line
from bench.results.votes import Name
from bench.study import key as keys
from bench.study import make, submission
from bench.study.active import Chooser
from bench.study.add import LOG
from bench.study.key import Key
from bench.study.submission import LINE, MOST_EVENT, Line, Vote
from bench.study.vote_log import LogFull, VoteLog

LOCAL = "127.0.0.1"
PATIENCE = 20
"""Seconds that a connection may be silent."""
MOST_CONNECTIONS = 128
SESSIONS_EACH = 20
"""Sessions taken per participant of the study: more are a script, not people."""
_TYPES = {".html": "text/html; charset=utf-8", ".png": "image/png"}


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class _Next:
    session: Name
    person: Annotated[int, Field(ge=1, le=10_000)]
    step: Annotated[int, Field(ge=0, le=1_000_000)]


_NEXT = TypeAdapter(_Next)


class Reply(NamedTuple):
    """What a request is answered."""

    status: HTTPStatus
    body: Mapping[str, Any]


class Taker:
    """What the server knows of its study; safe for threads."""

    def __init__(self, key: Key, log: VoteLog, *, active: bool) -> None:
        self.key = key
        self._log = log
        self._lock = threading.Lock()
        self._sessions: set[str] = set()
        self._given: dict[tuple[str, int], tuple[int, int]] = {}
        self._taken: dict[tuple[str, int], bytes] = {}
        self._places = {question: place for place, question in enumerate(key.questions)}
        self._chooser = _chooser(key) if active else None

    def told(self) -> dict[str, Any]:
        """What the page is told of its server."""
        return {"study": self.key.study, "active": self._chooser is not None, "length": len(self.key.plans[0])}

    def resume(self) -> int:
        """Take up what the log has; how many events that is."""
        count = 0
        for sitting in submission.read(self._log.path).sittings if self._log.path.stat().st_size else []:
            for event in sitting.events:
                count += 1
                self._sessions.add(sitting.session)
                if isinstance(event, Vote):
                    self._learn(sitting.session, event)
        return count

    def vote(self, body: bytes) -> Reply:
        """Take an event; `OK` says that it is on the disk."""
        try:
            line = LINE.validate_json(body)
        except ValidationError as error:
            return _refused(HTTPStatus.BAD_REQUEST, submission.complaint(error))
        if line.study != self.key.study:
            return _refused(HTTPStatus.BAD_REQUEST, f"this is study {self.key.study}")
        longest = max(map(len, self.key.plans))
        if line.number > 2 * longest + 10:
            return _refused(HTTPStatus.BAD_REQUEST, f"number: a session has {longest} questions")
        payload = json.dumps(json.loads(body), separators=(",", ":"), ensure_ascii=True).encode()
        with self._lock:
            if not self._room(line.session):
                return _refused(HTTPStatus.INSUFFICIENT_STORAGE, "too many sessions")
            known = self._taken.get((line.session, line.number))
        if known != payload:  # one that is sent again, its answer having been lost, is there already
            try:
                self._log.append(payload)
            except LogFull as error:
                return _refused(HTTPStatus.INSUFFICIENT_STORAGE, one_line(error))
            self._remember(line, payload)
        return Reply(HTTPStatus.OK, {"taken": line.number})

    def next(self, body: bytes) -> Reply:
        """The question that a person gets at a step; asking again gives the same."""
        try:
            asked = _NEXT.validate_json(body)
        except ValidationError as error:
            return _refused(HTTPStatus.BAD_REQUEST, submission.complaint(error))
        if self._chooser is None:
            return _refused(HTTPStatus.NOT_FOUND, "questions are not chosen by this server")
        if asked.person > len(self.key.plans):
            return _refused(HTTPStatus.BAD_REQUEST, f"person: {len(self.key.plans)} take part")
        plan = self.key.plans[asked.person - 1]
        if asked.step >= len(plan):
            return Reply(HTTPStatus.OK, {"done": True})
        with self._lock:
            if not self._room(asked.session):
                return _refused(HTTPStatus.INSUFFICIENT_STORAGE, "too many sessions")
            self._sessions.add(asked.session)
            place = asked.session, asked.step
            chosen = self._given.get(place) or self._chosen(asked, plan, self._chooser)
            if chosen is None:
                return Reply(HTTPStatus.OK, {"done": True})
            self._given[place] = chosen
        return Reply(HTTPStatus.OK, {"question": chosen[0], "turn": chosen[1]})

    def _chosen(self, asked: _Next, plan: Sequence[tuple[int, int]], chooser: Chooser) -> tuple[int, int] | None:
        """Where the plan has a trap or a repeat, there is one; all else is chosen."""
        question, turn = plan[asked.step]
        if self._trap(question):
            return question, turn
        if question in [earlier for earlier, _ in plan[: asked.step]]:
            before = [self._given.get((asked.session, step)) for step in range(asked.step)]
            had = [one for one in before if one is not None and not self._trap(one[0])]
            once = [one for one in had if [other for other, _ in had].count(one[0]) == 1]
            if once:
                return once[0][0], 1 - once[0][1]
        return chooser.choose(asked.session)

    def _trap(self, question: int) -> bool:
        return self.key.questions[self.key.order[question]].trap

    def _room(self, session: str) -> bool:
        return session in self._sessions or len(self._sessions) < SESSIONS_EACH * self.key.people

    def _remember(self, line: Line, payload: bytes) -> None:
        with self._lock:
            self._sessions.add(line.session)
            self._taken[line.session, line.number] = payload
            if isinstance(line.event, Vote):
                self._learn(line.session, line.event)

    def _learn(self, session: str, vote: Vote) -> None:
        question = self.key.questions.get(vote.question)
        if self._chooser is None or question is None or question.trap or len(question.images) != 2:
            return
        if sorted(vote.images) == sorted(question.images):
            turn = int(vote.images[0] != question.images[0])
            for values in vote.answers.values():
                if values in ([1, 0], [0, 1], [0.5, 0.5]):
                    self._chooser.answered(session, self._places[vote.question], turn, values)


def _refused(status: HTTPStatus, why: str) -> Reply:
    return Reply(status, {"error": why})


def _chooser(key: Key) -> Chooser:
    """Of a study in pairs; which methods a question compares is known to the server alone."""
    if key.design != "pairs":
        raise BenchError(
            f"--active chooses pairs, and study {key.study} is a {key.design}: bench study make --design pairs"
        )
    methods: dict[str, int] = {}
    pairs = {}
    for place, question in enumerate(key.questions.values()):
        if not question.trap:
            # Of outputs that are the same pixels the first method stands for all: a group would be a method of its own.
            first, second = (methods.setdefault(key.images[name].what[0], len(methods)) for name in question.images)
            pairs[place] = first, second
    return Chooser(pairs, len(methods))


class Server(ThreadingHTTPServer):
    """The study at an address."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], files: Mapping[str, Path], taker: Taker) -> None:
        self.files = files
        self.taker = taker
        self.open = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self.open.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.open.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hangs up in the middle of a request has no trace in the console."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = PATIENCE
    server_version = "bench-study"
    sys_version = ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if not self._from_here():
            return
        path = self.path.partition("?")[0]
        if path == "/api/study":
            self._answer(Reply(HTTPStatus.OK, self.server.taker.told()))
            return
        file = self.server.files.get(path)
        if file is None:
            self._answer(_refused(HTTPStatus.NOT_FOUND, "there is no such page"))
            return
        try:
            content = file.read_bytes()
        except OSError:
            self._answer(_refused(HTTPStatus.NOT_FOUND, "there is no such page"))
            return
        self._send(HTTPStatus.OK, content, _TYPES[file.suffix])

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        if not self._from_here():
            return
        take = {"/api/vote": self.server.taker.vote, "/api/next": self.server.taker.next}.get(self.path)
        length = self.headers.get("Content-Length", "")
        wrong: Reply | None = None
        if take is None:
            wrong = _refused(HTTPStatus.NOT_FOUND, "nothing is taken here")
        elif self.headers.get_content_type() != "application/json":  # which other sites cannot send unasked
            wrong = _refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "votes are application/json")
        elif not (length.isascii() and length.isdigit()) or self.headers.get("Transfer-Encoding"):
            wrong = _refused(HTTPStatus.LENGTH_REQUIRED, "the length of a vote is needed")
        elif len(length) > 9 or int(length) > MOST_EVENT:
            wrong = _refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a vote has at most {MOST_EVENT} bytes")
        if wrong is not None or take is None:
            self.close_connection = True  # its body is not read
            self._answer(wrong or _refused(HTTPStatus.NOT_FOUND, "nothing is taken here"))
            return
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return
        self._answer(take(body))

    def _from_here(self) -> bool:
        """A page elsewhere that has its own name lead to this machine is not answered."""
        host = (self.headers.get("Host") or "").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        address = str(self.server.server_address[0])
        if not is_local(address) or name in (LOCAL, "localhost", address):
            return True
        self.close_connection = True
        self._answer(_refused(HTTPStatus.MISDIRECTED_REQUEST, "this server is for this machine alone"))
        return False

    def _answer(self, reply: Reply) -> None:
        self._send(reply.status, json.dumps(reply.body).encode(), "application/json")

    def _send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "private, max-age=3600" if kind == "image/png" else "no-store")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Who asks for what is nobody's business."""


def files_of(folder: Path) -> dict[str, Path]:
    """What is served, by path: the page and its images. Raises `BenchError` where there is no study."""
    page = folder / make.PAGE
    if not (page / "index.html").is_file() or not (folder / keys.FILE).is_file():
        raise BenchError(f"{folder}: no study: bench study make RUN -o DIR makes one, and DIR is served")
    found = {"/": page / "index.html", "/index.html": page / "index.html"}
    for image in (page / make.IMAGES).iterdir():
        if image.suffix == ".png" and image.is_file() and not image.is_symlink():
            found[f"/{make.IMAGES}/{image.name}"] = image
    return found


def is_local(host: str) -> bool:
    """Whether only this machine can reach an address."""
    return host == "localhost" or host.startswith("127.")


def serve(folder: Path, host: str, port: int, *, active: bool, ready: Any) -> None:
    """Serve until interrupted. `ready` gets the address and how many events the log has. Raises `BenchError`."""
    found = files_of(folder)
    key, _ = keys.read(folder / keys.FILE)
    with VoteLog(folder / LOG) as log:
        taker = Taker(key, log, active=active)
        before = taker.resume()
        try:
            server = Server((host, port), found, taker)
        except (OSError, OverflowError) as error:
            raise BenchError(
                f"{host}:{port} cannot be listened at: {one_line(getattr(error, 'strerror', None) or error)}"
            ) from None
        with server:
            ready(f"http://{host}:{server.server_address[1]}/", before)
            server.serve_forever(poll_interval=0.2)
