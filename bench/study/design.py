"""What is asked of people, and in which order: questions, traps, repeats and one plan per person, all by a seed.

Pure: images are content hashes here. A plan is drawn for every person when the study is made, so that sides are
balanced over people and within each, and the page only plays what it is given and holds nothing to find out from.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from bench.errors import BenchError

Design = Literal["rating", "pairs", "ranking"]
DESIGNS: tuple[Design, ...] = ("rating", "pairs", "ranking")
MOST_STEPS = 1_000_000
"""Questions of all people together: beyond, a page is too large to open."""
APART = 5
"""Questions between a question and its repeat, where there are so many."""


class Scene(NamedTuple):
    """One item with everything that can be shown of it; images by their content hashes, in hexadecimal."""

    dataset: str
    item: str
    given: str
    """The low-quality input."""
    outputs: tuple[str, ...]
    """Of all methods, each image once."""
    better: str
    """For a trap: the GT, else the input."""
    worse: str
    """For a trap: the input, else a ruin of it; `better` itself where nothing is visibly worse."""


class Question(NamedTuple):
    """What is shown at once."""

    images: tuple[str, ...]
    """To be judged; one of a rating, beside its input."""
    given: str
    trap: bool = False


class Trap(NamedTuple):
    """Whoever looks says that one image is better than another. (question, image), questions by their place."""

    better: tuple[int, str]
    worse: tuple[int, str]


class Step(NamedTuple):
    """A question as one person gets it."""

    question: int
    turn: int
    """By how many places the images are turned round; 1 swaps two, and input and restoration of a rating."""


@dataclass(frozen=True)
class Plan:
    """A study without a name or a picture."""

    questions: tuple[Question, ...]
    traps: tuple[Trap, ...]
    plans: tuple[tuple[Step, ...], ...] = field(default=())
    """One per person."""


def make(
    scenes: Sequence[Scene], design: Design, *, people: int, traps: int, repeats: int, votes: int | None, seed: int
) -> Plan:
    """A study of these scenes. `votes`: most questions for a person beside traps and repeats; None: all.

    Raises `BenchError` where there is nothing to ask.
    """
    draw = np.random.default_rng([seed, 0])
    questions = [question for scene in scenes for question in _questions(scene, design, draw)]
    if not questions:
        raise BenchError("nothing to compare: a scene needs outputs of two methods that differ")
    regular = len(questions)
    each = regular if votes is None else min(votes, regular)
    if each * people > MOST_STEPS:
        raise BenchError(
            f"{people} people with {each} questions each are more than the {MOST_STEPS} that a page can hold: fewer by "
            "--votes, --items or --people"
        )
    caught: list[Trap] = []
    fair = [scene for scene in scenes if scene.better != scene.worse]
    for index in draw.permutation(len(fair))[:traps]:
        caught.append(_trap(fair[index], design, questions))
    made = Plan(tuple(questions), tuple(caught))
    order = draw.permutation(regular)
    turns = _turns(questions[:regular], draw)
    plans = [_plan(made, person, order, turns, repeats, votes, seed) for person in range(people)]
    return Plan(made.questions, made.traps, tuple(plans))


def _questions(scene: Scene, design: Design, draw: np.random.Generator) -> list[Question]:
    """In a drawn order: a place in the page says nothing of a method."""
    outputs = [scene.outputs[place] for place in draw.permutation(len(scene.outputs))]
    if design == "rating":
        return [Question((output,), scene.given) for output in outputs]
    if len(outputs) < 2:
        return []
    if design == "ranking":
        return [Question(tuple(outputs), scene.given)]
    pairs = list(itertools.combinations(outputs, 2))
    return [Question(pairs[place], scene.given) for place in draw.permutation(len(pairs))]


def _trap(scene: Scene, design: Design, questions: list[Question]) -> Trap:
    """Add a trap's questions, which look like all others."""
    place = len(questions)
    if design == "rating":
        questions += [Question((image,), scene.given, trap=True) for image in (scene.better, scene.worse)]
        return Trap((place, scene.better), (place + 1, scene.worse))
    # A ranking has as many images as any other, those between being outputs.
    other = [image for image in scene.outputs if image not in (scene.better, scene.worse)]
    between = other[: max(len(scene.outputs) - 2, 0)] if design == "ranking" else ()
    questions.append(Question((scene.better, *between, scene.worse), scene.given, trap=True))
    return Trap((place, scene.better), (place, scene.worse))


def _turns(questions: Sequence[Question], draw: np.random.Generator) -> np.ndarray:
    """Where each question starts: every place equally often, in a drawn order."""
    sizes = np.array([max(len(question.images), 2) for question in questions])
    return draw.permutation(len(questions)) % sizes


def _plan(
    made: Plan, person: int, order: np.ndarray, turns: np.ndarray, repeats: int, votes: int | None, seed: int
) -> tuple[Step, ...]:
    """Everyone gets an equal share of the questions, each with another place first than the person before had it."""
    draw = np.random.default_rng([seed, 1, person])
    regular = len(order)
    count = regular if votes is None else min(votes, regular)
    # How often a question was asked before says which place is next, so that sides are balanced over people.
    asked = [divmod(person * count + offset, regular) for offset in range(count)]
    mine = [int(order[place]) for _, place in asked]
    steps = [Step(int(order[place]), _turned(made, int(order[place]), int(turns[order[place]]) + before))
             for before, place in asked]  # fmt: skip
    traps = [index for index, question in enumerate(made.questions) if question.trap]
    steps += [Step(one, _turned(made, one, int(draw.integers(0, 64)))) for one in traps]
    steps = _spread([steps[place] for place in draw.permutation(len(steps))], made)
    early = {step.question for step in steps[: max(len(steps) - APART, 1)]}
    for one in sorted(draw.permutation(mine), key=lambda question: question not in early)[:repeats]:
        first = next(place for place, step in enumerate(steps) if step.question == one)
        again = Step(int(one), _turned(made, int(one), steps[first].turn + 1))
        earliest = min(first + APART, len(steps))
        steps.insert(int(draw.integers(earliest, len(steps) + 1)), again)
    return tuple(steps)


def _turned(made: Plan, question: int, turn: int) -> int:
    return turn % max(len(made.questions[question].images), 2)


def _spread(steps: list[Step], made: Plan) -> list[Step]:
    """The same steps with no scene twice in a row, as far as that goes."""
    left, found = list(steps), list[Step]()
    while left:
        last = made.questions[found[-1].question].given if found else ""
        place = next((n for n, step in enumerate(left) if made.questions[step.question].given != last), 0)
        found.append(left.pop(place))
    return found
