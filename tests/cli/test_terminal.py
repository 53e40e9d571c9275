"""What people see: tables as wide as their window, lines in a log, quiet when asked, names completed by the shell."""

from __future__ import annotations

import re
import subprocess
import sys

import click
import pytest
from click.shell_completion import ShellComplete
from support.commands import bench

from bench.cli import COMMANDS, group
from iqpir.cli import COMMANDS as IQPIR_COMMANDS
from iqpir.cli import group as iqpir_group
from iqpir.progress import EVERY, LogProgress
from iqpir.terminal import Grid, Mark, draw

SUITE = "schema: 1\ndatasets: [builtin-lowlight]\nmethods: [identity, gamma]\nmetrics: [psnr, ssim, piqe]\n"
HEADS = [("", f"Metric{number}") for number in range(12)]
ROWS = [(["data" if not row else "", f"method-{row}"], [Mark(f"{row}.{n:04}") for n in range(12)]) for row in range(3)]


@pytest.mark.parametrize("columns", [40, 60, 80, 120, 200])
def test_a_table_fits_its_window_and_every_part_has_the_names(columns: int):
    lines = draw(Grid("Title", ["Dataset", "Method"], HEADS, ROWS), columns, colour=False).splitlines()
    assert max(map(len, lines)) <= columns
    parts = [line for line in lines if "Method" in line]
    assert [re.findall(r"Metric\d+", line) for line in parts if len(parts) == 1 or line]  # headings in each part
    assert re.findall(r"Metric\d+", " ".join(lines)) == [name for _, name in HEADS]  # each once, in order
    assert sum("method-2" in line for line in lines) == len(parts)
    values = [value for line in lines if "method-1" in line for value in re.findall(r"1\.\d{4}", line)]
    assert values == [f"1.{n:04}" for n in range(12)]
    assert len(parts) == 1 or columns < 140


def test_best_is_bold_only_where_colours_can_be_shown():
    grid = Grid("", ["Method"], [("", "PSNR ↑")], [(["a"], [Mark("20.00", "bold green")]), (["b"], [Mark("19.00")])])
    assert re.search(r"\x1b\[1;32m *20\.00", draw(grid, 80, colour=True)) and "\x1b" not in draw(grid, 80, colour=False)


def test_names_in_brackets_are_no_markup_of_colours():
    grid = Grid("[bold]t[/bold]", ["M"], [("", "[red]")], [(["[b]x"], [Mark("[1]")])], notes=["[link=http://a]n"])
    shown = draw(grid, 80, colour=False)
    assert all(text in shown for text in ("[bold]t[/bold]", "[red]", "[b]x", "[1]", "[link=http://a]n"))


def test_a_pipe_gets_markdown_and_a_window_a_drawn_table(folder, capsys, monkeypatch: pytest.MonkeyPatch):
    assert bench("run", "mine.yaml", "--limit", "1") == 0
    assert "|:----" in capsys.readouterr().out
    assert bench("table", "mine", "--format", "terminal") == 0
    drawn = capsys.readouterr().out
    assert not re.search(r"^ *\|", drawn, re.M) and "PSNR ↑" in drawn and "\x1b" not in drawn
    monkeypatch.setattr("bench.cli.options.on_terminal", lambda: True)
    assert bench("table", "mine") == 0
    assert capsys.readouterr().out == drawn


def test_quiet_is_the_result_alone_and_verbose_more(folder, capsys: pytest.CaptureFixture[str]):
    assert bench("run", "mine.yaml", "--limit", "1", "-q") == 0
    quiet = capsys.readouterr()
    assert not quiet.err and "PSNR" in quiet.out
    assert bench("run", "mine.yaml", "--limit", "1", "-v", "--fresh") == 0
    loud = capsys.readouterr()
    assert loud.out == quiet.out
    assert re.search(r"^gamma on builtin-lowlight: done after [\d.]+ s$", loud.err, re.M)
    assert re.search(r"^took [\d.]+ s, [\d.]+ s of processor time$", loud.err, re.M)


def test_quiet_still_says_what_went_wrong(folder, capsys: pytest.CaptureFixture[str]):
    assert bench("run", "nosuch", "--quiet") == 2
    assert capsys.readouterr().err.startswith("error: ")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_log_has_a_line_every_few_seconds_with_rate_rest_and_work():
    clock, lines = Clock(), list[str]()
    progress = LogProgress("images", write=lines.append, clock=clock)
    progress.reset(40)
    progress.set_description_str("gamma · mine")
    for _ in range(40):
        clock.now += 1.0
        progress.update(1)
    assert lines[0] == "5/40 images, 1 images/s, 35 s left · gamma · mine"
    assert [line.split("/")[0] for line in lines] == ["5", "10", "15", "20", "25", "30", "35"]


def test_a_log_says_one_image_and_how_many_there_are():
    assert LogProgress("images").line(0).startswith("0 images")
    progress = LogProgress("images", write=lambda line: None)
    progress.update(1)
    assert progress.line(2.0) == "1 image, 2 s each"
    progress.reset(20)
    progress.update(1)
    assert progress.line(2.0) == "1/20 images, 2 s each, 38 s left"


