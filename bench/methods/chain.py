"""Adapters for `kind: chain` and `kind: agent`: the catalogue's methods one after the other, as somebody chooses them.

A chain is told what was done and undoes it from the last to the first. An agent looks: the assessor of a system of RAR
names what is wrong, a tool for the worst of it is tried, the assessor compares, and what is not judged better by enough
is rolled back. Every tool is given an image and gives one, which is what RAR's shared latent is there to spare.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.catalog.registry import Entry
from bench.errors import ItemError
from bench.fetch.assets import Asset
from bench.methods.base import Method, ToldMethod, package_versions
from bench.methods.loading import loaded, parameter_count
from bench.methods.options import Option, declared_options, resolve
from bench.methods.rar import NETWORK, OPTIONS, Weights, eight_bits, only_float32
from bench.methods.toolbox import Tool, Toolbox
from bench.methods.trace import Step, Trace, Traced, Verdict
from bench.methods.versions import code_versions
from iqpir.rar.kinds import LEVELS, described, level

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from iqpir.rar import RAR
    from iqpir.rar.assessor import Assessment

SOURCES = (__name__, "bench.methods.toolbox")
AGENT_OPTIONS = {
    "rounds": Option("rounds", 8, int, min=0, max=64),
    "verify": Option("verify", True, bool),
    "rollback": Option("rollback", True, bool),
    "severity": Option("severity", "medium", str, choices=LEVELS),
    "weights": OPTIONS["weights"],
}
"""`rounds`: tools that are tried, at most. `severity`: from which level on something is done about a degradation, as in
AgenticIR."""


class ChainMethod(ToldMethod):
    """The true degradations undone in reverse order, each by the first tool for it."""

    batch_invariant = True

    def __init__(self, entry: Entry, base: Path | None) -> None:
        self.name = entry.name
        self._tools = Toolbox(entry, base)
        self._told: list[Traced] | None = None

    @classmethod
    def from_entry(cls, entry: Entry, options: Mapping[str, Any], base: Path | None) -> ChainMethod:
        where = f"method {entry.name!r} ({entry.origin})"
        resolve(where, declared_options(where, entry.fields), options)
        return cls(entry, base)

    def assets(self) -> list[Asset]:
        return self._tools.assets()

    def foreign_code(self) -> str | None:
        return self._tools.foreign_code()

    def unavailable(self) -> str | None:
        return self._tools.unavailable()

    def identity(self) -> Mapping[str, Any]:
        return {"kind": "chain", "tools": self._tools.identity(), "sources": code_versions(SOURCES)}

    def load(self, device: str, dtype: str) -> None:
        self._tools.load(device, dtype)

    def restore_told(self, images: Tensor, done: Sequence[Sequence[str]], seeds: Tensor | None = None) -> Tensor:
        import torch

        self._told = None
        made: list[Tensor] = []
        told: list[tuple[Trace, dict[int, Tensor]]] = []
        for image, kinds in zip(images, done, strict=True):
            image = image[None]
            steps: list[Step] = []
            pictures: dict[int, Tensor] = {}
            for kind in reversed(kinds):
                tools = self._tools.of(kind)
                if not tools:
                    raise ItemError(f"{self.name} has no tool for {kind!r}")
                start = time.perf_counter()
                image = tools[0].method.restore(image).clamp(0, 1)
                steps.append(
                    Step("kept", f"told: {kind}", tools[0].name, seconds=time.perf_counter() - start)
                )  # fmt: skip
                pictures[len(steps)] = image
            made.append(image)
            told.append((Trace(tuple(steps), "all undone"), pictures))
        self._told = [Traced(trace, _between(pictures)) for trace, pictures in told]
        return torch.cat(made)

    def traces(self) -> Sequence[Traced] | None:
        told, self._told = self._told, None
        return told

    def close(self) -> None:
        self._tools.close()


class AgentMethod(Method):
    """Looks, chooses a tool, tries it, compares."""

    batch_invariant = True

    def __init__(self, entry: Entry, options: Mapping[str, Any], base: Path | None) -> None:
        self.name = entry.name
        self._options = dict(options)
        self._weights = Weights(entry.name, self._options.pop("weights"), base)
        self.untrained = self._weights.random
        self._tools = Toolbox(entry, base)
        self._system: RAR | None = None
        self._told: list[tuple[Trace, dict[int, Tensor]]] | None = None

    @classmethod
    def from_entry(cls, entry: Entry, options: Mapping[str, Any], base: Path | None) -> AgentMethod:
        where = f"method {entry.name!r} ({entry.origin})"
        return cls(entry, resolve(where, declared_options(where, entry.fields, AGENT_OPTIONS), options), base)

    def assets(self) -> list[Asset]:
        return self._tools.assets()

    def foreign_code(self) -> str | None:
        return self._tools.foreign_code()

    def unavailable(self) -> str | None:
        return self._weights.unavailable() or self._tools.unavailable()

    def identity(self) -> Mapping[str, Any]:
        return {
            "kind": "agent",
            "options": self._options,
            "tools": self._tools.identity(),
            "sources": code_versions((*SOURCES, *NETWORK, "bench.methods.rar")),
            "packages": package_versions(["torch"]),
            "weights": self._weights.identity(),
        }

    def load(self, device: str, dtype: str) -> None:
        only_float32(self.name, dtype)
        self._system = self._weights.read(device)
        self._tools.load(device, dtype)

    def restore(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        import torch

        self._told = None
        made, told = [], []
        for image in images:
            restored, trace, pictures = self._one(image[None])
            made.append(restored)
            told.append((trace, pictures))
        self._told = told
        return torch.cat(made)

    def _one(self, image: Tensor) -> tuple[Tensor, Trace, dict[int, Tensor]]:
        """[1,3,H,W] → the restored image, its rounds, and the images after those that were taken."""
        from iqpir.rar.loop import LoopOptions, is_clean

        options, usual = self._options, LoopOptions()  # clean and better mean what they mean to RAR's loop
        steps: list[Step] = []
        pictures: dict[int, Tensor] = {}
        tried: set[tuple[str, str]] = set()
        seen, reason = self._assess(image), "limit"
        while len(steps) < options["rounds"]:
            words = _words(seen)
            quality = float(seen.quality[0])
            if bool(is_clean(seen, usual)[0]):
                steps.append(Step("stopped", words, quality=quality))
                reason = "clean"
                break
            tool = self._choice(seen, tried)
            if tool is None:
                reason = "no tool left"
                break
            start = time.perf_counter()
            made = tool.method.restore(image).clamp(0, 1)
            after = self._assess(made)
            odds = float((after.utility - seen.utility).sigmoid()[0])
            gained = not options["verify"] or odds >= usual.needed(1 + len(pictures))
            verdict: Verdict = "accepted" if gained else "rolled back" if options["rollback"] else "kept"
            spent = time.perf_counter() - start
            steps.append(
                Step(verdict, words, f"{tool.kind}: {tool.name}", quality, float(after.quality[0]), odds, spent)
            )
            tried.add((tool.kind, tool.name))
            if verdict != "rolled back":
                image, seen = made, after
                pictures[len(steps)] = image
        return image, Trace(tuple(steps), reason), pictures

    def _choice(self, seen: Assessment, tried: set[tuple[str, str]]) -> Tool | None:
        """The next tool for the most severe degradation that is more likely there than not."""
        least = LEVELS.index(self._options["severity"])
        odds, severity = _named(seen)
        there = [kind for kind in odds if odds[kind] > 0.5 and LEVELS.index(level(severity[kind])) >= least]
        for kind in sorted(there, key=lambda kind: -severity[kind]):
            for tool in self._tools.of(kind):
                if (kind, tool.name) not in tried:
                    return tool
        return None

    def _assess(self, image: Tensor) -> Assessment:
        system = loaded(self._system, self.name)
        return system.assess(system.encode(image))

    def traces(self) -> Sequence[Traced] | None:
        told, self._told = self._told, None
        return None if told is None else [Traced(trace, _between(pictures)) for trace, pictures in told]

    def parameters(self) -> int | None:
        return parameter_count(self._system)

    def close(self) -> None:
        self._system = self._told = None
        self._tools.close()


def _named(seen: Assessment) -> tuple[dict[str, float], dict[str, float]]:
    """(probability, severity) of each degradation."""
    from iqpir.rar.kinds import CLEAN
    from iqpir.rar.loop import named, severities

    odds = named(seen, 0)
    odds.pop(CLEAN)
    return odds, severities(seen, 0)


def _words(seen: Assessment) -> str:
    from iqpir.rar.loop import named, severities

    return described(named(seen, 0), severities(seen, 0))


def _between(pictures: Mapping[int, Tensor]) -> dict[int, np.ndarray]:
    """The images but the last, which is the output."""
    return {number: eight_bits(pictures[number][0]) for number in list(pictures)[:-1]}
