"""Whether a session is kept, and why not: attention, haste, straight lines, completeness, as crowd studies ask it.

The rules are those of the P.910 crowd-sourcing toolkit (github.com/microsoft/P.910) where it has one. A session that
is left out stays on record with every reason.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.results.votes import Ballot, Session
from bench.study.key import Key
from bench.study.submission import End, Sitting, Start, Vote


@dataclass(frozen=True)
class Rules:
    """What a session has to meet."""

    fastest: float = 1.0
    """Seconds that the median answer has to take at least."""
    complete: float = 0.9
    """Part of a person's questions that have to be answered."""
    traps: float = 0.25
    """Part of the traps that may be failed."""
    variance: float = 0.15
    """Of all scores, on a scale of 1 to 5; below it somebody draws a straight line (P.910 toolkit)."""
    side: float = 0.001
    """Probability below which one side is chosen too often to be chance (two-sided binomial)."""


def screen(key: Key, seal: str, sitting: Sitting, rules: Rules = Rules()) -> Session:
    """A sitting as it is stored: its answers by the hashes of what was judged, and whether it is kept."""
    reasons: list[str] = [sitting.clash] if sitting.clash else []
    if sitting.seal and sitting.seal != seal:
        reasons.append("its page was made with another key")
    starts = [event for event in sitting.events if isinstance(event, Start)]
    votes = [event for event in sitting.events if isinstance(event, Vote)]
    if len(starts) != 1:
        reasons.append(f"it begins {len(starts)} times" if starts else "it has no beginning")
    person = starts[0].person if starts else 0
    if person > key.people:
        reasons.append(f"participant {person} of {key.people}")
    known: list[Vote] = []
    for vote in votes:
        wrong = _wrong(key, vote)
        if wrong is None:
            known.append(vote)
        else:
            reasons.append(wrong)
    ballots, twice = _ballots(key, known, repeats_of(key, person))
    reasons += twice
    asked = len(key.plans[person - 1]) if 1 <= person <= len(key.plans) else 0
    if asked and len(known) < math.ceil(rules.complete * asked):
        reasons.append(f"incomplete: {len(known)} of {asked} questions")
    elif not any(isinstance(event, End) for event in sitting.events) and asked and len(known) < asked:
        reasons.append(f"incomplete: {len(known)} of {asked} questions and no end")
    careless, doubtful = _attention(key, known, rules)
    reasons += careless
    return Session(
        study=key.study, design=key.design, criteria=key.criteria, lowest=key.lowest, highest=key.highest,
        observer=f"p{person}", session=sitting.session, kept=not reasons and not doubtful,
        reasons=tuple(dict.fromkeys([*reasons, *doubtful])), accepted=not reasons,
        ballots=tuple(ballots), started=starts[0].started if starts else "",
        language=starts[0].language if starts else "", seal=seal,
    )  # fmt: skip


def _wrong(key: Key, vote: Vote) -> str | None:
    """Why a vote is none of this study; None where it is one."""
    question = key.questions.get(vote.question)
    if question is None:
        return f"unknown question {vote.question[:16]}"
    if sorted(vote.images) != sorted(question.images):
        return f"question {vote.question}: not the images that were asked for"
    if set(vote.answers) != set(key.criteria):
        return f"question {vote.question}: criteria are {', '.join(key.criteria)}"
    for values in vote.answers.values():
        if not _valid(key, values, len(question.images)):
            return f"question {vote.question}: {', '.join(f'{one:g}' for one in values[:8])} is no answer to it"
    return None


def _valid(key: Key, values: Sequence[float], images: int) -> bool:
    if len(values) != images:
        return False
    if key.design == "rating":
        return all(key.lowest <= value <= key.highest and value.is_integer() for value in map(float, values))
    if key.design == "pairs":
        return list(values) in ([1, 0], [0, 1], [0.5, 0.5])
    return sorted(values) == list(range(1, images + 1))


def repeats_of(key: Key, person: int) -> int:
    """How many questions a person is asked twice; which ones, a server that chooses questions decides."""
    if not 1 <= person <= len(key.plans):
        return 0
    asked = [step for step, _ in key.plans[person - 1]]
    return len(asked) - len(set(asked))


