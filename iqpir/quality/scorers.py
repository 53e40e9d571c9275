"""Where a prior's raw scores come from: any no-reference metric, by name, behind one small protocol.

A member is `NAME`, a metric of pyiqa, or `PROVIDER:NAME`: `iqpir:FILE` is a network of `iqpir train quality`, and
other packages offer providers through the entry points `iqpir.scorers`. A provider is a function (name, device) →
`Scorer` that raises `IQPIRError` for what it cannot give.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from iqpir.devices import check_device
from iqpir.errors import IQPIRError, one_line, suggest
from iqpir.quality.pyiqa_build import no_downloads

if TYPE_CHECKING:
    import torch

ENTRY_POINTS = "iqpir.scorers"
DEFAULT_MEMBERS = ("bench:piqe", "iqpir:iqpir-tiny-quality")
"""Members that need no download: distortion in active blocks, and the network that comes along."""
PAPERS = "papers"
PAPERS_MEMBERS = ("bench:musiq-g", "bench:topiq_nr-face-v1")
"""The papers' face ensemble (IQPIR, section 4) without Q-Align, an 8-billion-parameter language model."""


class Scorer(Protocol):
    """A no-reference metric. It may also have `signature`, a text that fixes what its numbers mean."""

    name: str
    """The member's name, as it is asked for and as columns are called."""
    lower_better: bool

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """float32 RGB [B,3,H,W] in [0,1] → [B]. Raises `ImageFailure` for an image that has no score."""


Provider = Callable[[str, str], Scorer]


def signature_of(scorer: Scorer) -> str:
    """What the scorer says of the meaning of its numbers; its name where it says nothing."""
    return str(getattr(scorer, "signature", scorer.name))


def load_scorers(members: Sequence[str], device: str = "cpu") -> list[Scorer]:
    """The scorers of these members, loaded. Raises one `IQPIRError` that names everything that is missing."""
    if not members:
        raise IQPIRError("an ensemble needs one member or more: --member NAME")
    if len(set(members)) < len(members):
        twice = next(name for place, name in enumerate(members) if name in members[:place])
        raise IQPIRError(f"member {twice!r} is asked for twice")
    check_device(device)
    scorers, problems = [], []
    for member in members:
        try:
            scorers.append(load_scorer(member, device))
        except IQPIRError as error:
            problems.append(f"member {member!r}: {error}")
    if problems:
        raise IQPIRError("; ".join(problems))
    return scorers


def load_scorer(member: str, device: str = "cpu") -> Scorer:
    """One member, `NAME` or `PROVIDER:NAME`. Raises `IQPIRError` with what is missing and the remedy."""
    provider, colon, name = member.partition(":")
    if not colon:
        provider, name = "pyiqa", member
    if provider == "pyiqa":
        return PyiqaScorer(name, device, member)
    if provider == "iqpir":
        from iqpir.quality.tiny import TinyScorer

        return TinyScorer(name, device)
    points = {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    if provider not in points:
        known = ["iqpir", "pyiqa", *sorted(points)]
        raise IQPIRError(f"no provider {provider!r}{suggest(provider, known)} (there are {', '.join(known)})")
    try:
        factory: Provider = points[provider].load()
    except Exception as error:
        raise IQPIRError(
            f"provider {provider!r} cannot be loaded: {type(error).__name__}: {one_line(error)}"
        ) from error
    return factory(name, device)


class PyiqaScorer:
    """A no-reference metric of pyiqa (PolyForm-Noncommercial), built from weights that are already there.

    pyiqa downloads what it lacks without a hash; here that is an error which names the file, and a checkpoint is read
    without unpickling code.
    """

    def __init__(self, name: str, device: str, member: str | None = None) -> None:
        try:
            import pyiqa
            from pyiqa.default_model_configs import DEFAULT_CONFIGS
        except ImportError as error:
            raise IQPIRError(f"pyiqa is not installed: pip install pyiqa ({one_line(error, 120)})") from error
        blind = [key for key, config in DEFAULT_CONFIGS.items() if config.get("metric_mode") == "NR"]
        if name not in blind:
            what = "compares with a reference" if name in DEFAULT_CONFIGS else "is not a metric of pyiqa"
            raise IQPIRError(f"{name!r} {what}{suggest(name, blind)} (PROVIDER:NAME for others, such as bench:{name})")
        self.name = member or name
        self.signature = f"pyiqa-{importlib.metadata.version('pyiqa')}|{name}"
        try:
            with (
                no_downloads(functools.partial(_lacking, name), data_only=True) as backbones,
                contextlib.redirect_stdout(io.StringIO()),
            ):
                self._metric = pyiqa.create_metric(name, device="cpu")
        except IQPIRError:
            raise
        except Exception as error:
            raise IQPIRError(
                f"pyiqa cannot build it: {type(error).__name__}: {one_line(error, 160)} ({_remedy(name)})"
            ) from error
        if backbones.unfilled(self._metric.net):
            raise IQPIRError(f"it needs its backbone's own weights, which pyiqa would download ({_remedy(name)})")
        self._metric.to(device)
        self.lower_better = bool(self._metric.lower_better)
        self._device = device

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        import torch

        with torch.no_grad():
            values = [self._metric.net(image.to(self._device)).reshape(()) for image in images.split(1)]
        return torch.stack(values).double().cpu()


def _lacking(name: str, url: str) -> IQPIRError:
    file = url.rsplit("/", 1)[-1]
    return IQPIRError(f"it needs {file} ({url}), which pyiqa has not and which is not downloaded here: {_remedy(name)}")


def _remedy(name: str) -> str:
    return f"bench fetch {name}, then --member bench:{name}, whose hashes are checked"
