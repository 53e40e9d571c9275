"""Every command of the catalogue, run against a stand-in of its authors' repository."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from support.official_scripts import CLONES, HELPER

from bench.catalog.registry import registry
from bench.errors import ItemError
from bench.methods.build import build_method
from bench.methods.command import CommandMethod

DEVICES = "GPU-of-ours"
SQUARE = {"dr2": 512, "difface": 512, "daefr": 512, "interlcm": 512, "pugan": 256, "rar-sd3.5": 256}
"""Sides of the images that a method is made for; the others take all sizes."""
WEIGHTS = {"kind": [f"checkpoint/{net}/checkpoint" for net in
                    ("decom_net_train", "illumination_adjust_net_train", "Restoration_net_train")]}  # fmt: skip
"""Files within the folders that an entry declares."""


def clone_of(name: str, place: Path) -> Path:
    """A clone with the stand-in committed, and the weights that the entry asks for."""
    clone = place / "a clone"
    files = {**CLONES[name], "standin.py": HELPER}
    for file, text in files.items():
        (clone / file).parent.mkdir(parents=True, exist_ok=True)
        (clone / file).write_text(text, encoding="utf-8")
    for helper in list(clone.rglob("standin.py")):
        helper.with_name("devices").write_text(DEVICES)
    identity = ["-c", "user.name=A", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(clone), *arguments], check=True, capture_output=True)
    made = build_method(registry("method").get(name), {"repo": str(clone)}, None)
    assert isinstance(made, CommandMethod)
    for file in WEIGHTS.get(name, [file for file, _ in made._files]):
        (clone / file).parent.mkdir(parents=True, exist_ok=True)
        (clone / file).write_bytes(b"weights")
    return clone


def loaded(name: str, clone: Path, **options: object) -> CommandMethod:
    made = build_method(registry("method").get(name), {"repo": str(clone), **options}, None)
    assert isinstance(made, CommandMethod) and made.unavailable() is None
    made.load("cuda", "float32")
    return made


def images(width: int, height: int, count: int = 2) -> torch.Tensor:
    levels = np.random.default_rng(5).integers(0, 256, (count, 3, height, width))
    return torch.from_numpy(levels.astype(np.float32) / np.float32(255))


def levels(pictures: torch.Tensor) -> np.ndarray:
    return np.rint(pictures.numpy() * 255).astype(int)


@pytest.fixture(autouse=True)
def user(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user with a graphics processor that no author has, and an account of a language model."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", DEVICES)
    monkeypatch.setenv("OPENAI_API_KEY", "a key")


def test_every_command_of_the_catalogue_has_a_stand_in():
    entries = list(registry("method"))
    assert set(CLONES) == {one.name for one in entries if one.fields["kind"] == "command"} - {"command"}


@pytest.mark.parametrize("name", CLONES)
def test_a_script_restores_what_it_is_given(name: str, tmp_path: Path):
    side = SQUARE.get(name)
    pictures = images(side or 397, side or 203)
    clone = clone_of(name, tmp_path)
    before = set(clone.iterdir()) | {clone / "__pycache__"}
    restored = loaded(name, clone).restore(pictures, torch.tensor([3, 2**40]))
    assert np.array_equal(levels(restored), 255 - levels(pictures))
    assert set(clone.iterdir()) <= before, "nothing of a run stays in the clone"


@pytest.mark.parametrize("name", ["dr2", "daefr", "interlcm", "pugan", "rar-sd3.5"])
def test_a_script_of_one_size_is_not_started_for_another(name: str, tmp_path: Path):
    clone = clone_of(name, tmp_path)
    made = loaded(name, clone)
    next(clone.rglob(Path(next(iter(CLONES[name]))).name)).unlink()
    side = SQUARE[name]
    with pytest.raises(ItemError, match=f"^{name} takes images of {side}×{side} alone, and this one is {side}×64$"):
        made.restore(images(side, 64))


@pytest.mark.parametrize("name", ["daefr", "interlcm"])
def test_an_input_is_never_saved_as_the_output_of_a_network_that_failed(name: str, tmp_path: Path):
    clone = clone_of(name, tmp_path)
    (clone / "memory is full").touch()
    with pytest.raises(ItemError, match="CUDA out of memory"):
        loaded(name, clone).restore(images(512, 512))


def test_an_agent_that_finds_nothing_to_restore_gives_its_input(tmp_path: Path):
    flat = torch.full((1, 3, 90, 70), 0.4)
    assert torch.equal(loaded("autodir", clone_of("autodir", tmp_path)).restore(flat), flat)


def test_what_the_hub_lost_may_be_a_folder(tmp_path: Path):
    clone = clone_of("interlcm", tmp_path)
    faces = images(512, 512, 1)
    assert np.array_equal(levels(loaded("interlcm", clone, sd="/a/folder").restore(faces)), 255 - levels(faces))
    with pytest.raises(ItemError, match="runwayml/stable-diffusion-v1-5 is not a local folder"):
        loaded("interlcm", clone, sd="runwayml/stable-diffusion-v1-5").restore(faces)


@pytest.mark.parametrize("name", [name for name in CLONES if name != "agenticir"])
def test_a_clone_without_its_weights_says_where_they_are_had(name: str, tmp_path: Path):
    clone = clone_of(name, tmp_path)
    made = build_method(registry("method").get(name), {"repo": str(clone)}, None)
    assert isinstance(made, CommandMethod) and made.unavailable() is None
    declared = made._files[0][0]
    (clone / declared).rename(tmp_path / "elsewhere")
    reason = made.unavailable()
    assert reason is not None and re.match(f"{name} lacks {re.escape(declared)} in ", reason)
    assert "; weights: " in reason and "\n" not in reason