def _ballots(key: Key, votes: Sequence[Vote], repeats: int) -> tuple[list[Ballot], list[str]]:
    """One ballot per vote and criterion; answers beyond those that were asked for are a reason."""
    found: list[Ballot] = []
    reasons: list[str] = []
    times: dict[str, int] = {}
    for vote in votes:
        question = key.questions[vote.question]
        times[vote.question] = times.get(vote.question, 0) + 1
        repeats -= times[vote.question] == 2
        if times[vote.question] > 2 or repeats < 0:
            reasons.append(f"double submission: question {vote.question} is answered {times[vote.question]} times")
            continue
        kind = "trap" if question.trap else "repeat" if times[vote.question] > 1 else "vote"
        for criterion in key.criteria:
            found.append(
                Ballot(
                    question=vote.question, criterion=criterion, kind=kind,  # type: ignore[arg-type]
                    images=tuple(key.images[name].hash for name in vote.images),
                    values=tuple(vote.answers[criterion]), reference=key.images[question.given].hash,
                    seconds=vote.seconds, shown=(vote.shown[0], vote.shown[1]),
                )
            )  # fmt: skip
    return found, reasons


def _attention(key: Key, votes: Sequence[Vote], rules: Rules) -> tuple[list[str], list[str]]:
    """(reasons not to accept the session, reasons not to use it all the same), as the toolkit parts the two: a trap
    has a right answer, while haste and even scores are only suspicious."""
    reasons: list[str] = []
    doubtful: list[str] = []
    given = {vote.question: vote for vote in reversed(votes)}
    traps = [trap for trap in key.traps if trap.better[0] in given and trap.worse[0] in given]
    failed = sum(not _passed(key, trap.better, trap.worse, given) for trap in traps)
    if failed > rules.traps * len(traps):
        reasons.append(f"traps failed: {failed} of {len(traps)}")
    if votes:
        median = statistics.median(vote.seconds for vote in votes)
        if median < rules.fastest:
            doubtful.append(f"too fast: {median:.2g} s for the median answer")
    line = _straight(
        key, failed == 0 < len(traps), [vote for vote in votes if not key.questions[vote.question].trap], rules
    )
    return reasons, [*doubtful, line] if line else doubtful


def _passed(key: Key, better: tuple[str, str], worse: tuple[str, str], given: Mapping[str, Vote]) -> bool:
    """Whether the better image got more, over all criteria together."""
    good, bad = (
        statistics.fmean(values[given[question].images.index(image)] for values in given[question].answers.values())
        for question, image in (better, worse)
    )
    what = key.images[worse[1]].what
    if key.design == "ranking":
        good, bad = -good, -bad
    # Beside a ruin an input can be as bad as the scale allows, and so can both.
    return good > bad or (good == bad and key.design == "rating" and "ruin" in what)


def _straight(key: Key, vouched: bool, votes: Sequence[Vote], rules: Rules) -> str | None:
    """`vouched`: traps were answered right, so that "no difference" throughout is what somebody saw."""
    if len(votes) < 5:
        return None
    if key.design == "rating":
        scores = [value for vote in votes for values in vote.answers.values() for value in values]
        limit = rules.variance * ((key.highest - key.lowest) / 4) ** 2
        variance = statistics.pvariance(scores)
        return f"straight line: scores vary by {variance:.2g}, {limit:.2g} is needed" if variance < limit else None
    if key.design == "pairs":
        sides = [values[0] for vote in votes for values in vote.answers.values()]
        if vouched and all(side == 0.5 for side in sides):
            return None
        return _one_sided(sum(side == 1 for side in sides), sum(side == 0 for side in sides), len(sides), rules)
    first = [values for vote in votes for values in vote.answers.values()]
    most = max(first.count(values) for values in first)
    images = len(key.questions[votes[0].question].images)
    chance = _at_least(most, len(first), 1 / math.factorial(images)) * math.factorial(images)
    return f"straight line: the same places in {most} of {len(first)} answers" if chance < rules.side else None


def _one_sided(first: int, second: int, count: int, rules: Rules) -> str | None:
    if first + second < 0.05 * count:
        return f"straight line: no difference in {count - first - second} of {count} answers"
    chance = min(1.0, 2 * _at_least(max(first, second), first + second, 0.5))
    side = "A" if first > second else "B"
    return f"straight line: {side} in {max(first, second)} of {first + second} answers" if chance < rules.side else None


def _at_least(count: int, trials: int, chance: float) -> float:
    """Probability of so many successes or more."""
    return math.fsum(math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(count, trials + 1))
