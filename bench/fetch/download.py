"""One file over http(s), from servers that stall, truncate, lie, redirect and change their mind.

Every wait has an end, every byte is counted against what was declared, a broken download goes on where it stopped,
and what the bytes are is decided by their hash (`Part.place`), never by what the server says about them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from bench.errors import one_line
from bench.fetch.bars import Bar
from bench.fetch.part import BLOCK, FetchError, Origin, Part, WrongContentError

if TYPE_CHECKING:
    import requests

MAX_REDIRECTS = 10
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_REASONS = {
    401: "it wants a login",
    403: "access denied: it may want a login, or the licence accepted on its page",
    404: "not found there any more",
    410: "taken down by its publisher",
}


@dataclass(frozen=True)
class Network:
    """How long to wait for a server, and how often to ask again."""

    connect: float = 10.0
    """Seconds for a connection."""
    read: float = 30.0
    """Seconds without a byte after which the server has stalled."""
    floor: float = 100.0
    """Bytes per second, over a window of `read` seconds, below which it has stalled as well."""
    retries: int = 4
    """Further attempts after one that failed in passing; one that brought `good` bytes gives all of them back."""
    backoff: float = 1.0
    """Seconds before the first further attempt; doubles with each."""
    longest_wait: float = 60.0
    """Seconds; the most that backoff or the server's Retry-After can ask for."""
    good: int = 1 << 20


class PassingError(FetchError):
    """Went wrong in a way that may be gone at the next attempt."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait
        """Seconds that the server asks us to wait."""


class _ChangedError(Exception):
    """What lies in the part is not the beginning of what the server has now."""


def download(
    part: Part,
    url: str,
    network: Network,
    bar: Bar,
    say: Callable[[str], None],
    login: Mapping[str, str] | None = None,
) -> None:
    """Bring the missing bytes of a part. `say` gets one line per further attempt. Raises `FetchError`.

    login: headers for the host of `url` alone; a host that it redirects to does not see them.

    The part then holds as many bytes as were declared; `Part.place` says whether they are the file.
    """
    import requests

    failures = 0
    with requests.Session() as session:
        while True:
            before = part.size
            try:
                _attempt(session, part, url, network, bar, login or {})
                return
            except _ChangedError as change:
                say(f"{part.asset.file}: {change}; starting over")
                part.restart()
            except PassingError as error:
                failures = 1 if part.size - before >= network.good else failures + 1
                if failures > network.retries:
                    kept = f"; {part.size} bytes are kept, run again to go on from there" if part.size else ""
                    raise FetchError(f"{error} (attempt {failures} of {network.retries + 1}){kept}") from error
                wait = error.wait if error.wait is not None else network.backoff * 2 ** (failures - 1)
                wait = min(wait, network.longest_wait)
                say(f"{part.asset.file}: {error}; trying again in {wait:.0f} s")
                time.sleep(wait)
            finally:
                bar.end()


def _attempt(
    session: requests.Session, part: Part, url: str, network: Network, bar: Bar, login: Mapping[str, str]
) -> None:
    noted = part.origin()
    if part.size:
        _check_resumable(part, noted, url)
        total = part.asset.bytes or (noted.total if noted else None)
        if part.size == total:
            return  # all of it is there already; only the hash was not looked at
    headers = {"Accept-Encoding": "identity"}  # ranges, lengths and hashes are those of the file itself
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        if noted and noted.validator:
            headers["If-Range"] = noted.validator
    response = _open(session, url, headers, network, login)
    with response:
        total = _begin(response, part, noted, url)
        bar.begin(part.size, total)
        _receive(response, part, total, network, bar)


def _check_resumable(part: Part, noted: Origin | None, url: str) -> None:
    """Raise `_ChangedError` unless something will tell whether old and new bytes are of one file."""
    if noted is not None and noted.url != url:
        raise _ChangedError("the beginning that lies here came from another address")
    if part.expected is None and not (noted and noted.validator):
        raise _ChangedError("nothing would show whether the beginning that lies here still fits")


def _open(
    session: requests.Session, url: str, headers: dict[str, str], network: Network, login: Mapping[str, str]
) -> requests.Response:
    """The response to a GET, redirects followed by hand so that each target is looked at. Raises `FetchError`."""
    import requests

    seen: list[str] = []
    here = url
    while True:
        scheme = urlsplit(here).scheme.lower()
        if scheme not in ("http", "https"):
            raise FetchError(f"{url} redirects to {one_line(here, 80)!r}: only http and https are followed")
        if seen and scheme == "http" and urlsplit(seen[-1]).scheme.lower() == "https":
            raise FetchError(f"{url} redirects from https to plain {one_line(here, 80)!r}: refused")
        if here in seen or len(seen) > MAX_REDIRECTS:
            raise FetchError(f"{url} redirects in a circle ({len(seen)} steps)")
        seen.append(here)
        known = urlsplit(here)[:2] == urlsplit(url)[:2]
        asked = {**headers, **login} if known else headers
        try:
            response = session.get(
                here, headers=asked, stream=True, allow_redirects=False, timeout=(network.connect, network.read)
            )
        except requests.Timeout as error:
            raise PassingError(f"{_host(here)} does not answer within {network.read:g} s") from error
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            raise PassingError(f"no connection to {_host(here)}: {_cause(error)}") from error
        except (requests.RequestException, ValueError) as error:
            raise FetchError(f"{one_line(here, 120)} cannot be asked for: {one_line(error, 160)}") from error
        target = response.headers.get("Location")
        if response.status_code not in (301, 302, 303, 307, 308) or not target:
            return response
        response.close()
        here = urljoin(here, target)


def _begin(response: requests.Response, part: Part, noted: Origin | None, url: str) -> int | None:
    """Judge status line and headers, and make the part ready for the body. Returns the file's size if known."""
    status = response.status_code
    if status == 416 and part.size:
        raise _ChangedError("the server has nothing beyond what lies here")
    if status not in (200, 206):
        message = f"{url}: HTTP {status}, {_REASONS.get(status, one_line(response.reason or 'no reason given', 80))}"
        raise PassingError(message, _retry_after(response)) if status in _PASSING else FetchError(message)
    if response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise FetchError(f"{url} sends the file compressed although asked not to: its size and hash would be others")
    now = Origin(url, response.headers.get("ETag"), response.headers.get("Last-Modified"), None)
    if status == 200:
        if part.size:
            part.restart()  # the server ignores ranges, or If-Range found that the file has changed
        total = _number(response.headers.get("Content-Length"))
    else:
        start, total = _content_range(response)
        if start != part.size:
            raise (
                _ChangedError("the server continues at another place")
                if part.size
                else FetchError(f"{url} sends a part of the file that nobody asked for")
            )
        if noted is not None:
            # A 206 may leave out what the first answer said; only a contradiction counts.
            if _differ(now.etag, noted.etag) or _differ(now.last_modified, noted.last_modified):
                raise _ChangedError("the file has changed on the server")
            now = Origin(url, now.etag or noted.etag, now.last_modified or noted.last_modified, None)
        part.resumed = True
    part.html_header = "html" in response.headers.get("Content-Type", "").lower()
    declared = part.asset.bytes
    if declared is not None and total is not None and total != declared:
        if part.html_header:
            raise part.html_error(_first_bytes(response))
        raise FetchError(f"{url} offers {total} bytes and the catalogue says {declared}: not the same file")
    size = declared if declared is not None else total
    if size is not None:
        part.reserve(size)
        part.limit = size
    part.note(now._replace(total=size))
    return size


