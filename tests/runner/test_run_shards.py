"""Parts of a run in results folders of their own, and the folders brought together: the table of one whole run."""

from __future__ import annotations

import itertools
import json
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from support.workplace import PLUGIN, Workplace

from bench.errors import BenchError
from bench.planning.plan import Shard

METHODS = "[identity, {method: noisy, seeds: 2}]"
METRICS = "[psnr, ssim, psnr-pooled]"


def shards(place: Workplace, suite: str, count: int, **env: str) -> list[Path]:
    """Run every part into a folder of its own."""
    folders = [place.root / f"part{number}" for number in range(1, count + 1)]
    for number, folder in enumerate(folders, 1):
        done = place.run(suite, "--shard", f"{number}/{count}", "--results", folder, env=env)
        assert done.code in (0, 1), done.err
    return folders


def merged(place: Workplace, folders: list[Path], name: str) -> Path:
    done = place.bench("merge", *folders, "-o", place.root / name, "--plugin", PLUGIN)
    assert done.code == 0, done.err
    return place.root / name


def restorations(place: Workplace) -> Counter[str]:
    """How often the method with noise was given each image so far."""
    return Counter(trace.content for trace in place.traced() if trace.method == "noisy")


def change(folder: Path, sql: str) -> None:
    with closing(sqlite3.connect(folder / "bench.db")) as db, db:
        assert db.execute(sql).rowcount > 0


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "1", "a/b", "1/4/2", "-1/4", "1.0/4", ""])
def test_a_part_of_nothing_is_refused(text: str):
    with pytest.raises(BenchError, match="1/4 to 4/4 are the four of four"):
        Shard.parse(text)


def test_four_parts_in_any_order_are_the_table_of_the_whole_run(workplace: Workplace):
    workplace.pairs(6)
    low = workplace.root / "data" / "low"
    (low / "003.png").write_bytes(b"no image")  # a failure is a row there as well
    (low / "004.png").write_bytes((low / "001.png").read_bytes())  # one output, held against two references
    suite = workplace.suite(METHODS, METRICS)
    assert workplace.run(suite).code == 1
    tried = restorations(workplace)
    folders = shards(workplace, suite, 4)
    parts = restorations(workplace) - tried
    # Nothing twice, nothing left out. The image that stands there twice is restored once or twice for each seed: the
    # second is spared where the first was written down before the second was read.
    (doubled,) = {content for content, count in (tried + parts).items() if count > 4} or {None}
    assert parts.keys() == tried.keys() and len(tried) == 4
    assert {tried[content] for content in tried if content != doubled} == {2}
    assert {parts[content] for content in parts if content != doubled} == {2}
    expected = {style: workplace.table(style) for style in ("csv", "markdown")}
    assert "003" in expected["markdown"] and "psnr-pooled" in expected["csv"]
    for number, order in enumerate([folders, folders[::-1], [folders[2], folders[0], folders[3], folders[1]]]):
        whole = merged(workplace, order, f"whole{number}")
        assert {style: workplace.table(style, whole) for style in expected} == expected
    # Merged again, with itself among the parts, nothing changes; and nothing is left to do.
    merged(workplace, [*folders, whole], whole.name)
    assert workplace.table(results=whole) == expected["csv"] and workplace.count("run", whole) == 1
    again = workplace.run(suite, "--results", whole)
    assert "0 worked on" in again.err and restorations(workplace) == tried + parts
    assert workplace.count("run", whole) == 1


def test_parts_that_are_not_all_there_say_so(workplace: Workplace):
    workplace.pairs(5)
    suite = workplace.suite("[identity]", METRICS)
    first, second = shards(workplace, suite, 2)
    whole = merged(workplace, [first], "whole")
    rows = json.loads(workplace.table("json", whole))
    assert {(row["metric"], row["n"], row["expected"]) for row in rows} == {
        (metric, 3, 5) for metric in ("psnr", "ssim", "psnr-pooled")
    }
    assert workplace.run(suite).code == 0
    merged(workplace, [second], "whole")  # the rest comes later
    assert workplace.table(results=whole) == workplace.table()
    plan = workplace.run(suite, "--shard", "1/2", "--plan", "--results", workplace.root / "new")
    assert plan.out.splitlines()[2].split()[2:6] == ["3", "0", "0", "3"]


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("UPDATE score SET value=value+1 WHERE signature=(SELECT min(id) FROM signature)", "psnr|"),
        ("UPDATE extraction SET features=x'00'", "other features for "),
        ("UPDATE restoration SET output=(SELECT min(output) FROM restoration)", "another output"),
    ],
)
def test_two_values_of_one_thing_are_named_and_nothing_is_merged(workplace: Workplace, sql: str, named: str):
    workplace.pairs(3)
    suite = workplace.suite("[identity]", METRICS)
    for name in ("a", "b"):
        assert workplace.run(suite, "--results", workplace.root / name).code == 0
    change(workplace.root / "b", sql)
    for order in itertools.permutations("ab"):
        done = workplace.bench("merge", *order, "-o", "whole")
        assert done.code == 2 and done.out == ""
        assert named in done.errors[0] and "identity on mine, 00" in done.errors[0]
        assert not (workplace.root / "whole").exists()
    # The same where one of them was there before: it stays as it was.
    before = workplace.table(results=workplace.root / "a")
    assert workplace.bench("merge", "b", "-o", "a").code == 2
    assert workplace.table(results=workplace.root / "a") == before


