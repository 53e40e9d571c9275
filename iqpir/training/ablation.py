"""An ablation: networks that differ in one thing each, trained on the same images for the same number of steps.

A YAML file holds the sections of a recipe, which all networks share, the seeds, and `arms`: what each changes. Arms
with the same stage 1 share it, and the quality prior is trained once. Nothing is scored here. A folder holds one:

    quality/                the prior
    autoencoder/DIGEST/     a stage 1; the digest is that of its settings
    arms/NAME/seed-0/       a restorer
    …/done.json             written when its training has finished
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

from iqpir.errors import IQPIRError, suggest
from iqpir.training.quality import QualitySettings
from iqpir.training.settings import (
    STAGES,
    AutoencoderSettings,
    Common,
    RestorerSettings,
    _merged,
    _with_paths,
    read_yaml,
)

_SECTIONS = ("title", "seeds", "common", "quality", "autoencoder", "restorer", "evaluation", "arms")
_ARM = ("title", "group", "from", "against", "seeds", "autoencoder", "restorer")


@dataclass(frozen=True)
class Arm:
    """One kind of network."""

    name: str
    title: str
    group: str
    """Arms of a group are shown together."""
    against: str
    """The arm that this one is compared with; its own name for the one that the others are compared with."""
    seeds: tuple[int, ...]
    autoencoder: Mapping[str, Any] = field(default_factory=dict)
    """What differs from the shared section; that of the arm it was made from included."""
    restorer: Mapping[str, Any] = field(default_factory=dict)


class Job(NamedTuple):
    """Something to train."""

    name: str
    """For progress: `prior`, `stage 1 of c, seed 0` or `c, seed 0`."""
    settings: Common | QualitySettings
    folder: Path
    needs: tuple[Job, ...] = ()
    """Jobs that must be finished first."""

    @property
    def digest(self) -> str:
        """Of the settings and of those of what is needed, wherever it lies."""
        return _digest({"settings": _plain(self.settings), "needs": [job.digest for job in self.needs]})

    @property
    def file(self) -> Path:
        """The network, once it is trained."""
        name = "quality" if isinstance(self.settings, QualitySettings) else self.settings.STAGE
        return self.folder / f"{name}.safetensors"

    def finished(self) -> bool:
        """Whether the folder holds the network of exactly these settings."""
        note = self.folder / "done.json"
        if not note.is_file() or not self.file.is_file():
            return False
        found = json.loads(note.read_text(encoding="utf-8"))
        return isinstance(found, dict) and found.get("digest") == self.digest


@dataclass(frozen=True)
class Ablation:
    """What a file asks for."""

    title: str
    arms: tuple[Arm, ...]
    quality: QualitySettings
    sections: Mapping[str, Mapping[str, Any]]
    """`common`, `autoencoder` and `restorer`, with paths relative to the working directory."""
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    """How the networks are to be measured, for the program that does."""

    def arm(self, name: str) -> Arm:
        names = [arm.name for arm in self.arms]
        if name not in names:
            raise IQPIRError(f"no arm {name!r}{suggest(name, names)} (there are {', '.join(names)})")
        return self.arms[names.index(name)]

    def autoencoder(self, arm: Arm, seed: int) -> AutoencoderSettings:
        """Settings of an arm's stage 1."""
        found = self._settings("autoencoder", arm.autoencoder, seed)
        assert isinstance(found, AutoencoderSettings)
        return found

    def restorer(self, arm: Arm, seed: int, root: Path) -> RestorerSettings:
        """Settings of an arm's stage 2 in the folder `root`."""
        first = self.autoencoder(arm, seed)
        links: dict[str, Any] = {"autoencoder": str(stage_1(root, first) / "autoencoder.safetensors")}
        if _merged(self.sections.get("restorer", {}), arm.restorer).get("quality"):
            links["quality_prior"] = [str(prior(root) / "quality.safetensors")]
        found = self._settings("restorer", {**links, **arm.restorer}, seed)
        assert isinstance(found, RestorerSettings)
        return found

    def _settings(self, stage: str, changes: Mapping[str, Any], seed: int) -> Common:
        content = _merged(_merged(self.sections.get("common", {}), self.sections.get(stage, {})), changes)
        # A seed is another beginning and other images.
        content = _merged(content, {"seed": seed, "data": {"seed": seed}})
        return STAGES[stage].from_dict(content)

    def jobs(self, root: Path, names: Sequence[str] = ()) -> list[Job]:
        """In the order in which they are trained: the first seed of every arm that has all seeds, then the next seed,
        then the arms that have fewer."""
        chosen = [self.arm(name) for name in names] if names else list(self.arms)
        most = max(len(arm.seeds) for arm in chosen)
        whole, few = [arm for arm in chosen if len(arm.seeds) == most], [arm for arm in chosen if len(arm.seeds) < most]
        order = [(arm, arm.seeds[turn]) for turn in range(most) for arm in whole]
        order += [(arm, seed) for arm in few for seed in arm.seeds]
        judge = Job("prior", self.quality, prior(root))
        jobs = {judge.folder: judge}
        for arm, seed in order:
            first = self.autoencoder(arm, seed)
            folder = stage_1(root, first)
            before = jobs.setdefault(folder, Job(f"stage 1 of {arm.name}, seed {seed}", first, folder))
            settings = self.restorer(arm, seed, root)
            needs = (before, judge) if settings.quality > 0 else (before,)
            folder = restorer_folder(root, arm.name, seed)
            jobs[folder] = Job(f"{arm.name}, seed {seed}", settings, folder, needs)
        return list(jobs.values())


