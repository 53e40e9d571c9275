"""Adapter for `kind: rar`: Restore, Assess, Repeat by the package `iqpir`, with any of its checkpoints.

The loop's choices are this method's options. What was seen and done in each round is told, with the images in between,
which are decoded for it and are no part of the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.catalog.registry import Entry
from bench.errors import BenchError, ItemError, one_line
from bench.methods.base import Method, package_versions
from bench.methods.loading import RANDOM, NamedFile, loaded, loading, parameter_count, random_weights
from bench.methods.options import Option, declared_options, resolve
from bench.methods.trace import FILLED, Step, Trace, Traced
from bench.methods.versions import code_versions
from iqpir.rar.kinds import HIDDEN, described
from iqpir.weights import kind_of, shipped

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from iqpir.rar import RAR, LoopOptions
    from iqpir.rar.loop import Round
    from iqpir.rar.loop import Trace as Found

RAR_TINY = "rar-tiny"
"""The checkpoint that is taken where none is named."""
OPTIONS = {
    "rounds": Option("rounds", 4, int, min=0, max=64),
    "adaptive": Option("adaptive", True, bool),
    "verify": Option("verify", True, bool),
    "rollback": Option("rollback", True, bool),
    "assessment": Option("assessment", True, bool),
    "light": Option("light", 0.5, float, min=0.0, max=1.0),
    "hidden": Option("hidden", HIDDEN, float, min=0.0, max=1.0),
    "restorer": Option("restorer", None, str, choices=("flow", "code")),
    "weights": Option("weights", RAR_TINY, str),
}
"""What every entry of this kind takes. `adaptive` false: every image has exactly `rounds` rounds, all taken, whatever
`verify` and `rollback` are. `assessment` false: the restorer is told nothing, and nothing is filled in. `light`:
probability of a degradation of light below which a round leaves light as it is; 0: never. `hidden`: probability of rain
or snow above which an image is not clean, and a round fills in what they hide. `restorer` None: the checkpoint's first.
`weights`: a checkpoint on disk, the name of one that comes with the package `iqpir`, or `random`, which is timed and
never scored."""
NETWORK = (
    "iqpir.checkpoint", "iqpir.network.blocks", "iqpir.rar.assessor", "iqpir.rar.config", "iqpir.rar.filler",
    "iqpir.rar.kinds",
    "iqpir.rar.latent", "iqpir.rar.layers", "iqpir.rar.loop", "iqpir.rar.model", "iqpir.rar.restorer",
)  # fmt: skip
"""Modules that a system runs."""


class Weights:
    """Where a system comes from."""

    def __init__(self, method: str, given: str, base: Path | None) -> None:
        self.method, self.given = method, given
        self.random = given == RANDOM
        missing = given == RAR_TINY and shipped(given) is None  # said by `unavailable`, as for any other weights
        none = self.random or missing
        self._file = None if none else NamedFile(f"method {method!r}", "weights", given, base)
        if self._file is not None and kind_of(self._file.path) != "rar":
            raise BenchError(f"method {method!r}: option 'weights' names {given}, which is no system of RAR")

    def unavailable(self) -> str | None:
        """Why there is nothing to score with, with the remedy."""
        if self.random:
            return random_weights(self.method)
        if self._file is None:
            return (
                f"{self.method}: no checkpoint {self.given} comes along; iqpir train all configs/rar-tiny.yaml makes "
                "one, for the option weights"
            )
        return None

    def identity(self) -> str:
        return RANDOM if self._file is None else self._file.digest()

    def read(self, device: str) -> RAR:
        """The system on a device. Raises `BenchError`."""
        import torch

        from iqpir.rar import RAR

        with loading(self.method, device, "float32"):
            if self.random:
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(0)
                    return RAR().eval().to(device)
            if self._file is None:
                raise BenchError(str(self.unavailable()))
            return RAR.from_checkpoint(self._file.unchanged(self.method)).to(device)


def only_float32(method: str, dtype: str) -> None:
    """Raise `BenchError` for another type: a comparison of two utilities does not survive fewer digits."""
    if dtype != "float32":
        raise BenchError(f"{method} works in float32, not {dtype}")


class RarMethod(Method):
    """A system with the way it is used."""

    def __init__(self, entry: Entry, options: Mapping[str, Any], base: Path | None) -> None:
        self.name = entry.name
        self._entry, self._base = entry, base
        self._options = dict(options)
        self._weights = Weights(entry.name, self._options.pop("weights"), base)
        self.untrained = self._weights.random
        self._system: RAR | None = None
        self._found: tuple[list[Found], Sequence[Tensor], tuple[int, int]] | None = None

    @classmethod
    def from_entry(cls, entry: Entry, options: Mapping[str, Any], base: Path | None) -> RarMethod:
        where = f"method {entry.name!r} ({entry.origin})"
        return cls(entry, resolve(where, declared_options(where, entry.fields, OPTIONS), options), base)

    def unavailable(self) -> str | None:
        return self._weights.unavailable()

    def untrained_twin(self) -> RarMethod:
        return RarMethod(self._entry, {**self._options, "weights": RANDOM}, self._base)

    def identity(self) -> Mapping[str, Any]:
        return {
            "kind": "rar",
            "options": self._options,
            "sources": code_versions((*NETWORK, __name__)),
            "packages": package_versions(["torch"]),
            "weights": self._weights.identity(),
        }

    def load(self, device: str, dtype: str) -> None:
        only_float32(self.name, dtype)
        system = self._weights.read(device)
        wanted = self._options["restorer"]
        if wanted is not None and wanted not in system.config.restorers:
            there = ", ".join(system.config.restorers)
            raise BenchError(f"{self.name}: option 'restorer' is {wanted}, and this checkpoint has {there}")
        self._system = system

    def _loop(self) -> LoopOptions:
        from iqpir.rar import LoopOptions

        given = self._options
        return LoopOptions(
            rounds=given["rounds"], adaptive=given["adaptive"], verify=given["verify"], rollback=given["rollback"],
            assess=given["assessment"], light=given["light"], hidden=given["hidden"],
            restorer=given["restorer"] or "",
        )  # fmt: skip

    def restore(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        from iqpir.errors import IQPIRError

        self._found = None
        system = loaded(self._system, self.name)
        try:
            made = system(images, self._loop(), keep=True)
        except IQPIRError as error:
            raise ItemError(one_line(error)) from error
        self._found = made.traces, made.states, (images.shape[-2], images.shape[-1])
        return made.image

    def traces(self) -> Sequence[Traced] | None:
        if self._found is None or self._system is None:
            return None
        import torch

        (found, states, size), self._found = self._found, None
        with torch.inference_mode():  # where the states come from: outside of it no layer takes them
            return [
                Traced(traced(trace, self._options["hidden"]), _pictures(self._system, trace, states, place, size))
                for place, trace in enumerate(found)
            ]

    def parameters(self) -> int | None:
        return parameter_count(self._system)

    def close(self) -> None:
        self._system = self._found = None


def traced(trace: Found, hidden: float = HIDDEN) -> Trace:
    """The loop's record as the harness keeps it. `hidden`: the loop's option of that name."""
    return Trace(tuple(_step(each, hidden) for each in trace.rounds), trace.reason)


def _step(each: Round, hidden: float) -> Step:
    words = described(each.degradations, each.severity, hidden)
    if each.verdict == "stopped":
        return Step("stopped", words, quality=each.quality)
    return Step(each.verdict, words, FILLED if each.filled else "", each.quality, each.quality_after, each.better)


def _pictures(
    system: RAR, trace: Found, states: Sequence[Tensor], place: int, size: tuple[int, int]
) -> dict[int, np.ndarray]:
    """Images after the rounds that were taken, but the last of them, which the output shows."""
    taken = [number for number, each in enumerate(trace.rounds, 1) if each.verdict in ("accepted", "kept")][:-1]
    return {number: eight_bits(system.decode(states[number][place : place + 1], *size)[0]) for number in taken}


def eight_bits(image: Tensor) -> np.ndarray:
    """float [3,H,W] in [0,1] → uint8 [H,W,3], rounded."""
    import torch

    pixels: np.ndarray = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return pixels
