"""The loop that all stages share: batches, gradients, averaged weights, states to go on from, and a record.

A run is a function of its settings: batches follow from the number of the step, and every step seeds torch with that
number, so that a run that was killed and taken up again ends with the weights of one that was not, bit for bit on a
CPU. A folder holds one run:

    settings.json       what was asked for
    state.safetensors   networks, averages and optimisers after the last saved step, and
    state.json          which step that is; both are replaced together or not at all
    losses.csv          a row per logged step
    samples/            grids of held-out samples
    events/             the same for TensorBoard
    NAME.safetensors    the network, averaged, for use
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from iqpir import files
from iqpir.errors import IQPIRError
from iqpir.precision import mixed, native_bfloat16
from iqpir.tensors import write_tensors
from iqpir.training.batch_loading import Timed, training_loader
from iqpir.training.common import Common
from iqpir.training.stage_data import collate, paired
from iqpir.training.strict import same

HELD_OUT_SEED = 1 << 30
"""Added to the data's seed for samples that are never trained on; of a folder's photographs these are other crops."""


class Player(NamedTuple):
    """A module and the optimiser that trains it."""

    module: nn.Module
    rate: Callable[[int], float]
    start: int = 0
    """First step in which it learns."""


class Stage(Protocol):
    """One kind of training. `players` take their step one after the other, on the same batch."""

    name: str
    notes: Sequence[str]

    @property
    def settings(self) -> Common: ...

    @property
    def players(self) -> Mapping[str, Player]: ...

    @property
    def averaged(self) -> nn.Module:
        """The network whose average is used and saved."""

    def losses(self, player: str, batch: Mapping[str, Any], step: int) -> dict[str, Tensor]:
        """Named scalars of one player's turn; the one called `total` is what it makes small."""

    def measures(self, batch: Mapping[str, Any]) -> dict[str, float]:
        """What is told of held-out samples, with the averaged weights in place."""

    def pictures(self, batch: Mapping[str, Any]) -> Sequence[Tensor]:
        """Rows of a sample grid, each [B,3,H,W] in [0,1]."""

    def looks(self, device: torch.device) -> Sequence[Tensor]:
        """Rows of a grid of real photographs, as `pictures`; empty for a stage that does not restore any."""

    def after(self, batch: Mapping[str, Any], step: int) -> dict[str, float]:
        """What is left to do when all players have moved; returns numbers worth logging."""

    def save(self, path: Path) -> None:
        """Write `averaged` for use."""


class Report(NamedTuple):
    """What the loop tells of a step."""

    step: int
    """Steps done."""
    values: dict[str, float]


class Outcome(NamedTuple):
    steps: int
    values: dict[str, float]
    """Of the last logged step."""
    waiting: float
    """Share of the time that the steps waited for their batches."""
    seconds: float
    saved: Path


def train(
    stage: Stage,
    folder: Path,
    *,
    steps: int | None = None,
    report: Callable[[Report], object] = lambda _: None,
    device: str = "cpu",
) -> Outcome:
    """Train a stage up to `steps` (the settings' number by default), from where the folder's state left off.

    Raises `IQPIRError` for a folder that holds a run of other settings, and for a loss that is not finite.
    """
    from accelerate import Accelerator

    settings = stage.settings
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision=_precision(settings, folder, device))
    run = _Run(stage, folder, accelerator)
    end = settings.steps if steps is None else steps
    begin = run.resume(end)
    return run.work(begin, end, report)


def _precision(settings: Common, folder: Path, device: str) -> str:
    """As accelerate names it. A run goes on in what it began with: "auto" measures, and may measure otherwise later."""
    state = folder / "state.json"
    if settings.precision == "auto" and state.is_file() and native_bfloat16(device):
        kept = _read_json(state).get("precision")
        if kept in ("no", "bf16"):
            return str(kept)
    return mixed(settings.precision, device)


def _files(settings: Common) -> dict[str, str]:
    """SHA-256 of each file that the settings name: what an earlier stage made, a prior's, a table of scores."""
    found: dict[str, str] = {}
    for value in (*vars(settings).values(), settings.data.scores):
        for each in value if isinstance(value, list | tuple) else (value,):
            if isinstance(each, str) and each and Path(each).is_file():
                with Path(each).open("rb") as file:
                    found[each] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


