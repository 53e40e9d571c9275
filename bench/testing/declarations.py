"""What every metric promises of its signature, its options and its catalogue entry, one function per promise."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Any

from bench.errors import BenchError
from bench.metrics.base import SetMetric
from bench.metrics.explain import parse
from bench.metrics.view import CHOICES, PAIR_OPTIONS, option_names
from bench.testing.checks import Broken, Skipped
from bench.testing.generated import STRENGTHS, copies
from bench.testing.subject import Subject, number


def signature(subject: Subject) -> None:
    """The signature is one line that `bench explain` reads back field by field, and two equal builds agree."""
    made = subject.metric.signature()
    texts = [str(made)]
    if isinstance(subject.metric, SetMetric):
        texts.append(str(subject.metric.extractor()))
    for text in texts:
        name, pairs = parse(text)
        if "|".join([name, *(f"{key}:{value}" for key, value in pairs.items())]) != text or "\n" in text:
            raise Broken(f"{text!r} does not survive bench.metrics.explain.parse")
    if len({key for key, _ in made.fields}) != len(made.fields):
        raise Broken(f"{texts[0]!r} says a field twice")
    if "v" not in dict(made.fields):
        raise Broken(f"{texts[0]!r} has no version (v:1)")
    if not str(made).startswith(made.metric):
        raise Broken(f"{texts[0]!r} does not begin with its metric")


def options(subject: Subject) -> None:
    """Every option that is accepted is kept and changes the signature, each value in a way of its own."""
    base = str(subject.metric.signature())
    for name, values in _alternatives(subject).items():
        seen = {base: "as it is"}
        for value in values:
            try:
                other = subject.vary(name, value)
                text = str(other.signature())
            except BenchError:
                continue  # refused, which is an answer
            if other == subject.metric:
                if name in option_names():
                    continue  # a view option that the definition of the metric fixes
                raise Broken(f"option {name}={value!r} is accepted and dropped")
            if text in seen:
                raise Broken(f"option {name}={value!r} has the signature of {seen[text]}: {text}")
            seen[text] = f"{name}={value!r}"
    marked = replace(subject.metric, view=replace(subject.metric.view, unverified=True))  # type: ignore[type-var]
    if str(marked.signature()) == base:
        raise Broken("an unverified protocol is not said in the signature")


def _alternatives(subject: Subject) -> dict[str, list[object]]:
    """Values other than the present one, by option: of the view where it applies, and of the metric itself."""
    metric = subject.metric
    found: dict[str, list[object]] = {}
    for name in option_names():
        if metric.mode == "NR" and name in PAIR_OPTIONS:
            continue
        found[name] = list(CHOICES.get(name, ())) or [metric.view.crop + 1, metric.view.crop + 7]
    for one in fields(metric):  # type: ignore[arg-type]
        if one.name != "view" and not one.metadata.get("entry"):
            found[one.name] = _others(subject, one.name, getattr(metric, one.name))
    return {
        name: [value for value in values if value != getattr(metric.view, name, getattr(metric, name, None))]
        for name, values in found.items()
    }


def _others(subject: Subject, name: str, present: Any) -> list[object]:
    if isinstance(present, bool):
        return [not present]
    if isinstance(present, int):
        return [present + step for step in (1, 2, 16, 64)]
    if isinstance(present, float):
        return [present * 1.5 + 0.001, present * 0.5, present + 1.0]
    try:  # a choice says its legal values when it is given another
        subject.vary(name, "no-such-choice")
    except BenchError as error:
        said = re.search(r"(?:is not|is) one of (.+?)(?:; did you mean|, not |$)", str(error))
        return list(said[1].replace("'", "").split(", ")) if said else []
    return ["no-such-choice"]


def catalogue(subject: Subject) -> None:
    """The catalogue's mode, direction, range and kind are the metric's."""
    entry, metric = subject.entry, subject.metric
    if entry is None:
        raise Skipped("it has no catalogue entry")
    said = entry.fields
    truth: dict[str, object] = {
        "mode": metric.mode,
        "better": "higher" if metric.higher_is_better else "lower",
        "learned": metric.learned,
    }
    for key, value in truth.items():
        sets = key == "mode" and said.get(key) == "set" and isinstance(metric, SetMetric)
        if key in said and said[key] != value and not sets:
            raise Broken(f"{entry.origin} says {key}: {said[key]}, the metric {value}")
    if subject.claims.undefined:
        return
    low, high = said.get("range") or (None, None)
    for kind, strengths in STRENGTHS.items():
        for strength in (strengths[0], strengths[-1]):
            value = number(metric, copies(subject.side, kind, strength), subject.reference)
            if (low is not None and value < low) or (high is not None and value > high):
                raise Broken(f"{entry.origin} says range [{low}, {high}], {kind} {strength:g} gives {value!r}")


DECLARATIONS = (signature, options, catalogue)
