"""What a stage is trained with: frozen settings, read from YAML as data, every key known and every number checked.

The defaults are the authors' where the papers and their code disagree and the code can be run; the presets `authors`
and `paper` name every one of those choices, see `presets`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from iqpir.errors import IQPIRError, suggest
from iqpir.network.config import PRESETS as NETWORKS
from iqpir.network.config import IQPIRConfig, preset
from iqpir.training.common import WORDS, Common
from iqpir.training.common import Data as Data  # its place for users of the settings
from iqpir.training.presets import PRESETS
from iqpir.training.rar.settings import RAR_SETTINGS
from iqpir.training.strict import Strict, names, need
from iqpir.training.yaml_file import read_yaml


@dataclass(frozen=True)
class Adversary(Strict):
    """The discriminator and its part in the loss."""

    weight: float = 0.0
    """0: none. The authors' is 0.8 of a weight that balances its gradient with the reconstruction's."""
    start: int = 0
    """First step in which it takes part."""
    rate: float = 7e-5
    channels: int = 64
    depth: int = 4
    form: Literal["hinge", "log"] = "hinge"
    """The authors' code has the hinge form, the papers print logarithms."""


@dataclass(frozen=True)
class AutoencoderSettings(Common):
    """Stage 1: encoder, codebooks and generator."""

    network: str = "small"
    """A preset of `iqpir.network.config`."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Settings of the network that differ from the preset's."""
    l1: float = 1.0
    perceptual: float = 0.0
    """Weight of the perceptual term, whose network's weights are fetched at first use; 0: none."""
    perceptual_form: Literal["lpips", "lpips-twice", "vgg19"] = "lpips"
    """LPIPS (VGG16), as everybody uses it; on images normalised twice, as in the authors' code; or VGG19's features, as
    printed."""
    codebook: float = 1.0
    adversary: Adversary = field(default_factory=Adversary)
    hq: Literal["score", "always"] = "score"
    """Whether the HQ+ codebook serves images whose score exceeds the network's threshold, or all."""
    revive: int = 0
    """Every so many steps codes that no image has used since are put on latents of the batch; 0: never."""

    STAGE: ClassVar[str] = "autoencoder"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.config()

    def config(self) -> IQPIRConfig:
        need(self.network in NETWORKS, f"network: no preset {self.network!r}{suggest(self.network, NETWORKS)}")
        return preset(self.network, **self.changes)


@dataclass(frozen=True)
class RestorerSettings(Common):
    """Stage 2: the transformer that predicts codes from a degraded image and a score."""

    autoencoder: str = ""
    """File of stage 1; relative to the settings' folder."""
    front: str = ""
    """File of the stage `front`, whose overview of a degraded image is what codes are predicted from; empty: the image
    itself. Targets become overviews too."""
    network: str = "full"
    """A preset of `iqpir.network.config`, of which the transformer is taken; the rest is the autoencoder's."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Settings of the transformer (width, layers, conditioning, …) that differ from the preset's."""
    train: tuple[str, ...] = ("encoder", "score_embed", "feat_emb", "position_emb", "ft_layers", "idx_pred_layer")
    """Parts that learn. The authors fix the generator, and the codebooks get no gradient either way."""
    feature: float = 1.0
    feature_on: Literal["conditioned", "latent"] = "conditioned"
    """What is drawn to the codes: the latent with the score's map (code), or without it (Eq. 5)."""
    feature_target: Literal["gt", "predicted"] = "gt"
    """The GT's codes (code, IQPFR), or the predicted ones (IQPIR's text)."""
    index: float = 0.5
    index_sum: bool = False
    """Sum over tokens (as printed) instead of their mean."""
    quality: float = 0.0
    quality_prior: tuple[str, ...] = ()
    """Files that `iqpir train quality` wrote, or metrics of pyiqa, whose weights it fetches; one, or several, whose
    mean is climbed."""
    quality_loss: Literal["hinge", "negative"] = "hinge"
    """relu(1 − Q), or −Q as printed; Q in [0,1]."""
    quality_grad: Literal["ste", "soft", "gumbel"] = "ste"
    """How the quality's gradient passes the codes: straight through to the encoder, or through the softmax to the
    transformer as well; see `IQPIR.relax`."""
    quality_from: int = 0
    temperature: float = 1.0
    code_cache: bool = False
    """Keep the GT's codes by sample in a file: saves the frozen encoder's work when samples come again."""

    STAGE: ClassVar[str] = "restorer"
    LINKS: ClassVar[Mapping[str, str]] = {"front": "front", "autoencoder": "autoencoder"}

    def __post_init__(self) -> None:
        super().__post_init__()
        need(bool(self.autoencoder), "the key 'autoencoder' is missing: a file of stage 1")
        need(self.network in NETWORKS, f"network: no preset {self.network!r}{suggest(self.network, NETWORKS)}")
        need(self.temperature > 0, "temperature must be positive")
        need(not (self.code_cache and self.data.scene), "code_cache: the degradation scene makes new targets: leave it")
        need(
            self.quality == 0 or bool(self.quality_prior), "quality needs a quality_prior: a file or a metric of pyiqa"
        )


