"""Malformed images and names of any bytes through the commands that take them: no traceback, the right exit code.

In this process, so that an exception that leaves a command fails the test by itself.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support.damage import encoded, malformed

from bench import cli as bench
from bench import run
from bench.errors import BenchError
from iqpir import cli as iqpir

NAMES = (
    b"caf\xe9",
    b"\xb4\xfa\xb1\xed",  # a Chinese name in GBK
    b"line\nbreak",
    b"carriage\rreturn",
    b"tab\tin",
    b"ansi\x1b[31mred\x1b[0m",
    b"bell\x07",
    "right-to-left\u202egnp".encode(),
    "mark\u200f".encode(),
    "zero\u200bwidth".encode(),
    "line\u2028separator".encode(),
    "größe 图 ↑".encode(),
    "e\u0301".encode(),
    b'quote"s',
    b"apo'strophe",
    b"com,ma",
    b"semi;colon",
    b"pipe|bar",
    b"under_score$#&%{}^~",
    b"<b>bold&amp;<b>",
    b"back\\slash",
    b"100%s{id}",
    b"-leading",
    b"[set]",
    b"a*b?",
    b" blank ",
    b"two.dots.here",
    "图".encode() * 80,
)
"""Stems of file names as bytes; one is of 240."""

ENCODINGS = ("utf-8", "ascii", "latin-1", "cp1252", "cp437", "shift_jis")

SUITE = r"""
schema: 1
title: "red \e[31m and backwards \u202e"
datasets: [{dataset: folder, options: {lq: lq, gt: lq}, label: "of\tmine, \"all\"\e[0m\n"}]
methods: [{method: folder, options: {path: lq}, label: "m|&%$_\e[31m"}]
metrics: [psnr]
"""

BENCH: dict[str, tuple[tuple[str, ...], bool]] = {
    "plan": (("run", "mine.yaml", "--plan"), False),
    "run": (("run", "mine.yaml"), True),
    "table": (("table",), False),
    **{f"table {style}": (("table", "--format", style), False) for style in ("latex", "csv", "html", "json")},
    "runs": (("runs",), False),
    "report": (("report", "-o", "page.html"), False),
    "export csv": (("export", "--format", "csv"), False),
    "export json": (("export", "--format", "json", "-o", "rows.json"), False),
    "export parquet": (("export", "--format", "parquet", "-o", "rows.parquet"), False),
    "export images": (("export", "--images", "laid"), True),
    "validate": (("validate", "mine.yaml"), False),
    "score": (("score", "lq", "--reference", "lq", "--metric", "psnr", "--per-item"), True),
    "score csv": (("score", "lq", "--reference", "lq", "--metric", "psnr", "--format", "csv"), True),
    "score json": (("score", "lq", "--reference", "lq", "--metric", "psnr", "--format", "json"), True),
    "gc": (("gc",), False),
}
"""Command → its arguments, and whether failing images make its exit code 1."""

IQPIR: dict[str, tuple[str, ...]] = {
    "assess": ("assess", "lq", "--member", "bench:piqe", "-o", "assessed"),
    "restore": ("restore", "lq", "restored", "--weights", "iqpir-tiny"),
}


class Told(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str


def call(main: Callable[[list[str]], None], arguments: tuple[str, ...], encoding: str = "utf-8") -> Told:
    """A command on a console of an encoding, which refuses what it cannot show, as Python's does."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict") for _ in range(2)]
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = streams
    try:
        with pytest.raises(SystemExit) as stop:
            main(list(arguments))
    finally:
        sys.stdout, sys.stderr = before
    out, err = (_read(stream, encoding) for stream in streams)
    assert "Traceback" not in out + err
    return Told(int(stop.value.code or 0), out, err)


def _read(stream: io.TextIOWrapper, encoding: str) -> str:
    stream.flush()
    written = stream.buffer
    assert isinstance(written, io.BytesIO)
    return written.getvalue().decode(encoding)  # strictly: nothing else than what was asked for came out


