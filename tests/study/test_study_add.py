"""Votes that come in: who is kept, who is left out and why, and files that hold no votes."""

from __future__ import annotations

import copy
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import bench
from support.studies import Answer, by_quality, filled, save, study

from bench.results import votes
from bench.study import add
from bench.study.screening import Rules

pytestmark = pytest.mark.usefixtures("folder")
RESULTS = Path("results")


def outcome(votes_of: dict[str, Any]) -> add.Outcome:
    added = add.add(RESULTS, [save(votes_of)], Rules())
    assert added.problems == []
    return added.outcomes[0]


@pytest.mark.parametrize("design", ["rating", "pairs", "ranking"])
def test_somebody_who_looks_is_kept(design: str):
    key = study("--design", design)
    for person in (1, 2, 3):
        found = outcome(filled(key, person, by_quality(design, person)))
        assert found.session.kept, found.line
        kinds = {ballot.kind for ballot in found.session.ballots}
        assert kinds == {"vote", "trap", "repeat"} and found.session.observer == f"p{person}"
    assert len(votes.sessions(RESULTS)) == 3


def constant(value: list[float]) -> Answer:
    return lambda shown: value


def placed(shown: list[str]) -> list[float]:
    return [float(n) for n in range(1, len(shown) + 1)]


def upside_down(shown: list[str]) -> list[float]:
    return [5.0] if shown[0] == "LQ" else [0.0] if shown[0] == "GT" else [float(len(shown[0]) % 4 + 1)]


@pytest.mark.parametrize(
    ("design", "answer", "seconds", "said"),
    [
        ("rating", constant([3]), 3.0, "straight line: scores vary by 0"),
        ("rating", by_quality("rating", 1), 0.4, "too fast: 0.4 s for the median answer"),
        ("rating", upside_down, 3.0, "traps failed: 3 of 3"),
        ("pairs", constant([1, 0]), 3.0, "straight line: A in 18 of 18 answers"),
        ("pairs", constant([0.5, 0.5]), 3.0, "traps failed: 3 of 3; straight line: no difference in 18 of 18"),
        ("ranking", placed, 3.0, "straight line: the same places in 9 of 9"),
    ],
)
def test_the_careless_are_left_out_with_the_reason(design: str, answer: Answer, seconds: float, said: str):
    repeats = "3" if design == "ranking" else "0"
    key = study("--design", design, "--repeats", repeats)
    found = outcome(filled(key, 1, answer, seconds))
    assert not found.session.kept and said in found.line
    # They stay on record with the reason, and count nowhere.
    assert votes.sessions(RESULTS) == [] and len(votes.sessions(RESULTS, kept=False)) == 1


def drop_end(given: dict[str, Any]) -> None:
    given["events"] = given["events"][:-6]


def stranger(given: dict[str, Any]) -> None:
    given["events"][1]["question"] = "0123456789ab"


def other_images(given: dict[str, Any]) -> None:
    given["events"][1]["images"] = given["events"][2]["images"]


def answered_twice(given: dict[str, Any]) -> None:
    given["events"].insert(2, copy.deepcopy(given["events"][1]))


def beyond(given: dict[str, Any]) -> None:
    given["events"][1]["answers"]["noise"] = [6]


def half(given: dict[str, Any]) -> None:
    given["events"][1]["answers"]["noise"] = [2.5]


def criterion(given: dict[str, Any]) -> None:
    given["events"][1]["answers"] = {"beauty": [3]}


def number(given: dict[str, Any]) -> None:
    given["events"][0]["person"] = 99


def another_key(given: dict[str, Any]) -> None:
    given["seal"] = "0" * 64


def beginning(given: dict[str, Any]) -> None:
    del given["events"][0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop_end, "incomplete: "),
        (stranger, "unknown question 0123456789ab"),
        (other_images, "not the images that were asked for"),
        (answered_twice, "double submission: question "),
        (beyond, "6 is no answer to it"),
        (half, "2.5 is no answer to it"),
        (criterion, "criteria are colour, noise, structure"),
        (number, "participant 99 of 12"),
        (another_key, "its page was made with another key"),
        (beginning, "it has no beginning"),
    ],
)
def test_what_does_not_fit_the_study_is_left_out_with_the_reason(change: Callable[[dict[str, Any]], None], said: str):
    key = study("--repeats", "0")
    given = filled(key, 1, by_quality("rating", 1))
    change(given)
    found = outcome(given)
    assert not found.session.kept and said in found.line


def test_the_same_again_changes_nothing_and_a_second_session_of_one_person_is_left_out():
    key = study()
    first = filled(key, 1, by_quality("rating", 1))
    assert outcome(first).new
    before = {file: file.read_bytes() for file in RESULTS.glob("votes/*/*.json")}
    assert not outcome(first).new
    assert before == {file: file.read_bytes() for file in RESULTS.glob("votes/*/*.json")}
    again = {**filled(key, 1, by_quality("rating", 2)), "session": "another"}
    found = outcome(again)
    assert not found.session.kept and "double submission: p1 has sent session session0" in found.line
    assert outcome(first).session.kept


