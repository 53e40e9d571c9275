"""Studies of a run of three methods on six small photographs, and what people answer in them."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from support.commands import bench

METHODS = {"Amberfox": 3.0, "Bluejay": 18.0, "Cinnabar": 45.0}
"""Names that are nowhere else, and how much noise each leaves."""
ITEMS = 6
QUALITY = {"GT": 6.0, "Amberfox": 4.6, "Bluejay": 3.0, "Cinnabar": 1.4, "LQ": -1.0, "ruin": -2.0}
SUITE = """\
schema: 1
datasets: [{dataset: folder, options: {lq: low, gt: high}, label: Dragonet}]
methods: [METHODS]
metrics: [psnr, ssim, mos, {mos: {criterion: noise}}, {mos: {variant: p910}}, bt, rank, iqpir/mos, iqpfr/rank,
  iqpfr/rank-top-1]
"""


def put(file: Path, pixels: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8)).save(file)


def study(*options: str, name: str = "asked") -> dict[str, Any]:
    """Make a study in the working folder; its key."""
    chance = () if "--seed" in options else ("--seed", "0")
    assert bench("study", "make", "mine", "-o", name, *options, *chance) == 0
    return json.loads(Path(name, "key.json").read_text(encoding="utf-8"))


Answer = Callable[[list[str]], list[float]]
"""What the images are → a value for each, as the design has them."""


def by_quality(design: str, person: int, noise: float = 0.5) -> Answer:
    """Somebody who sees what is better, more or less."""
    draw = random.Random(person)

    def answer(shown: list[str]) -> list[float]:
        seen = [QUALITY[one] + draw.gauss(0, noise) for one in shown]
        if design == "rating":
            return [min(5, max(0, round(seen[0])))]
        if design == "pairs":
            return [1, 0] if seen[0] > seen[1] else [0, 1]
        return [1 + sum(other > one for other in seen) for one in seen]

    return answer


def filled(key: Mapping[str, Any], person: int, answer: Answer, seconds: float = 3.0) -> dict[str, Any]:
    """The file that the page would save for somebody."""
    order = list(key["questions"])
    seal = hashlib.sha256(Path("asked/key.json").read_bytes()).hexdigest()
    screen = {"width": 1280, "height": 800, "ratio": 1, "zoomed": False, "dark": 4, "bright": 4, "gamma": 2.2}
    events: list[dict[str, Any]] = [
        {"kind": "start", "person": person, "language": "en", "started": "2026-01-01T00:00:00Z", "screen": screen}
    ]
    for step, (place, turn) in enumerate(key["plans"][person - 1]):
        base = key["questions"][order[place]]["images"]
        images = [base[(n + turn) % len(base)] for n in range(len(base))]
        what = [key["images"][name]["what"][0] for name in images]
        events.append({
            "kind": "vote", "step": step, "question": order[place], "images": images, "turn": turn,
            "answers": {criterion: answer(what) for criterion in key["criteria"]}, "seconds": seconds,
            "shown": [600, 450], "zoom": 1,
        })  # fmt: skip
    events.append({"kind": "end", "finished": "2026-01-01T00:10:00Z", "votes": len(events) - 1})
    return {
        "format": "bench-study-votes", "version": 1, "study": key["study"], "seal": seal,
        "session": f"session{person:02d}", "events": events,
    }  # fmt: skip


def save(votes: Mapping[str, Any], name: str | None = None) -> Path:
    file = Path("votes") / (name or f"{votes['session']}.json")
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(votes), encoding="utf-8")
    return file