class _Run:
    def __init__(self, stage: Stage, folder: Path, accelerator: Any) -> None:
        self.stage, self.settings, self.folder, self.accelerator = stage, stage.settings, folder, accelerator
        self.main = accelerator.is_main_process
        self.players = stage.players
        self.optimisers = {
            name: torch.optim.Adam(
                [each for each in player.module.parameters() if each.requires_grad],
                lr=self.settings.rate, betas=self.settings.betas,
            )
            for name, player in self.players.items()
        }  # fmt: skip
        for player in self.players.values():
            player.module.to(accelerator.device)
        stage.averaged.to(accelerator.device)
        for name, player in self.players.items():
            self.optimisers[name].param_groups[0]["params"] = [
                each for each in player.module.parameters() if each.requires_grad
            ]
        self.average = Average(stage.averaged, self.settings.ema)

    # States

    def resume(self, end: int) -> int:
        """Take up the folder's state, or begin; returns the number of steps done, `end` at most."""
        asked = {"stage": self.stage.name, "settings": self.settings.as_dict(), "files": _files(self.settings)}
        asked = json.loads(json.dumps(asked))  # tuples become lists, as they come back
        known = self.folder / "settings.json"
        if known.is_file():
            before = _read_json(known)
            before["settings"] = self._in_full(before.get("settings", {}))
            # Longer training, or another pace of writing down, goes on with what is there.
            pace = ("log_every", "sample_every", "save_every")
            free = (*pace, "steps") if self.settings.schedule == "constant" else pace
            said, remedy = f"{self.folder} holds a run", "name another folder, or remove it"
            same(said, before["settings"], asked["settings"], remedy, free)
            same(said, before, {"stage": asked["stage"]}, remedy)
            kept = before.get("files", {})
            for file, digest in asked["files"].items():
                if kept.get(file, digest) != digest:
                    raise IQPIRError(f"{said} that began with another {file}, which has changed since: {remedy}")
        state = self.folder / "state.json"
        note = _read_json(state) if state.is_file() else None
        if note is not None and note["step"] > end:
            raise IQPIRError(f"{self.folder} has {note['step']} steps done: ask for more than {end}, or remove it")
        if self.main:
            self.folder.mkdir(parents=True, exist_ok=True)
            files.write(known, json.dumps(asked, indent=1))
        if note is None:
            return 0
        from safetensors.torch import load_file

        try:
            tensors = load_file(self.folder / note["tensors"])
        except Exception as error:
            raise IQPIRError(f"{self.folder / note['tensors']}: cannot be read ({error}): remove the folder") from error
        self._unpack(tensors)
        return int(note["step"])

    def _in_full(self, settings: Any) -> Any:
        """The settings of an earlier run, with the defaults of those that there were not yet."""
        try:
            return json.loads(json.dumps(type(self.settings).from_dict(settings).as_dict()))
        except IQPIRError:
            return settings

    def _unpack(self, tensors: Mapping[str, Tensor]) -> None:
        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

        for name, player in self.players.items():
            player.module.load_state_dict(part(f"{name}/module/"))
            optimiser = self.optimisers[name]
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in part(f"{name}/optimiser/").items():
                number, _, slot = key.partition("/")
                state.setdefault(int(number), {})[slot] = value
            optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        self.average.load(part("average/"))

    def save(self, step: int) -> None:
        """Write the state and the network for use. The small file that names the other is replaced last."""
        if not self.main:
            return
        tensors = {f"average/{name}": value for name, value in self.average.state().items()}
        for name, player in self.players.items():
            for key, value in player.module.state_dict().items():
                tensors[f"{name}/module/{key}"] = value
            for number, slots in self.optimisers[name].state_dict()["state"].items():
                tensors.update({f"{name}/optimiser/{number}/{slot}": value for slot, value in slots.items()})
        ready = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        file = f"state-{step}.safetensors"
        write_tensors(ready, self.folder / file, {})
        note = {"step": step, "tensors": file, "precision": self.accelerator.mixed_precision}
        files.write(self.folder / "state.json", json.dumps(note))
        for old in self.folder.glob("state-*.safetensors"):
            if old.name != file:
                old.unlink()
        with self.average.in_place():
            self.stage.save(self.folder / f"{self.stage.name}.safetensors")

    # Work

    def work(self, begin: int, end: int, report: Callable[[Report], object]) -> Outcome:
        import time

        settings, accelerator = self.settings, self.accelerator
        samples = self._samples(above=self._threshold() if settings.data.hq_only else None)
        loader = Timed(
            training_loader(
                samples, settings.batch, end, start=begin, workers=settings.data.workers,
                rank=accelerator.process_index, world=accelerator.num_processes,
            )
        )  # fmt: skip
        record = _Record(self.folder, begin) if self.main else None
        values: dict[str, float] = {}
        started, step = time.perf_counter(), begin
        try:
            for raw in loader if begin < end else ():
                torch.manual_seed(_seed(settings.seed, step))
                batch = collate(raw, settings.data, accelerator.device)
                values = self._step(batch, step)
                step += 1
                if step % settings.log_every == 0 or step == end:
                    if record is not None:
                        record.write(step, values)
                    report(Report(step, values))
                if self.main and (step % settings.sample_every == 0 or step == end):
                    self._sample(step)
                if step % settings.save_every == 0 or step == end:
                    values = values | self._held_out()
                    if record is not None:
                        record.write(step, values)
                    report(Report(step, values))
                    self.save(step)
        finally:
            if record is not None:
                record.close()
        saved = self.folder / f"{self.stage.name}.safetensors"
        return Outcome(step, values, loader.wait.share, time.perf_counter() - started, saved)

    def _samples(self, seed_offset: int = 0, above: float | None = None) -> Dataset[Any]:
        crop = self.settings.data.crop or int(self.stage.averaged.config.image_size)
        degraded = self.stage.name != "autoencoder"
        return paired(self.settings.data, crop, degraded=degraded, seed_offset=seed_offset, above=above)

    def _threshold(self) -> float:
        return float(self.stage.averaged.config.threshold)

    def _step(self, batch: Mapping[str, Any], step: int) -> dict[str, float]:
        settings, accelerator = self.settings, self.accelerator
        found: dict[str, float] = {}
        size = settings.batch // settings.accumulate
        parts = [_part(batch, first, size) for first in range(0, settings.batch, size)]
        for name, player in self.players.items():
            if step < player.start:
                continue
            optimiser = self.optimisers[name]
            for group in optimiser.param_groups:
                group["lr"] = player.rate(step)
            optimiser.zero_grad(set_to_none=True)
            for part in parts:
                with accelerator.autocast():
                    losses = self.stage.losses(name, part, step)
                accelerator.backward(losses["total"] / len(parts))
                for key, value in losses.items():
                    label = key if name == "network" else f"{name}.{key}"
                    found[label] = found.get(label, 0.0) + float(value.detach()) / len(parts)
            if not all(math.isfinite(value) for value in found.values()):
                bad = [key for key, value in found.items() if not math.isfinite(value)]
                raise IQPIRError(f"{bad[0]} is {found[bad[0]]} at step {step + 1}: lower the rate, or set clip")
            self._share_gradients(optimiser)
            if settings.clip is not None:
                nn.utils.clip_grad_norm_(optimiser.param_groups[0]["params"], settings.clip)
            optimiser.step()
        told = self.stage.after(batch, step)
        if told:
            self._share_weights()
            found |= told
        self.average.update()
        return found

    def _share_gradients(self, optimiser: torch.optim.Optimizer) -> None:
        """With several processes, everybody steps with the mean gradient."""
        if self.accelerator.num_processes > 1:
            for parameter in optimiser.param_groups[0]["params"]:
                if parameter.grad is not None:
                    parameter.grad = self.accelerator.reduce(parameter.grad, reduction="mean")

    def _share_weights(self) -> None:
        """What a stage changes by itself, each process by its own batch, becomes what the first one has made of it."""
        if self.accelerator.num_processes > 1:
            from accelerate.utils import broadcast

            for parameter in self.stage.averaged.parameters():
                parameter.data.copy_(broadcast(parameter.data))

    # Samples that are never trained on

    def _held_out_batches(self) -> Iterator[dict[str, Any]]:
        settings = self.settings
        data = self._samples(HELD_OUT_SEED)
        size = min(settings.batch, settings.held_out)
        for raw in training_loader(data, size, max(1, settings.held_out // size), workers=0):
            yield collate(raw, settings.data, self.accelerator.device)

    def _held_out(self) -> dict[str, float]:
        if not self.settings.held_out:
            return {}
        sums: dict[str, list[float]] = {}
        with self.average.in_place(), torch.no_grad():
            for number, batch in enumerate(self._held_out_batches()):
                torch.manual_seed(_seed(HELD_OUT_SEED, number))
                for key, value in self.stage.measures(batch).items():
                    sums.setdefault(key, []).append(value)
        return {f"held-out {key}": sum(each) / len(each) for key, each in sums.items()}

    def _sample(self, step: int) -> None:
        if not self.settings.held_out:
            return
        from torchvision.utils import make_grid, save_image

        with self.average.in_place(), torch.no_grad():
            batch = next(self._held_out_batches())
            torch.manual_seed(_seed(HELD_OUT_SEED, 0))
            rows = [row[:8].float().cpu().clamp(0, 1) for row in self.stage.pictures(batch)]
            looks = [row.float().cpu().clamp(0, 1) for row in self.stage.looks(self.accelerator.device)]
        (self.folder / "samples").mkdir(exist_ok=True)
        for shown, ending in ((rows, ""), (looks, "-photographs")):
            if shown:
                grid = make_grid(torch.cat(shown), nrow=len(shown[0]))
                save_image(grid, self.folder / "samples" / f"{step:08d}{ending}.png")


class Average:
    """The exponential moving average of a network's weights; with decay 0 the weights themselves."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network, self._decay = network, decay
        self._kept = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        for name, value in self._network.state_dict().items():
            if value.is_floating_point():
                self._kept[name].lerp_(value, 1 - self._decay)
            else:
                self._kept[name].copy_(value)

    def state(self) -> dict[str, Tensor]:
        return self._kept

    def load(self, state: Mapping[str, Tensor]) -> None:
        for name, value in self._kept.items():
            value.copy_(state[name])

    def in_place(self) -> _InPlace:
        """A context in which the network has the averaged weights, and is in evaluation mode."""
        return _InPlace(self._network, self._kept)


class _InPlace:
    def __init__(self, network: nn.Module, state: Mapping[str, Tensor]) -> None:
        self._network, self._state = network, state

    def __enter__(self) -> None:
        self._before = {name: value.detach().clone() for name, value in self._network.state_dict().items()}
        self._training = self._network.training
        self._network.load_state_dict(dict(self._state))
        self._network.eval()

    def __exit__(self, *_: object) -> None:
        self._network.load_state_dict(self._before)
        self._network.train(self._training)


class _Record:
    """losses.csv and TensorBoard; what a run taken up again had written after its state is dropped."""

    def __init__(self, folder: Path, begin: int) -> None:
        self._path = folder / "losses.csv"
        rows: list[dict[str, str]] = []
        if self._path.is_file():
            with self._path.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= begin]
        self._rows: dict[int, dict[str, Any]] = {int(row["step"]): dict(row) for row in rows}
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._events: Any = SummaryWriter(str(folder / "events"), purge_step=begin)
        except ImportError:
            self._events = None

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._rows[step] = {"step": step, **{key: f"{value:.6g}" for key, value in values.items()}}
        columns = list(dict.fromkeys(key for row in self._rows.values() for key in row))
        files.write_csv(self._path, columns, (self._rows[number] for number in sorted(self._rows)))
        if self._events is not None:
            for key, value in values.items():
                self._events.add_scalar(key.replace(" ", "/"), value, step)

    def close(self) -> None:
        if self._events is not None:
            self._events.close()


def _seed(*numbers: int) -> int:
    """A seed for torch from several numbers, unlike for neighbours."""
    import numpy as np

    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def _part(batch: Mapping[str, Any], first: int, size: int) -> dict[str, Any]:
    return {key: value[first : first + size] if isinstance(value, Tensor) else value for key, value in batch.items()}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise IQPIRError(f"{path}: cannot be read ({error}): remove the folder, or name another") from error
    if not isinstance(content, dict):
        raise IQPIRError(f"{path}: not what a training run writes: remove the folder, or name another")
    return content
