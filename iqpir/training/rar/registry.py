"""The stage of each kind of settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iqpir.training.common import Common
from iqpir.training.rar.filler import RARFillerStage, RARJudgeStage
from iqpir.training.rar.settings import (
    RARAssessorSettings,
    RARFillerSettings,
    RARJointSettings,
    RARJudgeSettings,
    RARLatentSettings,
    RAROverviewSettings,
    RARRestorerSettings,
    RARRoundsSettings,
)
from iqpir.training.rar.stages import (
    RARAssessorStage,
    RARJointStage,
    RARLatentStage,
    RAROverviewStage,
    RARRestorerStage,
    RARRoundsStage,
)

RAR_STAGES: Mapping[type[Common], Any] = {
    RARLatentSettings: RARLatentStage,
    RARAssessorSettings: RARAssessorStage,
    RARRestorerSettings: RARRestorerStage,
    RARJointSettings: RARJointStage,
    RAROverviewSettings: RAROverviewStage,
    RARRoundsSettings: RARRoundsStage,
    RARFillerSettings: RARFillerStage,
    RARJudgeSettings: RARJudgeStage,
}
