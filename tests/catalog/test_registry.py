"""One registry for every kind: lazy, with suggestions, and a broken plugin is named without being fatal."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from bench.catalog import registry
from bench.errors import BenchError


def catalogue(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "entries.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_sibling_takes_everything_but_what_it_says_itself(tmp_path: Path):
    file = catalogue(tmp_path, "a:\n  target: m:A\n  task: faces\n  licence: MIT\nb: {include: a, task: underwater}\n")
    a, b = registry.read_catalogue(file, "method")
    assert dict(b.fields) == {"target": "m:A", "task": "underwater", "licence": "MIT"}
    assert (a.origin, b.origin) == ("entries.yaml:1", "entries.yaml:5")


def test_a_template_can_be_included_but_is_no_entry(tmp_path: Path):
    file = catalogue(tmp_path, ".base: {target: 'm:A'}\nb: {include: .base}\n")
    assert [entry.name for entry in registry.read_catalogue(file, "method")] == ["b"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: {targt: 'm:A'}", "entries.yaml:1: method 'a' has unknown key 'targt'; did you mean 'target'?"),
        ("a: {include: b}", "includes unknown 'b'"),
        ("a: {include: b}\nb: {include: a}", "include loop"),
    ],
)
def test_a_mistake_in_the_catalogue_names_its_line(tmp_path: Path, text: str, said: str):
    with pytest.raises(BenchError) as caught:
        registry.read_catalogue(catalogue(tmp_path, text), "method")
    assert said in str(caught.value)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(
        BenchError,
        match=r"unknown metric 'pnsr'; did you mean 'psnr'\? \(bench list metrics; --plugin FILE\.py brings your own\)",
    ):
        registry.Registry("metric").get("pnsr")


def test_a_second_registration_of_a_name_is_an_error_unless_it_is_the_same():
    entries = registry.Registry("method")
    entries.register("mine", print, "here:1")
    entries.register("mine", print, "here:1")
    with pytest.raises(BenchError, match="defined twice: here:1 and there:2"):
        entries.register("mine", len, "there:2")


class _Point:
    """What `importlib.metadata` gives for an entry point, as far as the registry reads it."""

    def __init__(self, name: str, value: str) -> None:
        self.name, self.value, self.dist = name, value, None


def test_a_broken_plugin_is_named_and_the_rest_still_works(monkeypatch: pytest.MonkeyPatch):
    points = [
        _Point("good", "json:loads"),
        _Point("bad", "no_colon"),
        _Point("gone", "no.such.module:x"),
        _Point("identity", "a:b"),
    ]
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda *, group: points if group.endswith("methods") else []
    )
    entries = registry.Registry("method")
    assert entries.get("good").load()("[1]") == [1]
    assert {one.name for one in entries.broken} == {"bad", "identity"}
    with pytest.raises(
        BenchError, match=r"method 'gone' \(entry point of an unknown package\) cannot be loaded: ModuleNotFound"
    ):
        entries.get("gone").load()


def test_every_entry_that_ships_can_be_loaded():
    for kind in registry.KINDS:
        for entry in registry.Registry(kind):
            if entry.target and not entry.fields.get("unavailable"):
                assert entry.load() is not None


def test_every_method_and_metric_states_its_licence():
    for kind in ("method", "metric", "dataset"):
        for entry in registry.Registry(kind):
            assert entry.fields.get("licence") or entry.name in {"folder", "hub"}, entry.name


HEAVY = ("torch", "pandas", "cv2", "skimage", "scipy", "pyiqa", "datasets", "ultralytics")


@pytest.mark.parametrize("arguments", [["--help"], ["list", "methods"], ["list", "metrics"], ["info", "psnr"]])
def test_looking_around_imports_nothing_heavy(arguments: list[str]):
    program = (
        "import sys\nfrom bench.cli import main\n"
        f"try: main({arguments!r})\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip().splitlines()[-1] == "[]"
