"""What a suite needs that is not on this machine, on one screen: grouped by who brings it, each group with its command.

Names appear once, however many datasets and methods they would meet in; `bench info NAME` has the details.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from bench.catalog.registry import Entry, registry
from bench.planning.bind import Missing
from bench.suite.definition import find

_WIDTH = 118
_LABEL = 16
_GROUPS = {
    "datasets": "bench fetch {names}",
    "data by hand": "bench fetch {names} prints the steps for a person",
    "weights": "bench fetch {names}{pin}",
    "weights by hand": "bench fetch {names} says from where and whereto",
    "metric weights": "bench fetch {names}{pin}",
    "not measurable": "",
    "programs": "a clone and a python each, as bench info {first} says; options {{repo: …, python: …}} "
    "and --allow-commands",
    "clones": "",
    "permission": "",
    "outputs": "no code or weights are public; outputs made elsewhere are scored by options {{path: FOLDER}}",
    "training": "no weights are published; what iqpir train makes is taken by options {{weights: FILE}}",
}
_FETCHED = frozenset({"datasets", "data by hand", "weights", "weights by hand", "metric weights"})
"""Of these, `bench fetch` brings what it can and says how the rest comes here."""


def screen(suite: str, missing: Sequence[Missing]) -> str:
    """All that is missing in a few lines, without a final newline."""
    groups: dict[str, list[Missing]] = {group: [] for group in _GROUPS}
    for gone in {(one.kind, one.label): one for one in missing}.values():
        groups[group_of(gone)].append(gone)
    count = sum(map(len, groups.values()))
    counted = "1 thing it needs is" if count == 1 else f"{count} things it needs are"
    lines = [f"{suite}: {counted} not on this machine:"]
    for group, members in groups.items():
        if members:
            names = list(dict.fromkeys(one.label for one in members))
            remedy = _GROUPS[group].format(names=" ".join(names), first=names[0], pin=_pin(members))
            reasons = "; ".join(f"{one.label}: {one.detail}" for one in members)
            told = f"{_before(group, members)}{remedy}" if remedy else reasons
            lines += _folded(group, told)
    steps = [f"what a machine can bring: bench fetch {_fetched_as(suite)}"] if _FETCHED & _used(groups) else []
    if groups["permission"]:
        steps.append(f"let it run what its file names: bench run {suite} --allow-commands")
    if _used(groups) != {"permission"}:
        steps.append(f"run what is there: bench run {suite} --available")
    return "\n".join([*lines, *(["; ".join(steps)] if steps else [])])


def _used(groups: Mapping[str, Sequence[Missing]]) -> set[str]:
    return {group for group, members in groups.items() if members}


def _fetched_as(suite: str) -> str:
    """The suite as `bench fetch` takes it: by its file where an entry of the catalogue has the same name."""
    taken = any(suite in registry(kind) for kind in ("method", "metric", "dataset", "detector"))
    return str(find(suite)) if taken else suite


def _before(group: str, members: Sequence[Missing]) -> str:
    """The names, where the command does not have them all; else only what is there in part."""
    if "{names}" not in _GROUPS[group]:
        return f"{', '.join(one.label for one in members)} – "
    partly = [f"{one.label} has {one.have}" for one in members if one.have]
    return f"{', '.join(partly)} – " if partly else ""


def _folded(group: str, text: str) -> list[str]:
    pad = " " * (_LABEL + 2)
    return textwrap.wrap(
        text, _WIDTH, initial_indent=f"  {group:<{_LABEL}}", subsequent_indent=pad, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _pin(members: Iterable[Missing]) -> str:
    """`--pin` where a file among them has no published hash."""
    return " --pin" if any(not _hashed(registry(one.kind).get(one.label)) for one in members) else ""


def _hashed(entry: Entry) -> bool:
    weights = entry.fields.get("weights") or []
    files = weights if isinstance(weights, list) else [weights]
    return all(one.get("sha256") or one.get("prefix") for one in files if isinstance(one, dict) and one.get("url"))


def _about_a_clone(detail: str) -> bool:
    """Whether it is the host's clone, or the permission to use it, that a "+" lacks, and not its trained file."""
    return "--allow-commands" in detail or "{repo: CLONE" in detail


def group_of(gone: Missing) -> str:
    """Who or what brings a missing thing; one of the groups of the screen."""
    fields = registry(gone.kind).get(gone.label).fields
    if gone.detail.endswith("--allow-commands lets it"):
        return "permission"
    if gone.kind == "metric" and fields.get("unavailable"):
        return "not measurable"
    if gone.kind in ("metric", "detector"):
        return "metric weights"
    if gone.kind == "dataset":
        return "data by hand" if fields.get("instructions") else "datasets"
    if fields.get("kind") == "clone" or (fields.get("kind") == "plus" and _about_a_clone(gone.detail)):
        return "clones"
    if fields.get("status") in ("training", "timing-only") or fields.get("kind") in ("rar", "agent"):
        return "training"
    if fields.get("kind") in ("command", "folder"):
        return "programs" if fields["kind"] == "command" else "outputs"
    weights = fields.get("weights") or []
    files = weights if isinstance(weights, list) else [weights]
    reachable = all(one.get("url") for one in files if isinstance(one, dict))
    return "weights" if reachable else "weights by hand"