def printable(text: str) -> bool:
    return all(sign.isprintable() or sign in "\n\u3000\xa0" for sign in text)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder, and nothing fetched."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("odd")
    patch.chdir(folder)
    patch.setenv("BENCH_HOME", str(folder / "home"))
    patch.setenv("TORCH_HOME", str(folder / "torch"))
    patch.delenv("BENCH_RESULTS", raising=False)
    (folder / "lq").mkdir()
    (folder / "mine.yaml").write_text(SUITE, encoding="utf-8")
    yield folder
    patch.undo()


@pytest.fixture(scope="module")
def damaged(place: Path) -> int:
    """How many of the files in the folder are no sound image; one is."""
    for name, raw in (corpus := dict(malformed())).items():
        (place / "lq" / name).write_bytes(raw)
    (place / "lq" / "sound.png").write_bytes(encoded("PNG"))
    return len(corpus)


@pytest.mark.filterwarnings("ignore")
def test_malformed_images_are_rows_of_every_command(place: Path, damaged: int) -> None:
    told = {name: call(bench.main, arguments) for name, (arguments, _) in BENCH.items()}
    assert {name: one.code for name, one in told.items()} == {name: int(fails) for name, (_, fails) in BENCH.items()}
    rows = json.loads(told["score json"].out)
    assert [row["item"] for row in rows if row["status"] in ("ok", "inf")] == ["sound"]
    assert sum(row["status"] == "input" for row in rows) == damaged
    assert f"1 / {damaged + 1}" in told["score"].out
    exported = list(csv.DictReader(io.StringIO(told["export csv"].out)))
    assert sum(bool(row["reason"]) for row in exported) == damaged
    assert all(printable(row["reason"]) and " object at 0x" not in row["reason"] for row in exported)

    for name, arguments in IQPIR.items():
        one = call(iqpir.main, arguments)
        assert one.code == 1, (name, one)
        assert " object at 0x" not in one.out + one.err
    with Path("assessed/scores.csv").open(encoding="utf-8", newline="") as file:
        assert sum(bool(row["reason"]) for row in csv.DictReader(file)) == damaged
    assert [path.name for path in Path("restored").rglob("*.png")] == ["sound.png"]


