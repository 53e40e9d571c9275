"""Adapter for `kind: clone`: a network that lives in a clone of its authors' repository, imported from there.

For what only a network in this process can do, such as taking a score (`{method: plus, options: {host: {repo: …}}}`);
a repository's own inference script is better run by a `command`. Its code runs only with --allow-commands.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import paths
from bench.catalog.registry import Entry
from bench.errors import BenchError, ItemError, MissingFile, one_line
from bench.identity import canonical
from bench.methods.base import package_versions
from bench.methods.clone_imports import Clone
from bench.methods.loading import NamedFile, NetworkHolder, loading
from bench.methods.options import Option, declared_options, resolve
from bench.methods.padding import pad_to_multiple
from bench.methods.versions import code_versions
from bench.methods.weights import Layout, fit, read_weights

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

OPTIONS = {
    "repo": Option("repo", type=str),
    "module": Option("module", type=str, required=True),
    "arguments": Option("arguments"),
    "weights": Option("weights", type=str),
    "tensors": Option("tensors", type=str),
    "ignore": Option("ignore", None, list),
    "range": Option("range", [0.0, 1.0], list),
    "output": Option("output"),
    "size": Option("size", None, list),
    "multiple": Option("multiple", 1, int, min=1, max=1024),
    "modules": Option("modules", None, list),
    "packages": Option("packages", None, list),
}
"""`repo`       the clone
`module`     `package.module:Class` in it, or a function that makes the network
`arguments`  keyword arguments of the class
`weights`    its weight file; `tensors`: where in it the tensors lie (found by itself under params_ema, params and
             state_dict); `ignore`: prefixes of names that only training needs
