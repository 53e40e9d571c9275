"""What rain and snow hide, filled in from what is around it: the first half of a round.

Flakes and streaks are small, opaque and scattered. A restorer that is told of the image as a whole, and whose error is
mostly light, hardly learns to remove them; where they are is in the features that the assessor's view found them by.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iqpir.errors import IQPIRError
from iqpir.rar.assessor import Assessment
from iqpir.rar.config import RARConfig
from iqpir.rar.kinds import DEGRADATIONS
from iqpir.rar.latent import PlainBlock, quiet


class Filler(nn.Module):
    """Latents [B,C,h,w], sides multiples of 2, and what the assessor has seen in them → latents. Nothing at first."""

    def __init__(self, config: RARConfig) -> None:
        """Raises `IQPIRError` for a system whose assessor has no view."""
        super().__init__()
        if not config.overview_width:
            raise IQPIRError("fill_widths: what hides is found by a view of the whole, which this system does not have")
        fine, coarse = config.fill_widths
        self.enter = nn.Conv2d(config.latent_channels, fine, 3, padding=1)
        self.view = nn.Conv2d(config.overview_width, fine, 1)
        self.told = nn.Linear(len(DEGRADATIONS), coarse)
        self.down = nn.Conv2d(fine, coarse, 2, stride=2)
        self.coarse = nn.Sequential(*(PlainBlock(coarse) for _ in range(3)))
        self.up = nn.ConvTranspose2d(coarse, fine, 2, stride=2)
        self.fine = nn.Sequential(*(PlainBlock(fine) for _ in range(2)))
        self.head = quiet(nn.Conv2d(fine, 2 * config.latent_channels, 3, padding=1))
        for block in (*self.coarse, *self.fine):  # as in the view: what begins as the identity is slow to see flakes
            block.conv2.reset_parameters()

    def forward(self, latent: Tensor, assessment: Assessment) -> Tensor:
        features = self.enter(latent) + self.view(assessment.view)
        told = self.told(assessment.logits.sigmoid())[:, :, None, None]
        inner = self.coarse(self.down(features) + told)
        there, change = self.head(self.fine(features + self.up(inner))).chunk(2, dim=1)
        return latent + torch.sigmoid(there) * change
