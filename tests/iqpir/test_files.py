"""Files that a user names: regular ones of a sensible size are read, regular ones are replaced."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.catalog.registry import registry
from bench.errors import BenchError
from bench.gate import baseline
from bench.metrics.build import build_metric
from iqpir.errors import ImageFailure, IQPIRError
from iqpir.files import read, read_text, replacing
from iqpir.image_files import read_bytes
from iqpir.quality.files import read_scores
from iqpir.quality.prior import QualityPrior
from iqpir.training.yaml_file import read_yaml


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """One that nobody writes to: to open it would block for ever."""
    os.mkfifo(tmp_path / "pipe.csv")
    return tmp_path / "pipe.csv"


READERS: dict[str, tuple[Callable[[Path], object], type[Exception]]] = {
    "baseline": (baseline.read, BenchError),
    "votes": (
        lambda file: build_metric(registry("metric").get("iqpir/mos"), {"ratings": str(file)}, {}).based(None),
        BenchError,
    ),
    "image": (read_bytes, ImageFailure),
    "prior": (QualityPrior.load, IQPIRError),
    "scores": (read_scores, IQPIRError),
    "recipe": (read_yaml, IQPIRError),
}


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("device", [False, True], ids=["pipe", "device"])
def test_pipes_and_devices_are_refused_in_one_line(kind: str, device: bool, pipe: Path) -> None:
    reader, refusal = READERS[kind]
    with pytest.raises(refusal, match="not a regular file"):
        reader(Path("/dev/zero") if device else pipe)


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_bytes(b"a\r\nb\rc\n")
    assert read(file, 7) == b"a\r\nb\rc\n" and read_text(file) == "a\nb\nc\n"
    with pytest.raises(OSError, match="larger than 6 bytes"):
        read(file, 6)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(OSError, match="not UTF-8 text"):
        read_text(file)


def test_what_the_system_refuses_keeps_its_reason(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path, "Is a directory"),
        (tmp_path / "gone", "No such file"),
        (Path("a\0b"), "null byte"),
    ):
        with pytest.raises(OSError, match=reason):
            read(path, 10)


def test_a_pipe_is_not_replaced_by_a_file(pipe: Path) -> None:
    with pytest.raises(OSError, match="not a regular file"), replacing(pipe) as temporary:
        temporary.write_bytes(b"")
    assert pipe.is_fifo() and list(pipe.parent.iterdir()) == [pipe]


def test_the_longest_name_there_can_be_is_written(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 250 + ".json")
    for text in ("first", "second"):
        with replacing(target) as temporary:
            temporary.write_text(text)
    assert target.read_text() == "second" and list(tmp_path.iterdir()) == [target]


def test_a_failure_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("before")
    with pytest.raises(RuntimeError), replacing(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "before" and list(tmp_path.iterdir()) == [target]
