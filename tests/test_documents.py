"""What the documents name is there: files, links between pages, and the modules that ARCHITECTURE.md speaks of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = sorted(f"docs/{page.name}" for page in ROOT.glob("docs/*.md"))
PAGES = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", *DOCS]
FOLDERS = ("bench/", "iqpir/", "tests/", "suites/", "configs/", "docs/", "results/published", "results/baselines")


def prose(page: str) -> str:
    """A page without its blocks of code, which may show files that a reader is about to make."""
    return re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def quoted(page: str) -> list[str]:
    return re.findall(r"`([^`\s]+)`", prose(page))


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page: str):
    targets = [target for target in re.findall(r"\]\(([^)#\s]+)", prose(page)) if "://" not in target]
    assert [target for target in targets if not (ROOT / page).parent.joinpath(target).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_are_there(page: str):
    named = [text.rstrip("/") for text in quoted(page) if text.startswith(FOLDERS)]
    assert [text for text in named if not list(ROOT.glob(text))] == []


def test_the_map_names_modules_and_functions_that_are_there():
    named = [text for text in quoted("ARCHITECTURE.md") if re.fullmatch(r"[a-z_]+(\.(?!py$|toml$)[a-z_]+)+", text)]
    assert len(named) > 15
    assert [text for text in named if not there(text.split("."))] == []


def there(parts: list[str]) -> bool:
    """Whether the harness has a module of that name, or one that defines the last part."""
    place = ROOT.joinpath("bench", *parts)
    if place.is_dir() or place.with_suffix(".py").is_file():
        return True
    module = place.parent.with_suffix(".py")
    return module.is_file() and bool(re.search(rf"^(def|class) {parts[-1]}\b", module.read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize("package", ["bench", "iqpir"])
def test_the_map_has_every_room(package: str):
    inside = (ROOT / package).iterdir()
    rooms = {path.stem for path in inside if path.suffix == ".py" or (path / "__init__.py").is_file()}
    told = set(re.findall(r"`(\w+)`", prose("ARCHITECTURE.md").split("## The way of an image")[0]))
    assert rooms - told <= {"__init__", "__main__"}


def test_every_figure_is_in_the_gallery_with_its_command_and_below_a_megabyte():
    from bench.report.drawing import KINDS

    page = (ROOT / "docs/figures.md").read_text(encoding="utf-8")
    for kind in KINDS:
        assert f"](images/{kind}.png)" in page and re.search(rf"^bench figure {kind} .*-o {kind}\.png$", page, re.M)
        assert (ROOT / f"docs/images/{kind}.png").stat().st_size <= 1_000_000


def test_the_gallerys_suite_is_one():
    from bench.suite import definition

    suite = definition.load(ROOT / "docs/gallery.yaml").suite
    swept = {name for spec in suite.methods for name in spec.sweep}
    assert swept == {"score", "rounds"} and suite.latency is not None


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_what_commands_do_alone_is_told_first(page: str):
    text = (ROOT / page).read_text(encoding="utf-8")
    commands = ("`bench run`", "`bench`", "bench completion bash", "iqpir restore photos", "iqpir assess photos")
    assert [command for command in commands if command not in text] == []
