"""Files of the Hugging Face hub (`hf://`) and of Google Drive (`gdrive://`), through the libraries kept for them.

The libraries only know where things are: what comes passes through the same `Part` as any download.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import NamedTuple

from bench.errors import one_line
from bench.fetch.bars import Bar
from bench.fetch.download import Network, download
from bench.fetch.part import FetchError, Part


class HubFile(NamedTuple):
    """One file of a hub repository."""

    kind: str
    """model, dataset or space."""
    repo: str
    path: str
    revision: str | None


def parse_hub(url: str) -> HubFile:
    """`hf://[datasets/]owner/name/path/to/file[@revision]`. Raises `FetchError`."""
    rest, _, revision = url.removeprefix("hf://").partition("@")
    parts = rest.split("/")
    kind = {"datasets": "dataset", "spaces": "space"}.get(parts[0], "model")
    if kind != "model":
        parts = parts[1:]
    if len(parts) < 3 or not all(parts) or ".." in parts:
        raise FetchError(f"{url!r} is not hf://owner/name/path[@revision]")
    return HubFile(kind, "/".join(parts[:2]), "/".join(parts[2:]), revision or None)


def from_hub(part: Part, url: str, network: Network, bar: Bar, say: Callable[[str], None]) -> None:
    """The missing bytes of an `hf://` address into the part. Raises `FetchError`.

    The library knows the address (and the mirror that `HF_ENDPOINT` names) and the login; the bytes come by our own
    download, for the library's begins a file of gigabytes anew when the call before it was broken off.
    """
    from huggingface_hub import constants, get_token, hf_hub_url

    wanted = parse_hub(url)
    if constants.HF_HUB_OFFLINE:
        raise FetchError(f"{url} cannot be brought: HF_HUB_OFFLINE forbids it; unset it, or use --mirror")
    try:
        address = hf_hub_url(wanted.repo, wanted.path, repo_type=wanted.kind, revision=wanted.revision)
        token = get_token()
    except Exception as error:  # the library's errors share no class across versions
        raise FetchError(f"{url} cannot be brought: {type(error).__name__}: {one_line(error, 200)}") from error
    download(part, address, network, bar, say, login={"Authorization": f"Bearer {token}"} if token else None)


def from_drive(part: Part, url: str, network: Network, bar: Bar) -> None:
    """The file of a `gdrive://id` address into the part. Raises `FetchError`."""
    import gdown

    identifier = url.removeprefix("gdrive://")
    if not identifier or not identifier.replace("-", "").replace("_", "").isalnum() or not identifier.isascii():
        raise FetchError(f"{url!r} is not gdrive://id")
    part.restart()
    bar.begin(0, part.asset.bytes)
    # Older versions cannot be told how long to wait.
    timed = "timeout" in inspect.signature(gdown.download).parameters
    options = {"timeout": (network.connect, network.read)} if timed else {}
    try:
        gdown.download(id=identifier, output=_Counted(part, bar), quiet=True, use_cookies=False, **options)
    except FetchError:
        raise
    except Exception as error:  # the library's errors share no class across versions
        raise FetchError(f"{url} cannot be brought: {type(error).__name__}: {one_line(error, 200)}") from error
    finally:
        bar.end()
    if part.size == 0:
        raise FetchError(f"{url} brought nothing: perhaps a download quota; try later, or get it by hand")


class _Counted:
    """The part as a binary file that moves the bar."""

    def __init__(self, part: Part, bar: Bar) -> None:
        self._part = part
        self._bar = bar

    def write(self, data: bytes) -> int:
        self._bar.add(len(data))
        return self._part.write(data)

    def flush(self) -> None:
        self._part.flush()