@dataclass(frozen=True)
class FidelitySettings(Common):
    """Stage 3: the blocks that bend the generator towards the input (CodeFormer's w), with score and both codes."""

    restorer: str = ""
    """File of stage 2; relative to the settings' folder."""
    autoencoder: str = ""
    """File of stage 1, whose codes of the GT `index` and `feature` ask for; relative likewise."""
    train: tuple[str, ...] = ("fuse_convs_dict",)
    """Parts that learn. The authors train everything but codebooks and generator."""
    fidelity: float = 1.0
    """w in training."""
    detach_skips: bool = True
    """The fidelity blocks take the encoder's features as they are (the authors' way), or teach the encoder too: then
    it learns what the blocks need, and w = 1 is a network that restores detail."""
    codes_grad: Literal["none", "soft"] = "none"
    """The image teaches the transformer nothing (the authors' way), or through the softmax which codes to choose; see
    `IQPIR.relax`."""
    l1: float = 1.0
    perceptual: float = 0.0
    perceptual_form: Literal["lpips", "lpips-twice", "vgg19"] = "lpips"
    feature: float = 0.0
    index: float = 0.0
    adversary: Adversary = field(default_factory=Adversary)

    STAGE: ClassVar[str] = "fidelity"
    LINKS: ClassVar[Mapping[str, str]] = {"restorer": "restorer", "autoencoder": "autoencoder"}

    def __post_init__(self) -> None:
        super().__post_init__()
        need(bool(self.restorer), "the key 'restorer' is missing: a file of stage 2")
        need(self.fidelity > 0, "fidelity must be positive")
        asks = self.index > 0 or self.feature > 0
        need(not asks or bool(self.autoencoder), "index and feature need the key 'autoencoder': a file of stage 1")


@dataclass(frozen=True)
class _Photo(Common):
    """What the stages of a network for photographs (`iqpir.network.photo`) share: how far images are from targets."""

    l1: float = 1.0
    local: float = 0.5
    """Weight of the L1 distance of means over an eighth of a side: light and colour, whatever the detail."""
    ssim: float = 0.15
    """Weight of 1 − SSIM (7×7 box)."""


@dataclass(frozen=True)
class FrontSettings(_Photo):
    """The front end alone, on what it sees of an image: thumbnails, so that a step costs a hundredth."""

    changes: dict[str, Any] = field(default_factory=dict)
    """Settings of `iqpir.network.photo.PhotoConfig` that differ from the usual ones."""
    decide: float = 0.0
    """Weight of the cross entropy of a grade's strength with whether the light is wrong at all, which it is under water
    and, at half the weight, against the light, and is not in pictures badly taken or good. Without it a network that is
    not sure does half of everything to everything. Scenes alone tell (`data.degradation`)."""
    spared: float = 1.0
    """How much more it counts where nothing is wrong."""

    STAGE: ClassVar[str] = "front"

    def __post_init__(self) -> None:
        super().__post_init__()
        need(self.spared > 0, "spared must be positive")
        told = self.data.scene and self.data.lq is None
        need(not self.decide or told, "decide: only the degradation scene knows what is wrong: data.degradation")


@dataclass(frozen=True)
class DetailSettings(_Photo):
    """The detail branch alone, on the front end's image: noise, blocks and blur are to go, whatever the exposure."""

    front: str = ""
    """File of the stage `front`; relative to the settings' folder."""

    STAGE: ClassVar[str] = "detail"
    LINKS: ClassVar[Mapping[str, str]] = {"front": "front"}

    def __post_init__(self) -> None:
        super().__post_init__()
        need(bool(self.front), "the key 'front' is missing: a file of the stage front")


@dataclass(frozen=True)
class JointSettings(_Photo):
    """Everything together: front end, IQPIR on the overview, gate, detail."""

    detail: str = ""
    """File of the stage `detail`, or of `front`; relative to the settings' folder."""
    restorer: str = ""
    """File of stage 2, the core; relative likewise."""
    autoencoder: str = ""
    """File of stage 1, whose codes of the target `index` asks for; relative likewise."""
    changes: dict[str, Any] = field(default_factory=dict)
    train: tuple[str, ...] = ("front", "core", "detail")
    exposed: float = 0.3
    """Weight of the front end's own image, with the first two terms."""
    core: float = 0.3
    """Weight of the core's overview, with the three terms of an image."""
    index: float = 0.02
    fidelity: float = 1.0
    """w of the core in training."""
    codes_grad: Literal["soft", "ste"] = "soft"
    """How the gradient passes the core's codes; see `iqpir.network.photo.CodesGrad`."""
    quality: float = 0.0
    """Weight of what a prior thinks of the restored image; see the stage `restorer`."""
    quality_prior: tuple[str, ...] = ()
    quality_loss: Literal["hinge", "negative"] = "hinge"

    STAGE: ClassVar[str] = "joint"
    LINKS: ClassVar[Mapping[str, str]] = {"detail": "detail", "restorer": "restorer", "autoencoder": "autoencoder"}

    def __post_init__(self) -> None:
        super().__post_init__()
        need(bool(self.detail), "the key 'detail' is missing: a file of the stage detail")
        need(self.index == 0 or bool(self.autoencoder), "index needs the key 'autoencoder': a file of stage 1")
        need(
            self.quality == 0 or bool(self.quality_prior), "quality needs a quality_prior: a file or a metric of pyiqa"
        )


