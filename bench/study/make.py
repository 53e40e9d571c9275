"""A study made from a run: a folder that is handed out as it is, and the sealed key, which is not.

Images are written anew from their pixels under names that are drawn by chance, so that no name, order, date or
metadata of a file says which method made it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench import files
from bench.data.images import encode_png
from bench.errors import BenchError, one_line
from bench.identity import content_hash
from bench.results import artefacts
from bench.results.pictures import Pictures, shown_pixels
from bench.results.store import Store
from bench.results.view import RunView
from bench.study import design, key, page
from bench.study.design import Scene
from bench.study.submission import MOST_CRITERIA, MOST_IMAGES

PAGE, IMAGES, LINKS = "page", "images", "people.txt"
_DATE = 946684800
"""Of all files that are handed out: when an output was made can say which method is the slow one."""
UNSEEN = 2.55
"""RMSE in levels of 255 up to which images pass for equal: a PSNR of 40 dB."""
BLOCK = 16
"""Side of the squares of a ruin, in pixels."""
CRITERIA = ("colour", "noise", "structure")
"""IQPIR 4.3; designs that compare ask for `overall`."""


@dataclass(frozen=True)
class Wish:
    """What is asked for."""

    design: design.Design = "rating"
    items: int | None = None
    """Of each dataset; None: all."""
    criteria: Sequence[str] = ()
    people: int = 12
    lowest: int = 0
    highest: int = 5
    traps: int = 3
    repeats: int = 3
    votes: int | None = None
    seed: int = 0
    """Whoever knows it and the run can work out which method a person sees where."""
    methods: Sequence[str] = ()
    datasets: Sequence[str] = ()
    texts: Sequence[Path] = ()


class Made(NamedTuple):
    """A study that was made."""

    key: key.Key
    folder: Path
    left_out: Sequence[str]
    """Lines about items that could not be shown."""


class _Gathered(NamedTuple):
    scenes: list[Scene]
    what: dict[str, list[str]]
    """Content hash → methods, `LQ`, `GT` or `ruin`."""
    pixels: dict[str, Callable[[], np.ndarray]]
    """Content hash → its pixels, uint8 [H,W,3]."""
    left_out: list[str]


def make(store: Store, data: RunView, results: Path, wish: Wish, folder: Path) -> Made:
    """Write a study into a folder that is empty or not there. Raises `BenchError`."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BenchError(f"{folder}: is there and not empty: a study needs a folder of its own (-o DIR)")
    languages = page.texts(wish.texts)
    gathered = _gather(store, data, results, wish)
    if not gathered.scenes:
        why = f": {gathered.left_out[0]}" if gathered.left_out else ""
        raise BenchError(f"no item of run {data.number} can be shown with all of its methods{why}")
    criteria = tuple(wish.criteria) or (CRITERIA if wish.design == "rating" else ("overall",))
    most = max(len(scene.outputs) for scene in gathered.scenes) if wish.design == "ranking" else 1
    for count, limit, what in ((most, MOST_IMAGES, "images in a ranking"), (len(criteria), MOST_CRITERIA, "criteria")):
        if count > limit:
            raise BenchError(f"{count} {what}, at most {limit} can be answered")
    plan = design.make(
        gathered.scenes, wish.design, people=wish.people, traps=wish.traps, repeats=wish.repeats, votes=wish.votes,
        seed=wish.seed,
    )  # fmt: skip
    made = _keyed(data, wish, gathered, plan, criteria)
    try:
        _write(made, gathered, languages, results, folder)
    except OSError as error:
        raise BenchError(f"{folder}: cannot be written: {one_line(error.strerror or error)}") from error
    return Made(made, folder, gathered.left_out)


# What is shown


def _gather(store: Store, data: RunView, results: Path, wish: Wish) -> _Gathered:
    pictures = Pictures(store, data, results)
    gathered = _Gathered([], {}, {}, [])
    draw = np.random.default_rng([wish.seed, 2])
    known = [one.label for one in data.record.datasets], [one.label for one in data.record.methods]
    for given, labels, what in zip((wish.datasets, wish.methods), known, ("dataset", "method"), strict=True):
        for name in given:
            if name not in labels:
                raise BenchError(
                    f"run {data.number} has no {what} {name!r} (it has {', '.join(dict.fromkeys(labels))})"
                )
    for dataset in data.record.datasets:
        if wish.datasets and dataset.label not in wish.datasets:
            continue
        shown = 0
        for place in draw.permutation(len(dataset.items)):
            if wish.items is not None and shown == wish.items:
                break
            shown += _scene(pictures, data, results, wish, dataset.label, dataset.items[place], gathered)
    return gathered


