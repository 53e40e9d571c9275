"""Three lines around any torch module or function make it a method:

    from bench.methods.module import from_module
    net = MyNet(); net.load_state_dict(torch.load("my.pth", weights_only=True))
    bench.register_method("mine", lambda: from_module(net))

For plugin authors who already hold the object. What the output depends on is read off the object itself – tensors,
plain attributes, source – and an object of which that cannot be read is refused instead of cached under a wrong key.
One that reads a data file while it restores fails then, see `reading`.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import inspect
import logging
import math
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from bench.catalog.user_code import code_digest, is_users
from bench.errors import BenchError, one_line
from bench.identity import canonical
from bench.methods.base import Method, Quantise, package_versions
from bench.methods.loading import loaded
from bench.methods.padding import pad_to_multiple
from bench.methods.versions import code_versions, lasting, source_hash, versions

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


def from_module(
    module: Module | Callable[..., Tensor],
    name: str = "",
    *,
    scale: int = 1,
    quantise: Quantise = "round",
    multiple: int = 1,
    batch_invariant: bool = False,
    stochastic: bool = False,
    options: Mapping[str, Any] | None = None,
    packages: list[str] | None = None,
) -> Method:
    """A `Method` around a module or callable from [B,3,H,W] in [0,1] to [B,3,s·H,s·W].

    `multiple` pads by reflection and crops after. A stochastic one is called as `module(images, seeds)`. `options` (any
    JSON-like data) and `packages` (distributions) join the identity, for what the object itself does not show.
    Raises `BenchError` when the object depends on something that cannot be identified.
    """
    return ModuleMethod(module, name, scale, quantise, multiple, batch_invariant, stochastic, options, packages)


class ModuleMethod(Method):
    """What `from_module` returns. The given module is copied on `load`, so that a dtype never changes the original."""

    def __init__(
        self,
        module: Module | Callable[..., Tensor],
        name: str,
        scale: int = 1,
        quantise: Quantise = "round",
        multiple: int = 1,
        batch_invariant: bool = False,
        stochastic: bool = False,
        options: Mapping[str, Any] | None = None,
        packages: list[str] | None = None,
    ) -> None:
        self.name, self.scale, self.quantise = name, scale, quantise
        self.batch_invariant, self.stochastic = batch_invariant, stochastic
        self._module, self._multiple = module, multiple
        self._loaded: Callable[..., Tensor] | None = None
        self._dtype: Any = None
        # Taken now, of the object as it was handed over: what happens to it afterwards cannot change it.
        self._identity: Mapping[str, Any] = {
            "kind": "module",
            "object": describe(module, f"method {name!r}"),
            "scale": scale,
            "multiple": multiple,
            "options": dict(options or {}),
            "sources": code_versions((__name__, pad_to_multiple.__module__)),
            "packages": package_versions(["torch", *(packages or [])]),
        }
        try:
            canonical(self._identity)
        except (TypeError, ValueError) as error:
            raise BenchError(f"method {name!r}: options must be plain JSON-like data: {one_line(error)}") from error

    def load(self, device: str, dtype: str) -> None:
        import torch

        self._dtype = getattr(torch, dtype)
        if isinstance(self._module, torch.nn.Module):
            self._loaded = copy.deepcopy(self._module).to(device, self._dtype).eval().requires_grad_(False)
        else:
            self._loaded = self._module

    def restore(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        run = loaded(self._loaded, self.name)
        height, width = images.shape[-2:]
        padded = pad_to_multiple(images, self._multiple).to(self._dtype)
        output = run(padded, seeds) if self.stochastic else run(padded)
        return output[..., : height * self.scale, : width * self.scale].float()

    def identity(self) -> Mapping[str, Any]:
        return self._identity

    @property
    def module(self) -> Module | None:
        """What was handed over, where it is a torch module."""
        import torch

        return self._module if isinstance(self._module, torch.nn.Module) else None

    @property
    def network(self) -> Module:
        """The loaded module, without padding."""
        assert self.module is not None
        return cast("Module", loaded(self._loaded, self.name))

    def run_instead(self, forward: Callable[..., Tensor]) -> None:
        """Let something else stand in the loaded module's place: what is called as it is."""
        self._loaded = forward

    def parameters(self) -> int | None:
        given = getattr(self._module, "parameters", None)
        return sum(one.numel() for one in given()) if callable(given) else None

    def close(self) -> None:
        self._loaded = None


