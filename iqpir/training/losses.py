"""Losses of the three stages. Images are [B,3,H,W] in about [-1,1]; every loss is a scalar, to be made small."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iqpir.errors import IQPIRError
from iqpir.weights import shipped

Quality = Callable[[Tensor], Tensor]
"""Images [B,3,H,W] in [0,1] → [B], about [0,1], higher is better, with a gradient."""


def generator_loss(fake: Tensor, form: str = "hinge") -> Tensor:
    """What the generator wants of the discriminator's logits.

    `hinge`: −mean D(fake). `log`: mean log(1 − σ(D(fake))), made small, as the papers print it.
    """
    return -fake.mean() if form == "hinge" else -F.softplus(fake).mean()


def discriminator_loss(real: Tensor, fake: Tensor, form: str = "hinge") -> Tensor:
    """What the discriminator wants, without a factor ½.

    `hinge`: mean relu(1 − D(real)) + mean relu(1 + D(fake)). `log`: −mean log σ(D(real)) − mean log(1 − σ(D(fake))).
    """
    if form == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last: Tensor) -> Tensor:
    """How large the adversarial gradient at the last layer may be for the reconstruction's to match it, in [0,1].

    VQGAN's rule with CodeFormer's clamp: ‖∇rec‖ / (‖∇adv‖ + 1e-4). No gradient passes it.
    """
    ours = torch.autograd.grad(reconstruction, last, retain_graph=True)[0]
    theirs = torch.autograd.grad(adversarial, last, retain_graph=True)[0]
    return (ours.norm() / (theirs.norm() + 1e-4)).clamp(0, 1).detach()


def log_error(image: Tensor, target: Tensor, floor: float = 4e-4) -> Tensor:
    """Mean logarithm of each image's squared error, [B,3,H,W]: an image that is nearly right counts as much as one that
    is lost, of which a mean distance is mostly made. Below `floor` nothing more is to be gained."""
    return ((image - target).square().mean(dim=(1, 2, 3)) + floor).log().mean()


def box_ssim(image: Tensor, target: Tensor, side: int = 7, stride: int = 2) -> Tensor:
    """Mean SSIM of two [B,3,H,W] in [0,1] over boxes of `side`², as a loss (Wang et al., 2004): it has a gradient.

    A box at every second pixel either way tells as much as one at each, in a quarter of the time.
    """
    moments = [image, target, image * image, target * target, image * target]
    first, second, square, other, product = (F.avg_pool2d(each, side, stride) for each in moments)
    spread, other, both = square - first * first, other - second * second, product - first * second
    means, deviations = 0.01**2, 0.03**2
    luminance = (2 * first * second + means) / (first * first + second * second + means)
    structure = (2 * both + deviations) / (spread.clamp_min(0) + other.clamp_min(0) + deviations)
    return (luminance * structure).mean()


def index_loss(logits: Tensor, codes: Tensor, *, summed: bool = False) -> Tensor:
    """Cross-entropy of logits [B,N,K] with codes [B,N], or of both codebooks' [B,N,K,2] with [B,N,2], added.

    The mean over tokens and images; `summed`: the sum over tokens, the mean over images.
    """
    if logits.ndim == 4:
        return sum(
            (index_loss(logits[..., book], codes[..., book], summed=summed) for book in range(logits.shape[3])),
            start=logits.new_zeros(()),
        )
    loss = F.cross_entropy(logits.transpose(1, 2), codes)
    return loss * codes.shape[1] if summed else loss


def quality_loss(images: Tensor, quality: Quality, form: str) -> Tensor:
    """relu(1 − mean Q), or −mean Q, of images clamped to what can be shown."""
    found = quality(((images + 1) / 2).clamp(0, 1)).mean()
    return F.relu(1 - found) if form == "hinge" else -found


class Perceptual(nn.Module):
    """LPIPS with VGG16 through pyiqa (PolyForm-Noncommercial), which fetches its weights.

    CodeFormer's training normalises its input twice, once by ImageNet's statistics before LPIPS does it again;
    `twice` does the same.
    """

    def __init__(self, device: torch.device, *, twice: bool = False) -> None:
        super().__init__()
        try:
            import pyiqa

            metric = pyiqa.create_metric("lpips-vgg", as_loss=True, device=device)
        except Exception as error:
            raise IQPIRError(
                f"perceptual: LPIPS cannot be loaded ({type(error).__name__}: {str(error).splitlines()[0][:120]}); "
                "it needs its weights once, or perceptual: 0"
            ) from error
        self.metric = metric.requires_grad_(False)
        self.twice = twice
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, restored: Tensor, target: Tensor) -> Tensor:
        both = [(image + 1) / 2 for image in (restored, target)]
        if self.twice:
            both = [((image - self.mean) / self.std + 1) / 2 for image in both]
        return self.metric(*both).mean()


def ensemble_quality(names: Sequence[str], device: torch.device, side: int) -> tuple[Quality, list[str]]:
    """The mean of priors (Eq. 4), each held below 1, and the names of those that training cannot climb.

    Raises `IQPIRError` where it can climb none. `side`: pixels of the images that they are tried on.
    """
    members = [named_quality(name, device) for name in names]
    flat = [name for name, member in zip(names, members, strict=True) if not climbs(member, device, side)]
    if len(flat) == len(names):
        raise IQPIRError(f"quality_prior: {', '.join(names)}: no gradient raises it: name one that training can climb")
    if len(members) == 1:
        return members[0], flat

    def quality(images: Tensor) -> Tensor:
        # Beyond the range that a metric states there is nothing to win: BRISQUE would go on below its best, 0.
        return torch.stack([member(images).clamp(max=1) for member in members]).mean(dim=0)

    return quality, flat


def cannot_climb(name: str) -> str:
    """What to say of a prior that training cannot climb."""
    return f"quality_prior: no gradient raises {name}: training climbs the others"


def climbs(quality: Quality, device: torch.device, side: int) -> bool:
    """Whether a small step along its gradient raises a quality, tried on an image of smooth shapes and some noise.

    A gradient is not enough: one that is cut off inside, by a rounding or a look-up, leads somewhere else.
    """
    draw = torch.Generator().manual_seed(0)
    shapes = F.interpolate(torch.rand(1, 3, 8, 8, generator=draw), (side, side), mode="bicubic", align_corners=False)
    noise = 0.05 * torch.randn(1, 3, side, side, generator=draw)
    image = (shapes + noise).clamp(0.05, 0.95).to(device).requires_grad_()
    with torch.enable_grad():
        before = quality(image).sum()
        if not before.requires_grad:
            return False
        (gradient,) = torch.autograd.grad(before, image, allow_unused=True)
    if gradient is None or not bool(gradient.isfinite().all()) or not bool(gradient.norm() > 0):
        return False
    with torch.no_grad():
        steps = (length * gradient / gradient.norm() for length in (0.03, 0.3, 3.0))
        return any(bool(quality((image + step).clamp(0, 1)).sum() > before) for step in steps)


class VGG19Features(nn.Module):
    """Mean squared difference of VGG19's features, the papers' Eq. 4, through torchvision, which fetches its weights.

    The papers do not say which layer; this is the last of the fifth block before its activation (relu5_4's input), the
    custom since SRGAN, of images normalised by ImageNet's statistics.
    """

    LAYERS = 35

    def __init__(self, device: torch.device, weights: str | None = "IMAGENET1K_V1") -> None:
        super().__init__()
        try:
            from torchvision.models import vgg19

            network = vgg19(weights=weights).features[: self.LAYERS]
        except Exception as error:
            raise IQPIRError(
                f"perceptual: VGG19 cannot be loaded ({type(error).__name__}: {str(error).splitlines()[0][:120]}); "
                "it needs its weights once, or perceptual: 0"
            ) from error
        self.network = network.eval().requires_grad_(False).to(device)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406], device=device).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225], device=device).view(1, 3, 1, 1))

    def forward(self, restored: Tensor, target: Tensor) -> Tensor:
        ours, theirs = (self.network(((image + 1) / 2 - self.mean) / self.std) for image in (restored, target))
        return F.mse_loss(ours, theirs)


def perceptual(form: str, device: torch.device) -> nn.Module:
    """`lpips`, LPIPS as everybody uses it; `lpips-twice`, as the authors' code has it; `vgg19`, as printed."""
    return VGG19Features(device) if form == "vgg19" else Perceptual(device, twice=form == "lpips-twice")


def named_quality(name: str, device: torch.device) -> Quality:
    """A prior that training can climb: a file of `iqpir train quality` or the one that comes along
    ("iqpir-tiny-quality"), or a no-reference metric of pyiqa.

    pyiqa's are brought to [0,1] by the range that it states, and turned over where lower is better.
    """
    file = shipped(name) or Path(name)
    if file.suffix == ".safetensors":
        from iqpir.quality.tiny import TinyQuality

        return TinyQuality.load(file).to(device).eval().requires_grad_(False)
    try:
        import pyiqa

        metric = pyiqa.create_metric(name, as_loss=True, device=device)
        low, high = (float(end) for end in str(metric.score_range).replace("~", "").split(","))
    except Exception as error:
        raise IQPIRError(
            f"quality_prior: {name!r} cannot be loaded ({type(error).__name__}: {str(error).splitlines()[0][:120]})"
        ) from error
    metric.requires_grad_(False)

    def quality(images: Tensor) -> Tensor:
        share = (metric(images).flatten() - low) / (high - low)
        return 1 - share if metric.lower_better else share

    return quality
