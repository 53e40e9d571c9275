"""Which precision a machine gets: what its processor says of itself, never its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from iqpir import precision
from iqpir.errors import IQPIRError


@pytest.fixture(autouse=True)
def forgotten():
    """What was chosen for this machine is chosen anew."""
    precision.choice.cache_clear()
    yield
    precision.choice.cache_clear()


@pytest.mark.parametrize(
    ("text", "native"),
    [
        ("processor\t: 0\nflags\t\t: fpu sse avx2 avx512f avx512_bf16\n", True),
        ("processor\t: 0\nflags\t\t: fpu sse avx2 amx_bf16 amx_tile\n", True),
        ("processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n", True),
        ("processor\t: 0\nflags\t\t: fpu sse avx2 avx512f avx512vl\n", False),
        ("model name\t: a processor called bf16\nflags\t\t: fpu sse avx2\n", False),
        ("", False),
    ],
)
def test_bfloat16_is_used_where_the_processor_has_units_for_it(
    text: str, native: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "cpuinfo"
    file.write_text(text)
    monkeypatch.setattr(precision.platform, "system", lambda: "Linux")
    monkeypatch.setattr(precision, "Path", lambda _: file)
    monkeypatch.setattr(precision, "_seconds", lambda device, half: 1.0 if half else 2.0)
    assert precision.native_bfloat16() is native
    assert precision.mixed("auto", "cpu") == ("bf16" if native else "no")


def test_where_nothing_is_known_float32_is_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(precision.platform, "system", lambda: "Darwin")
    assert precision.mixed("auto", "cpu") == "no"


@pytest.mark.parametrize(("asked", "device"), [("no", "cpu"), ("bf16", "cpu"), ("fp16", "cuda:0")])
def test_what_was_asked_for_is_done(asked: str, device: str):
    assert precision.mixed(asked, device) == asked


def test_half_precision_is_a_gpus():
    with pytest.raises(IQPIRError, match="fp16 is a GPU's"):
        precision.mixed("fp16", "cpu")


@pytest.mark.parametrize(
    ("half", "expected"), [(0.5, "bfloat16"), (0.9, "bfloat16"), (0.95, "float32"), (3.0, "float32")]
)
def test_units_that_are_no_faster_are_not_used(half: float, expected: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(precision, "native_bfloat16", lambda device: True)
    monkeypatch.setattr(precision, "_seconds", lambda device, *, half: seconds[half])
    seconds = {True: half, False: 1.0}
    found = precision.choice("cpu")
    assert found.dtype == expected
    assert f"{half:.2f} × float32's time" in found.reason and "\n" not in found.reason


def test_what_has_no_units_is_not_tried(monkeypatch: pytest.MonkeyPatch):
    def tried(*_: object, **__: object) -> float:
        raise AssertionError("tried")

    monkeypatch.setattr(precision, "native_bfloat16", lambda device: False)
    monkeypatch.setattr(precision, "_seconds", tried)
    assert precision.choice("cpu").dtype == "float32"
    assert precision.choice("cpu").reason == "precision auto: float32, cpu has no units for bfloat16"


def test_a_convolution_of_either_kind_is_timed():
    assert all(0 < precision._seconds("cpu", half=half) < 60 for half in (False, True))


def test_a_run_goes_on_in_what_it_began_with_where_the_machine_still_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from types import SimpleNamespace

    from iqpir.training import engine

    (tmp_path / "state.json").write_text('{"step": 4, "tensors": "4.safetensors", "precision": "bf16"}')
    monkeypatch.setattr(engine, "mixed", lambda precision, device: f"measured {precision}")
    monkeypatch.setattr(engine, "native_bfloat16", lambda device: True)
    auto, asked = SimpleNamespace(precision="auto"), SimpleNamespace(precision="no")
    assert engine._precision(auto, tmp_path, "cpu") == "bf16"
    assert engine._precision(auto, tmp_path / "new", "cpu") == "measured auto"
    assert engine._precision(asked, tmp_path, "cpu") == "measured no"
    monkeypatch.setattr(engine, "native_bfloat16", lambda device: False)
    assert engine._precision(auto, tmp_path, "cpu") == "measured auto"