def _receive(response: requests.Response, part: Part, total: int | None, network: Network, bar: Bar) -> None:
    """The body into the part. Raises `PassingError` for a body that stalls or ends early."""
    import urllib3

    since, count = time.monotonic(), 0
    looked = part.size > 0
    while True:
        try:
            # read1 returns what has arrived: a trickle is then seen as one, and a broken body keeps its last bytes.
            block = response.raw.read1(BLOCK, decode_content=False)
        except urllib3.exceptions.ReadTimeoutError as error:
            raise PassingError(
                f"{_host(part)} stalled: nothing for {network.read:g} s {_so_far(part, total)}"
            ) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise PassingError(f"{_host(part)} broke off {_so_far(part, total)}: {_cause(error)}") from error
        if not block:
            break
        part.write(block)
        bar.add(len(block))
        if not looked:
            looked = True
            _look(part)
        count += len(block)
        waited = time.monotonic() - since
        if waited >= network.read:
            if count < network.floor * waited:
                raise PassingError(f"{_host(part)} stalled: {count} bytes in {waited:.0f} s {_so_far(part, total)}")
            since, count = time.monotonic(), 0
    if total is not None and part.size < total:
        _look(part)
        raise PassingError(f"{_host(part)} broke off {_so_far(part, total)}")


def _first_bytes(response: requests.Response) -> bytes:
    """For a message about what came instead; nothing when even that does not come."""
    import urllib3

    try:
        return response.raw.read1(512, decode_content=False)
    except (urllib3.exceptions.HTTPError, OSError):
        return b""


def _differ(now: str | None, before: str | None) -> bool:
    return now is not None and before is not None and now != before


def _look(part: Part) -> None:
    """Stop at once when the beginning is a web page's."""
    try:
        part.refuse_html()
    except WrongContentError:
        part.restart()
        raise


def _so_far(part: Part, total: int | None) -> str:
    return f"after {part.size} of {total} bytes" if total is not None else f"after {part.size} bytes"


def _host(where: Part | str) -> str:
    url = where if isinstance(where, str) else where.asset.url or ""
    return one_line(urlsplit(url).hostname or url, 80)


def _cause(error: BaseException) -> str:
    """The innermost reason of the wrapped errors of requests and urllib3."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return one_line(getattr(error, "strerror", None) or error, 120)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def _content_range(response: requests.Response) -> tuple[int | None, int | None]:
    """Start and total of `Content-Range: bytes 10-99/100`."""
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", "").strip(), re.ASCII)
    return (int(found[1]), _number(found[3])) if found else (None, None)


def _retry_after(response: requests.Response) -> float | None:
    """Seconds; the date form of the header is not worth the trouble."""
    seconds = _number(response.headers.get("Retry-After"))
    return None if seconds is None else float(seconds)
