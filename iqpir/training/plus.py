"""Fine-tune a host with a score, and beside it the host alone under the same budget, so that the gain can be told.

The recipe is the "+" of the papers as far as they describe it: targets unchanged, the score is that of each pair's GT,
the learned rows at ten times the host's rate, a tenth of the images without a score.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from iqpir import files
from iqpir.errors import IQPIRError, suggest
from iqpir.files import write_csv
from iqpir.plus import ScoreConditioner, Site
from iqpir.training.common import Data
from iqpir.training.losses import log_error
from iqpir.training.paired_folders import AnyPairs
from iqpir.training.settings import with_paths
from iqpir.training.strict import same
from iqpir.training.yaml_file import read_yaml

Loss = Literal["l1", "decibels"]
Schedule = Literal["constant", "cosine"]


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
    schedule: Schedule = "constant"
    """"cosine": both rates fall to zero over the steps."""
    loss: Loss = "l1"
    """"decibels": the logarithm of each image's squared error, so that images count by the part of their error that is
    taken away. L1 is mostly the error in brightness of the images that are hardest."""
    freeze_norm: bool = False
    """Batch normalisation trains with the statistics that the host came with, which it also restores with. Those of a
    few crops take away how dark the crops are, and what is learned on them is off on a single image."""
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
        for name, kinds in (("loss", Loss), ("schedule", Schedule)):
            if getattr(self, name) not in get_args(kinds):
                known = get_args(kinds)
                near = suggest(str(getattr(self, name)), known)
                raise IQPIRError(f"{name} is {getattr(self, name)!r}; it is one of {', '.join(known)}{near}")
        for name in ("ordinal", "smooth", "freeze_norm"):
            if type(getattr(self, name)) is not bool:
                raise IQPIRError(f"{name} is {getattr(self, name)!r}; it is true or false")
        if self.data is not None:
            if self.lq or self.gt or self.scores:
                raise IQPIRError("data makes pairs with scores of their own: leave out lq, gt and scores")
            if self.data.scores != "target":
                raise IQPIRError("data.scores: only target gives the targets of a pair a score: scores: target")
        if type(self.seed) is not int or self.seed < 0:
            raise IQPIRError(f"seed is {self.seed!r}; it must be a whole number, 0 or more")
        if not isinstance(self.drop, int | float) or not 0 <= self.drop < 1:
            raise IQPIRError(f"drop is {self.drop!r}; it must be a share in [0,1)")
        for name in ("rate", "rows_rate"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value < 1:
                raise IQPIRError(f"{name} is {value!r}; it must be a number in [0,1)")

    @classmethod
    def load(cls, path: Path) -> PlusSettings:
        """From YAML, read as data. Raises `IQPIRError` with the nearest key for one that does not exist."""
        content = read_yaml(path)
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
            if not isinstance(content[name], str):
                raise IQPIRError(f"{name} is {content[name]!r}; it must be a path")
            content[name] = str(base / content[name])
        if "data" in content:
            content["data"] = Data.from_dict(with_paths(content, base)["data"], "data")
        sites = content.get("sites", [])
        if not isinstance(sites, list):
            raise IQPIRError("sites is a list of {module, kind, channels}")
        try:
            content["sites"] = tuple(Site(**site) for site in sites)
        except TypeError as error:
            raise IQPIRError(f"a site has the keys module, kind, channels, size and repeats: {error}") from error
        return cls(**content, base=base)


def keep_settings(folder: Path, settings: PlusSettings) -> None:
    """Write down what a folder's networks are trained with, before they are. Raises `IQPIRError` for a folder that
    holds a network of other settings, or that cannot be written to."""
    file = folder / "settings.json"
    content = json.loads(json.dumps(asdict(settings), default=str))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if file.is_file() and (folder / "plus.safetensors").is_file():
            before = json.loads(files.read_text(file))
            same(f"{folder} holds a network", before, content, "name another folder, or remove it")
        files.write(file, json.dumps(content, indent=1))
    except OSError as error:
        raise IQPIRError(f"{folder}: cannot be written to: {error.strerror or error}") from error


class Trained(NamedTuple):
    plus: ScoreConditioner
    control: ScoreConditioner
    """The host alone, trained as long; its rows are all zero."""
    losses: list[tuple[float, float]]
    """(plus, control) per step: the settings' loss."""


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
    if device == "cpu":  # convolutions of a few channels take two thirds of the time
        for side in (plus, control):
            side.to(memory_format=torch.channels_last)
    sides = [(side, *_optimiser(side, settings, rows=side is plus)) for side in (plus, control)]
    loss_of = _decibels if settings.loss == "decibels" else _l1
    losses = []
    batches = pairs.batches(settings.steps, settings.batch, settings.crop, settings.seed)
    for step, batch in enumerate(batches, start=1):
        lq, gt, scores = (tensor.to(device) for tensor in batch)
        found = []
        for side, optimiser, pace in sides:
            _train_mode(side, settings.freeze_norm)
            output = side(lq, score=scores) if side is plus else side(lq)
            loss = loss_of(_image(output, gt), gt)
            if not bool(torch.isfinite(loss)):
                raise IQPIRError(f"the loss is {float(loss)} at step {step}: lower the rates")
            if optimiser is not None and pace is not None:
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                pace.step()
            found.append(float(loss.detach()))
        losses.append((found[0], found[1]))
        if progress is not None:
            progress(step, *losses[-1])
    return Trained(plus.eval().cpu(), control.eval().cpu(), losses)


def _train_mode(side: ScoreConditioner, freeze_norm: bool) -> None:
    side.train()
    if freeze_norm:
        for module in side.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def _optimiser(side: ScoreConditioner, settings: PlusSettings, rows: bool) -> tuple[Adam | None, LambdaLR | None]:
    """What moves a side, and its rates' schedule; None where nothing is to move."""
    groups: list[dict[str, Any]] = []
    if settings.rate > 0:
        groups.append({"params": list(side.host.parameters()), "lr": settings.rate})
    if rows and settings.rows_rate > 0:
        groups.append({"params": list(side.score.parameters()), "lr": settings.rows_rate})
    if not groups:
        return None, None
    optimiser = Adam(groups, betas=(0.9, 0.99))

    def pace(done: int) -> float:
        return (1 + math.cos(math.pi * done / settings.steps)) / 2 if settings.schedule == "cosine" else 1.0

    return optimiser, LambdaLR(optimiser, pace)


def _image(output: object, gt: Tensor) -> Tensor:
    if isinstance(output, tuple | list):
        output = output[0]
    if not isinstance(output, Tensor) or output.shape != gt.shape:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise IQPIRError(f"the host gives {shape} for images of {tuple(gt.shape)}: it must restore at the same size")
    return output


def _l1(output: Tensor, gt: Tensor) -> Tensor:
    return (output - gt).abs().mean()


def _decibels(output: Tensor, gt: Tensor) -> Tensor:
    return 0.5 * log_error(output, gt)


def write_losses(path: Path, losses: list[tuple[float, float]]) -> None:
    """Columns step, plus, control."""
    columns = ("step", "plus", "control")
    rows = ((step, *pair) for step, pair in enumerate(losses, start=1))
    write_csv(path, columns, (dict(zip(columns, row, strict=True)) for row in rows))
