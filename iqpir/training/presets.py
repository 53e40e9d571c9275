"""Named settings of the stages, as data: what code and papers do, and a set for each task; see `settings.load`.

Nothing but `authors` is known to have been trained by anybody. The papers leave out how their networks for photographs
were trained; what is chosen for those here is said beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Preset = Mapping[str, Any]

_ADVERSARY = {"weight": 0.8, "start": 30_000, "rate": 7e-5}

_TASK_1: Preset = {
    "network": "paper", "changes": {"threshold": 0.9}, "batch": 32, "steps": 200_000, "rate": 7e-5,
    "betas": [0.9, 0.999], "perceptual": 1.0, "adversary": _ADVERSARY,
}  # fmt: skip
"""As printed, but for the losses that the authors' code has too: those are known to train."""

_PAPER_1: Preset = {
    **_TASK_1, "changes": {"threshold": 0.9, "vq_on": "sum"}, "perceptual_form": "vgg19",
    "adversary": {**_ADVERSARY, "form": "log"},
}  # fmt: skip

_PAPER_2: Preset = {
    "network": "paper", "batch": 32, "steps": 200_000, "rate": 1e-4, "betas": [0.9, 0.999], "feature_on": "latent",
    "index_sum": True, "quality": 0.1, "quality_loss": "negative", "quality_grad": "soft",
    "quality_prior": ["topiq_nr-face"], "data": {"degradation": "face-paper"},
}  # fmt: skip

_AUTHORS_3: Preset = {
    "batch": 24, "steps": 150_000, "rate": 5e-5, "end_rate": 2e-5, "schedule": "cosine", "ema": 0.997,
    "train": ["encoder", "score_embed", "feat_emb", "position_emb", "ft_layers", "idx_pred_layer", "fuse_convs_dict"],
    "perceptual": 1.0, "perceptual_form": "lpips-twice", "feature": 1.0, "index": 0.5,
    "data": {"degradation": "face-small"},
    "adversary": {"weight": 0.1, "start": 5_000, "rate": 5e-5},
}  # fmt: skip

_CROP = {"image_size": 256, "multipliers": [1, 2, 2, 4, 8], "threshold": 0.9}
"""Photographs of 400×600 do not hold the published network's 512×512. One level less leaves its 16×16 codes, each of
16×16 pixels."""

_PHOTO_1: Preset = {**_TASK_1, "changes": _CROP}

_KINDS = ("lowlight", "backlit", "underwater")
"""In the order of the first shares of `iqpir.training.degrade.Scene`."""


def _scene(task: str) -> Preset:
    """Scenes of one kind; the scores are the images' own, so targets keep no damage."""
    return {"kind": "scene", "shares": [*(float(task == kind) for kind in _KINDS), 0.0, 0.0], "top": 1.0}


_PRIOR = ["musiq", "clipiqa", "brisque"]
"""What the papers score photographs with; BRISQUE, for which lower is better, is turned over."""


def _restorer(kind: str | Preset, **changes: Any) -> Preset:
    return {**_PAPER_2, "data": {"degradation": kind}, **changes}


def _fidelity(kind: str | Preset, **changes: Any) -> Preset:
    return {**_AUTHORS_3, "data": {"degradation": kind}, **changes}


def _photo_3(task: str) -> Preset:
    """The blocks teach the encoder too: a code per 16×16 pixels cannot hold a photograph's detail, they must."""
    return _fidelity(_scene(task), fidelity=1.0, detach_skips=False)


PRESETS: Mapping[str, Mapping[str, Preset]] = {
    "autoencoder": {
        "authors": {
            "network": "full", "changes": {"alpha": 0.8, "threshold": 0.7, "beta_on": "codebook"},
            "batch": 12, "steps": 200_000, "rate": 7e-5, "end_rate": 6e-5, "schedule": "cosine", "betas": [0.9, 0.99],
            "perceptual": 1.0, "perceptual_form": "lpips-twice", "adversary": _ADVERSARY,
        },
        "paper": _PAPER_1,
        "face": _TASK_1,
        "lowlight": _PHOTO_1,
        "underwater": _PHOTO_1,
        "backlit": _PHOTO_1,
    },
    "restorer": {
        "authors": {"batch": 28, "steps": 200_000, "rate": 1e-4, "betas": [0.9, 0.99], "data": {"degradation": "face"}},
        "paper": _PAPER_2,
        "face": _restorer("face", quality_prior=["topiq_nr-face-v1"]),
        "lowlight": _restorer(_scene("lowlight"), quality_prior=_PRIOR),
        "underwater": _restorer(_scene("underwater"), quality_prior=_PRIOR),
        "backlit": _restorer(_scene("backlit"), quality_prior=_PRIOR),
    },
    "fidelity": {
        "authors": _AUTHORS_3,
        "face": _fidelity("face"),
        "lowlight": _photo_3("lowlight"),
        "underwater": _photo_3("underwater"),
        "backlit": _photo_3("backlit"),
    },
}  # fmt: skip
"""By stage and name; `preset: NAME` in a settings file, whose own keys win.

`authors` is what their code does, `paper` what the papers print. A task's three presets belong together. `face` is
`paper` with the authors' degradation and the metric that the papers' scores come from, pyiqa's `topiq_nr-face-v1`.
"""
