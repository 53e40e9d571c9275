"""The pictures of a page: which items, at which size, and what stands below each of them; all within a budget."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.report.crops import Encoded, Window, exact, find_window, thumbnail
from bench.results.pictures import Picture, Pictures
from bench.results.record import DatasetRecord
from bench.results.view import SCORED, Cell, ItemScore, RunView
from bench.tables.layout import format_value

_SIDES = (4096, 2048, 1400, 960, 560, 420, 320, 240)
"""Longer sides of the pictures, pixels; the largest that the budget allows. A smaller picture keeps its own pixels."""
_MINI = 96
_MOST_VALUES = 6
_MOST_MINIS = 600
_NO_VALUES = "no values: name identity among the suite's methods and run it again"


class ShownValue(NamedTuple):
    """A metric of one picture."""

    name: str
    text: str
    best: bool
    reason: str


class Shot(NamedTuple):
    """One picture of an item with its detail, or why there is none."""

    label: str
    kind: str
    thumb: Encoded | None
    crop: Encoded | None
    missing: str
    values: Sequence[ShownValue]
    note: str = ""
    """Why an input has no values."""


class ShownItem(NamedTuple):
    """One item with all its pictures; places and sizes of the detail in percent."""

    id: str
    key: str
    why: str
    shots: Sequence[Shot]
    left: float
    top: float
    width: float
    height: float

    @property
    def x(self) -> float:
        """Where the zoom begins so that the detail is in view."""
        return round(100 * self.left / max(100 - self.width, 1e-9), 1) if self.width < 100 else 50.0

    @property
    def y(self) -> float:
        return round(100 * self.top / max(100 - self.height, 1e-9), 1) if self.height < 100 else 50.0


class Group(NamedTuple):
    """The shown items of a dataset."""

    dataset: str
    shown: Sequence[ShownItem]
    left: str
    """What is said of those that are not shown."""


@dataclass
class Budget:
    """How much pictures may weigh, and what they weigh so far, in bytes of the page."""

    limit: int
    used: int = 0
    count: int = 0
    side: int = _SIDES[0]
    keys: dict[tuple[str, str], str] = field(default_factory=dict)
    """(dataset, item) → anchor, of the items that are shown."""

    def take(self, picture: Encoded) -> Encoded:
        self.used += picture.bytes
        self.count += 1
        return picture

    @property
    def spent(self) -> bool:
        return self.used >= self.limit


def values_of(data: RunView) -> dict[tuple[str, str, str], dict[str, ItemScore]]:
    """(dataset, method, metric) → item → its score of the first repeat; metrics of whole sets have none."""
    return {
        (cell.dataset, cell.method, cell.column.label): {s.item: s for s in cell.scores if s.repeat == 0}
        for cell in data.cells
        if not cell.column.is_set
    }


def choose(data: RunView, dataset: DatasetRecord, count: int) -> list[tuple[str, str]]:
    """(item, why it is shown): where methods differ most, the best and the worst of the best method, then any."""
    items = dataset.items
    chosen: dict[str, str] = {}
    cells = [c for c in data.cells if c.dataset == dataset.label and not c.column.is_set and c.value is not None]
    if cells and count < len(items):
        label = cells[0].column.label
        peers = [cell for cell in cells if cell.column.label == label]
        for item, why in _striking(peers):
            chosen.setdefault(item, f"{why} ({cells[0].column.heading})")
    spread = max(min(count, len(items)), 1)
    for index in range(spread):
        chosen.setdefault(items[index * len(items) // spread], "")
    kept = dict(list(chosen.items())[:count])
    return [(item, kept[item]) for item in items if item in kept]


def _striking(peers: Sequence[Cell]) -> Iterator[tuple[str, str]]:
    """Items that tell most about one metric, by the means of their repeats."""
    sign = 1 if peers[0].column.higher_is_better else -1
    table = {cell.method: _finite(cell) for cell in peers}
    every = set.union(*(set(values) for values in table.values()))
    spread = {
        item: max(given) - min(given)
        for item in sorted(every)
        if len(given := [values[item] for values in table.values() if item in values]) > 1
    }
    if spread:
        yield max(spread, key=lambda item: spread[item]), "methods differ most here"
    leader = max(peers, key=lambda cell: (cell.complete, sign * _number(cell.value, sign)))
    own = leader.items
    if len(own) > 1:
        yield min(own, key=lambda item: sign * own[item]), f"worst of {leader.method}"
        yield max(own, key=lambda item: sign * own[item]), f"best of {leader.method}"


def _number(value: float | None, sign: int) -> float:
    """A mean to rank by; an infinite one ranks below every finite one, as in tables."""
    return value if value is not None and math.isfinite(value) else -sign * math.inf


def _finite(cell: Cell) -> dict[str, float]:
    return {item: value for item, value in cell.items.items() if math.isfinite(value)}


def build(data: RunView, pictures: Pictures, count: int, budget: Budget) -> list[Group]:
    """The gallery. Sides shrink first where the budget is small, then items are left out, and it says so."""
    wanted = {dataset.label: choose(data, dataset, count) for dataset in data.record.datasets}
    total = sum(map(len, wanted.values())) * (len(data.record.methods) + 2)
    scores = values_of(data)
    groups: list[Group] = []
    settled = False
    for position, dataset in enumerate(data.record.datasets):
        label = dataset.label
        shown: list[ShownItem] = []
        for number, (item, why) in enumerate(wanted[label]):
            if budget.spent:
                break
            found = pictures.of(label, item)
            if (
                not settled
                and (sample := next((one.pixels for one in found if one.pixels is not None), None)) is not None
            ):
                budget.side = _largest(sample, found, total, budget.limit)
                settled = True
            budget.keys[label, item] = f"item-{position + 1}-{number + 1}"
            shown.append(_item(data, label, item, why, found, scores, budget))
        left = len(dataset.items) - len(shown)
        more = "1 more item is" if left == 1 else f"{left} more items are"
        said = f"{more} in this dataset (--items N shows more)." if left else ""
        if len(shown) < len(wanted[label]):
            said = f"{more} in this dataset; no more fit into {budget.limit / 1e6:.0f} MB (--budget MB)."
        groups.append(Group(label, shown, said))
    return [group for group in groups if group.shown]


def _largest(sample: object, found: Sequence[Picture], total: int, limit: int) -> int:
    """The largest side whose pictures are likely to fit, judged by the first item's."""
    known = [one.pixels for one in found if one.pixels is not None][:4]
    crops = sum(exact(find_window([one], None).cut(one)).bytes for one in known) / len(known)
    for side in _SIDES[:-1]:
        each = sum(thumbnail(one, side).bytes for one in known) / len(known)
        if total * (each + crops) < 0.85 * limit:
            return side
    return _SIDES[-1]


