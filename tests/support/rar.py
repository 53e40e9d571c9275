"""A system of RAR that is made in a moment, whose parts all do something."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from iqpir.checkpoint import save_checkpoint
from iqpir.rar import RAR, RARConfig

SMALL = RARConfig(
    image_size=32, latent_channels=4, latent_width=8, latent_blocks=1, groups=2, codes=8, assessor_width=16,
    assessor_layers=1, heads=2, queries=2, widths=(8, 8, 16), blocks=1,
)  # fmt: skip


def small(seed: int = 0) -> RAR:
    """Nothing in it is zero: a new system changes nothing and answers for no image."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = RAR(SMALL).eval()
        for parameter in made.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    return made


def waves() -> RAR:
    """One whose weights are sines, the same with every release of torch's generator."""
    made = RAR(replace(SMALL, overview_width=8, overview_blocks=1, fill_widths=(8, 8))).eval()
    for number, parameter in enumerate(made.parameters()):
        at = torch.arange(parameter.numel(), dtype=torch.float64)
        parameter.data = (0.13 * torch.sin(2.3 * at + number)).reshape(parameter.shape).float()
    return made


def saved(system: RAR, folder: Path) -> Path:
    path = folder / "small.safetensors"
    save_checkpoint(system, path)
    return path
