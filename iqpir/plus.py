"""Score conditioning for any host network: what the papers write as a "+" behind its name.

A host's module is picked by its dotted name, and what it puts out is shifted by a learned function of the quality that
is asked for. The function starts at zero, so that a conditioned host is the host, bit for bit, until it is trained. The
host's code, parameters and state-dict keys stay as they are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from iqpir.errors import IQPIRError, few, suggest
from iqpir.network.conditioning import batch_scores, score_bins

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["add", "add_map", "film", "vec", "tokens"]
KINDS: dict[str, str] = {
    "add": "one number per channel, added: [B,C,H,W] (an InstanceNorm behind it would take it away again)",
    "add_map": "a map [C,h,w] per bin, resized bilinearly to the output and added: [B,C,H,W]",
    "film": "one factor and one shift per channel, o·(1+γ)+β: [B,C,H,W]",
    "vec": "a vector, added: [B,C], such as the time embedding of a diffusion network",
    "tokens": "a vector, added to every token: [B,N,C]",
}
FORMAT = "iqpir-plus/1"


@dataclass(frozen=True)
class Site:
    """Where and how a host is conditioned."""

    module: str
    """Dotted name, as in `host.get_submodule`. It must be called, not its `forward`: hooks see calls only."""
    kind: Kind
    """One of `KINDS`."""
    channels: int
    """Channels of the module's output; of its first member where that is a tuple or list."""
    size: tuple[int, int] | None = None
    """Height and width of the learned map; for `add_map` only."""
    repeats: bool = False
    """Whether the module is called more than once in one pass of the host, as in a diffusion sampler."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise IQPIRError(
                f"site {self.module!r}: kind {self.kind!r} is not one of {', '.join(KINDS)}{suggest(self.kind, KINDS)}"
            )
        if type(self.channels) is not int or self.channels < 1:
            raise IQPIRError(f"site {self.module!r}: channels is {self.channels!r}; it must be a positive whole number")
        if (self.size is None) == (self.kind == "add_map"):
            raise IQPIRError(f"site {self.module!r}: kind 'add_map' needs a size (height, width), the others have none")
        if self.size is not None:
            object.__setattr__(self, "size", tuple(self.size))  # JSON has lists only
            if len(self.size) != 2 or min(self.size) < 1:
                raise IQPIRError(f"site {self.module!r}: size {self.size} is not (height, width)")

    @property
    def width(self) -> int:
        """Learned numbers per bin."""
        if self.size is not None:
            return self.channels * self.size[0] * self.size[1]
        return 2 * self.channels if self.kind == "film" else self.channels


class ScoreRows(nn.Module):
    """One learned row per bin, all zero at first."""

    def __init__(self, bins: int, width: int, ordinal: bool, smooth: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(bins, width))
        self.ordinal = ordinal
        self.smooth = smooth

    def forward(self, scores: Tensor) -> Tensor:
        """Scores [B] in [0,1], clamped → [B,width]."""
        rows = self.weight.cumsum(dim=0) if self.ordinal else self.weight
        bins = len(rows)
        if not self.smooth:
            return rows[score_bins(scores, bins)]
        place = (scores.to(rows.dtype) * bins - 0.5).clamp(0, bins - 1)  # a bin's own row is at its middle
        low = place.floor().long()
        share = (place - low)[:, None]
        return rows[low] * (1 - share) + rows[(low + 1).clamp(max=bins - 1)] * share


class _Call:
    """One forward pass: its scores, which images go without, and how often each site was reached."""

    def __init__(self, scores: Tensor, kept: Tensor | None, sites: int) -> None:
        self.scores = scores
        self.kept = kept
        self.reached = [0] * sites


_CALLS: ContextVar[Mapping[int, _Call] | None] = ContextVar("iqpir_plus_calls", default=None)
"""The passes under way in this thread or task, by the conditioner they belong to."""


class _Hook:
    """A forward hook that knows whose it is, so that it can be copied and removed with its conditioner."""

    def __init__(self, owner: ScoreConditioner, index: int) -> None:
        self.owner = owner
        self.index = index

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        call = (_CALLS.get() or {}).get(id(self.owner))
        return output if call is None else self.owner._shift(self.index, output, call)


class ScoreConditioner(nn.Module):
    """A host that listens to a score: `plus(x, score=torch.tensor([0.9]))`; without a score it is the host itself."""

    def __init__(
        self,
        host: nn.Module,
        sites: Sequence[Site],
        *,
        bins: int = 10,
        ordinal: bool = False,
        smooth: bool = False,
        drop: float = 0.0,
    ) -> None:
        """`bins`: rows per site. `ordinal`: a row is the sum of the steps up to it, which helps bins that are rare.

        `smooth`: interpolate between the rows of neighbouring bins in place of the floor. `drop`: share of the images
        that get no score while training, so that guidance has something to start from.
        Raises `IQPIRError` for a site the host does not have, or one named twice.
        """
        super().__init__()
        if not sites:
            raise IQPIRError("a conditioned host needs a site; name a module of it")
        if bins < 1 or not 0 <= drop < 1:
            raise IQPIRError(f"bins is {bins} and drop {drop}; bins must be positive and drop in [0,1)")
        names = [site.module for site in sites]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise IQPIRError(f"site {twice[0]!r} is named twice")
        self.host = host
        self.sites = tuple(sites)
        self.bins, self.ordinal, self.smooth, self.drop = bins, ordinal, smooth, drop
        self.score = nn.ModuleList([ScoreRows(bins, site.width, ordinal, smooth) for site in sites])
        for index, site in enumerate(self.sites):
            _module(host, site.module).register_forward_hook(_Hook(self, index))

    def forward(self, *inputs: Any, score: Tensor | float | Sequence[float] | None = None, **named: Any) -> Any:
        """The host's output for its own arguments, at the quality `score`: in [0,1], one number or [B]; None: none.

        Raises `IQPIRError` for a NaN score, a batch of another size, an output that does not fit its site, and a site
        that the host did not call, or called more than once without `repeats`.
        """
        if score is None:
            return self.host(*inputs, **named)
        like = next(iter(self.score.parameters()))
        batch = _batch(inputs, named)
        scores = batch_scores(score, batch, like.device)
        kept = None
        if self.training and self.drop > 0:
            kept = torch.rand(batch, device=like.device) >= self.drop
        call = _Call(scores, kept, len(self.sites))
        with self._calling(call):
            output = self.host(*inputs, **named)
        for site, times in zip(self.sites, call.reached, strict=True):
            if times == 0:
                raise IQPIRError(
                    f"site {site.module!r} was not reached: the host may call its forward() directly; "
                    "name a module that is called"
                )
            if times > 1 and not site.repeats:
                raise IQPIRError(f"site {site.module!r} was reached {times} times in one pass; is repeats meant?")
        return output

    def guided(self, *inputs: Any, score: Tensor | float | Sequence[float], scale: float, **named: Any) -> Tensor:
        """Classifier-free guidance: without + scale · (with − without); `scale` 1 is the plain conditioned output."""
        plain = self(*inputs, **named)
        asked = self(*inputs, score=score, **named)
        if not isinstance(plain, Tensor):
            raise IQPIRError(f"guidance needs a host that returns a tensor, not {type(plain).__name__}")
        return plain + scale * (asked - plain)

    @contextmanager
    def _calling(self, call: _Call) -> Iterator[None]:
        token = _CALLS.set({**(_CALLS.get() or {}), id(self): call})
        try:
            yield
        finally:
            _CALLS.reset(token)

    def _shift(self, index: int, output: Any, call: _Call) -> Any:
        call.reached[index] += 1
        if isinstance(output, Tensor):
            return self._shifted(index, output, call)
        if isinstance(output, tuple | list) and output and isinstance(output[0], Tensor):
            first = self._shifted(index, output[0], call)
            if isinstance(output, list):
                return [first, *output[1:]]
            rest = (first, *output[1:])
            return type(output)(*rest) if hasattr(output, "_fields") else rest
        raise IQPIRError(
            f"site {self.sites[index].module!r} returns {type(output).__name__}, not a tensor or a list with one first"
        )

    def _shifted(self, index: int, output: Tensor, call: _Call) -> Tensor:
        site = self.sites[index]
        _check(site, output, len(call.scores))
        rows = self.score[index](call.scores)
        if call.kept is not None:
            rows = rows * call.kept[:, None]
        rows = rows.to(output.dtype)
        match site.kind:
            case "film":
                factor, shift = rows[:, :, None, None].chunk(2, dim=1)
                return output * (1 + factor) + shift
            case "add":
                return output + rows[:, :, None, None]
            case "vec":
                return output + rows
            case "tokens":
                return output + rows[:, None]
            case "add_map":
                assert site.size is not None
                maps = rows.unflatten(1, (site.channels, *site.size))
                if maps.shape[-2:] != output.shape[-2:]:
                    maps = interpolate(maps, output.shape[-2:], mode="bilinear", align_corners=False)
                return output + maps

    def remove(self) -> nn.Module:
        """Take the hooks away and give back the host as it was found (with what training changed in its weights)."""
        for site in self.sites:
            hooks = _module(self.host, site.module)._forward_hooks
            for key in [key for key, hook in hooks.items() if isinstance(hook, _Hook) and hook.owner is self]:
                del hooks[key]
        return self.host

    def save(self, path: str | os.PathLike[str], *, with_host: bool = False) -> None:
        """Write sites and learned rows, and the host's tensors if they were trained as well, to a `.safetensors`."""
        from iqpir.tensors import write_tensors

        path = Path(path)
        if path.suffix != ".safetensors":
            raise IQPIRError(f"{path}: a conditioner is saved as .safetensors")
        settings = {"bins": self.bins, "ordinal": self.ordinal, "smooth": self.smooth, "drop": self.drop}
        metadata = {
            "format": FORMAT,
            "sites": json.dumps([asdict(site) for site in self.sites]),
            "settings": json.dumps(settings),
            "host": "included" if with_host else "not included",
        }
        tensors = {
            name: tensor.detach().cpu().contiguous().clone()
            for name, tensor in self.state_dict().items()
            if with_host or name.startswith("score.")
        }
        write_tensors(tensors, path, metadata)

    @classmethod
    def load(cls, host: nn.Module, path: str | os.PathLike[str]) -> ScoreConditioner:
        """The conditioner in a file, around `host`, whose weights are replaced where the file has its own.

        Raises `IQPIRError` for a file that is none, is damaged, or does not fit the host.
        """
        from safetensors import SafetensorError, safe_open

        path = Path(path)
        if not path.is_file():
            raise IQPIRError(f"{path}: there is no such file")
        try:
            with safe_open(path, framework="pt") as file:
                metadata: dict[str, str] = file.metadata() or {}
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        except (SafetensorError, OSError) as error:
            raise IQPIRError(f"{path} is no safetensors file: {error}") from error
        if metadata.get("format") != FORMAT:
            raise IQPIRError(f"{path} is no score conditioner of the form {FORMAT} (it says {metadata.get('format')})")
        try:
            sites = [Site(**site) for site in json.loads(metadata["sites"])]
            made = cls(host, sites, **json.loads(metadata["settings"]))
        except (KeyError, TypeError, ValueError) as error:
            raise IQPIRError(f"{path}: its metadata are damaged: {error}") from error
        own = made.state_dict()
        if metadata.get("host") != "included":
            own = {name: tensor for name, tensor in own.items() if name.startswith("score.")}
        strange = [
            name
            for name in {**own, **state}
            if name not in own or name not in state or own[name].shape != state[name].shape
        ]
        if strange:
            made.remove()
            raise IQPIRError(f"{path} does not fit this host: {few(strange)}")
        made.load_state_dict(state, strict=False)
        return made


def _module(host: nn.Module, name: str) -> nn.Module:
    try:
        if not name:
            raise AttributeError
        return host.get_submodule(name)
    except AttributeError:
        known = [each for each, _ in host.named_modules() if each]
        raise IQPIRError(f"{type(host).__name__} has no module {name!r}{suggest(name, known)}") from None


def _batch(inputs: tuple[Any, ...], named: Mapping[str, Any]) -> int:
    for value in (*inputs, *named.values()):
        if isinstance(value, Tensor) and value.ndim:
            return len(value)
    raise IQPIRError("a score needs a batch: the host was given no tensor")


def _check(site: Site, output: Tensor, batch: int) -> None:
    dimensions, axis = {"vec": (2, 1), "tokens": (3, 2)}.get(site.kind, (4, 1))
    if output.ndim != dimensions or output.shape[axis] != site.channels or len(output) != batch:
        raise IQPIRError(
            f"site {site.module!r} puts out {list(output.shape)}; kind {site.kind!r} with {site.channels} channels "
            f"needs {dimensions} dimensions, {site.channels} at place {axis}, and a batch of {batch}"
        )
