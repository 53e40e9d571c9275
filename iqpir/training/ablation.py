"""An ablation: networks for photographs that differ in one thing each, trained on the same images for the same steps.

A YAML file holds the sections of a recipe, which all arms share, a file with the trained front end and detail branch,
the seeds, and `arms`: what each changes. Stages with equal settings are trained once, whichever arms they are for.
Nothing is scored here: `iqpir.training.ablation_suite` writes what is to be measured. A folder holds one ablation:

    quality/                the prior
    autoencoder/DIGEST/     a stage 1; the digest is that of its settings
    restorer/DIGEST/        a stage 2, likewise, and of what it begins with
    arms/NAME/seed-0/       a whole network
    …/done.json             written when its training has finished
    NAME.yaml               the suite
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from iqpir import files
from iqpir.devices import usable_cores
from iqpir.errors import IQPIRError, suggest
from iqpir.training.quality import QualitySettings
from iqpir.training.settings import STAGES, Common, merged, with_paths
from iqpir.training.strict import Strict, need
from iqpir.training.yaml_file import read_yaml

TRAINED = ("autoencoder", "restorer", "joint")
"""The stages of an arm, in their order."""
_SHARED = ("common", *TRAINED)
_SECTIONS = ("title", "seeds", "detail", *_SHARED, "quality", "evaluation", "arms")
_ARM = ("group", "from", "seeds", *_SHARED)
_LINKS = ("autoencoder", "restorer", "front", "detail")
"""Settings that name what an arm's stages begin with: what is in these files counts, and not where they lie."""


@dataclass(frozen=True)
class Evaluation(Strict):
    """What the suite asks for."""

    score: float = 0.9
    """The quality asked for."""
    sweep: tuple[str, ...] = ()
    """Arms that are asked for every one of `scores` as well."""
    scores: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    datasets: tuple[Any, ...] = ("builtin-lowlight", "builtin-underwater", "builtin-backlit")
    """As a suite of `bench` writes them; relative folders are those of the file's folder."""
    metrics: tuple[Any, ...] = ("psnr", "ssim", "niqe", "piqe", "brisque")

    def __post_init__(self) -> None:
        need(all(0 <= score <= 1 for score in (self.score, *self.scores)), "evaluation: scores must lie in [0,1]")
        need(bool(self.datasets) and bool(self.metrics), "evaluation: name datasets and metrics")


@dataclass(frozen=True)
class Arm:
    """One kind of network."""

    name: str
    group: str
    """Arms of a group are trained seed by seed, before those of the next group: who stops early has whole groups."""
    seeds: tuple[int, ...]
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What differs from the shared sections, by section; that of the arm it was made from included."""


class Job(NamedTuple):
    """Something to train."""

    name: str
    """For progress: `prior`, or `score, seed 0: joint`."""
    settings: Common | QualitySettings
    folder: Path
    needs: tuple[Job, ...] = ()
    """Jobs that must be finished first."""
    given: str = ""
    """SHA-256 of a trained file that it begins with and that is no job's."""

    @property
    def stage(self) -> str:
        return "quality" if isinstance(self.settings, QualitySettings) else self.settings.STAGE

    @property
    def digest(self) -> str:
        """Of the settings and of those of what is needed, wherever it lies."""
        given = {"given": self.given} if self.given else {}
        settings = _plain(self.settings)
        if any(job.stage == "quality" for job in self.needs):
            settings.pop("quality_prior")
        return _digest({"settings": settings, "needs": [job.digest for job in self.needs], **given})

    @property
    def file(self) -> Path:
        """The network, once it is trained."""
        return self.folder / f"{self.stage}.safetensors"

    def note(self) -> Mapping[str, Any]:
        """What was noted when its training had finished; empty unless it was of exactly these settings."""
        path = self.folder / "done.json"
        if not path.is_file() or not self.file.is_file():
            return {}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:  # damaged: training goes on from its last state, and notes it again
            return {}
        return found if isinstance(found, dict) and found.get("digest") == self.digest else {}

    def finished(self) -> bool:
        return bool(self.note())