def test_what_failed_in_one_part_is_taken_from_the_other(workplace: Workplace):
    workplace.pairs(3)
    suite = workplace.suite("[identity]", "[psnr]")
    for name in ("a", "b"):
        assert workplace.run(suite, "--results", workplace.root / name).code == 0
    change(workplace.root / "b", "UPDATE score SET status='failed', value=NULL, reason='out of memory'")
    expected = workplace.table(results=workplace.root / "a")
    for number, order in enumerate(itertools.permutations("ab")):
        assert workplace.table(results=merged(workplace, list(map(Path, order)), f"w{number}")) == expected


def test_a_part_that_rests_on_other_images_is_refused(workplace: Workplace):
    workplace.pairs(3)
    suite = workplace.suite("[identity]", "[psnr]")
    assert workplace.run(suite, "--results", workplace.root / "a").code == 0
    workplace.pair("001", seed=77)
    assert workplace.run(suite, "--results", workplace.root / "b").code == 0
    done = workplace.bench("merge", "a", "b", "-o", "whole")
    assert done.code == 2 and "identity on mine, 001: the input or the reference is another image" in done.errors[0]


def test_a_folder_without_results_is_one_line(workplace: Workplace):
    done = workplace.bench("merge", "nowhere", "-o", "whole")
    assert done.code == 2 and len(done.errors) == 1 and "no results at" in done.errors[0]
    assert not (workplace.root / "whole").exists()


def test_suites_that_train_on_all_outputs_have_no_parts(workplace: Workplace):
    workplace.pairs(2)
    suite = workplace.suite(
        "[identity]", "[psnr]", more="detection: {detector: yolox-nano, finetune: {epochs: 1}}"
    )  # fmt: skip
    done = workplace.run(suite, "--shard", "1/2")
    assert done.code == 2 and "no shards" in done.err


def test_votes_come_with_the_rows_and_contradict_nobody(workplace: Workplace):
    """What people said cannot be made again."""
    workplace.pairs(1)
    suite = workplace.suite("[identity]", "[psnr]")
    assert workplace.run(suite, "--results", workplace.root / "one").code == 0
    for name, text in (("votes/s1/p1.json", "{}"), ("votes/s1/p2.json", "[]"), ("studies/s1.json", "{}")):
        place = workplace.root / "one" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    done = workplace.bench("merge", "one", "-o", "whole")
    assert done.code == 0 and "2 sessions of votes copied to whole" in done.out
    assert (workplace.root / "whole/votes/s1/p2.json").read_text() == "[]"
    assert (workplace.root / "whole/studies/s1.json").read_text() == "{}"
    assert "of votes" not in workplace.bench("merge", "one", "-o", "whole").out
    (workplace.root / "one/votes/s1/p1.json").write_text("[1]")
    done = workplace.bench("merge", "one", "-o", "whole")
    assert done.code == 2 and "votes/s1/p1.json are not the same" in done.errors[0]
    assert (workplace.root / "whole/votes/s1/p1.json").read_text() == "{}"


def test_the_newest_run_stays_the_newest_whatever_is_merged_first(workplace: Workplace):
    workplace.pairs(2)
    root = workplace.root

    def run(folder: str, methods: str) -> None:
        assert workplace.run(workplace.suite(methods, "[psnr]"), "--results", root / folder).code == 0

    def shown(folder: str) -> set[str]:
        rows = workplace.table(results=root / folder).splitlines()[1:]
        return {name for name in ("identity", "gamma") for row in rows if name in row}

    run("old", "[identity]")
    run("new", "[gamma]")
    run("both", "[identity]")
    merged(workplace, [root / "both"], "steps")
    run("both", "[gamma]")
    merged(workplace, [root / "both"], "steps")
    assert shown("steps") == {"gamma"}
    run("both", "[identity]")  # asked for again: the first plan is the newest once more
    for _ in range(2):
        merged(workplace, [root / "both"], "steps")
        assert shown("steps") == {"identity"} and workplace.count("run", root / "steps") == 2
    for name in ("new", "old"):  # into a folder that has the newer one already
        merged(workplace, [root / name], "apart")
    merged(workplace, [root / "new", root / "old"], "together")
    assert shown("apart") == shown("together") == {"gamma"}


def test_a_clock_that_was_set_back_makes_no_old_run_the_newest(workplace: Workplace):
    workplace.pairs(2)
    for methods in ("[identity]", "[gamma]"):
        suite = workplace.suite(methods, "[psnr]")
        assert workplace.run(suite).code == 0
    change(workplace.results, "UPDATE run SET created=created-86400 WHERE id=2")
    for _ in range(2):
        merged(workplace, [workplace.results], "whole")
        assert "gamma" in workplace.table(results=workplace.root / "whole")


def test_a_stored_output_that_changed_is_named_as_such(workplace: Workplace):
    workplace.pairs(2)
    made = workplace.root / "made"
    shutil.copytree(workplace.root / "data" / "low", made)
    suite = workplace.suite(f"[{{method: folder, options: {{path: {made}}}, label: Theirs}}]", "[psnr]")
    for name in ("one", "two"):
        assert workplace.run(suite, "--results", workplace.root / name).code == 0
        shutil.copyfile(made / "001.png", made / "000.png")
    done = workplace.bench("merge", workplace.root / "one", workplace.root / "two", "-o", workplace.root / "whole")
    assert done.code == 2 and "Theirs on " in done.err and ", 000: another output" in done.err
