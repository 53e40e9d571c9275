"""Images to train on: generated ones, or a folder of any photographs. Random crops, each a function of seed and index.

The sample of an index is the same in any order, in any worker and after any restart. The photographs that results are
measured on, those in scikit-image's wheel, are refused.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, NotRequired, Protocol, TypedDict

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from iqpir.errors import ImageFailure, IQPIRError, few
from iqpir.image_files import decode, find_images, read_bytes, to_tensor
from iqpir.training.degrade.base import Range, jpeg, log_uniform, quantise, uniform
from iqpir.training.synthetic import generate
from iqpir.training.synthetic.sheets import Sheets

GENERATED = "generated"
COUNT = 1 << 20
_NUMBER = re.compile(r"^.*?([0-9]+)$")
_CROP, _FLAW, _ORDER, _COLOUR, _LIGHT = 1, 2, 3, 5, 6
"""What a random generator is for, beside seed and index, so that no two uses share their numbers; 4 is the
degradation's, see `batch_loading`."""


class Flaw(NamedTuple):
    """What was done to an image that is meant to be good."""

    blur: float
    """Standard deviation in pixels; 0 for none."""
    noise: float
    """Standard deviation in levels of 255; 0 for none."""
    quality: float
    """Of JPEG; 100 for none."""


NO_FLAW = Flaw(0.0, 0.0, 100.0)
BLUR: Range = (0.4, 1.6)
NOISE: Range = (1.0, 8.0)
QUALITY = (40, 90)
LEAST_QUALITY = 5.0
"""Of JPEG, however strong flaws are made."""


class TrainingImage(TypedDict):
    gt: Tensor
    """float32 RGB [3,crop,crop] in [0,1], on the grid of 8 bits where the source is."""
    index: int
    flaw: Flaw
    lq: NotRequired[Tensor]
    """The same crop of its partner, where a folder of LQ images is given."""
    score: NotRequired[float]
    """Where a file has scores, see `iqpir.training.stage_data`."""


class _Source(Protocol):
    names: list[str] | None
    """Of the images, where they are files: their paths below the folder, in its order."""

    def crop(self, index: int, size: int, rng: np.random.Generator) -> np.ndarray:
        """uint8 or uint16 RGB [size,size,3]."""


