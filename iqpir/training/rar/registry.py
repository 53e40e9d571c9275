"""The stage of each kind of settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iqpir.training.common import Common
from iqpir.training.rar import filler, stages, unrolled
from iqpir.training.rar.settings import RAR_SETTINGS

_STAGES: Mapping[str, Any] = {
    stage.name: stage
    for stage in (
        stages.RARLatentStage, stages.RARAssessorStage, stages.RARRestorerStage, unrolled.RARJointStage,
        stages.RAROverviewStage, unrolled.RARRoundsStage, filler.RARFillerStage, filler.RARJudgeStage,
        unrolled.RARBehindStage,
    )
}  # fmt: skip

RAR_STAGES: Mapping[type[Common], Any] = {settings: _STAGES[settings.STAGE] for settings in RAR_SETTINGS}