_SETTINGS: tuple[type[Common], ...] = (
    AutoencoderSettings, RestorerSettings, FidelitySettings, FrontSettings, DetailSettings, JointSettings,
    *RAR_SETTINGS,
)  # fmt: skip
STAGES: Mapping[str, type[Common]] = {kind.STAGE: kind for kind in _SETTINGS}

RECIPE = (
    "quality", "front", "detail", "autoencoder", "restorer", "fidelity", "joint",
    *(kind.STAGE for kind in RAR_SETTINGS),
)  # fmt: skip
"""Sections of a recipe, in the order in which they are trained; before them `common`, what the stages share."""


def recipe(path: Path) -> Mapping[str, Mapping[str, Any]] | None:
    """The sections of a file that describes several stages; None for one that describes a single one.

    Raises `IQPIRError` for a section that no stage has.
    """
    content = read_yaml(path)
    sections = ("common", *RECIPE)
    if not isinstance(content, Mapping) or not any(isinstance(content.get(each), Mapping) for each in sections):
        return None
    for name, section in content.items():
        if name not in sections:
            raise IQPIRError(f"{path}: unknown section {str(name)!r}{suggest(str(name), sections)}")
        if not isinstance(section, Mapping):
            raise IQPIRError(f"{path}: {name} is {section!r}, not a mapping")
    return content


def load(stage: str, path: Path, root: Path | None = None) -> Common:
    """The settings of a stage from a YAML file; relative paths are those of the file's folder.

    The file describes one stage, or is a recipe (see `recipe`), of which `common` and the stage's section are taken;
    with `root`, the folder that holds a folder per stage, a recipe's stages find each other's files by themselves.

    Raises `IQPIRError`, one line that begins with the file.
    """
    sections = recipe(path)
    content: object
    own: Mapping[str, Any] = {}
    if sections is None:
        content = read_yaml(path)
    elif stage in sections:
        content = merged(sections.get("common", {}), sections[stage])
    else:
        raise IQPIRError(f"{path}: there is no section {stage!r} (there are {', '.join(map(str, sections))})")
    kind = STAGES[stage]
    try:
        if not isinstance(content, Mapping):
            raise IQPIRError(f"settings are a mapping with the keys preset, {', '.join(names(kind))}")
        own = content = dict(content)
        named = content.pop("preset", None)
        if named is not None:
            known = PRESETS.get(stage, {})
            need(bool(known), f"preset: {stage} has none: leave the key out")
            need(named in known, f"preset: {named!r}{suggest(str(named), known)} (there are {', '.join(known)})")
            content = merged(known[named], content)
        content = with_paths(content, path.parent)
        if sections is not None and root is not None:
            content = _linked(content, kind, sections, root)
            if "quality" in sections and content.get("quality") and "quality_prior" not in own:
                content["quality_prior"] = str(root / "quality" / "quality.safetensors")
        return kind.from_dict(content)
    except IQPIRError as error:
        raise IQPIRError(f"{path}: {error}") from error


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = {key: merged(base[key], over[key]) for key in base.keys() & over.keys() if _maps(base[key], over[key])}
    return {**base, **over, **both}


def _maps(*values: object) -> bool:
    return all(isinstance(value, Mapping) for value in values)


def _linked(content: dict[str, Any], kind: type[Common], sections: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """The files that a recipe's earlier stages write, where the settings name no others."""
    for key, stage in kind.LINKS.items():
        if stage in sections:
            content.setdefault(key, str(root / stage / f"{stage}.safetensors"))
    return content


def with_paths(content: dict[str, Any], base: Path) -> dict[str, Any]:
    for key in {key for kind in STAGES.values() for key in kind.LINKS}:
        if isinstance(content.get(key), str):
            content[key] = str(base / content[key])
    prior = content.get("quality_prior")
    if isinstance(prior, str | list):
        names = [prior] if isinstance(prior, str) else prior
        content["quality_prior"] = [str(base / one) if str(one).endswith(".safetensors") else one for one in names]
    data = content.get("data")
    if isinstance(data, Mapping):
        data = dict(data)
        for key, words in (("source", ("generated",)), ("scores", WORDS), ("cache", ()), ("lq", ())):
            if isinstance(data.get(key), str) and data[key] not in words:
                data[key] = str(base / data[key])
        content["data"] = data
    return content
