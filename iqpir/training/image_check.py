"""Whether stages can have the images that their settings ask for: said before any of them is trained.

A recipe trains for hours before its last stage looks for crops that no image is large enough for.
"""

from __future__ import annotations

from collections.abc import Iterable

from iqpir.errors import IQPIRError
from iqpir.network.config import preset
from iqpir.rar.config import RARConfig
from iqpir.training.common import Common
from iqpir.training.crop_dataset import GENERATED
from iqpir.training.degrade import degradation
from iqpir.training.stage_data import paired
from iqpir.training.synthetic import generate


def check_images(stages: Iterable[Common]) -> None:
    """Raise `IQPIRError`, one line that begins with the stage, for images that are missing, too small or without score.

    Stages in the order of their training: the side of a later stage's network, where no crop is set, is that of the
    file it begins with. A single stage whose file is not looked into says it by itself. Only headers are read.
    """
    side: int | None = None
    stride = 1
    for settings in stages:
        named, changes = getattr(settings, "network", None), getattr(settings, "changes", {})
        if isinstance(named, str) and not getattr(settings, "autoencoder", ""):
            side = preset(named, **changes).image_size
        crop = settings.data.crop or side
        if settings.STAGE != "autoencoder" or settings.data.scene:
            try:
                degradation(settings.data.degradation)
            except IQPIRError as error:
                raise IQPIRError(f"{settings.STAGE}: data.degradation: {error}") from error
        if settings.STAGE == "rar-latent":
            stride = RARConfig.from_dict(changes).stride
        if settings.STAGE.startswith("rar-") and crop is not None and crop % stride:
            raise IQPIRError(f"{settings.STAGE}: data.crop is {crop}: latents of RAR need a multiple of {stride}")
        if crop is None or (settings.data.source == GENERATED and crop <= generate.SIDE):
            continue
        try:
            paired(settings.data, crop, degraded=settings.STAGE != "autoencoder")
        except IQPIRError as error:
            raise IQPIRError(f"{settings.STAGE}: {error}") from error