def _scene(
    pictures: Pictures, data: RunView, results: Path, wish: Wish, dataset: str, item: str, gathered: _Gathered
) -> bool:
    """Add an item, where it can be shown with every method; say why where it cannot."""
    outputs: dict[str, None] = {}
    methods = [
        one for one in data.record.methods if one.is_for(dataset) and (not wish.methods or one.label in wish.methods)
    ]
    for method in methods:
        row = next(
            (unit.row for unit in data.units[dataset, method.label] if unit.item == item and unit.repeat == 0), None
        )
        if (
            row is None
            or row.output_hash is None
            or artefacts.read(results, row.output_hash, row.suffix or "png") is None
        ):
            why = method.unavailable or (row.reason if row is not None else None) or "not on disk: bench run makes it"
            gathered.left_out.append(f"{dataset}/{item}: no output of {method.label} ({one_line(why, 120)})")
            return False
        hash_, suffix = row.output_hash, row.suffix or "png"
        outputs[hash_.hex()] = None
        gathered.pixels[hash_.hex()] = lambda hash_=hash_, suffix=suffix: _output(results, hash_, suffix)  # type: ignore[misc]
        _told(gathered, hash_.hex(), method.label)
    lq, gt = pictures.lq(dataset, item), pictures.gt(dataset, item)
    if lq.pixels is None:
        gathered.left_out.append(f"{dataset}/{item}: no input ({lq.missing})")
        return False
    given = _keep(gathered, lq.pixels, "LQ")
    best = lq.pixels if gt.pixels is None else gt.pixels
    better = given if gt.pixels is None else _keep(gathered, best, "GT")
    worse = better
    for what, bad in (("LQ", lq.pixels), ("ruin", ruin(lq.pixels))):
        if visibly_differ(best, bad):
            worse = _keep(gathered, bad, what)
            break
    gathered.scenes.append(Scene(dataset, item, given, tuple(outputs), better, worse))
    return True


def _output(results: Path, hash_: bytes, suffix: str) -> np.ndarray:
    pixels = artefacts.read(results, hash_, suffix)
    if pixels is None:
        raise BenchError(f"the output {hash_.hex()[:12]} has gone while it was read: bench run makes it again")
    return shown_pixels(pixels)


def _keep(gathered: _Gathered, pixels: np.ndarray, what: str) -> str:
    name = content_hash(pixels).hex()
    gathered.pixels.setdefault(name, lambda: pixels)
    _told(gathered, name, what)
    return name


def _told(gathered: _Gathered, name: str, what: str) -> None:
    known = gathered.what.setdefault(name, [])
    if what not in known:
        known.append(what)


def visibly_differ(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether a trap of the two is fair: nobody is to fail one for not seeing what cannot be seen."""
    if one.shape != other.shape:
        return True
    return float(np.sqrt(np.mean((one.astype(np.float64) - other) ** 2))) > UNSEEN


def ruin(pixels: np.ndarray) -> np.ndarray:
    """The image in squares of one colour each: worse than any input, for a trap where there is no GT."""
    made = pixels.copy()
    for top in range(0, pixels.shape[0], BLOCK):
        for left in range(0, pixels.shape[1], BLOCK):
            block = pixels[top : top + BLOCK, left : left + BLOCK]
            made[top : top + BLOCK, left : left + BLOCK] = np.rint(block.mean(axis=(0, 1))).astype(np.uint8)
    return made


# What is written


def _keyed(data: RunView, wish: Wish, gathered: _Gathered, plan: design.Plan, criteria: tuple[str, ...]) -> key.Key:
    shown = dict.fromkeys(image for one in plan.questions for image in (one.given, *one.images))
    names = {image: secrets.token_hex(8) for image in shown}
    ids = [secrets.token_hex(6) for _ in plan.questions]
    scenes = {scene.given: scene for scene in gathered.scenes}
    # In the page no question is known by its place: not a trap, nor a method to whoever knows the seed.
    order = list(range(len(ids)))
    secrets.SystemRandom().shuffle(order)
    places = {old: new for new, old in enumerate(order)}
    return key.Key(
        study=secrets.token_hex(6),
        title=data.record.title or data.record.suite,
        design=wish.design,
        criteria=criteria,
        lowest=wish.lowest,
        highest=wish.highest,
        people=wish.people,
        seed=wish.seed,
        images={names[image]: key.KeyImage(image, tuple(gathered.what[image])) for image in sorted(shown)},
        questions={
            ids[place]: key.KeyQuestion(
                scenes[one.given].dataset, scenes[one.given].item, names[one.given],
                tuple(names[image] for image in one.images), one.trap,
            )
            for place, one in ((old, plan.questions[old]) for old in order)
        },
        traps=tuple(
            key.KeyTrap((ids[one.better[0]], names[one.better[1]]), (ids[one.worse[0]], names[one.worse[1]]))
            for one in plan.traps
        ),
        plans=tuple(tuple((places[step.question], step.turn) for step in steps) for steps in plan.plans),
    )  # fmt: skip


def _write(
    made: key.Key, gathered: _Gathered, languages: Mapping[str, Mapping[str, str]], results: Path, folder: Path
) -> None:
    written = key.text(made)
    shared = folder / PAGE
    for name in sorted(made.images):
        target = shared / IMAGES / f"{name}.png"
        files.write(target, encode_png(gathered.pixels[made.images[name].hash]()))
        os.utime(target, (_DATE, _DATE))
    files.write(shared / "index.html", page.render(made, key.seal(written), languages))
    os.utime(shared / "index.html", (_DATE, _DATE))
    links = [f"{number}\tindex.html?p={number}\n" for number in range(1, made.people + 1)]
    files.write(folder / LINKS, "".join(links))
    for place in (folder / key.FILE, key.kept_at(results, made.study)):
        files.write(place, written)
        place.chmod(0o600)