def test_a_session_that_was_sent_half_is_completed():
    key = study("--repeats", "0")
    whole = filled(key, 1, by_quality("rating", 1))
    part = {**whole, "events": whole["events"][:8]}
    assert not outcome(part).session.kept
    assert outcome(whole).session.kept
    assert outcome(part).session.kept  # an older copy does not take answers away


def test_a_key_that_is_not_here_is_said_and_can_be_named():
    key = study("--repeats", "0")
    kept_at = Path(f"results/studies/{key['study']}.json")
    file = save(filled(key, 1, by_quality("rating", 1)))
    kept_at.unlink()
    assert "whose key is not here: --key FILE names it" in add.add(RESULTS, [file], Rules()).problems[0]
    assert add.add(RESULTS, [file], Rules(), Path("asked/key.json")).outcomes[0].session.kept
    study(name="other")
    wrong = add.add(RESULTS, [file], Rules(), Path("other/key.json")).problems[0]
    assert "is the key of" in wrong


# What holds no votes: a hundred files, each one line, each other file taken


def broken(good: str) -> list[bytes]:
    """Damage of all kinds to a file of votes."""
    draw = random.Random(0)
    data = json.loads(good)
    made: list[bytes] = [
        b"", b"\xff\xfe\x00", b"null", b"[]", b"{}", b"0", b'"votes"', b"[" * 100_000, b'{"a":' * 50_000, b"\x00" * 100,
        good.encode()[:-1], good.encode()[:200], good.encode("utf-16"), b"PK\x03\x04", b"<html></html>", b"a,b\n1,2\n",
        b"__import__('os').system('touch executed')", b"!!python/object/apply:os.system ['touch executed']",
        good.replace('"version": 1', '"version": 2').encode(), good.replace("bench-study-votes", "other").encode(),
        good.replace('"turn"', '"trun"', 1).encode(), good.replace(": 3.0", ": NaN", 1).encode(),
        good.replace(": 3.0", ": 1e999", 1).encode(), good.replace(": 3.0", ': "3"', 1).encode(),
        good.replace(": 3.0", ": -1", 1).encode(), good.replace('"kind": "vote"', '"kind": "vot"', 1).encode(),
    ]  # fmt: skip
    for path in ("format", "version", "study", "seal", "session", "events"):
        for value in (None, 7, [], {}, "../../etc/passwd", "x" * 100, True):
            changed = {**data, path: value}
            if changed != data and not (path == "version" and value is True):
                made.append(json.dumps(changed).encode())
        made.append(json.dumps({key: value for key, value in data.items() if key != path}).encode())
    while len(made) < 120:
        changed = copy.deepcopy(data)
        event = draw.choice(changed["events"][1:-1])
        name = draw.choice(list(event))
        event[name] = draw.choice([None, [], {}, [[1]], {"a": "b"}, "../x", -5, [None], ["../../x"], 1e300, [1e400]])
        made.append(json.dumps(changed).encode())
    return made


