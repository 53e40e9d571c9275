"""A study as it is handed out: nothing in it says which method is which, and everybody gets a balanced share."""

from __future__ import annotations

import itertools
import json
import math
import re
import stat
import struct
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from support.commands import bench
from support.studies import ITEMS, METHODS, put, study

from bench.errors import BenchError
from bench.study import page
from bench.study.design import APART, Scene, make

pytestmark = pytest.mark.usefixtures("folder")
ROOT = Path(page.__file__).parent


def chunks(png: bytes) -> list[bytes]:
    found, at = [], 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        found.append(png[at + 4 : at + 8])
        at += 12 + length
    return found


@pytest.mark.parametrize("design", ["rating", "pairs", "ranking"])
def test_nothing_that_is_handed_out_names_a_method_a_dataset_or_an_item(design: str):
    key = study("--design", design)
    files = [file for file in Path("asked/page").rglob("*") if file.is_file()]
    told = "\n".join(str(file.relative_to("asked")) for file in files)
    told += "\n".join(file.read_text(encoding="utf-8") for file in files if file.suffix != ".png")
    secret = [*METHODS, "Dragonet", "scene", "mine", "trap", "GT", *(one["hash"] for one in key["images"].values())]
    assert [name for name in secret if re.search(rf"(?<![a-z]){re.escape(name)}", told)] == []
    for file in files:
        if file.suffix == ".png":
            assert set(chunks(file.read_bytes())) == {b"IHDR", b"IDAT", b"IEND"}
    assert len({file.stat().st_mtime_ns for file in files}) == 1
    assert {file.stem for file in files if file.suffix == ".png"} == set(key["images"])


def test_the_key_is_for_its_owner_alone_and_sealed_in_the_page():
    import hashlib

    key = study()
    assert stat.S_IMODE(Path("asked/key.json").stat().st_mode) == 0o600
    seal = hashlib.sha256(Path("asked/key.json").read_bytes()).hexdigest()
    assert f'"seal": "{seal}"' in Path("asked/page/index.html").read_text(encoding="utf-8")
    assert Path(f"results/studies/{key['study']}.json").read_bytes() == Path("asked/key.json").read_bytes()


def test_the_page_needs_no_network():
    study()
    text = Path("asked/page/index.html").read_text(encoding="utf-8")
    assert re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", text) == [] and "src=" not in text
    assert "default-src 'none'" in text


def shown(key: Mapping[str, Any], person: int) -> list[tuple[str, list[str], bool]]:
    """(question, what stands where, whether it is a trap) as somebody gets it."""
    order = list(key["questions"])
    found = []
    for place, turn in key["plans"][person]:
        question = key["questions"][order[place]]
        names = [question["images"][(n + turn) % len(question["images"])] for n in range(len(question["images"]))]
        found.append((order[place], [key["images"][name]["what"][0] for name in names], question["trap"]))
    return found


def test_sides_are_balanced_over_people_and_within_each():
    key = study("--design", "pairs", "--people", "4", "--repeats", "0")
    sides: Counter[tuple[str, ...]] = Counter()
    for person in range(4):
        mine = [tuple(what) for _, what, trap in shown(key, person) if not trap]
        assert len(mine) == ITEMS * math.comb(len(METHODS), 2)
        sides.update(mine)
        first = Counter(what[0] < what[1] for what in mine)
        assert abs(first[True] - first[False]) <= len(mine) / 2
    # Every pair of methods on every item stands both ways round for half of the people.
    assert all(sides[one, other] == sides[other, one] for one, other in sides)


