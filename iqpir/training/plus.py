"""Fine-tune a host with a score, and beside it the host alone under the same budget, so that the gain can be told.

The recipe is the "+" of the papers as far as they describe it: targets unchanged, the score is that of each pair's GT,
the learned rows at ten times the host's rate, a tenth of the images without a score.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from iqpir import files
from iqpir.errors import IQPIRError, suggest
from iqpir.files import write_csv
from iqpir.plus import ScoreConditioner, Site
from iqpir.training.common import Data
from iqpir.training.paired_folders import AnyPairs


@dataclass(frozen=True)
class PlusSettings:
    """What `iqpir train plus` reads from its YAML file."""

    host: str | Mapping[str, Any]
    """`PROVIDER:NAME`, such as `bench:sci-medium`, or a network in a clone: `{repo, module, arguments, weights}`."""
    lq: str = ""
    """Folder of degraded images; relative paths are those of the settings file's folder."""
    gt: str = ""
    scores: str = ""
    """CSV of the GT images' scores, as `iqpir assess GT` writes it."""
    data: Data | None = None
    """In place of these three: generated pairs, whose targets have the scores that their degradation gives them."""
    host_options: Mapping[str, Any] | None = None
    """The host's own, such as `repo` and `weights` of one that lives in a clone; paths as above."""
    base: Path | None = None
    """The settings file's folder."""
    sites: tuple[Site, ...] = ()
    """Where the score goes in; empty: where the host's provider says."""
    bins: int = 10
    ordinal: bool = False
    smooth: bool = False
    drop: float = 0.1
    steps: int = 1000
    batch: int = 4
    crop: int = 128
    rate: float = 1e-4
    """Learning rate of the host; 0 leaves it as it is."""
    rows_rate: float = 1e-3
    """Learning rate of the learned rows."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.host, str) and not (isinstance(self.host, Mapping) and "repo" in self.host):
            raise IQPIRError("host is PROVIDER:NAME, or {repo: CLONE, module: PACKAGE.MODULE:CLASS, weights: FILE}")
        if self.host_options is not None and not isinstance(self.host_options, Mapping):
            raise IQPIRError(f"host_options is a mapping of the host's options, not {self.host_options!r}")
        for name in ("bins", "steps", "batch", "crop"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise IQPIRError(f"{name} is {value!r}; it must be a positive whole number")
        if self.data is not None:
            if self.lq or self.gt or self.scores:
                raise IQPIRError("data makes pairs with scores of their own: leave out lq, gt and scores")
            if self.data.scores != "target":
                raise IQPIRError("data.scores: only target gives the targets of a pair a score: scores: target")
        for name in ("rate", "rows_rate"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value < 1:
                raise IQPIRError(f"{name} is {value!r}; it must be a number in [0,1)")

    @classmethod
    def load(cls, path: Path) -> PlusSettings:
        """From YAML, read as data. Raises `IQPIRError` with the nearest key for one that does not exist."""
        import yaml

        try:
            content = yaml.safe_load(files.read_text(path))
        except OSError as error:
            raise IQPIRError(f"{path}: cannot be read: {error.strerror or error}") from error
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = mark.line + 1 if mark else 1
            raise IQPIRError(f"{path}:{line}: {getattr(error, 'problem', None) or 'not YAML'}") from error
        if not isinstance(content, Mapping):
            raise IQPIRError(f"{path}: settings are a mapping with the keys host, lq, gt, scores, sites")
        try:
            return cls._from(dict(content), path.parent)
        except IQPIRError as error:
            raise IQPIRError(f"{path}: {error}") from error

    @classmethod
    def _from(cls, content: dict[str, Any], base: Path) -> PlusSettings:
        known = {field.name for field in fields(cls)} - {"base"}
        for key in content:
            if key not in known:
                raise IQPIRError(f"unknown key {key!r}{suggest(str(key), known)}")
        folders = () if "data" in content else ("lq", "gt", "scores")
        missing = [name for name in ("host", *folders) if name not in content]
        if missing:
            raise IQPIRError(f"the key {missing[0]!r} is missing")
        for name in folders:
            content[name] = str(base / str(content[name]))
        if "data" in content:
            content["data"] = Data.from_dict(content["data"], "data")
            if content["data"].cache:
                content["data"] = replace(content["data"], cache=str(base / content["data"].cache))
        sites = content.get("sites", [])
        if not isinstance(sites, list):
            raise IQPIRError("sites is a list of {module, kind, channels}")
        try:
            content["sites"] = tuple(Site(**site) for site in sites)
        except TypeError as error:
            raise IQPIRError(f"a site has the keys module, kind, channels, size and repeats: {error}") from error
        return cls(**content, base=base)


class Trained(NamedTuple):
    plus: ScoreConditioner
    control: ScoreConditioner
    """The host alone, trained as long; its rows are all zero."""
    losses: list[tuple[float, float]]
    """(plus, control) per step: mean absolute errors."""


def train_plus(
    host: nn.Module,
    settings: PlusSettings,
    pairs: AnyPairs,
    *,
    device: str = "cpu",
    progress: Callable[[int, float, float], object] | None = None,
) -> Trained:
    """Both trainings, on the same batches from the same start. `progress` is told (step, loss, control's loss).

    Raises `IQPIRError` for sites that do not fit, and for a loss that is not finite.
    """
    torch.manual_seed(settings.seed)
    options: dict[str, Any] = {"bins": settings.bins, "ordinal": settings.ordinal, "smooth": settings.smooth}
    control = ScoreConditioner(copy.deepcopy(host), settings.sites, **options).to(device)
    plus = ScoreConditioner(host, settings.sites, drop=settings.drop, **options).to(device)
    sides = [(plus, _optimiser(plus, settings, rows=True)), (control, _optimiser(control, settings, rows=False))]
    losses = []
    batches = pairs.batches(settings.steps, settings.batch, settings.crop, settings.seed)
    for step, batch in enumerate(batches, start=1):
        lq, gt, scores = (tensor.to(device) for tensor in batch)
        found = []
        for side, optimiser in sides:
            side.train()
            output = side(lq, score=scores) if side is plus else side(lq)
            loss = _l1(output, gt)
            if not bool(torch.isfinite(loss)):
                raise IQPIRError(f"the loss is {float(loss)} at step {step}: lower the rates")
            if optimiser is not None:
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            found.append(float(loss.detach()))
        losses.append((found[0], found[1]))
        if progress is not None:
            progress(step, *losses[-1])
    return Trained(plus.eval().cpu(), control.eval().cpu(), losses)


def _optimiser(side: ScoreConditioner, settings: PlusSettings, rows: bool) -> torch.optim.Optimizer | None:
    groups: list[dict[str, Any]] = []
    if settings.rate > 0:
        groups.append({"params": list(side.host.parameters()), "lr": settings.rate})
    if rows and settings.rows_rate > 0:
        groups.append({"params": list(side.score.parameters()), "lr": settings.rows_rate})
    return torch.optim.Adam(groups, betas=(0.9, 0.99)) if groups else None


def _l1(output: object, gt: Tensor) -> Tensor:
    if isinstance(output, tuple | list):
        output = output[0]
    if not isinstance(output, Tensor) or output.shape != gt.shape:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise IQPIRError(f"the host gives {shape} for images of {tuple(gt.shape)}: it must restore at the same size")
    return (output - gt).abs().mean()


def write_losses(path: Path, losses: list[tuple[float, float]]) -> None:
    """Columns step, plus, control."""
    columns = ("step", "plus", "control")
    rows = ((step, *pair) for step, pair in enumerate(losses, start=1))
    write_csv(path, columns, (dict(zip(columns, row, strict=True)) for row in rows))
