"""What a dataset says was done to its images: names in the order in which it was done.

Only methods that are meant to be told see it; it enters their keys and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.data.expressions import compiled
from bench.data.items import Item
from bench.errors import BenchError, suggest
from iqpir.rar.kinds import DEGRADATIONS

KINDS = (*DEGRADATIONS, "underwater", "under-display", "scratches")
"""Every name there is."""
ALIASES = {
    "low": "low light", "dark": "low light", "fog": "haze", "low-light": "low light", "low-res": "low resolution",
    "compression": "jpeg", "jpeg compression artifact": "jpeg",
}  # fmt: skip
"""What folders of the literature call some of them."""
_KEYS = ("id", "split", "order")


def by_name(where: str, items: Sequence[Item], rule: Mapping[str, Any]) -> list[Item]:
    """Items with what their ids say: `id` finds the part of an id that names it, `split` what stands between names,
    `order` in which order they were done where they are written in another.

    Raises `BenchError` for a rule that is none and for a name that nobody knows.
    """
    if set(rule) - set(_KEYS) or not {"id", "split"} <= set(rule):
        raise BenchError(f"{where}: told has id, split and perhaps order, not {', '.join(map(str, rule))}")
    pattern = compiled(str(rule["id"]), f"{where}: told")
    order = [kind_of(where, name) for name in rule.get("order", ())]
    found = []
    for item in items:
        match = pattern.search(item.id)
        if match is None:
            found.append(item)
            continue
        names = [kind_of(where, name) for name in match.group(1).split(str(rule["split"]))]
        found.append(replace(item, done=tuple(sorted(names, key=order.index) if order else names)))
    return found


def kind_of(where: str, name: str) -> str:
    """The name among `KINDS`. Raises `BenchError` with the nearest one."""
    plain = str(name).strip()
    kind = ALIASES.get(plain, plain)
    if kind not in KINDS:
        raise BenchError(f"{where}: nobody knows what {plain!r} does to an image{suggest(plain, KINDS)}")
    return kind
