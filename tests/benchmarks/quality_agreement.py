"""How far the small quality network agrees with full-reference metrics on photographs that it has never seen.

The photographs are those of the built-in datasets, distorted by blur, noise, JPEG, resizing and mixtures of two; PSNR
and SSIM are scikit-image's. Prints Spearman's rank correlations as a markdown table: within one photograph and kind of
distortion, and pooled over everything.

    python tests/benchmarks/quality_agreement.py [FILE.safetensors] [--levels 12]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from bench.data import builtin
from iqpir.quality.tiny import TinyQuality
from iqpir.training.quality import DISTORTIONS, agreement
from iqpir.weights import shipped


def psnr(image: torch.Tensor, reference: torch.Tensor) -> float:
    return float(peak_signal_noise_ratio(reference.numpy(), image.numpy(), data_range=1))


def ssim(image: torch.Tensor, reference: torch.Tensor) -> float:
    return float(
        structural_similarity(
            reference.numpy(), image.numpy(), data_range=1, channel_axis=0, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False,
        )
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=shipped("iqpir-tiny-quality"))
    parser.add_argument("--levels", type=int, default=12)
    given = parser.parse_args()
    network = TinyQuality.load(given.file).eval()
    photographs = {
        item.id: torch.from_numpy(item.gt.load()).permute(2, 0, 1).float() / 255
        for item in builtin.lowlight("builtin-lowlight", None).items
        if item.gt is not None
    }
    with torch.no_grad():
        found = agreement(network, photographs, {"PSNR": psnr, "SSIM": ssim}, levels=given.levels)
    print(f"{len(photographs)} photographs, {given.levels} draws of each distortion\n")
    print("| Spearman with | " + " | ".join((*DISTORTIONS, "mixed")) + " | mean | pooled |")
    print("|:--|" + "--:|" * (len(DISTORTIONS) + 3))
    for name, rho in found.items():
        each = [*(rho["each"][kind] for kind in (*DISTORTIONS, "mixed")), rho["mean"], rho["pooled"]]
        print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in each) + " |")


if __name__ == "__main__":
    main()
