"""No module grows past its walls, and the wheel carries what it should. Arrows are held by `lint-imports`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_no_module_is_two_modules():
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in ("bench", "iqpir")
        for path in (ROOT / folder).rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 500
    }
    assert not long


def test_the_wheel_carries_the_catalogue_the_suites_and_the_papers_tables(tmp_path: Path):
    build = pytest.importorskip("hatchling.builders.wheel")
    wheel = next(iter(build.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])))
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    assert "bench/_suites/quickstart.yaml" in names
    assert "bench/catalog/methods/sci.yaml" in names
    assert not any(name.startswith(("tests/", "suites/", "results/")) for name in names)
    assert {f"bench/_published/{file.name}" for file in (ROOT / "results" / "published").glob("*.*")} <= names
    # From the unpacked wheel, in a folder that is no checkout, the shipped suite is found and valid.
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "import bench; from bench.cli import main\n"
        f"assert bench.__file__.startswith({str(tmp_path)!r}), bench.__file__\n"
        "main(sys.argv[1:])"
    )

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    done = run("validate", "quickstart")
    assert done.returncode == 0, done.stderr
    assert "quickstart: valid" in done.stdout
    done = run("table", "iqpir/table2", "--published")
    if "bench/_published/INDEX.yaml" in names:
        assert done.returncode == 0, done.stderr
        assert "25.35" in done.stdout
    else:
        assert done.returncode == 2
        assert "no published tables at" in done.stderr


def test_a_wheel_can_be_built_where_results_were_deleted(tmp_path: Path):
    build = pytest.importorskip("hatchling.builders.wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("bench", "iqpir", "suites"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    wheel = next(iter(build.WheelBuilder(str(tmp_path)).build(directory=str(tmp_path), versions=["standard"])))
    with zipfile.ZipFile(wheel) as archive:
        assert not any("_published" in name for name in archive.namelist())