@dataclass(frozen=True)
class Ablation:
    """What a file asks for."""

    title: str
    arms: tuple[Arm, ...]
    detail: Path
    """A file of the stage `detail`: the front end and the detail branch that all arms begin with."""
    quality: QualitySettings
    sections: Mapping[str, Mapping[str, Any]]
    """`common` and those of `TRAINED`, with paths relative to the working directory."""
    evaluation: Evaluation = field(default_factory=Evaluation)

    def arm(self, name: str) -> Arm:
        names = [arm.name for arm in self.arms]
        if name not in names:
            raise IQPIRError(f"no arm {name!r}{suggest(name, names)} (there are {', '.join(names)})")
        return self.arms[names.index(name)]

    def content(self, arm: Arm, stage: str, seed: int) -> dict[str, Any]:
        """The settings of an arm's stage, but for the files of those before it."""
        found: dict[str, Any] = {}
        for changes in (self.sections, arm.changes):
            for section in ("common", stage):
                found = merged(found, changes.get(section, {}))
        # A seed is another beginning and other images.
        return merged(found, {"seed": seed, "data": {"seed": seed}})

    def trained(self, arm: Arm, seed: int, root: Path, given: str = "") -> tuple[Job, ...]:
        """The jobs of one network in the folder `root`: the prior, where it has one, and those of `TRAINED`."""
        prior = Job("prior", self.quality, root / "quality")
        jobs: dict[str, Job] = {}
        for stage in TRAINED:
            content = self.content(arm, stage, seed)
            needs = [jobs[name] for name in TRAINED if name in jobs]
            links: dict[str, Any] = {job.stage: str(job.file) for job in needs}
            if stage != "autoencoder":
                links["front" if stage == "restorer" else "detail"] = str(self.detail)
            if content.get("quality") and not content.get("quality_prior"):
                needs.append(jobs.setdefault("quality", prior))
                links["quality_prior"] = [str(prior.file)]
            settings = STAGES[stage].from_dict({**links, **content})
            named = f"{arm.name}, seed {seed}: {stage}"
            job = Job(named, settings, Path(), tuple(needs), "" if stage == "autoencoder" else given)
            own = root / "arms" / arm.name / f"seed-{seed}"
            jobs[stage] = job._replace(folder=own if stage == TRAINED[-1] else root / stage / job.digest[:12])
        return tuple(sorted(jobs.values(), key=lambda job: job.stage != "quality"))

    def order(self, names: Sequence[str] = ()) -> list[tuple[Arm, int]]:
        """Arms and seeds in the order in which they are trained: group by group, and within one seed by seed."""
        chosen = [self.arm(name) for name in names] if names else list(self.arms)
        found: list[tuple[Arm, int]] = []
        for group in dict.fromkeys(arm.group for arm in chosen):
            mine = [arm for arm in chosen if arm.group == group]
            turns = range(max(len(arm.seeds) for arm in mine))
            found += [(arm, arm.seeds[turn]) for turn in turns for arm in mine if turn < len(arm.seeds)]
        return found

    def jobs(self, root: Path, names: Sequence[str] = ()) -> list[Job]:
        """Everything that the arms ask for, each once, in an order in which what is needed comes first.

        Raises `IQPIRError` where the file of the front end and the detail branch is missing.
        """
        if not self.detail.is_file():
            raise IQPIRError(
                f"detail: {self.detail}: there is no such file; iqpir train front configs/tiny.yaml and iqpir train "
                "detail configs/tiny.yaml make one"
            )
        given = hashlib.sha256(self.detail.read_bytes()).hexdigest()
        each = (job for arm, seed in self.order(names) for job in self.trained(arm, seed, root, given))
        found: dict[Path, Job] = {}
        for job in each:
            found.setdefault(job.folder, job)
        return list(found.values())


def load(path: Path) -> Ablation:
    """From YAML, read as data; relative paths are those of the file's folder.

    Raises `IQPIRError`, one line that begins with the file, for keys that do not exist and arms that make no sense.
    """
    content = read_yaml(path)
    try:
        _known(content, _SECTIONS, "settings")
        assert isinstance(content, Mapping)
        seeds = _seeds(content.get("seeds", [0]), "seeds")
        given, detail = content.get("arms"), content.get("detail")
        if not isinstance(given, Mapping) or not given:
            raise IQPIRError("arms: a mapping from the name of an arm to what it changes")
        if not isinstance(detail, str) or not detail:
            raise IQPIRError("the key 'detail' is missing: a file of the stage detail, which all arms begin with")
        sections = _sections(content, "", path.parent)
        arms: dict[str, Arm] = {}
        for name, changes in given.items():
            arms[str(name)] = _arm(str(name), changes or {}, arms, seeds, path.parent)
        quality = content.get("quality", {})
        _known(quality, list(QualitySettings.__dataclass_fields__), "quality")
        evaluation = Evaluation.from_dict(content.get("evaluation", {}), "evaluation")
        found = Ablation(
            str(content.get("title", path.stem)), tuple(arms.values()), path.parent / detail,
            QualitySettings(**quality).placed(path.parent), sections, _placed(evaluation, path.parent),
        )  # fmt: skip
        for arm in found.arms:
            found.trained(arm, arm.seeds[0], Path())
        for name in evaluation.sweep:
            found.arm(name)
        return found
    except IQPIRError as error:
        raise IQPIRError(f"{path}: {error}") from error


