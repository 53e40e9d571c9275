"""Findings where reviewers look: annotations of GitHub and GitLab, one comment, and the workflows that carry them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import click
import numpy as np
import pytest
import yaml
from support.gated import Place

from bench.cli import group

WORKFLOWS = Path(__file__).parents[2] / "docs/ci"


@pytest.fixture
def worse(place: Place) -> Place:
    """One item of one method moved."""
    place.put("mine", "b", np.clip(place.pixels("mine", "b") + 15, 0, 255))
    assert place.run() == 0
    return place


def unescaped(text: str) -> str:
    for code, sign in (("%3A", ":"), ("%2C", ","), ("%0A", "\n"), ("%0D", "\r"), ("%25", "%")):
        text = text.replace(code, sign)
    return text


def test_github_gets_a_command_for_each_finding_on_the_line_of_the_baseline(worse: Place):
    code, out = worse.bench("check", "mine", "--baseline", "results/baselines/mine.json", "--format", "github")
    assert code == 1
    commands = [re.fullmatch(r"::(\w+) ([^:]*)::(.*)", line) for line in out.splitlines() if line.startswith("::")]
    found = [(each[1], dict(part.split("=", 1) for part in each[2].split(",")), each[3]) for each in commands if each]
    assert found and len(found) == len(commands) and {level for level, *_ in found} == {"error"}
    lines = worse.baseline.read_text(encoding="utf-8").splitlines()
    for _, place, message in found:
        assert place["file"] == "results/baselines/mine.json"
        assert unescaped(place["title"]).startswith("bench check: ") and "Mine on data" in unescaped(message)
        assert lines[int(place["line"]) - 1].strip().startswith('"b":')  # the item that moved


def test_gitlab_gets_a_code_quality_report(worse: Place):
    code, out = worse.bench("check", "mine", "--baseline", "results/baselines/mine.json", "--format", "gitlab")
    rows = json.loads(out)
    assert code == 1 and rows
    for row in rows:  # the fields that GitLab documents as required
        assert set(row) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert row["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert row["location"]["path"] == "results/baselines/mine.json" and row["location"]["lines"]["begin"] > 1
    assert len({row["fingerprint"] for row in rows}) == len(rows)
    assert json.loads(worse.bench("check", "mine", "--baseline", str(worse.baseline), "--format", "gitlab")[1]) != []


def test_nothing_found_is_no_annotation_and_no_comment(place: Place):
    (place.root / "comment.md").write_text("an older answer")
    code, out = place.bench("check", "mine", "--format", "github", "--comment", "comment.md")
    assert code == 0 and "::" not in out and not (place.root / "comment.md").exists()
    assert json.loads(place.bench("check", "mine", "--format", "gitlab")[1]) == []


def test_a_finding_is_one_comment_that_can_be_found_again(worse: Place):
    for _ in range(2):  # written, not appended
        assert worse.bench("check", "mine", "--comment", "comment.md")[0] == 1
    text = (worse.root / "comment.md").read_text(encoding="utf-8")
    assert text.startswith("<!-- bench check mine -->\n### bench check mine: failed\n")
    assert text.count("<!-- bench check") == 1


def scripts(data: object) -> list[str]:
    """Every shell script of a workflow."""
    if isinstance(data, dict):
        own = [text for key in ("run", "script") for text in _texts(data.get(key))]
        return own + [text for value in data.values() for text in scripts(value)]
    return [text for value in data for text in scripts(value)] if isinstance(data, list) else []


def _texts(value: object) -> list[str]:
    return [value] if isinstance(value, str) else [text for text in value or [] if isinstance(text, str)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["bench-check.yml", "bench-check.gitlab-ci.yml"])
def test_a_workflow_calls_commands_and_options_that_there_are(name: str):
    data = yaml.safe_load((WORKFLOWS / name).read_text(encoding="utf-8"))
    lines = [line for text in scripts(data) for line in text.replace("\\\n", " ").splitlines()]
    calls = [line[line.index("bench ") :] for line in lines if re.match(r"\s*bench (run|fetch|check)\b", line)]
    assert {call.split()[1] for call in calls} == {"fetch", "run", "check"}
    for call in calls:
        words = shlex.split(re.split(r"\|\||>", call)[0])
        command = group.get_command(click.Context(group), words[1])
        assert command is not None
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, call


def test_a_workflow_looks_for_the_marker_that_comments_have():
    from bench.gate.annotations import MARKER

    text = (WORKFLOWS / "bench-check.yml").read_text(encoding="utf-8")
    (sought,) = re.findall(r'startswith\("([^"]*)"\)', text)
    assert MARKER.format(suite="any").startswith(sought)
