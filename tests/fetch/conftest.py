"""A web server on the loopback interface that can be told to misbehave, and assets to ask it for."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bench.fetch.assets import Asset
from bench.fetch.download import Network
from bench.fetch.fetch import Fetched, fetch

DATA = bytes(range(256)) * 800
"""204,800 bytes: larger than any buffer on the way would like."""
QUICK = Network(connect=2, read=0.3, retries=3, backoff=0.01, longest_wait=0.05)


@dataclass
class Answer:
    """How to answer one request. The defaults behave."""

    data: bytes = DATA
    status: int = 200
    ranges: bool = True
    etag: str | None = '"one"'
    modified: str | None = None
    honour_if_range: bool = True
    shift: int = 0
    """Bytes by which a range starts later than asked for."""
    length: int | None = None
    """Content-Length to claim; -1 sends none."""
    send: int | None = None
    """Bytes of the body after which to close."""
    stall: int | None = None
    """Bytes of the body after which to say nothing more for a while."""
    drip: float = 0
    """Seconds between single bytes."""
    endless: bool = False
    chunked: bool = False
    headers: dict[str, str] = field(default_factory=dict)


class Server:
    """`routes[path]` is an answer, or a list of answers for successive requests (the last one stays)."""

    def __init__(self) -> None:
        self.routes: dict[str, Answer | list[Answer]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                outer.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                self.close_connection = True
                with suppress(OSError):  # the client has left, as it should
                    outer.answer(self)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.block_on_close = False
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}{path}"

    def ranges(self) -> list[str | None]:
        return [headers.get("range") for _, headers in self.requests]

    def close(self) -> None:
        self.closing.set()
        self.http.shutdown()
        self.http.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        route = self.routes.get(handler.path, Answer(status=404, data=b"no"))
        if isinstance(route, list):
            route = route.pop(0) if len(route) > 1 else route[0]
        start, status, data = 0, route.status, route.data
        asked, condition = handler.headers.get("Range"), handler.headers.get("If-Range")
        current = condition in (None, route.etag, route.modified) or not route.honour_if_range
        if asked and route.ranges and current and status == 200:
            start, status = int(asked.removeprefix("bytes=").removesuffix("-")) + route.shift, 206
            if start >= len(data):
                status, data, start = 416, b"", 0
        body = data[start:]
        handler.send_response(status)
        handler.send_header("Connection", "close")
        if status == 206 and "Content-Range" not in route.headers:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        for name, value in [("ETag", route.etag), ("Last-Modified", route.modified), *route.headers.items()]:
            if value:
                handler.send_header(name, value)
        if route.chunked:
            handler.send_header("Transfer-Encoding", "chunked")
        elif route.length != -1 and not route.endless:
            handler.send_header("Content-Length", str(len(body) if route.length is None else route.length))
        handler.end_headers()
        self._body(handler, route, body)

    def _body(self, handler: BaseHTTPRequestHandler, route: Answer, body: bytes) -> None:
        out = handler.wfile
        if route.endless:
            while not self.closing.is_set():
                out.write(b"x" * 65536)
        elif route.chunked:
            for at in range(0, len(body), 50_000):
                if route.send is not None and at >= route.send:
                    return
                piece = body[at : at + 50_000]
                out.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            out.write(b"0\r\n\r\n")
        elif route.drip:
            for byte in body:
                out.write(bytes([byte]))
                if self.closing.wait(route.drip):
                    return
        elif route.stall is not None:
            out.write(body[: route.stall])
            out.flush()
            self.closing.wait(5)
        else:
            out.write(body if route.send is None else body[: route.send])


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("BENCH_HOME", str(folder))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def asset(server: Server) -> Asset:
    """DATA at `/file`, hash and size known."""
    return Asset("thing", "weights/thing.bin", server.url("/file"), hashlib.sha256(DATA).hexdigest(), len(DATA), "MIT")


@dataclass
class Said:
    """Calls `fetch` for one asset and keeps its messages."""

    lines: list[str] = field(default_factory=list)

    def __call__(self, asset: Asset, **options: Any) -> Fetched:
        options = {"network": QUICK, "progress": False, **options}
        (result,) = fetch([asset], say=self.lines.append, **options)
        return result

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture
def bring() -> Said:
    return Said()


@pytest.fixture
def answer() -> Callable[..., Answer]:
    return Answer


@pytest.fixture
def data() -> bytes:
    return DATA


@pytest.fixture
def elapsed() -> Callable[[], float]:
    start = time.monotonic()
    return lambda: time.monotonic() - start