`range`      what black and white are for the network; `output`: which member of a mapping or tuple is the image (a
             tuple's first by itself)
`size`       [width, height] of the only images it takes; `multiple`: what sides are padded to
`modules`    modules of the clone that it imports by names it computes
`packages`   distributions whose versions join the identity
"""
SOURCES = (__name__, "bench.methods.clone_imports", fit.__module__, pad_to_multiple.__module__)
PLACES = ("params_ema", "params", "state_dict")
"""Where training scripts put tensors in a file; the first that is there is what they test with."""


class CloneMethod(NetworkHolder):
    """`range`, `output` and the clone's own imports are the network's forward pass; padding is the adapter's."""

    def __init__(self, entry: Entry, options: Mapping[str, Any], base: Path | None) -> None:
        fields = entry.fields
        self.name = entry.name
        self.quantise = fields.get("quantise", "round")
        self._home, self._said = fields.get("home"), (fields.get("weights") or {}).get("instructions")
        self._where = f"method {entry.name!r} ({entry.origin})"
        self._options = dict(options)
        self._module, _, self._attribute = options["module"].partition(":")
        if not (self._attribute and _dotted(self._module) and _dotted(self._attribute)):
            raise BenchError(f"{self._where}: module is PACKAGE.MODULE:CLASS, not {options['module']!r}")
        self._arguments = options["arguments"] or {}
        if not isinstance(self._arguments, Mapping) or not all(isinstance(name, str) for name in self._arguments):
            raise BenchError(f"{self._where}: arguments is a mapping of the class's arguments, not {self._arguments!r}")
        self._range = options["range"]
        if len(self._range) != 2 or self._range[0] >= self._range[1]:
            raise BenchError(f"{self._where}: range is [black, white], such as [-1, 1], not {self._range}")
        self.size: tuple[int, int] | None = None
        if options["size"] is not None:
            if len(options["size"]) != 2 or not all(type(side) is int and side > 0 for side in options["size"]):
                raise BenchError(f"{self._where}: size is [width, height], not {options['size']!r}")
            self.size = (options["size"][0], options["size"][1])
        repo = options["repo"]
        self._clone = None if repo is None else Clone(self._where, paths.find(repo, base))
        self._repo = repo
        named = options["weights"]
        self._file = None if named is None else NamedFile(self._where, "weights", named, base)
        self._code: str | None = None
        self._dtype: Any = None

    @classmethod
    def from_entry(cls, entry: Entry, options: Mapping[str, Any], base: Path | None) -> CloneMethod:
        where = f"method {entry.name!r} ({entry.origin})"
        return cls(entry, resolve(where, declared_options(where, entry.fields, OPTIONS), options), base)

    def foreign_code(self) -> str | None:
        return None if self._repo is None else f"imports code from the clone {self._repo}"

    def unavailable(self) -> str | None:
        if self._clone is None:
            home = f"git clone {self._home}" if self._home else "a clone of its repository"
            said = f"; weights: {self._said}" if self._said else ""
            return f"{self.name} is imported from {home}: options: {{repo: CLONE, weights: FILE}}{said}"
        if self._file is None:
            said = self._said or "an untrained network's outputs are worth nothing"
            return f"{self.name} needs the option weights: {said}"
        return None

    def _parts(self) -> tuple[Clone, NamedFile]:
        if self._clone is None or self._file is None:
            raise MissingFile(str(self.unavailable()))
        return self._clone, self._file

    def identity(self) -> Mapping[str, Any]:
        clone, file = self._parts()
        self._code = clone.digest([self._module, *(self._options["modules"] or [])])
        kept = ("module", "arguments", "tensors", "ignore", "range", "output", "multiple")
        described = {
            "kind": "clone",
            **{name: self._options[name] for name in kept},
            "code": self._code,
            "weights": file.digest(),
            "sources": code_versions(SOURCES),
            "packages": package_versions(["torch", *(self._options["packages"] or [])]),
        }
        try:
            canonical(described)
        except (TypeError, ValueError) as error:
            raise BenchError(f"{self._where}: arguments must be plain data: {one_line(error)}") from error
        return described

    def load(self, device: str, dtype: str) -> None:
        import torch

        clone, file = self._parts()
        before = self._code
        now = clone.digest([self._module, *(self._options["modules"] or [])])
        if before is not None and now != before:
            raise BenchError(f"{self._where}: the code in {self._repo} changed since the run was planned: run again")
        path = file.unchanged(self.name)
        network = clone.make(self._module, self._attribute, self._arguments)
        if not isinstance(network, torch.nn.Module):
            raise BenchError(
                f"{self._where}: {self._options['module']} makes {type(network).__name__}, which is no torch module: "
                "name the network's class"
            )
        self._fill(network, path)
        network.forward = _Forward(network, clone, self._where, self._range, self._options["output"])
        with loading(self.name, device, dtype):
            self._dtype = getattr(torch, dtype)
            self._network = network.to(torch.device(device), self._dtype).eval().requires_grad_(False)

    def _fill(self, network: Module, path: Path) -> None:
        """The file's tensors, to the last key. Raises `BenchError`."""
        content = read_weights(path)
        place = self._options["tensors"]
        if place is None:
            place = next((each for each in PLACES if isinstance(content.get(each), Mapping)), "")
        try:
            state = Layout(((place, ""),)).select(content, path)
        except BenchError as error:
            if self._options["tensors"] is not None:
                raise
            holds = ", ".join(map(str, list(content)[:4]))
            raise BenchError(
                f"{self._where}: {path} has its tensors neither under {', '.join(PLACES)} nor at its top: the option "
                f"tensors names the place (it holds {one_line(holds, 120)})"
            ) from error
        if state and all(name.startswith("module.") for name in state):  # parallel training leaves that
            state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
        own, ignored = network.state_dict(), tuple(self._options["ignore"] or ())
        fit(network, {k: v for k, v in state.items() if k in own or not k.startswith(ignored)}, f"{self.name}: {path}")

    def restore(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        height, width = images.shape[-2:]
        if self.size is not None and (width, height) != self.size:
            only = "×".join(map(str, self.size))
            raise ItemError(f"{self.name} takes images of {only} alone, and this one is {width}×{height}")
        padded = pad_to_multiple(images, self._options["multiple"]).to(self._dtype)
        return self.network(padded)[..., :height, :width].float()


class _Forward:
    """A network's forward pass from [0,1] to [0,1], with its clone's names. In place of the network's own rather than
    around it, so that the names of its modules and weights stay the authors'."""

    def __init__(self, network: Module, clone: Clone, where: str, limits: list[float], output: Any) -> None:
        self._inner = types.MethodType(type(network).forward, network)  # a copy of the network gets a copy of this
        self._clone, self._where, self._output = clone, where, output
        self._low, self._span = limits[0], limits[1] - limits[0]

    def __call__(self, images: Tensor, *more: Any, **named: Any) -> Tensor:
        plain = (self._low, self._span) == (0, 1)
        with self._clone.active():
            made = self._inner(images if plain else images * self._span + self._low, *more, **named)
        self._clone.check_covered()
        image = self._image(made)
        return image if plain else (image - self._low) / self._span

    def _image(self, made: Any) -> Tensor:
        import torch

        if self._output is not None:
            try:
                made = made[self._output]
            except (LookupError, TypeError) as error:
                raise BenchError(f"{self._where}: the network returns nothing at output {self._output!r}") from error
        elif isinstance(made, tuple | list) and made:
            made = made[0]
        if not isinstance(made, torch.Tensor):
            raise BenchError(
                f"{self._where}: the network returns {type(made).__name__}, no image: the option output names which"
            )
        return made


def _dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))