def prior(root: Path) -> Path:
    return root / "quality"


def stage_1(root: Path, settings: AutoencoderSettings) -> Path:
    """Where a stage 1 lies: equal settings, one folder."""
    return root / "autoencoder" / _digest(_plain(settings))[:12]


def restorer_folder(root: Path, arm: str, seed: int) -> Path:
    return root / "arms" / arm / f"seed-{seed}"


def load(path: Path) -> Ablation:
    """From YAML, read as data; relative paths are those of the file's folder.

    Raises `IQPIRError`, one line that begins with the file, for keys that do not exist and arms that make no sense.
    """
    content = read_yaml(path)
    try:
        _known(content, _SECTIONS, "settings")
        assert isinstance(content, Mapping)
        seeds = _seeds(content.get("seeds", [0]), "seeds")
        given = content.get("arms")
        if not isinstance(given, Mapping) or not given:
            raise IQPIRError("arms: a mapping from the name of an arm to what it changes")
        sections = {}
        for name in ("common", "autoencoder", "restorer"):
            section = content.get(name, {})
            if not isinstance(section, Mapping):
                raise IQPIRError(f"{name} is {section!r}, not a mapping")
            sections[name] = _with_paths(dict(section), path.parent)
        arms: dict[str, Arm] = {}
        for name, changes in given.items():
            arms[str(name)] = _arm(str(name), changes or {}, arms, seeds)
        quality = content.get("quality", {})
        _known(quality, list(QualitySettings.__dataclass_fields__), "quality")
        evaluation = content.get("evaluation", {})
        if not isinstance(evaluation, Mapping):
            raise IQPIRError(f"evaluation is {evaluation!r}, not a mapping")
        title = str(content.get("title", path.stem))
        found = Ablation(title, tuple(arms.values()), QualitySettings(**quality), sections, evaluation)
        for arm in found.arms:
            found.restorer(arm, arm.seeds[0], Path())
        return found
    except IQPIRError as error:
        raise IQPIRError(f"{path}: {error}") from error


def _arm(name: str, changes: object, before: Mapping[str, Arm], seeds: tuple[int, ...]) -> Arm:
    place = f"arms.{name}"
    if not name or any(sign in name for sign in "/\\ .") or name != name.lower():
        raise IQPIRError(f"{place}: the name becomes a folder's: small letters, digits and hyphens")
    _known(changes, _ARM, place)
    assert isinstance(changes, Mapping)
    for key in ("from", "against"):
        if key in changes and changes[key] not in before:
            raise IQPIRError(
                f"{place}.{key}: no arm {changes[key]!r} stands before it{suggest(str(changes[key]), before)}"
            )
    base = before[changes["from"]] if "from" in changes else None
    own = {stage: changes.get(stage, {}) for stage in ("autoencoder", "restorer")}
    for stage, change in own.items():
        if not isinstance(change, Mapping):
            raise IQPIRError(f"{place}.{stage} is {change!r}, not a mapping")
    return Arm(
        name=name,
        title=str(changes.get("title", name)),
        group=str(changes.get("group", "main")),
        against=str(changes.get("against", next(iter(before), name))),
        seeds=_seeds(changes["seeds"], f"{place}.seeds") if "seeds" in changes else seeds,
        autoencoder=_merged(base.autoencoder, own["autoencoder"]) if base else own["autoencoder"],
        restorer=_merged(base.restorer, own["restorer"]) if base else own["restorer"],
    )


