"""Build a network of pyiqa from files whose hashes were checked, and from nothing else.

pyiqa, torchvision, timm, CLIP and facexlib each download what they lack, mostly without a hash. Here they find a
folder that holds exactly the catalogue's files, and every way out of it is shut while they build.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from bench.errors import BenchError, one_line
from bench.metrics.weights import Weight, verified
from iqpir.quality.pyiqa_build import Backbones, no_downloads, only_here

if TYPE_CHECKING:
    import torch

_BUILDING = threading.Lock()
"""Building patches modules of other libraries, so only one network is built at a time."""

_LIBRARIES = ("pyiqa", "facexlib", "torchvision", "clip", "torch.hub")


def construct(name: str, options: dict[str, Any], weights: Sequence[Weight]) -> torch.nn.Module:
    """The network of pyiqa's metric `name` on the CPU.

    Raises `MissingFile` for a weight file that is not in the cache, `BenchError` for one whose hash is wrong or
    unknown, and for a network that would need a file which the catalogue does not list.
    """
    files = {weight.asset.path.name: verified(weight) for weight in weights}
    trusted = all(weight.asset.vouched() for weight in weights)
    with _BUILDING, tempfile.TemporaryDirectory(prefix="bench-pyiqa-") as folder:
        for place in ("pyiqa", "checkpoints", "clip"):
            (Path(folder) / place).mkdir()
            for file, path in files.items():
                (Path(folder) / place / file).symlink_to(path.resolve())
        try:
            with _shut(name, Path(folder), trusted=trusted) as backbones, contextlib.redirect_stdout(io.StringIO()):
                import pyiqa

                net: torch.nn.Module = pyiqa.create_metric(name, device="cpu", **options).net
        except BenchError:
            raise
        except Exception as error:
            remedy = ""
            if not trusted and isinstance(error, pickle.UnpicklingError):
                remedy = f" (nothing in a file of unproved origin is executed; bench fetch {name} --pin vouches for it)"
            raise BenchError(
                f"pyiqa cannot build {name} from {', '.join(files) or 'no files'}: "
                f"{type(error).__name__}: {one_line(error, 160)}{remedy}"
            ) from error
    if backbones.unfilled(net):
        raise BenchError(
            f"pyiqa's {name}: its checkpoint lacks part of the backbone, whose own weights bench does not fetch"
        )
    return net


@contextlib.contextmanager
def _shut(name: str, folder: Path, *, trusted: bool) -> Iterator[Backbones]:
    """Let this thread read weights from `folder` alone; other threads are not affected.

    Files of which only a part of the hash is known (`trusted` false) are read without unpickling code.
    """
    import torch.hub

    def refusal(url: str) -> BenchError:
        return BenchError(f"pyiqa's {name} asks for {url}, which the catalogue does not list")

    def refuse(url: str, *_: Any, **__: Any) -> NoReturn:
        raise refusal(url)

    download, cache = torch.hub.download_url_to_file, str(folder / "pyiqa")
    refused = only_here(refuse, download)
    hub = torch.hub.get_dir()
    import pyiqa.utils.download_util as download_util

    usual = download_util.DEFAULT_CACHE_DIR
    with contextlib.ExitStack() as stack:
        backbones = stack.enter_context(no_downloads(refusal, data_only=not trusted))
        for module in _clip_modules() if any((folder / "clip").glob("*.pt")) else []:
            # CLIP's own package looks below the home folder; the checked file is here instead.
            stack.callback(setattr, module, "_download", module._download)
            module._download = only_here(lambda url, root: str(folder / "clip" / Path(url).name), module._download)
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        torch.hub.set_dir(str(folder))
        _rename(download, refused, usual, cache)
        try:
            yield backbones
        finally:
            _rename(refused, download, cache, usual)
            torch.hub.set_dir(hub)


def _clip_modules() -> list[Any]:
    """The two copies of CLIP that keep their files outside torch.hub's folder."""
    import pyiqa.archs.afineclip_model
    from pyiqa.archs.clip_imports import clip

    return [sys.modules[clip.load.__module__], pyiqa.archs.afineclip_model]


def _rename(function: Any, instead: Any, folder: str, other: str) -> None:
    """Replace a function and a folder wherever the libraries imported them by name, now or since."""
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith(_LIBRARIES) and module is not None:
            if getattr(module, "download_url_to_file", None) is function:
                module.download_url_to_file = instead  # type: ignore[attr-defined]
            if getattr(module, "DEFAULT_CACHE_DIR", None) == folder:
                module.DEFAULT_CACHE_DIR = other  # type: ignore[attr-defined]
