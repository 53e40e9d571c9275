"""Files of tensors: for whoever may read the folder's other files, and with the same bytes for the same content."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from iqpir.tensors import write_tensors


@pytest.mark.skipif(os.name == "nt", reason="modes are of POSIX")
@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_a_file_may_be_read_by_whom_others_of_its_folder_may(mask: int, tmp_path: Path):
    before = os.umask(mask)
    try:
        write_tensors({"a": torch.arange(3.0)}, tmp_path / "a.safetensors", {})
        (tmp_path / "b.txt").write_text("as usual")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.safetensors", "b.txt")}
    assert modes == {0o666 & ~mask}


def test_the_order_of_what_is_noted_is_not_left_to_chance(tmp_path: Path):
    notes = {f"key {n}": str(n) for n in range(12)}
    for name, order in (("a", list(notes)), ("b", list(notes)[::-1])):
        write_tensors({"x": torch.ones(2)}, tmp_path / name, {key: notes[key] for key in order})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert torch.equal(load_file(tmp_path / "a")["x"], torch.ones(2))
