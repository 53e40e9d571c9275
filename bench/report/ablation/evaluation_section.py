"""What the section `evaluation` of an ablation's file asks for, and which networks there are to measure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import BenchError
from iqpir.errors import IQPIRError
from iqpir.training import ablation
from iqpir.training.ablation import Ablation, Arm
from iqpir.training.strict import Strict


@dataclass(frozen=True)
class Evaluation(Strict):
    """How networks are measured."""

    score: float = 0.95
    """The quality asked for: the middle of the best of ten bins."""
    adain: bool = True
    """Give the looked-up latent the statistics of the input's, as the authors do when they restore."""
    side: int = 192
    """Of the windows of photographs, pixels."""
    overlap: int = 16
    """Pixels that neighbouring tiles share."""
    sweep: tuple[str, ...] = ()
    """Arms that are asked for every score."""
    pursue: str = ""
    """Arm whose latents and codes climb the prior; none if empty."""
    continuous_rate: float = 0.05
    """Of Adam, in standard deviations of a latent."""
    discrete_rate: float = 0.1
    """… and of a logit."""
    pursue_steps: tuple[int, ...] = (0, 1, 2, 5, 10, 20, 40, 80)


class Trained(NamedTuple):
    """A restorer that is asked for, trained or not."""

    arm: Arm
    seed: int
    restorer: Path
    autoencoder: Path
    done: bool
    seconds: float
    """What its stage 2 took."""


class Plan(NamedTuple):
    ablation: Ablation
    evaluation: Evaluation
    root: Path
    networks: list[Trained]
    prior: Path

    @property
    def degradation(self) -> Any:
        return self.ablation.sections["common"].get("data", {}).get("degradation", "face")


def read(config: Path, root: Path) -> Plan:
    """What there is to measure in the folder `root` of `iqpir train ablation`. Raises `BenchError`."""
    import json

    try:
        found = ablation.load(config)
        jobs = {job.folder: job for job in found.jobs(root)}
    except IQPIRError as error:
        raise BenchError(str(error)) from error
    try:
        evaluation = Evaluation.from_dict(found.evaluation, "evaluation")
    except IQPIRError as error:
        raise BenchError(f"{config}: {error}") from error
    for name in (*evaluation.sweep, *((evaluation.pursue,) if evaluation.pursue else ())):
        if name not in [arm.name for arm in found.arms]:
            raise BenchError(f"{config}: evaluation names an arm {name!r} that does not exist")
    networks = []
    for arm in found.arms:
        for seed in arm.seeds:
            job = jobs[ablation.restorer_folder(root, arm.name, seed)]
            first = job.needs[0]
            done = job.finished() and first.finished()
            note = json.loads((job.folder / "done.json").read_text(encoding="utf-8")) if done else {}
            networks.append(Trained(arm, seed, job.file, first.file, done, float(note.get("seconds", 0.0))))
    return Plan(found, evaluation, root, networks, jobs[ablation.prior(root)].file)
