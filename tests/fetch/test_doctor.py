"""What the doctor says of a machine, and what makes it exit with 1."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from bench import doctor
from bench.catalog.registry import Entry
from bench.errors import BenchError
from bench.fetch.assets import Asset
from bench.results import store

RUN = """
import sys
from bench.cli import main
try:
    main(sys.argv[1:])
finally:
    heavy = sorted({"torch", "cv2", "pyiqa", "pandas"} & set(sys.modules))
    print("imported:", heavy, file=sys.stderr)
"""


def only(asset: Asset) -> Callable[[Entry], Iterable[Asset]]:
    return lambda entry: [asset] if entry.name == "sci-medium" else []


def statuses(findings: Iterable[doctor.Finding]) -> dict[str, str]:
    return {finding.name: finding.status for finding in findings}


@pytest.fixture
def thing() -> Asset:
    return Asset("sci-medium", "weights/thing.bin", "https://example.org/x", hashlib.sha256(b"right").hexdigest(), 5)


def put(asset: Asset, content: bytes) -> None:
    asset.path.parent.mkdir(parents=True, exist_ok=True)
    asset.path.write_bytes(content)


def test_cached_missing_and_wrong_files_are_told_apart(thing):
    assert statuses(doctor.assets(only(thing)))[thing.file] == "missing"
    put(thing, b"right")
    assert statuses(doctor.assets(only(thing)))[thing.file] == "ok"
    put(thing, b"wrong")
    assert statuses(doctor.assets(only(thing)))[thing.file] == "broken"


def test_a_file_known_by_the_digits_in_its_name_needs_only_a_fetch(thing):
    named = Asset(thing.owner, thing.file, thing.url, None, prefix=str(thing.sha256)[:8])
    put(named, b"right")
    (finding,) = (one for one in doctor.assets(only(named)) if one.name == named.file)
    assert finding.status == "warning" and finding.remedy == "bench fetch sci-medium pins it"
    put(named, b"wrong")
    assert statuses(doctor.assets(only(named)))[named.file] == "broken"


def test_a_wrong_file_is_unhealthy_and_says_both_hashes_and_the_remedy(thing):
    put(thing, b"wrong")
    report = doctor.Report(tuple(doctor.assets(only(thing))))
    assert not report.healthy
    text = report.text()
    assert hashlib.sha256(b"wrong").hexdigest() in text and str(thing.sha256) in text
    assert "→ bench fetch sci-medium" in text


def test_missing_files_are_healthy_counted_for_people_and_listed_for_machines(thing):
    report = doctor.Report(tuple(doctor.assets(only(thing))))
    assert report.healthy
    assert "1 missing" in report.text() and thing.file not in report.text()
    assert thing.file in [row["name"] for row in report.rows()]


def test_an_entry_whose_files_cannot_be_told_is_named_and_the_rest_examined(thing):
    def assets_of(entry: Entry) -> list[Asset]:
        if entry.name == "sci-easy":
            raise TypeError("broken adapter")
        return list(only(thing)(entry))

    found = statuses(doctor.assets(assets_of))
    assert found["sci-easy"] == "broken" and found[thing.file] == "missing"


def test_every_declared_requirement_is_examined():
    names = {finding.name for finding in doctor.packages()}
    assert {"torch", "pyiqa", "setuptools", "scikit-image"} <= names
    assert "ruff" not in names  # for development only


def test_a_package_of_the_wrong_version_or_none_is_broken_with_the_remedy(monkeypatch):
    real = importlib.metadata.version
    versions = {"setuptools": "82.0.0"}

    def version(name: str) -> str:
        if name == "tabulate":
            raise importlib.metadata.PackageNotFoundError(name)
        return versions.get(name) or real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = {finding.name: finding for finding in doctor.packages()}
    assert found["setuptools"].status == "broken" and "82.0.0, needs <81" in found["setuptools"].value
    assert found["tabulate"].status == "broken" and "pip install 'tabulate" in found["tabulate"].remedy


def test_an_opencv_that_does_not_import_is_broken(monkeypatch):
    monkeypatch.setattr(doctor, "_child", lambda _: ("", "ImportError: libGL.so.1"))
    (finding,) = doctor.opencv()
    assert finding.status == "broken" and "libGL" in finding.value and "headless" in finding.remedy


def test_two_versions_of_opencv_in_one_folder_are_a_warning(monkeypatch):
    versions = {"opencv-python": "4.10.0", "opencv-python-headless": "4.11.0"}

    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(doctor, "_child", lambda _: ("4.11.0", ""))
    (finding,) = doctor.opencv()
    assert finding.status == "warning" and "4.10.0" in finding.value and "4.11.0" in finding.value


def test_a_child_that_crashes_is_one_line():
    said, failed = doctor._child("import os; os.abort()")
    assert said == "" and failed and "\n" not in failed
    assert doctor._child("raise ValueError('no')") == ("", "ValueError: no")


def database(folder: Path, version: int) -> Path:
    folder.mkdir(exist_ok=True)
    with sqlite3.connect(folder / store.FILE_NAME) as connection:
        connection.execute(f"PRAGMA user_version={version}")
        connection.execute("CREATE TABLE t(x)")
    connection.close()
    return folder


@pytest.mark.parametrize(("step", "status"), [(0, "ok"), (1, "broken")])
def test_the_stores_version_is_said_and_a_newer_one_is_broken(tmp_path, step, status):
    folder = database(tmp_path / "results", store.SCHEMA_VERSION + step)
    found = {finding.name: finding for finding in doctor.stored(folder, deep=True)}
    assert found["store"].status == status
    assert f"schema {store.SCHEMA_VERSION + step}" in found["store"].value


def test_a_file_that_is_no_database_is_broken_and_left_alone(tmp_path):
    (tmp_path / store.FILE_NAME).write_bytes(b"not a database at all" * 100)
    before = (tmp_path / store.FILE_NAME).read_bytes()
    assert statuses(doctor.stored(tmp_path, deep=False))["store"] == "broken"
    assert (tmp_path / store.FILE_NAME).read_bytes() == before


def test_looking_makes_no_folders(tmp_path, home):
    list(doctor.stored(tmp_path / "results", deep=False))
    list(doctor.cache())
    assert not home.exists() and not (tmp_path / "results").exists()


def test_an_unfinished_download_is_mentioned(home):
    home.mkdir()
    (home / "x.bin.part").write_bytes(b"12345")
    found = {finding.name: finding.value for finding in doctor.cache()}
    assert "1 downloads, 5 B" in found["unfinished"] and "1 files" in found["folder"]


def test_little_disk_space_is_a_warning(monkeypatch, tmp_path):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    assert statuses(doctor.cache())["disk"] == "warning"


def test_a_catalogue_that_cannot_be_read_is_broken(monkeypatch):
    def registry(kind: str) -> None:
        raise BenchError(f"bad.yaml:3: {kind}")

    monkeypatch.setattr(doctor, "registry", registry)
    assert set(statuses(doctor.entries(deep=False)).values()) == {"broken"}
    assert next(iter(doctor.assets(lambda _: []))).name == "in all"


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "fake-1.0.dist-info").mkdir(parents=True)
    (folder / "fake-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: fake\nVersion: 1.0\n")
    (folder / "fake-1.0.dist-info" / "entry_points.txt").write_text(
        "[iqpir_bench.methods]\n"
        "plug-good = good_plugin:Method\n"
        "plug-raises = raising_plugin:Method\n"
        "plug-exits = exiting_plugin:Method\n"
        "plug-lost = good_plugin:Nothing\n"
        "plug-odd = good_plugin\n"
    )
    (folder / "good_plugin.py").write_text("print('hello from a plugin')\nMethod = object\n")
    (folder / "raising_plugin.py").write_text("raise RuntimeError('two\\nlines')\n")
    (folder / "exiting_plugin.py").write_text("raise SystemExit(0)\n")
    return folder


def test_the_command_loads_plugins_names_the_broken_and_imports_nothing_heavy(plugins, tmp_path, home):
    root = Path(doctor.__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{plugins}", "BENCH_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", RUN, "doctor", "--json", "--results", str(tmp_path / "results")],
        capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120, check=False,
    )  # fmt: skip
    found = {row["name"]: row for row in json.loads(done.stdout)}
    assert done.returncode == int(any(row["status"] == "broken" for row in found.values()))
    for name in ("plug-raises", "plug-exits", "plug-lost", "plug-odd"):
        assert found[name]["status"] == "warning" and "fake" in found[name]["value"], name
    assert "RuntimeError: two lines" in found["plug-raises"]["value"]
    assert "plug-good" not in found
    assert "imported: []" in done.stderr