class TrainingImages(Dataset[TrainingImage]):
    """`count` crops of generated images or of a folder's photographs."""

    def __init__(
        self,
        source: str | Path = GENERATED,
        *,
        crop: int,
        count: int = COUNT,
        seed: int = 0,
        flawed: float | None = None,
        shorter: int | None = None,
        cache: Path | None = None,
        lq: str | Path | None = None,
        flaw_scale: float = 1.0,
        saturation: Range = (1.0, 1.0),
        contrast: Range = (1.0, 1.0),
        gamma: Range = (1.0, 1.0),
        tint: float = 0.0,
        window: Range = (1.25, 2.5),
        window_share: float = 1 / 3,
    ) -> None:
        """`source`: "generated", or a folder, whose images are taken at any depth (`iqpir.image_files.find_images`).

        `flawed`: share of crops that get a mild `Flaw` of their own, so that a quality prior has something to tell;
        0.4 of generated ones and none of a folder's, where None. `shorter`: images of a folder whose shorter side is
        longer are made smaller to this. `cache`: folder that keeps drawn sheets (3 MB each), for several workers and
        for the next run. `lq`: folder of the LQ images of a folder's, of the same names (but for the suffix) and sizes:
        the same crops of them come along. `flaw_scale`: flaws are so many times as strong: σ of blur and noise, and
        what JPEG's quality lacks of 100. `saturation`, `contrast`: ranges of factors that a crop is changed by, before
        its flaw, `gamma`: range of a power that it is taken to, `tint`: by how much the logarithm of a channel's own
        power may differ; see `recolour` and `relight`. `window`, `window_share`: how much wider than the crop is what
        is made smaller to it, and of which share of generated crops.

        Raises `IQPIRError` for a folder with no image, with images too small for the crop, without a partner, or with
        images of scikit-image's, which results are measured on.
        """
        for name, value, low in (("crop", crop, 8), ("count", count, 1), ("seed", seed, 0), ("shorter", shorter, 8)):
            if value is not None and (type(value) is not int or value < low):
                raise IQPIRError(f"{name} is {value!r}; it must be a whole number, {low} or more")
        self.crop, self.count, self.seed = crop, count, seed
        made = source == GENERATED
        self.flawed = (0.4 if made else 0.0) if flawed is None else flawed
        if not 0 <= self.flawed <= 1:
            raise IQPIRError(f"flawed is {flawed!r}; it must be a share in [0,1]")
        if lq is not None and (made or self.flawed):
            raise IQPIRError(f"lq is {lq}: only a folder's images, without flaws of our own, have partners")
        if not 0 < flaw_scale <= 10:
            raise IQPIRError(f"flaw_scale is {flaw_scale!r}; it must lie in (0,10]")
        self.flaw_scale = flaw_scale
        for name, (least, most) in (("saturation", saturation), ("contrast", contrast), ("gamma", gamma)):
            if not 0 < least <= most <= 10:
                raise IQPIRError(f"{name} is {least:g} to {most:g}; it must be a range in (0,10]")
        if not 0 <= tint <= 1:
            raise IQPIRError(f"tint is {tint!r}; it must lie in [0,1]")
        self.saturation, self.contrast, self.gamma, self.tint = saturation, contrast, gamma, tint
        self._recoloured = (*saturation, *contrast) != (1.0, 1.0, 1.0, 1.0)
        self._relit = (*gamma, tint) != (1.0, 1.0, 0.0)
        if lq is not None and (self._recoloured or self._relit):
            raise IQPIRError(
                f"lq is {lq}: images that have partners keep their colours: no saturation, contrast, gamma and tint"
            )
        if made:
            if crop > generate.SIDE:
                raise IQPIRError(f"crop is {crop}; generated images have {generate.SIDE} pixels a side")
            self._source: _Source = Sheets(seed, crop, cache, window, window_share)
        else:
            self._source = _Folder(Path(source), crop, seed, shorter, None if lq is None else Path(lq))

    def __len__(self) -> int:
        return self.count

    @property
    def names(self) -> list[str] | None:
        """The images' paths below the folder; None for generated ones."""
        return self._source.names

    def files(self) -> np.ndarray:
        """int64 [count]: the place in `names` of the image that each sample is a crop of."""
        if not isinstance(self._source, _Folder):
            raise IQPIRError("generated images are no files")
        return self._source.files(self.count)

    def flaw(self, index: int) -> Flaw:
        """What a sample suffers from, without making it."""
        return self._draw_flaw(_rng(self.seed, _FLAW, index))

    def __getitem__(self, index: int) -> TrainingImage:
        if not 0 <= index < self.count:
            raise IndexError(f"sample {index} of {self.count}")
        crop = self._source.crop(index, self.crop, _rng(self.seed, _CROP, index))
        rng = _rng(self.seed, _FLAW, index)
        flaw = self._draw_flaw(rng)
        gt = to_tensor(crop)
        if self._recoloured:
            colour = _rng(self.seed, _COLOUR, index)
            gt = recolour(gt, log_uniform(colour, self.saturation), log_uniform(colour, self.contrast))
        if self._relit:
            gt = self._in_another_light(gt, _rng(self.seed, _LIGHT, index))
        sample: TrainingImage = {"gt": gt if flaw == NO_FLAW else add_flaw(gt, flaw, rng), "index": index, "flaw": flaw}
        if isinstance(self._source, _Folder) and self._source.paired:
            rng = _rng(self.seed, _CROP, index)
            sample["lq"] = to_tensor(self._source.crop(index, self.crop, rng, partner=True))
        return sample

    def _in_another_light(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        power = log_uniform(rng, self.gamma)
        red, green, blue = (power * float(np.exp(uniform(rng, (-self.tint, self.tint)))) for _ in range(3))
        return relight(image, (red, green, blue))

    def _draw_flaw(self, rng: np.random.Generator) -> Flaw:
        if rng.random() >= self.flawed:
            return NO_FLAW
        which = int(rng.integers(1, 8))  # at least one of the three
        blur = uniform(rng, BLUR) if which & 1 else 0.0
        noise = uniform(rng, NOISE) if which & 2 else 0.0
        quality = float(rng.integers(QUALITY[0], QUALITY[1] + 1)) if which & 4 else 100.0
        times = self.flaw_scale
        return Flaw(times * blur, times * noise, max(LEAST_QUALITY, float(round(100 - times * (100 - quality)))))


def recolour(image: Tensor, saturation: float, contrast: float) -> Tensor:
    """float32 [3,H,W] in [0,1] → the same, rounded to 8 bits: colours' distances from gray (the mean of the channels)
    times `saturation`, then grays' distances from their mean over the image times `contrast`; what leaves the range is
    cut off."""
    gray = image.mean(dim=0, keepdim=True)
    changed = gray.mean() + contrast * (gray - gray.mean()) + saturation * (image - gray)
    return (changed.clamp(0, 1) * 255).round() / 255


def relight(image: Tensor, powers: tuple[float, float, float]) -> Tensor:
    """float32 [3,H,W] in [0,1] → the same, each channel to its own power, rounded to 8 bits: a darker or a brighter
    scene under warmer or colder light, of which nothing is cut off."""
    return (image.pow(torch.tensor(powers)[:, None, None]) * 255).round() / 255


def add_flaw(image: Tensor, flaw: Flaw, rng: np.random.Generator) -> Tensor:
    """float32 [3,H,W] in [0,1] → blurred, then noisy, then compressed, rounded to 8 bits."""
    pixels = np.ascontiguousarray(image.numpy().transpose(1, 2, 0))
    if flaw.blur:
        pixels = cv2.GaussianBlur(pixels, (0, 0), flaw.blur)
    if flaw.noise:
        pixels = pixels + rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(flaw.noise / 255)
    if flaw.quality < 100:
        pixels = jpeg(pixels, flaw.quality)
    return to_tensor(quantise(pixels))


def _rng(*seeds: int) -> np.random.Generator:
    return np.random.default_rng(seeds)


class _Folder:
    """Crops of photographs: every image once before any twice, mirrored or not."""

    MEMORY = 512 << 20
    """Bytes of decoded images that are kept."""

    def __init__(self, folder: Path, crop: int, seed: int, shorter: int | None, lq: Path | None) -> None:
        self._paths = find_images(folder)
        self.names: list[str] | None = [path.relative_to(folder).as_posix() for path in self._paths]
        refuse_test_photographs(self._paths)
        sides = [min(_size(path)) for path in self._paths]
        small = [path.name for path, side in zip(self._paths, sides, strict=True) if side < crop]
        if small:
            raise IQPIRError(
                f"a crop of {crop} does not fit into {few(small)}, of {len(sides)} images of {folder}: take them out, "
                f"or set crop to {min(sides)} or less"
            )
        if shorter is not None and shorter < crop:
            raise IQPIRError(f"a crop of {crop} does not fit into shorter: {shorter}")
        self._partners = [] if lq is None else _partners(self._paths, folder, lq)
        self._seed, self._shorter = seed, shorter
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._order = lru_cache(maxsize=2)(self._permutation)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_kept", "_order")}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _kept=OrderedDict(), _order=lru_cache(maxsize=2)(self._permutation))

    def _permutation(self, epoch: int) -> np.ndarray:
        return _rng(self._seed, _ORDER, epoch).permutation(len(self._paths))

    def files(self, count: int) -> np.ndarray:
        """The image's number for each of `count` samples."""
        epochs = -(-count // len(self._paths))
        return np.concatenate([self._permutation(epoch) for epoch in range(epochs)])[:count]

    @property
    def paired(self) -> bool:
        return bool(self._partners)

    def crop(self, index: int, size: int, rng: np.random.Generator, partner: bool = False) -> np.ndarray:
        """`partner`: of the image's partner."""
        epoch, place = divmod(index, len(self._paths))
        image = self._image(int(self._order(epoch)[place]) + (len(self._paths) if partner else 0))
        top, left = (int(rng.integers(0, length - size + 1)) for length in image.shape[:2])
        part = image[top : top + size, left : left + size]
        return part[:, ::-1] if rng.integers(2) else part

    def _image(self, number: int) -> np.ndarray:
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        path = [*self._paths, *self._partners][number]
        try:
            image = decode(read_bytes(path))
        except ImageFailure as error:
            raise IQPIRError(f"{path}: {error}; take it out of the folder") from error
        side = min(image.shape[:2])
        if self._shorter is not None and side > self._shorter:
            height, width = (round(length * self._shorter / side) for length in image.shape[:2])
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        self._kept[number] = image
        while len(self._kept) > 1 and sum(each.nbytes for each in self._kept.values()) > self.MEMORY:
            self._kept.popitem(last=False)
        return image


def _partners(paths: list[Path], folder: Path, lq: Path) -> list[Path]:
    """The LQ image of each path below `folder`, of the same size: it has the same path below `lq`, but for the suffix.

    Where no path is the same (LOL-v2: low00001.png, normal00001.png) the number that the names end in tells.
    """
    others = find_images(lq)
    given, known = _keys(paths, folder), _keys(others, lq)
    if not set(given) & set(known):
        given, known = ([_NUMBER.sub(r"\1", key) for key in keys] for keys in (given, known))
    found = dict(zip(known, others, strict=True))
    if lacking := [path.name for path, key in zip(paths, given, strict=True) if key not in found]:
        raise IQPIRError(f"{lq} has no LQ image for {len(lacking)} of {len(paths)} images: {few(lacking)}")
    if len(found) < len(others) or len(set(given)) < len(given):
        raise IQPIRError(f"{lq} and {folder}: several images of one name (but for the suffix): which belong together?")
    partners = [found[key] for key in given]
    refuse_test_photographs(partners)
    pairs = zip(paths, partners, strict=True)
    if other := [path.name for path, partner in pairs if _size(path) != _size(partner)]:
        raise IQPIRError(f"{lq} and {folder}: sizes differ in {len(other)} pairs: {few(other)}")
    return partners


def _keys(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).with_suffix("").as_posix() for path in paths]


_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)
"""EXIF's tag, and its values for images whose stored width is the height that is seen."""


def _size(path: Path) -> tuple[int, int]:
    """Width and height as the image is seen."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            turned = image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE
            return (image.height, image.width) if turned else image.size
    except Exception as error:  # a damaged header can make a decoder fail in any way
        raise IQPIRError(f"{path}: not an image that can be read; take it out of the folder") from error


def refuse_test_photographs(paths: list[Path]) -> None:
    """Raises `IQPIRError` if a file is one of scikit-image's photographs, in place or copied byte by byte.

    The built-in test sets are made of them: a network that has seen them in training would be measured on what it
    has learned by heart.
    """
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        return
    home = (Path(spec.submodule_search_locations[0]) / "data").resolve()
    known: dict[int, list[Path]] = {}
    for file in home.iterdir() if home.is_dir() else ():
        if file.is_file():
            known.setdefault(file.stat().st_size, []).append(file)
    for path in paths:
        inside = home in path.resolve().parents
        if inside or any(_digest(path) == _digest(file) for file in known.get(path.stat().st_size, ())):
            raise IQPIRError(
                f"{path} is one of scikit-image's photographs, which results are measured on; "
                "what is trained on must not hold them: name another folder or take it out"
            )


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()