def _item(
    data: RunView,
    dataset: str,
    item: str,
    why: str,
    found: Sequence[Picture],
    scores: Mapping[tuple[str, str, str], Mapping[str, ItemScore]],
    budget: Budget,
) -> ShownItem:
    reference = next((one.pixels for one in found if one.kind == "gt"), None)
    outputs = [one.pixels for one in found if one.kind == "method" and one.pixels is not None]
    inputs = [one.pixels for one in found if one.kind == "lq" and one.pixels is not None]
    window = find_window(outputs or inputs, reference)
    cells = [cell for cell in data.cells if cell.dataset == dataset and not cell.column.is_set]
    best = _best(cells, item, scores)
    shots = []
    for one in found:
        thumb = crop = None
        if one.pixels is not None:
            thumb = budget.take(thumbnail(one.pixels, budget.side))
            crop = budget.take(exact(window.cut(one.pixels)))
        maker = one.label if one.kind == "method" else unchanged(data, dataset, item) if one.kind == "lq" else None
        values = _values(cells, maker, item, scores, best) if maker is not None else []
        note = _NO_VALUES if one.kind == "lq" and thumb is not None and cells and maker is None else ""
        shots.append(Shot(one.label, one.kind, thumb, crop, one.missing, values, note))
    return ShownItem(item, budget.keys[dataset, item], why, shots, *_percent(window))


def unchanged(data: RunView, dataset: str, item: str) -> str | None:
    """A method whose first output is the input, pixel for pixel: its first values, as they are shown, are the input's.

    Else identity, which says of an item that it could not score why not.
    """
    for (name, method), units in data.units.items():
        for unit in units if name == dataset else ():
            row = unit.row
            if unit.item != item or unit.repeat or row is None or row.output_hash is None:
                continue
            if row.output_hash == unit.given:
                return method
    return next((one.label for one in data.record.methods if one.name == "identity" and one.is_for(dataset)), None)


