"""Which precision a machine gets: what its processor says of itself, never its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from iqpir import precision


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
    assert precision.native_bfloat16() is native
    assert precision.mixed("auto", "cpu") == ("bf16" if native else "no")


def test_where_nothing_is_known_float32_is_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(precision.platform, "system", lambda: "Darwin")
    assert precision.mixed("auto", "cpu") == "no"


@pytest.mark.parametrize("asked", ["no", "bf16", "fp16"])
def test_what_was_asked_for_is_done(asked: str):
    assert precision.mixed(asked, "cpu") == asked