def describe(thing: Any, where: str, seen: tuple[int, ...] = ()) -> Any:
    """JSON-like data that differs whenever what `thing` computes may differ.

    Modules: tensors, other attributes and the source of every class outside torch. Functions: their source and, alike,
    what they capture. Other objects: their class and attributes. Source is the file's and that of all code of the
    user's that it reaches by import (`bench.catalog.user_code`). `seen` holds the ids on the way here. Raises
    `BenchError` naming what cannot be described.
    """
    import numpy as np
    import torch

    if id(thing) in seen:
        return "itself"
    inner = (*seen, id(thing))
    if isinstance(thing, float):
        return thing if math.isfinite(thing) else repr(thing)
    if thing is None or isinstance(thing, bool | int | str):
        return thing
    if isinstance(thing, torch.Tensor):
        return _tensor_hash(thing)
    if isinstance(thing, np.ndarray | np.generic):
        return _tensor_hash(torch.from_numpy(np.array(thing)))
    if isinstance(thing, bytes | complex | os.PathLike | torch.dtype | torch.device):
        return str(thing)
    if isinstance(thing, torch.nn.Module):
        return _describe_module(thing, where, inner)
    if isinstance(thing, list | tuple):
        return [describe(value, where, inner) for value in thing]
    if isinstance(thing, set | frozenset):
        return sorted(canonical(describe(value, where, inner)) for value in thing)
    if isinstance(thing, Mapping):
        return [[describe(key, where, inner), describe(value, where, inner)] for key, value in thing.items()]
    if isinstance(thing, logging.Logger) or inspect.ismodule(thing) or inspect.isbuiltin(thing):
        return _named(thing)
    if isinstance(thing, functools.partial):
        return {
            "call": describe(thing.func, where, inner),
            "with": describe([thing.args, thing.keywords], where, inner),
        }
    if inspect.ismethod(thing):
        return {"call": thing.__name__, "of": describe(thing.__self__, where, inner)}
    if inspect.isclass(thing):
        return {"class": _named(thing), "source": _source(thing, where)}
    if inspect.isfunction(thing):
        captured = inspect.getclosurevars(thing)
        held = {**captured.globals, **captured.nonlocals}
        return {
            "function": _named(thing),
            "source": _source(thing, where),
            "holds": {name: describe(value, where, inner) for name, value in sorted(held.items())},
        }
    if hasattr(thing, "__dict__"):
        return {**describe(type(thing), where), "holds": describe(vars(thing), where, inner)}
    raise BenchError(
        f"{where} depends on a {_named(type(thing))}, which cannot be identified: "
        "put what it computes into an nn.Module"
    )


def _describe_module(module: Module, where: str, seen: tuple[int, ...]) -> Any:
    digest = hashlib.sha256()
    # Every buffer, not the state dict: a non-persistent one changes the output as well.
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        digest.update(f"{name}|{_tensor_hash(tensor)}|".encode())
    parts = {}
    for name, part in module.named_modules():
        plain = {key: value for key, value in vars(part).items() if not key.startswith("_") and key != "training"}
        parts[name] = [_named(type(part)), describe(plain, where, seen)]
    classes = {type(part) for part in module.modules() if not type(part).__module__.startswith("torch.")}
    return {
        "tensors": digest.hexdigest(),
        "parts": parts,
        "sources": sorted({str(_source(kind, where)) for kind in classes}),
    }


def _source(thing: Any, where: str) -> str | None:
    """Hash of the defining file and of the user's that it reaches by import; None for what is built into Python or
    compiled, which the packages' versions cover."""
    if (
        not getattr(sys.modules.get(thing.__module__), "__file__", "").endswith(".py")
        and thing.__module__ != "__main__"
    ):
        return None
    try:
        if thing.__module__ in versions():
            return versions()[thing.__module__].version
        return code_digest([thing.__module__]) if is_users(thing.__module__) else source_hash(thing)
    except (TypeError, OSError, ValueError) as error:
        raise BenchError(f"{where}: {_named(thing)} has no source file to identify it by; put it in a file") from error


def _named(thing: Any) -> str:
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None) or getattr(thing, "name", "")
    return str(lasting(f"{getattr(thing, '__module__', None) or ''}:{name}"))


def _tensor_hash(tensor: Tensor) -> str:
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    head = f"{tensor.dtype}|{tuple(tensor.shape)}|".encode()
    return hashlib.sha256(head + flat.numpy().tobytes()).hexdigest()