def _percent(window: Window) -> tuple[float, float, float, float]:
    left, top, width, height = window.left, window.top, window.width, window.height
    return round(100 * left, 2), round(100 * top, 2), round(100 * width, 2), round(100 * height, 2)


def _best(
    cells: Sequence[Cell], item: str, scores: Mapping[tuple[str, str, str], Mapping[str, ItemScore]]
) -> dict[str, str]:
    """Metric → the printed value that is best on this item."""
    found: dict[str, tuple[float, str]] = {}
    for cell in cells:
        score = scores[cell.dataset, cell.method, cell.column.label].get(item)
        if score is None or score.value is None or score.status not in SCORED:
            continue
        signed = score.value if cell.column.higher_is_better else -score.value
        if cell.column.label not in found or signed > found[cell.column.label][0]:
            found[cell.column.label] = signed, format_value(score.value, cell.column.digits)
    return {metric: text for metric, (_, text) in found.items()}


def _values(
    cells: Sequence[Cell],
    method: str,
    item: str,
    scores: Mapping[tuple[str, str, str], Mapping[str, ItemScore]],
    best: Mapping[str, str],
) -> list[ShownValue]:
    shown: list[ShownValue] = []
    for cell in cells:
        if cell.method != method or len(shown) == _MOST_VALUES:
            continue
        score = scores[cell.dataset, method, cell.column.label].get(item)
        if score is None or score.status == "n/a":
            continue
        if score.value is None:
            shown.append(ShownValue(cell.column.heading, score.status, False, score.reason or ""))
            continue
        text = format_value(score.value, cell.column.digits)
        shown.append(ShownValue(cell.column.heading, text, text == best.get(cell.column.label), ""))
    return shown


# Best and worst


class Extreme(NamedTuple):
    """One item at an end of a method's values."""

    item: str
    value: str
    key: str
    """Anchor of the item among the pictures, empty where it is not shown."""
    thumb: str
    """Name of its picture in the style sheet, empty without one."""


class ExtremeRow(NamedTuple):
    method: str
    best: Sequence[Extreme]
    worst: Sequence[Extreme]


class ExtremeGroup(NamedTuple):
    dataset: str
    metric: str
    rows: Sequence[ExtremeRow]


def extremes(
    data: RunView, pictures: Pictures, budget: Budget, each: int = 2
) -> tuple[list[ExtremeGroup], dict[str, str]]:
    """Best and worst items per dataset, metric and method; and the small pictures by their names."""
    minis: dict[tuple[str, str, str], str] = {}
    sheet: dict[str, str] = {}

    def mini(dataset: str, method: str, item: str) -> str:
        place = dataset, method, item
        if place not in minis and not budget.spent and len(minis) < _MOST_MINIS:
            pixels = pictures.output(dataset, method, item).pixels
            minis[place] = f"m{len(minis)}" if pixels is not None else ""
            if pixels is not None:
                sheet[minis[place]] = budget.take(thumbnail(pixels, _MINI, 75)).uri
        return minis.get(place, "")

    groups: dict[tuple[str, str], list[ExtremeRow]] = {}
    for cell in data.cells:
        own = {} if cell.column.is_set else _finite(cell)
        if len(own) < 2:
            continue
        sign = -1 if cell.column.higher_is_better else 1
        order = sorted(own, key=lambda item, own=own, sign=sign: (sign * own[item], item))  # type: ignore[misc]
        count = min(each, len(order) // 2)
        ends = [
            [
                Extreme(
                    item,
                    format_value(own[item], cell.column.digits),
                    budget.keys.get((cell.dataset, item), ""),
                    mini(cell.dataset, cell.method, item),
                )
                for item in part
            ]
            for part in (order[:count], order[::-1][:count])
        ]
        arrow = "↑" if cell.column.higher_is_better else "↓"
        place = cell.dataset, f"{cell.column.heading} {arrow}"
        groups.setdefault(place, []).append(ExtremeRow(cell.method, *ends))
    return [ExtremeGroup(dataset, metric, rows) for (dataset, metric), rows in groups.items()], sheet
