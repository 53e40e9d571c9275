"""The suite that measures an ablation: its arms, each one method whose repeats are the seeds.

`bench run` scores it, `bench table --ci --paired-with ARM` holds the arms against one of them, `bench figure` draws
them. It names what is trained, so it is written anew whenever a network is finished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from iqpir.errors import IQPIRError
from iqpir.files import write
from iqpir.training.ablation import Ablation, Arm

_METHOD = "iqpir-tiny"
"""An entry of the harness's catalogue that takes anybody's weights of such networks and claims nothing of their
training."""


def write_suite(ablation: Ablation, root: Path, name: str, more: Sequence[Any] = ()) -> Path | None:
    """Write `root/NAME.yaml`; None, and nothing, while no network is whole.

    `more`: datasets beside those of the ablation's file.
    """
    import yaml

    networks = {job.folder for job in ablation.jobs(root) if job.finished()}
    arms = {
        arm.name: found
        for arm in ablation.arms
        if (found := [seed for seed in arm.seeds if _folder(root, arm, seed) in networks])
    }
    if not arms:
        return None
    asked = ablation.evaluation
    methods = {arm: _method(root, ablation.arm(arm), seeds, asked.score) for arm, seeds in arms.items()}
    swept = [_swept(methods[arm], asked.scores) for arm in asked.sweep if arm in methods]
    content = {
        "schema": 1,
        "title": ablation.title,
        "datasets": [*asked.datasets, *more],
        "methods": ["identity", *methods.values(), *swept],
        "metrics": list(asked.metrics),
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    path = root / f"{name}.yaml"
    write(path, f"# Written by iqpir train ablation, anew with every network that is finished.\n{text}")
    return path


def _folder(root: Path, arm: Arm, seed: int) -> Path:
    return root / "arms" / arm.name / f"seed-{seed}"


def _method(root: Path, arm: Arm, seeds: Sequence[int], score: float) -> dict[str, Any]:
    files = [(_folder(root, arm, seed) / "joint.safetensors").relative_to(root).as_posix() for seed in seeds]
    repeats = [{"weights": file} for file in files]
    return {"method": _METHOD, "label": arm.name, "options": {"score": score}, "repeats": repeats}


def _swept(method: Mapping[str, Any], scores: Sequence[float]) -> dict[str, Any]:
    """The same asked for other scores, each a method of its own."""
    label = f"{method['label']} S={{score}}"
    return {**method, "label": label, "options": {}, "sweep": {"score": list(scores)}}


def folder_dataset(text: str) -> dict[str, Any]:
    """A dataset of folders, written NAME=LQ or NAME=LQ,GT. Raises `IQPIRError`."""
    name, equals, folders = text.partition("=")
    lq, _, gt = folders.partition(",")
    given = {"lq": lq, "gt": gt} if gt else {"lq": lq}
    if not (name and equals and lq):
        raise IQPIRError(f"{text!r} is not NAME=LQ,GT: a name and two folders, or one where there are no references")
    for folder in given.values():
        if not Path(folder).is_dir():
            raise IQPIRError(f"{folder}: there is no such folder")
    return {
        "dataset": "folder", "label": name,
        "options": {key: str(Path(folder).resolve()) for key, folder in given.items()},
    }  # fmt: skip