def _known(content: object, keys: Sequence[str], place: str) -> None:
    if not isinstance(content, Mapping):
        raise IQPIRError(f"{place}: a mapping with the keys {', '.join(keys)}, not {content!r}")
    for key in content:
        if key not in keys:
            raise IQPIRError(f"{place}: unknown key {str(key)!r}{suggest(str(key), keys)}")


def _seeds(given: object, place: str) -> tuple[int, ...]:
    whole = isinstance(given, list) and all(type(one) is int and one >= 0 for one in given)
    if isinstance(given, list) and given and whole and len(set(given)) == len(given):
        return tuple(given)
    raise IQPIRError(f"{place} is {given!r}, not a list of different whole numbers")


def _plain(settings: Common | QualitySettings) -> dict[str, Any]:
    """Settings that differ from their defaults, without what cannot change a weight: how often something is written
    down, who prepares batches, and where drawn sheets and the networks of other jobs lie.

    Without defaults, so that a setting that a later version adds retires no network that was trained before it.
    """
    found = _changed(settings)
    for key in ("log_every", "sample_every", "workers", "autoencoder", "quality_prior"):
        found.pop(key, None)
    if isinstance(found.get("data"), dict):
        found["data"] = {key: value for key, value in found["data"].items() if key not in ("workers", "cache")}
    return found


def _changed(settings: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not as its defaults have them; of those that are dataclasses, theirs."""
    found: dict[str, Any] = {}
    for each in fields(settings):
        value = getattr(settings, each.name)
        if is_dataclass(value):
            if inner := _changed(value):
                found[each.name] = inner
        elif value != (each.default if each.default_factory is MISSING else each.default_factory()):
            found[each.name] = value
    return found


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


# ---------------------------------------------------------------------------------------------------------------------
# Training


class Done(NamedTuple):
    """A finished job."""

    job: Job
    seconds: float
    """What this training took; 0 for one that was found finished."""


def run(jobs: Sequence[Job], *, workers: int = 1, threads: int | None = None) -> Iterator[Done]:
    """Train what is not finished, `workers` jobs at a time; a job that was cut off goes on where it was.

    `threads`: of torch, for each; by default the cores divided by `workers`. A job that fails raises its `IQPIRError`
    when the others that were under way have ended.
    """
    waiting = [job for job in jobs if not job.finished()]
    ready = {job.folder for job in jobs if job.finished()}
    for job in jobs:
        if job.folder in ready:
            yield Done(job, 0.0)
    threads = threads or max(1, _cores() // workers)
    if workers == 1:
        for job in waiting:  # the order of jobs is one in which what is needed comes first
            yield Done(job, train_job(job, threads))
        return
    yield from _side_by_side(waiting, ready, workers, threads)


def _side_by_side(waiting: list[Job], ready: set[Path], workers: int, threads: int) -> Iterator[Done]:
    import multiprocessing
    from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        under_way: dict[Future[float], Job] = {}
        while waiting or under_way:
            for job in list(waiting):
                if len(under_way) < workers and ready.issuperset(need.folder for need in job.needs):
                    waiting.remove(job)
                    under_way[pool.submit(train_job, job, threads)] = job
            ended, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for one in ended:
                job = under_way.pop(one)
                seconds = one.result()
                ready.add(job.folder)
                yield Done(job, seconds)


def train_job(job: Job, threads: int) -> float:
    """Train one job to its end in this process, and note that it is done; returns the seconds."""
    import torch

    torch.set_num_threads(threads)
    started = time.perf_counter()
    note: dict[str, Any] = {"name": job.name, "digest": job.digest}
    job.folder.mkdir(parents=True, exist_ok=True)
    if isinstance(job.settings, QualitySettings):
        from iqpir.training.quality import train_quality

        trained = train_quality(job.settings)
        trained.network.save(job.file, {"settings": asdict(job.settings)})
        last = trained.errors[-min(50, len(trained.errors)) :]
        note["values"] = {"error": sum(last) / len(last)}
    else:
        from iqpir.training.engine import train
        from iqpir.training.stages import make_stage

        outcome = train(make_stage(job.settings, job.folder), job.folder)
        note |= {"values": outcome.values, "steps": outcome.steps, "waiting": outcome.waiting}
    seconds = time.perf_counter() - started
    note["seconds"] = seconds
    partial = job.folder / f".{uuid.uuid4().hex}"
    partial.write_text(json.dumps(note, indent=1), encoding="utf-8")
    partial.replace(job.folder / "done.json")
    return seconds


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