def test_a_ranking_has_every_method_in_every_place_equally_often():
    key = study("--design", "ranking", "--people", "6", "--repeats", "0", "--traps", "0")
    places = Counter((what[n], n) for person in range(6) for _, what, _ in shown(key, person) for n in range(3))
    assert set(places.values()) == {6 * ITEMS // 3}


def scenes(count: int, outputs: int = 4) -> list[Scene]:
    return [
        Scene("d", str(n), f"in{n}", tuple(f"o{n}-{k}" for k in range(outputs)), f"gt{n}", f"in{n}")
        for n in range(count)
    ]


def test_a_share_of_the_questions_is_equal_and_sides_stay_balanced():
    plan = make(scenes(5), "pairs", people=10, traps=2, repeats=0, votes=6, seed=3)
    asked: Counter[int] = Counter()
    for steps in plan.plans:
        regular = [step.question for step in steps if not plan.questions[step.question].trap]
        assert len(regular) == 6 and len(steps) == 8
        asked.update(regular)
    assert set(asked.values()) == {2}
    turns = Counter((step.question, step.turn) for steps in plan.plans for step in steps)
    assert all(turns[q, 0] == turns[q, 1] == 1 for q in asked)


def test_a_repeat_comes_later_with_its_sides_changed_and_no_scene_twice_in_a_row():
    plan = make(scenes(8), "pairs", people=6, traps=2, repeats=4, votes=None, seed=1)
    in_a_row = 0
    for steps in plan.plans:
        seen: dict[int, tuple[int, int]] = {}
        repeated = 0
        for place, step in enumerate(steps):
            if step.question in seen:
                before, turn = seen[step.question]
                repeated += 1
                assert place - before >= APART and step.turn != turn
            else:
                seen[step.question] = place, step.turn
        assert repeated == 4
        of = [plan.questions[step.question].given for step in steps]
        in_a_row += sum(one == other for one, other in itertools.pairwise(of))
    assert in_a_row <= 6 * 4  # where a repeat fell beside its scene


def test_orders_differ_between_people_and_a_seed_gives_the_same_study():
    one, same, other = (make(scenes(4), "rating", people=3, traps=1, repeats=1, votes=None, seed=s) for s in (7, 7, 8))
    assert one == same != other
    assert len(set(one.plans)) == 3


def test_a_dataset_without_gt_has_traps_all_the_same(folder: Path):
    text = Path("mine.yaml").read_text(encoding="utf-8").replace(", gt: high", "")
    Path("blind.yaml").write_text(text.replace("psnr, ssim, ", ""), encoding="utf-8")
    assert bench("run", "blind.yaml") == 0
    assert bench("study", "make", "blind", "-o", "asked", "--design", "pairs") == 0
    key = json.loads(Path("asked/key.json").read_text(encoding="utf-8"))
    what = [key["images"][trap["worse"][1]]["what"] for trap in key["traps"]]
    assert what == [["ruin"]] * 3


def test_both_languages_say_everything():
    texts = {code: yaml.safe_load((ROOT / f"{code}.yaml").read_text(encoding="utf-8")) for code in page.SHIPPED}
    assert set(texts["en"]) == set(texts["de"])
    for name, text in texts["en"].items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", texts["de"][name])), name
    asked = set(re.findall(r'\bt\("([a-z_.]+)"', (ROOT / "study.js").read_text(encoding="utf-8")))
    assert {one for one in asked if not one.endswith((".", "_"))} <= set(texts["en"])


def test_another_language_is_a_file():
    Path("fr.yaml").write_text("language: Français\ntitle: 'Quelle image </script> ?'\n", encoding="utf-8")
    study("--text", "fr.yaml")
    text = Path("asked/page/index.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text)[1])  # type: ignore[index]
    assert data["texts"]["fr"]["title"] == "Quelle image </script> ?" and set(data["texts"]) == {"en", "de", "fr"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--scale", "5-0"], "--scale '5-0' is not LOW-HIGH"),
        (["--scale", "0-99"], "--scale '0-99' is not LOW-HIGH"),
        (["--criteria", "a,a"], "each is named once"),
        (["--criteria", "a|b"], "without |"),
        (["-m", "Amberfix"], "run 1 has no method 'Amberfix'"),
        (["-d", "x"], "run 1 has no dataset 'x'"),
        (["--text", "none.yaml"], "a language code of two letters"),
        (["--text", "xx.yaml"], "xx.yaml: cannot be read"),
        (["--text", "qq.yaml"], "no text is called 'titel'"),
        (["-m", "Amberfox", "--design", "pairs"], "nothing to compare"),
        (["-o", "low"], "low: is there and not empty"),
        (["--items", "0"], "'--items'"),
        (["--criteria", ",".join(f"c{n}" for n in range(33))], "33 criteria, at most 32 can be answered"),
    ],
)
def test_a_wrong_request_is_one_line(options: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    Path("qq.yaml").write_text("titel: a\n", encoding="utf-8")
    where = [] if "-o" in options else ["-o", "asked"]
    assert bench("study", "make", "mine", *where, *options) == 2
    told = capsys.readouterr().err.strip()
    assert said in told and len(told.splitlines()) == 1 and not Path("asked").exists()


def test_an_item_that_lacks_an_output_is_left_out_and_said(capsys: pytest.CaptureFixture[str]):
    from bench.results.store import Store

    with Store(Path("results")) as store:
        rows = store._rows("SELECT hash FROM content JOIN restoration ON output=content.id")
    gone = rows[0][0].hex()
    next(Path("results/outputs").rglob(f"{gone}.png")).unlink()
    key = study()
    told = capsys.readouterr().err
    assert re.search(r"left out: Dragonet/scene\d: no output of \w+ \(not on disk: bench run makes it\)", told)
    assert len({one["item"] for one in key["questions"].values()}) == ITEMS - 1


def test_without_a_seed_nobody_can_draw_again_what_the_maker_drew(monkeypatch: pytest.MonkeyPatch):
    seeds = set()
    for name in ("one", "two"):
        assert bench("study", "make", "mine", "-o", name, "--design", "pairs") == 0
        seeds.add(json.loads(Path(name, "key.json").read_text(encoding="utf-8"))["seed"])
    assert len(seeds) == 2 and min(seeds) > 1_000_000
    assert not any(str(seed) in Path("one/page/index.html").read_text(encoding="utf-8") for seed in seeds)


def test_a_trap_is_not_known_by_its_place_in_the_page():
    places = []
    for n in range(4):
        key = study("--design", "pairs", "--traps", "2", name=f"asked{n}")
        places.append([n for n, one in enumerate(key["questions"].values()) if one["trap"]])
    last = len(key["questions"]) - 1
    assert any(one != [last - 1, last] for one in places) and len({tuple(one) for one in places}) > 1


@pytest.mark.parametrize("kind", ["alike", "flat"])
def test_nobody_is_trapped_by_what_cannot_be_seen(folder: Path, kind: str):
    for item in range(ITEMS):
        high = np.asarray(Image.open(f"high/scene{item}.png")).astype(float)
        low = high + 1 if kind == "alike" else np.full(high.shape, 90.0)
        put(Path(f"low/scene{item}.png"), low)
        if kind == "flat":
            put(Path(f"high/scene{item}.png"), low)
    assert bench("run", "mine.yaml") == 0
    key = study("--design", "pairs")
    worse = [key["images"][trap["worse"][1]]["what"] for trap in key["traps"]]
    assert worse == ([["ruin"]] * 3 if kind == "alike" else [])


def test_a_ranking_with_traps_shows_no_image_twice():
    made = make(
        [Scene("d", f"i{n}", f"lq{n}", (f"lq{n}", f"gt{n}", f"a{n}", f"b{n}"), f"gt{n}", f"lq{n}") for n in range(4)],
        "ranking", people=2, traps=4, repeats=0, votes=None, seed=0,
    )  # fmt: skip
    assert len(made.traps) == 4 and all(len(set(one.images)) == len(one.images) for one in made.questions)


def test_a_page_that_nobody_could_open_is_not_made():
    with pytest.raises(BenchError, match="10000 people with 200 questions each are more than"):
        make(scenes(200), "rating", people=10_000, traps=0, repeats=0, votes=200, seed=0)