@pytest.fixture
def named(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sound images under odd names, in a folder whose own name is no UTF-8."""
    folder = place / os.fsdecode(b"par\xe9nt\nof")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (folder / "lq").mkdir()
    for stem in NAMES:
        (folder / "lq" / os.fsdecode(stem + b".png")).write_bytes(encoded("PNG"))
    (folder / "mine.yaml").write_bytes((place / "mine.yaml").read_bytes())
    (folder / os.fsdecode(b"s\xe9.yaml")).write_bytes((place / "mine.yaml").read_bytes())
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.filterwarnings("ignore")
def test_names_of_any_bytes_are_escaped_by_every_command(named: Path) -> None:
    for name, (arguments, _) in BENCH.items():
        told = call(bench.main, arguments)
        assert told.code == 0, (name, told)
        assert printable(told.out), name
    again = call(bench.main, ("run", os.fsdecode(b"s\xe9.yaml")))
    assert (again.code, "0 worked on" in again.err) == (0, True), again
    assert call(bench.main, ("table", os.fsdecode(b"s\xe9"))).code == 0
    assert len(json.loads(call(bench.main, BENCH["score json"][0]).out)) == len(NAMES)
    assert len(json.loads(Path("rows.json").read_text(encoding="utf-8"))) == len(NAMES)
    assert printable(Path("page.html").read_text(encoding="utf-8").replace("\t", ""))
    for arguments in IQPIR.values():
        told = call(iqpir.main, arguments)
        assert told.code == 0, told
        assert printable(told.out)
    assert len(list(Path("restored").rglob("*.png"))) == len(NAMES)
    with Path("assessed/scores.csv").open(encoding="utf-8", newline="") as file:
        assert len([row for row in csv.DictReader(file) if printable(row["imagename"])]) == len(NAMES)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_consoles_escape_what_they_cannot_show(place: Path, damaged: int, encoding: str) -> None:
    odd = os.fsdecode("nothing-图-↑-".encode() + b"\xe9")
    for arguments, code in (
        (("score", "lq/sound.png", "--reference", "lq/sound.png", "--metric", "psnr"), 0),
        (("list", "metrics"), 0),
        (("info", "psnr"), 0),
        (("score", odd, "--metric", "piqe"), 2),
        (("run", odd), 2),
        (("table", odd), 2),
        ((odd,), 2),
    ):
        told = call(bench.main, arguments, encoding)
        assert told.code == code, told
    for arguments in (("assess", odd), ("restore", odd, "out", "--weights", "iqpir-tiny"), (odd,)):
        assert call(iqpir.main, arguments, encoding).code == 2


@pytest.mark.parametrize("where", range(2))
def test_a_null_byte_in_any_argument_is_one_line(place: Path, where: int) -> None:
    """A shell cannot give one; whoever calls `main` can."""
    odd = ("\0", "a\0b")[where]
    for name, (arguments, _) in BENCH.items():
        for more in ((), ("--results",)):
            told = call(bench.main, (*arguments, *more, odd))
            assert (told.code, told.err.count("\n")) == (2, 1), (name, told)
            assert "null byte" in told.err
    for arguments in (*IQPIR.values(), ("train", "all")):
        told = call(iqpir.main, (*arguments, odd))
        assert (told.code, told.err.count("\n")) == (2, 1) and "null byte" in told.err, told
    with pytest.raises(BenchError, match="null byte"):
        run("quickstart", results=odd)


def test_a_missing_folder_is_called_missing(place: Path, damaged: int) -> None:
    assert "gone: does not exist" in call(bench.main, ("score", "gone", "--metric", "piqe")).err
    assert "gone does not exist" in call(iqpir.main, ("assess", "gone")).err
    (place / "bare").mkdir()
    assert "the folder holds no image" in call(bench.main, ("score", "bare", "--metric", "piqe")).err


def test_folders_that_share_no_id_are_told_of_the_option_there_is(place: Path, damaged: int) -> None:
    for folder, name in (("mine", "scene 0002, 7 of 9"), ("theirs", "0002-9")):
        (place / folder).mkdir()
        (place / folder / f"{name}.png").write_bytes(encoded("PNG"))
    arguments = ("score", "mine", "--reference", "theirs", "--metric", "psnr")
    refused = call(bench.main, arguments)
    assert refused.code == 2
    assert "--id '([0-9]+)'" in refused.err and "lq_id" not in refused.err
    assert call(bench.main, (*arguments, "--id", "([0-9]+)")).code == 0


def test_files_that_are_left_out_are_named_wherever_a_folder_is_read(place: Path, damaged: int) -> None:
    folder = place / "kinds"
    folder.mkdir()
    for name in ("1.png", "2.jfif", "3.jpe", "4.heic", "5.jxl", "frame0001"):
        (folder / name).write_bytes(encoded("PNG" if name == "1.png" else "JPEG"))
    note = "3 files are left out that may be images but have no suffix that is read (1 .heic, 1 .jxl, 1 no suffix)"
    scored = call(bench.main, ("score", "kinds", "--metric", "piqe"))
    assert note in scored.err and "3 / 3" in scored.out and scored.code == 0
    Path("kinds.yaml").write_text(
        "schema: 1\ndatasets: [{dataset: folder, options: {lq: kinds}, label: k}]\n"
        "methods: [{method: folder, options: {path: kinds}, label: out}]\nmetrics: [piqe]\n",
        encoding="utf-8",
    )
    ran = call(bench.main, ("run", "kinds.yaml"))
    assert note in ran.err and ran.code == 0
    for arguments in (
        ("assess", "kinds", "--member", "bench:piqe"),
        ("restore", "kinds", "o", "--weights", "iqpir-tiny"),
    ):
        told = call(iqpir.main, arguments)
        assert note in told.err and told.code == 0
