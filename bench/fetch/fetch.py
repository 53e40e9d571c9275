"""Bring a list of assets into the cache: from there already, from a mirror, from a server, or by a person's hands.

One asset that cannot be had does not stop the others; the caller decides what an unfinished list means.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from bench import paths
from bench.errors import BenchError, one_line
from bench.fetch import archive, hubs, mirror, pins
from bench.fetch.assets import Asset
from bench.fetch.bars import Bar
from bench.fetch.download import Network, download
from bench.fetch.part import FetchError, Part, WrongContentError, disk_errors

_WORTH_SAYING = 1e9
"""Bytes from which a download is announced."""

Status = Literal["present", "downloaded", "mirrored", "manual", "failed"]


class Fetched(NamedTuple):
    """What became of one asset."""

    asset: Asset
    status: Status
    detail: str
    """One line for a person: hash and place, or why it is not there and what to do."""

    @property
    def here(self) -> bool:
        return self.status in ("present", "downloaded", "mirrored")


class Terms(NamedTuple):
    """How to fetch, the same for every asset of a call."""

    mirror: Path | None
    pin: bool
    force: bool
    progress: bool
    network: Network
    say: Callable[[str], None]


def to_stderr(line: str) -> None:
    """Messages go to standard error: standard output carries only results."""
    print(line, file=sys.stderr, flush=True)


def fetch(
    assets: Iterable[Asset],
    *,
    mirror: Path | None = None,
    pin: bool = False,
    force: bool = False,
    progress: bool = True,
    network: Network = Network(),  # noqa: B008 – immutable
    say: Callable[[str], None] = to_stderr,
) -> list[Fetched]:
    """Make every asset lie in the cache with the right hash; one result per distinct file, in order.

    mirror: take files from this folder and from nowhere else.
    pin: accept what comes for a file whose publisher gives no hash, and hold it to that from then on. A file of whose
        hash the first digits are published needs no such word: those are checked, and the whole is pinned.
    force: bring files again that are there already (and, with `pin`, accept a hash other than the one pinned).
    progress: show a bar per file on standard error.
    Raises `BenchError` when two assets want different contents at one place, or the mirror is not a folder.
    """
    wanted = _distinct(assets)
    terms = Terms(_folder(mirror), pin, force, progress, network, say)
    told: set[str] = set()
    _announce(wanted, terms)
    return [_unpacked(_fetch_one(asset, terms, told), terms) for asset in wanted]


def _announce(wanted: list[Asset], terms: Terms) -> None:
    """Say how much will come before it comes, where that is so much that somebody may want to think again."""
    if terms.mirror is not None:
        return
    coming = [one for one in wanted if one.url and one.size_about and (terms.force or not one.path.is_file())]
    total = sum(one.size_about or 0 for one in coming)
    if total < _WORTH_SAYING:
        return
    home = paths.home()
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    with disk_errors(place):
        free = shutil.disk_usage(place).free
    owners = ", ".join(dict.fromkeys(one.owner for one in coming))
    files = f"{len(coming)} file{'s' if len(coming) > 1 else ''}"
    terms.say(f"{owners}: {files}, {total / 1e9:.1f} GB to download; {free / 1e9:.1f} GB are free at {home}")


def _folder(given: Path | None) -> Path | None:
    return None if given is None else mirror.check_folder(given)


def _distinct(assets: Iterable[Asset]) -> list[Asset]:
    found: dict[str, Asset] = {}
    for asset in assets:
        known = found.setdefault(asset.file, asset)
        less, more = sorted(((one.sha256 or one.prefix or "").lower() for one in (known, asset)), key=len)
        if not more.startswith(less) or (more and not less):
            raise BenchError(f"{known.owner} and {asset.owner} want different contents for {asset.file}")
        if known.sha256 is None and asset.sha256 is not None:
            found[asset.file] = asset  # a whole hash says more than its first digits
    return list(found.values())


def _fetch_one(asset: Asset, terms: Terms, told: set[str]) -> Fetched:
    try:
        settled = asset.vouched() or not terms.pin
        if not terms.force and settled and (verdict := asset.verify()).status == "verified":
            return Fetched(asset, "present", f"sha256 {verdict.found}")  # without a lock: the cache may be read-only
        with _alone(asset, terms.say):
            present = _present(asset, terms)
            if present is not None:
                return present
            if terms.mirror is None and asset.url is None:
                return Fetched(asset, "manual", how_to_get(asset))
            if asset.owner not in told:
                told.add(asset.owner)
                terms.say(f"{asset.owner}: licence {asset.licence or 'not stated by its publisher'}")
            return _bring(asset, terms)
    except BenchError as error:
        if asset.url is None and asset.sha256 is not None and not asset.path.exists():
            return Fetched(asset, "manual", f"{error}: {how_to_get(asset)}")
        return Fetched(asset, "failed", str(error))


def _unpacked(result: Fetched, terms: Terms) -> Fetched:
    """The same result after its archive, if it is one, has been unpacked; failed where it cannot be.

    Only a file that somebody vouches for is unpacked: one that lies there unverified waits for `--pin`.
    """
    asset = result.asset
    if asset.unpack is None or not result.here:
        return result
    try:
        with _alone(asset, terms.say):
            if asset.verify().status != "verified":
                return result
            folder = paths.home() / asset.unpack
            count = archive.unpack(asset.path, folder, password=asset.password)
    except BenchError as error:
        return result._replace(status="failed", detail=str(error))
    return result._replace(detail=f"{result.detail}, {count} files into {folder}")


def how_to_get(asset: Asset) -> str:
    """One line for a person: what to do, where the file goes, what its hash will be."""
    steps = one_line(asset.instructions, 600) if asset.instructions else "no public source is known"
    known = asset.sha256 or (f"{asset.prefix}…" if asset.prefix else None)
    pin = f" (sha256 {known})" if known else ""
    return f"{steps.rstrip('.')}. Then put the file at {asset.path}{pin}, or use --mirror DIR"


def _present(asset: Asset, terms: Terms) -> Fetched | None:
    """The result when nothing has to be brought. A wrong file stays until the right one takes its place."""
    verdict = asset.verify()
    if verdict.status == "missing" or (terms.force and (asset.url or terms.mirror)):
        return None
    if verdict.status == "verified" and (asset.vouched() or not terms.pin):  # brought while we waited
        return Fetched(asset, "present", f"sha256 {verdict.found}")
    if verdict.status != "wrong":
        if asset.bytes is not None and asset.path.stat().st_size != asset.bytes:
            return None
        if not terms.pin and asset.prefix is None:
            return Fetched(asset, "present", f"sha256 {verdict.found}, unverified: accept it with --pin")
        return Fetched(asset, "present", f"sha256 {verdict.found}, {_accept(asset, terms)}")
    wrong = f"{asset.path} has sha256 {verdict.found}, expected {verdict.expected}"
    if terms.mirror is None and asset.url is None:
        return Fetched(asset, "failed", f"{wrong}: {how_to_get(asset)}")
    terms.say(f"{asset.file}: {wrong}; bringing it again")
    return None


def _bring(asset: Asset, terms: Terms) -> Fetched:
    repin = terms.pin and terms.force and asset.sha256 is None
    expected = None if repin else asset.expected()
    if expected is None and asset.prefix is None and not terms.pin:
        raise FetchError(
            f"{asset.file}: its publisher gives no hash to check it by; --pin accepts the file that comes "
            "and refuses any other from then on"
        )
    with Part(asset, expected) as part:
        if terms.mirror is not None:
            source = mirror.take(part, terms.mirror)
            result = Fetched(asset, "mirrored", f"sha256 {asset.digest()} from {source}")
        else:
            found = _from_source(part, terms)
            result = Fetched(asset, "downloaded", f"sha256 {found}")
    if expected is None or (terms.pin and not asset.vouched()):
        return result._replace(detail=f"{result.detail}, {_accept(asset, terms)}")
    return result


def _accept(asset: Asset, terms: Terms) -> str:
    """Hold the file to its hash, on a person's word or on that of its published digits; what was done, in words."""
    prefix = None if terms.pin else asset.prefix
    with disk_errors(pins.location()):
        pins.accept(asset.file, asset.digest(), prefix)
    return "pinned" if prefix is None else f"begins with the published {prefix}, pinned"