def test_a_long_log_grows_more_slowly_than_the_work():
    clock, lines = Clock(), list[str]()
    progress = LogProgress("images", 36000, write=lines.append, clock=clock)
    for _ in range(36000):  # ten hours
        clock.now += 1.0
        progress.update(1)
    assert 60 < len(lines) < 36000 / EVERY / 20
    assert "left" in lines[-1] and lines[0].startswith("5/36000")


@pytest.mark.parametrize(("root", "commands"), [(group, COMMANDS), (iqpir_group, IQPIR_COMMANDS)])
def test_every_help_has_two_to_five_examples_of_the_command_itself(root: click.Group, commands: dict[str, str]):
    context = click.Context(root, info_name="bench" if root is group else "iqpir")
    for name in commands:
        found = root.get_command(context, name)
        assert found is not None
        lines = [line.strip() for line in (found.epilog or "").splitlines()]
        examples = [line for line in lines if f"{context.info_name} {name}" in line]
        assert 2 <= len(examples) <= 5, f"{name}: {examples}"


@pytest.mark.parametrize("columns", ["60", "80"])
@pytest.mark.parametrize(("root", "commands"), [(group, COMMANDS), (iqpir_group, IQPIR_COMMANDS)])
def test_examples_fit_the_window(
    root: click.Group, commands: dict[str, str], columns: str, monkeypatch: pytest.MonkeyPatch
):  # fmt: skip
    monkeypatch.setenv("COLUMNS", columns)
    first = root.get_help(click.Context(root, info_name="bench", terminal_width=80))
    assert max(map(len, first.splitlines())) <= 80
    for name in commands:
        context = click.Context(root, info_name="bench")
        found = root.get_command(context, name)
        assert found is not None
        lines = (found.epilog or "").splitlines()
        examples = [line for line in lines if line.strip().startswith(("bench ", "iqpir "))]
        wide = [line for line in examples if len(line.strip()) > int(columns) - 2]
        assert [line for line in wide if "  " in line.strip()] == []  # none with a remark behind it
        assert int(columns) < 80 or wide == [], name


def test_a_table_that_just_fits_is_in_one_part():
    grid = Grid("", ["Set"], [("", "PSNR"), ("", "n")], [(["mine"], [Mark("20.00"), Mark("6/6")])])
    whole = len("mine  20.00  6/6")
    fits = draw(grid, whole, colour=False)
    assert fits.count("Set") == 1 and max(map(len, fits.splitlines())) == whole and "mine  20.00  6/6" in fits
    assert draw(grid, whole - 1, colour=False).count("Set") == 2


def complete(words: list[str], begun: str) -> list[str]:
    return [item.value for item in ShellComplete(group, {}, "bench", "_BENCH_COMPLETE").get_completions(words, begun)]


@pytest.mark.parametrize(
    ("words", "begun", "among"),
    [
        ([], "ru", {"run", "runs"}),
        (["run"], "quick", {"quickstart"}),
        (["run", "quickstart", "-m"], "auto-exp", {"auto-exposure", "auto-exposure-shoulder"}),
        (["run", "quickstart", "-d"], "builtin-low", {"builtin-lowlight"}),
        (["score", "x", "--metric"], "psnr,ms", {"psnr,ms-ssim"}),
        (["score", "x", "--protocol"], "basicsr/", {"basicsr/rgb"}),
        (["fetch"], "sci-m", {"sci-medium"}),
        (["table", "--format"], "lat", {"latex"}),
        (["table"], "iqpir/table2", {"iqpir/table2"}),
        (["run"], "--allow-f", {"--allow-failures"}),
        (["completion"], "z", {"zsh"}),
    ],
)
def test_names_are_completed(words: list[str], begun: str, among: set[str]):
    found = complete(words, begun)
    assert among <= set(found) and all(each.startswith(begun) for each in found)


def test_a_path_is_left_to_the_shell():
    (item,) = ShellComplete(group, {}, "bench", "_BENCH_COMPLETE").get_completions(["run"], "./mine")
    assert item.type == "file"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_asks_bench(shell: str, capsys: pytest.CaptureFixture[str]):
    assert bench("completion", shell) == 0
    said = capsys.readouterr().out
    assert re.search(rf"_BENCH_COMPLETE={shell}_complete\b", said) and re.search(r"\bbench\b", said)
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=said, text=True, check=False).returncode == 0


def test_completing_and_helping_import_nothing_heavy():
    program = (
        "import sys\nfrom click.shell_completion import ShellComplete\nfrom bench.cli import group\n"
        "assert 'yaml' not in sys.modules, 'the catalogue is read before anybody asks'\n"
        "done = ShellComplete(group, {}, 'bench', 'X').get_completions(['run', 'quickstart', '-m'], 'sci')\n"
        "assert done\n"
        "print(sorted({'torch', 'numpy', 'pandas', 'cv2', 'rich', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_listing_datasets_checks_no_types_of_the_catalogues_own_options():
    """They are tested where they are written; pydantic would cost a fifth of the command's time."""
    program = (
        "import sys\nfrom bench.cli import main\nsys.argv = ['bench', 'list', 'datasets']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'pandas', 'cv2', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "lol-v1" in done.stdout and done.stdout.splitlines()[-1] == "[]"
