"""What `bench list`, `info` and `validate` say of methods: how each comes to run, and why one does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from support.commands import bench

SUITE = """\
schema: 1
datasets: [builtin-lowlight]
methods: [identity, mirnet, waveface]
metrics: [psnr]
"""


def test_methods_are_listed_with_their_route_licence_size_and_venue(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert bench("list", "methods", "--task", "low-light", "--format", "json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows["cue"]) == ["name", "task", "status", "licence", "parameters", "venue"]
    assert [rows["cue"][key] for key in ("status", "parameters", "venue")] == ["runs", 257129, "ICCV 2023"]
    assert [rows["gsad"][key] for key in ("status", "licence")] == ["command", "none stated"]
    assert rows["hvi-cidnet"]["status"] == "download"
    assert "dr2" not in rows


def test_info_says_in_one_line_why_a_method_does_not_run_here(folder: Path, capsys: pytest.CaptureFixture[str]):
    said = {}
    for name in ("mirnet", "waveface", "sci-medium", "identity"):
        assert bench("info", name) == 0
        said[name] = yaml.safe_load(capsys.readouterr().out)
    assert said["mirnet"]["cannot run here"].startswith("mirnet runs in its official repository: git clone https://")
    assert said["waveface"]["cannot run here"].startswith("waveface exists as outputs only")
    assert said["sci-medium"]["cannot run here"].endswith("bench fetch sci-medium")
    assert "cannot run here" not in said["identity"]
    assert [said[name]["status"] for name in said] == ["command", "results-only", "runs", "runs"]


def test_validate_names_what_cannot_run_here_and_is_content(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert bench("validate", "mine.yaml") == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "mine.yaml: 2 things it needs are not on this machine:"
    assert lines[1].startswith("  programs        mirnet – a clone and a python each, as bench info mirnet says; ")
    assert any(line.startswith("  outputs         waveface – ") for line in lines)


def test_fetch_says_what_a_person_has_to_bring(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert bench("fetch", "mirnet") == 0
    assert capsys.readouterr().err.startswith("mirnet runs in its official repository: git clone https://")
    assert bench("fetch", "identity") == 0
    assert capsys.readouterr().err == "identity needs no files\n"