def _from_source(part: Part, terms: Terms) -> str:
    """Download and place; returns the SHA-256. A resumed file that turns out wrong is brought once more, whole."""
    _receive(part, terms)
    resumed = part.resumed
    try:
        return part.place()
    except WrongContentError as error:
        if not resumed:
            raise
        terms.say(f"{error}; it was put together from several downloads, so once more from the start")
    _receive(part, terms)
    return part.place()


def _receive(part: Part, terms: Terms) -> None:
    url = part.asset.url or ""
    bar = Bar(part.asset.file, shown=terms.progress)
    match urlsplit(url).scheme.lower():
        case "http" | "https":
            download(part, url, terms.network, bar, terms.say)
        case "hf":
            hubs.from_hub(part, url, terms.network, bar, terms.say)
        case "gdrive":
            hubs.from_drive(part, url, terms.network, bar)
        case other:
            raise FetchError(f"{part.asset.file}: cannot fetch from {other or 'no scheme'!r} addresses ({url!r})")


@contextmanager
def _alone(asset: Asset, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of an asset, so that two processes fetch it once. Raises `FetchError`."""
    from filelock import FileLock, Timeout

    name = hashlib.sha256(asset.file.encode()).hexdigest()[:16]
    place = paths.home() / "locks" / f"{name}.lock"
    with disk_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(place))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"{asset.file}: another process is fetching it; waiting")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