def _sections(content: Mapping[str, Any], place: str, base: Path) -> dict[str, Mapping[str, Any]]:
    """What is said of `_SHARED`, with paths that begin where the file lies."""
    found: dict[str, Mapping[str, Any]] = {}
    for name in _SHARED:
        section = content.get(name, {})
        if not isinstance(section, Mapping):
            raise IQPIRError(f"{place}{name} is {section!r}, not a mapping")
        for key in _LINKS:
            if key in section:
                raise IQPIRError(f"{place}{name}.{key}: an ablation links its stages by itself: leave the key out")
        found[name] = with_paths(dict(section), base)
    return found


def _placed(evaluation: Evaluation, base: Path) -> Evaluation:
    """Folders of datasets, `options: {lq, gt}`, that begin where the file lies."""
    found = []
    for dataset in evaluation.datasets:
        options = dataset.get("options") if isinstance(dataset, Mapping) else None
        if isinstance(options, Mapping):
            folders = {name: str((base / options[name]).resolve()) for name in ("lq", "gt") if name in options}
            dataset = {**dataset, "options": {**options, **folders}}
        found.append(dataset)
    return replace(evaluation, datasets=tuple(found))


def _arm(name: str, changes: object, before: Mapping[str, Arm], seeds: tuple[int, ...], base: Path) -> Arm:
    place = f"arms.{name}"
    if not name or any(sign in name for sign in "/\\ .") or name != name.lower():
        raise IQPIRError(f"{place}: the name becomes a folder's: small letters, digits and hyphens")
    _known(changes, _ARM, place)
    assert isinstance(changes, Mapping)
    if "from" in changes and changes["from"] not in before:
        made_from = str(changes["from"])
        raise IQPIRError(f"{place}.from: no arm {made_from!r} stands before it{suggest(made_from, before)}")
    own = _sections(changes, f"{place}.", base)
    return Arm(
        name=name,
        group=str(changes.get("group", "main")),
        seeds=_seeds(changes["seeds"], f"{place}.seeds") if "seeds" in changes else seeds,
        changes=merged(before[changes["from"]].changes, own) if "from" in changes else own,
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
    for key in ("log_every", "sample_every", "save_every", "workers", *_LINKS):
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


Told = Callable[[Job, int], object]
"""Told of a job and how many of its steps are done."""


def run(
    jobs: Sequence[Job], *, workers: int = 1, threads: int | None = None, told: Told = lambda job, step: None
) -> Iterator[Done]:
    """Train what is not finished, `workers` jobs at a time; a job that was cut off goes on where it was.

    `threads`: of torch, for each; by default the cores divided by `workers`. `told` is called as a job goes on, where
    there is one worker. A job that fails raises its `IQPIRError` when the others that were under way have ended.
    """
    waiting = [job for job in jobs if not job.finished()]
    ready = {job.folder for job in jobs if job.finished()}
    for job in jobs:
        if job.folder in ready:
            yield Done(job, 0.0)
    threads = threads or max(1, usable_cores() // workers)
    if workers == 1:
        for job in waiting:  # the order of jobs is one in which what is needed comes first
            yield Done(job, train_job(job, threads, told))
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


def seconds_left(jobs: Sequence[Job]) -> float | None:
    """What the unfinished of some jobs will take, one after the other, at the pace of the finished ones of their stage;
    of a stage that was never finished, at the pace of all. None where nothing is finished."""
    paces: dict[str, list[float]] = {}
    for job in jobs:
        if note := job.note():
            paces.setdefault(job.stage, []).append(float(note["seconds"]) / job.settings.steps)
    if not paces:
        return None
    means = {stage: sum(each) / len(each) for stage, each in paces.items()}
    usual = sum(means.values()) / len(means)
    return sum(job.settings.steps * means.get(job.stage, usual) for job in jobs if not job.finished())


def train_job(job: Job, threads: int, told: Told = lambda job, step: None) -> float:
    """Train one job to its end in this process, and note that it is done; returns the seconds."""
    import torch

    torch.set_num_threads(threads)
    started = time.perf_counter()
    note: dict[str, Any] = {"name": job.name, "digest": job.digest}
    job.folder.mkdir(parents=True, exist_ok=True)
    if isinstance(job.settings, QualitySettings):
        from iqpir.training.quality import train_quality

        trained = train_quality(job.settings, progress=_heard(job, told))
        trained.network.save(job.file, {"settings": asdict(job.settings)})
        last = trained.errors[-min(50, len(trained.errors)) :]
        note["values"] = {"error": sum(last) / len(last)}
    else:
        from iqpir.training.engine import train
        from iqpir.training.stages import make_stage

        stage = make_stage(job.settings, job.folder)
        outcome = train(stage, job.folder, report=lambda report: told(job, report.step))
        note |= {"values": outcome.values, "steps": outcome.steps, "waiting": outcome.waiting}
    seconds = time.perf_counter() - started
    note["seconds"] = seconds
    files.write(job.folder / "done.json", json.dumps(note, indent=1))
    return seconds


def _heard(job: Job, told: Told) -> Callable[[int, float], None]:
    def progress(step: int, error: float) -> None:
        told(job, step)

    return progress
