"""Ways out that are shut while pyiqa builds a network: it downloads what it lacks, mostly without a hash."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import torch


class Backbones:
    """Tensors of backbones that were left as they are, for the network's checkpoint to fill."""

    def __init__(self) -> None:
        self._tensors: list[tuple[torch.Tensor, int]] = []

    def leave(self, model: torch.nn.Module, *_: Any, **__: Any) -> None:
        """In place of timm's loading. Running statistics a checkpoint must bring, tables of indices it need not."""
        statistics = [one for name, one in model.named_buffers() if name.endswith(("running_mean", "running_var"))]
        self._tensors.extend((tensor, tensor._version) for tensor in [*model.parameters(), *statistics])

    def unfilled(self, net: torch.nn.Module) -> bool:
        """Whether part of them is in the network and has never been written to."""
        inside = {id(tensor) for tensor in [*net.parameters(), *net.buffers()]}
        return any(id(tensor) in inside and tensor._version == version for tensor, version in self._tensors)


def only_here(instead: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """`instead` in the thread that asks for it, `original` in all others."""
    here = threading.get_ident()

    @functools.wraps(original)
    def chosen(*arguments: Any, **keywords: Any) -> Any:
        return (instead if threading.get_ident() == here else original)(*arguments, **keywords)

    return chosen


@contextlib.contextmanager
def no_downloads(refusal: Callable[[str], Exception], *, data_only: bool) -> Iterator[Backbones]:
    """In this thread: raise `refusal(url)` for every download, and leave backbones for the checkpoint to fill.

    With `data_only`, files are read without unpickling code.
    """
    import urllib.request

    import huggingface_hub.constants
    import timm.models._builder
    import torch.hub

    def refuse(request: Any, *_: Any, **__: Any) -> NoReturn:
        raise refusal(str(getattr(request, "full_url", request)))

    read = torch.load

    def read_data(*arguments: Any, **keywords: Any) -> Any:
        return read(*arguments, **{**keywords, "weights_only": True})

    backbones, builder = Backbones(), timm.models._builder
    with contextlib.ExitStack() as stack:
        for target, attribute, value in (
            (torch.hub, "urlopen", only_here(refuse, torch.hub.urlopen)),
            (urllib.request, "urlopen", only_here(refuse, urllib.request.urlopen)),
            (huggingface_hub.constants, "HF_HUB_OFFLINE", True),
            (builder, "load_pretrained", only_here(backbones.leave, builder.load_pretrained)),
            (torch, "load", only_here(read_data, read) if data_only else read),
        ):
            stack.callback(setattr, target, attribute, getattr(target, attribute))
            setattr(target, attribute, value)
        yield backbones
