"""A file that must be fetched before it can be used, and where it lies once it has been.

Knows where the file belongs and which hash it must have; how it gets there is the business of `bench.fetch.fetch`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from bench import paths
from bench.errors import BenchError, MissingFile, one_line
from bench.fetch import memo, pins


class AssetState(NamedTuple):
    """What lies at an asset's place."""

    status: Literal["verified", "unpinned", "wrong", "missing"]
    """`unpinned`: the file is there, and no whole hash is known that it should have."""
    expected: str | None
    """Hex SHA-256 it must have, from the catalogue or the user's pins; with `wrong` perhaps its first digits and …."""
    found: str | None
    """Hex SHA-256 of the file on disk."""


@dataclass(frozen=True)
class Asset:
    """One file of weights or data, as the catalogue describes it."""

    owner: str
    """The method, metric or dataset that needs it: `bench fetch OWNER` brings it."""
    file: str
    """Path below the cache folder, such as `weights/sci/medium.pt`."""
    url: str | None
    """http(s) address, `hf://repo/path`, `gdrive://id`, or None when only a person can get it."""
    sha256: str | None
    """Hex digest, or None where its publisher gives none (then `prefix`, or `bench fetch --pin` must accept it)."""
    bytes: int | None = None
    licence: str | None = None
    instructions: str | None = None
    """What a person has to do when no machine can download it."""
    prefix: str | None = None
    """The first hex digits of the SHA-256, eight or more, where that is all that is published: torch.hub puts them into
    names such as `alexnet-owt-7be5be79.pth`. `bench fetch` checks them and holds the file to its whole hash after."""
    unpack: str | None = None
    """The folder below the cache folder that an archive is unpacked into."""
    password: str | None = None
    """What its publisher, or everybody who uses it, says that the archive opens with."""
    gigabytes: float | None = None
    """What its publisher's page says of its size, rounded: for plans, never for checks, where `bytes` is not known."""

    def __post_init__(self) -> None:
        parts = PurePosixPath(self.file)
        if not self.file or not parts.parts or parts.is_absolute() or ".." in parts.parts or "\\" in self.file:
            raise BenchError(f"{self.owner}: file {self.file!r} must be a path below the cache folder")
        if self.unpack is not None:
            below = PurePosixPath(self.unpack)
            if not below.parts or below.is_absolute() or ".." in below.parts or "\\" in self.unpack:
                raise BenchError(f"{self.owner}: unpack {self.unpack!r} must be a folder below the cache folder")
        if self.password is not None and not re.fullmatch(r"[!-~]+", self.password):
            raise BenchError(f"{self.owner}: the password of {self.file} must be a text of printable ASCII")
        if self.url is not None:
            _check_address(self.owner, self.file, self.url)
        if self.sha256 is not None and (len(self.sha256) != 64 or set(self.sha256.lower()) - set("0123456789abcdef")):
            raise BenchError(f"{self.owner}: sha256 {self.sha256!r} of {self.file} is not 64 hexadecimal digits")
        if self.prefix is not None and not re.fullmatch(r"[0-9a-f]{8,63}", self.prefix):
            raise BenchError(
                f"{self.owner}: prefix {self.prefix!r} of {self.file} is not 8 to 63 lower-case hex digits"
            )
        if self.prefix is not None and self.sha256 is not None and not self.sha256.lower().startswith(self.prefix):
            raise BenchError(f"{self.owner}: sha256 {self.sha256!r} of {self.file} does not begin with {self.prefix}")

    @classmethod
    def from_fields(cls, owner: str, fields: Mapping[str, Any], licence: str | None = None) -> Asset:
        """From a catalogue mapping whose keys are the fields' names, `owner` apart."""
        if not isinstance(fields.get("file"), str):
            raise BenchError(f"{owner}: a file to fetch needs the key 'file', its path below the cache folder")
        return cls(
            owner=owner,
            file=fields["file"],
            url=fields.get("url"),
            sha256=fields.get("sha256"),
            bytes=fields.get("bytes"),
            gigabytes=fields.get("gigabytes"),
            licence=fields.get("licence", licence),
            instructions=fields.get("instructions"),
            prefix=None if fields.get("prefix") is None else str(fields["prefix"]),
            unpack=fields.get("unpack"),
            password=None if fields.get("password") is None else str(fields["password"]),
        )

    @property
    def size_about(self) -> float | None:
        """Bytes, as well as they are known before the file comes."""
        return self.bytes if self.bytes is not None else self.gigabytes and self.gigabytes * 1e9

    @property
    def path(self) -> Path:
        """Where the file lies once fetched."""
        return paths.home() / self.file

    def require(self) -> Path:
        """The path, or `MissingFile` with the one line that says what to do. Existence only; reads nothing."""
        if not self.path.is_file():
            source = self.url or self.instructions or "no public source"
            raise MissingFile(
                f"{self.owner} needs {self.file} ({source}, {self._known()}), not at {self.path}: "
                f"bench fetch {self.owner}"
            )
        return self.path

    def expected(self) -> str | None:
        """Hex SHA-256 that the file must have: the catalogue's, else the one this user has pinned, else None."""
        if self.sha256:
            return self.sha256.lower()
        pin = self._pin()
        return pin.sha256 if pin else None

    def vouched(self) -> bool:
        """True when the whole hash is the catalogue's or a person accepted the file: it may be unpickled.

        A file that only began with the published digits is not: eight of them can be forged in minutes.
        """
        pin = self._pin()
        return self.sha256 is not None or (pin is not None and pin.prefix is None)

    def _pin(self) -> pins.Pin | None:
        """The user's pin, unless the catalogue's digits have changed since."""
        pin = pins.pinned(self.file)
        return pin if pin is not None and pin.sha256.startswith(self.prefix or "") else None

    def _known(self) -> str:
        if self.sha256:
            return f"sha256 {self.sha256[:12]}…"
        return f"sha256 {self.prefix}…" if self.prefix else "no published hash"

    def digest(self) -> str:
        """Hex SHA-256 of the file on disk, remembered while its size and times stay. Raises `MissingFile`."""
        try:
            return memo.digest(self.require())
        except OSError as error:
            raise BenchError(f"{self.path} cannot be read: {error.strerror or error}") from error

    def verify(self) -> AssetState:
        """What lies at the asset's place, held against the hash it must have. Raises nothing for a wrong file."""
        expected = self.expected()
        if not self.path.is_file():
            return AssetState("missing", expected, None)
        found = self.digest()
        if expected is None:
            if self.prefix and not found.startswith(self.prefix):
                return AssetState("wrong", f"{self.prefix}…", found)
            return AssetState("unpinned", None, found)
        return AssetState("verified" if found == expected else "wrong", expected, found)

    def require_verified(self) -> Path:
        """The path of a file whose hash is the pinned one: what may be handed to code that unpickles.

        Raises `MissingFile`, or `BenchError` with both hashes and the remedy.
        """
        path = self.require()
        verdict = self.verify()
        if verdict.status == "wrong":
            raise BenchError(
                f"{self.owner}: {path} has sha256 {verdict.found}, not the pinned {verdict.expected}: "
                f"bench fetch {self.owner} brings the right one"
            )
        if verdict.status == "unpinned" and self.prefix:
            raise BenchError(
                f"{self.owner}: only the first digits {self.prefix} of the hash of {path} are published: "
                f"bench fetch {self.owner} checks them and pins the whole"
            )
        if verdict.status == "unpinned":
            raise BenchError(
                f"{self.owner}: no hash is known for {path} (it has sha256 {verdict.found}): "
                f"bench fetch {self.owner} --pin accepts this file"
            )
        return path


def _check_address(owner: str, file: str, url: object) -> None:
    """Raise `BenchError` for what no library can take apart; which schemes there are is decided by who fetches."""
    wrong = f"{owner}: url {one_line(repr(url), 120)} of {file} is no address"
    if not isinstance(url, str) or not url.isprintable() or " " in url:
        raise BenchError(wrong)
    try:
        parts = urlsplit(url)
        _ = parts.port  # looked at when it is asked for
    except ValueError as error:
        raise BenchError(f"{wrong}: {one_line(error)}") from None
    if parts.scheme.lower() in ("http", "https") and not parts.hostname:
        raise BenchError(f"{wrong}: it names no host")