def test_a_hundred_damaged_files_are_a_line_each_and_take_nothing_from_the_others(capsys: pytest.CaptureFixture[str]):
    key = study("--repeats", "0", "--items", "2")
    good = json.dumps(filled(key, 1, by_quality("rating", 1)))
    Path("votes").mkdir()
    every = broken(good)
    for number, content in enumerate(every):
        Path(f"votes/broken{number:03d}.json").write_bytes(content)
    save(filled(key, 2, by_quality("rating", 2)))
    capsys.readouterr()
    assert bench("study", "add", "votes") == 1
    told = capsys.readouterr()
    errors = [line for line in told.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == len(every) >= 100 and all("broken" in line and len(line) < 400 for line in errors)
    assert "Traceback" not in told.err and len(told.err.splitlines()) == len(every) + 1
    assert [one.session for one in votes.sessions(RESULTS)] == ["session02"]
    assert not Path("executed").exists()
    assert sorted(file.name for file in RESULTS.rglob("*") if "votes" in file.parts and file.is_file()) == [
        "session02.json"
    ]


def test_a_folder_without_votes_and_a_file_that_is_not_there_are_refused(capsys: pytest.CaptureFixture[str]):
    Path("empty").mkdir()
    for place, said in (("empty", "no votes in it"), ("none.json", "no such file")):
        assert bench("study", "add", place) == 2
        assert said in capsys.readouterr().err


def test_a_damaged_stored_session_is_one_line(capsys: pytest.CaptureFixture[str]):
    key = study("--repeats", "0", "--items", "2")
    outcome(filled(key, 1, by_quality("rating", 1)))
    file = next(RESULTS.glob("votes/*/*.json"))
    file.write_text(file.read_text(encoding="utf-8").replace('"design": "rating"', '"design": "x"'), encoding="utf-8")
    capsys.readouterr()
    assert bench("table", "mine") == 2
    told = capsys.readouterr().err
    assert "a session of votes that is damaged (design: must be" in told and len(told.splitlines()) == 1


def test_files_are_known_by_what_they_say_since_they_are_renamed_on_their_way(capsys: pytest.CaptureFixture[str]):
    key = study()
    names = ["one.JSON", "two.json.txt", "three (1).json", "four.json (1)", "five.jsonl"]
    for person, name in enumerate(names, start=1):
        save(filled(key, person, by_quality("rating", person)), name)
    Path("votes/three (1).json").write_bytes(b"\xef\xbb\xbf" + Path("votes/three (1).json").read_bytes())
    log = [
        {"study": key["study"], "session": "served", "number": number, "event": event}
        for number, event in enumerate(filled(key, 6, by_quality("rating", 6))["events"])
    ]
    Path("votes/log.json").write_text("\n".join(map(json.dumps, log)), encoding="utf-8")
    Path("votes/letter.pdf").write_bytes(b"%PDF")
    capsys.readouterr()
    assert bench("study", "add", "votes") == 0
    told = capsys.readouterr()
    assert len([line for line in told.out.splitlines() if line.endswith("kept")]) == 6
    assert "not read, no .json in the name: votes/letter.pdf" in told.err


def test_a_copied_file_of_a_session_is_no_second_vote(capsys: pytest.CaptureFixture[str]):
    key = study()
    file = outcome(filled(key, 1, by_quality("rating", 1))).session
    stored = votes.path(RESULTS, file.study, file.session)
    stored.with_name("session01 (copy).json").write_bytes(stored.read_bytes())
    stored.with_name("._session01.json").write_bytes(b"of a Mac")
    assert len(votes.sessions(RESULTS)) == 1
    other = json.loads(stored.read_text(encoding="utf-8"))
    other["ballots"][0]["seconds"] = 77.0
    stored.with_name("session01 (copy).json").write_text(json.dumps(other), encoding="utf-8")
    capsys.readouterr()
    assert bench("table", "mine") == 2
    told = capsys.readouterr().err
    assert "another version of the session in" in told and len(told.splitlines()) == 1


def test_a_key_that_was_changed_is_said_and_one_of_another_study_is_passed_over(capsys: pytest.CaptureFixture[str]):
    key = study()
    events = filled(key, 1, by_quality("rating", 1))["events"]
    lines = [{"study": key["study"], "session": "s1", "number": n, "event": event} for n, event in enumerate(events)]
    Path("asked/votes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    true = Path("asked/key.json").read_text(encoding="utf-8")
    Path("asked/key.json").write_text(true.replace("Amberfox", "Bluejay"), encoding="utf-8")
    assert bench("study", "add", "asked") == 1
    assert "key.json differ: --key FILE says which is the study's" in capsys.readouterr().err
    Path("asked/key.json").write_text("{}", encoding="utf-8")
    assert bench("study", "add", "asked") == 0
    assert "kept" in capsys.readouterr().out


def test_no_difference_throughout_is_an_answer_of_somebody_whose_traps_are_right():
    key = study("--design", "pairs")

    def same(shown: list[str]) -> list[float]:
        return [0.5, 0.5] if "GT" not in shown else [1.0, 0.0] if shown[0] == "GT" else [0.0, 1.0]

    assert outcome(filled(key, 1, same)).session.kept
    key = study("--design", "pairs", "--traps", "0", name="again")
    given = filled(key, 1, constant([0.5, 0.5]))
    given["seal"] = hashlib.sha256(Path("again/key.json").read_bytes()).hexdigest()
    assert "no difference in" in outcome({**given, "session": "another"}).line


def test_a_study_that_everybody_was_left_out_of_says_so(capsys: pytest.CaptureFixture[str]):
    outcome(filled(study(), 1, constant([3])))
    assert bench("study", "report", "mine") == 2
    assert "all 1 sessions were left out (p1: traps failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda key: key["images"].pop(next(iter(key["images"]))), "has images that it does not name"),
        (lambda key: key["traps"][0].update(better=["0", "0"]), "a trap is on a question or an image"),
        (lambda key: key["plans"][0][0].__setitem__(0, 999), "its plans are not those of 12 people"),
        (lambda key: key["plans"].pop(), "its plans are not those of 12 people"),
    ],
)
def test_a_key_that_does_not_fit_itself_is_one_line(
    change: Callable[[dict[str, Any]], object], said: str, capsys: pytest.CaptureFixture[str]
):
    key = study()
    save(filled(key, 1, by_quality("rating", 1)))
    change(key)
    Path("changed.json").write_text(json.dumps(key), encoding="utf-8")
    capsys.readouterr()
    assert bench("study", "add", "votes", "--key", "changed.json") == 1
    told = capsys.readouterr().err
    assert said in told and "Traceback" not in told


def test_a_stored_vote_with_too_few_values_is_one_line(capsys: pytest.CaptureFixture[str]):
    session = outcome(filled(study("--design", "pairs"), 1, by_quality("pairs", 1))).session
    stored = votes.path(RESULTS, session.study, session.session)
    given = json.loads(stored.read_text(encoding="utf-8"))
    given["ballots"][0]["values"] = [1.0]
    stored.write_text(json.dumps(given), encoding="utf-8")
    capsys.readouterr()
    assert bench("table", "mine") == 2
    told = capsys.readouterr().err
    assert "1 values for 2 images" in told and len(told.splitlines()) == 1
