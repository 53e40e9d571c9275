"""What each choice of a protocol is worth in dB, on the same images: the table of docs/why-my-number-differs.md.

bench run quickstart -d builtin-lowlight -m iqpir-tiny
bench export quickstart --images OUT
python tests/benchmarks/number_differs.py OUT/builtin-lowlight/iqpir-tiny

With a folder of references as well, what choices of identity distance and FID are worth on faces; their weights are not
shipped: bench fetch idd fid fid-ffhq-512.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.metrics import structural_similarity

import bench
from bench.catalog.registry import registry
from bench.data.build import build_dataset
from bench.data.images import encode_png


def references(folder: Path) -> Path:
    """The references of the built-in pairs, as files."""
    dataset = build_dataset(registry("dataset").get("builtin-lowlight"), {}, None)
    for item in dataset.items:
        assert item.gt is not None
        (folder / f"{item.id}.png").write_bytes(encode_png(item.gt.load()))
    return folder


def mean(restored: Path, gt: Path, metric: str) -> float:
    return float(bench.score(restored, gt, metrics=[metric])["value"].mean())


def changed(restored: Path, target: Path, how: str) -> Path:
    """The outputs, saved or sized another way and brought back."""
    target.mkdir()
    for file in restored.glob("*.png"):
        with Image.open(file) as opened:
            image = opened.convert("RGB")
        if how.startswith("jpeg"):
            image.save(target / f"{file.stem}.jpg", quality=int(how.removeprefix("jpeg")))
            continue
        size = image.size
        half = image.resize((size[0] // 2, size[1] // 2), Image.Resampling.BICUBIC)
        half.resize(size, Image.Resampling.BICUBIC).save(target / file.name)
    return target


def rows(restored: Path) -> Iterator[tuple[str, str, float, float]]:
    """(what, metric, as recommended, as changed)."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "gt").mkdir()
        gt = references(root / "gt")
        psnr, ssim = mean(restored, gt, "psnr"), mean(restored, gt, "ssim")
        for what, metric, base in (
            ("GT-mean: brightness matched to the reference", "psnr[gtmean=gray]", psnr),
            ("luma of BT.601 instead of RGB", "psnr[space=y]", psnr),
            ("luma and 4 pixels of border cropped", "psnr[space=y,crop=4]", psnr),
            ("4 pixels of border cropped", "psnr[crop=4]", psnr),
            ("Pillow's gray", "psnr[space=gray-u8]", psnr),
            ("squared errors pooled over all images first", "psnr-pooled", psnr),
            ("SSIM: uniform window of 7, scikit-image's default", "ssim[window=uniform7]", ssim),
            ("SSIM: luma", "ssim[space=y]", ssim),
            ("SSIM: border padded instead of left out", "ssim[border=reflect]", ssim),
        ):
            try:
                yield what, metric, base, mean(restored, gt, metric)
            except bench.BenchError as error:
                print(f"{metric}: {error}", file=sys.stderr)
        for what, how in (
            ("outputs saved as JPEG, quality 95", "jpeg95"),
            ("outputs saved as JPEG, quality 75", "jpeg75"),
            ("restored at half the size and enlarged", "half"),
        ):
            yield what, "psnr", psnr, mean(changed(restored, root / how, how), gt, "psnr")
        yield "SSIM: scikit-image with its defaults", "ssim", ssim, _scikit(restored, gt)


def of_faces(restored: Path, gt: Path) -> Iterator[tuple[str, str, float, float]]:
    """As `rows`, of 512² faces and their references; a metric whose weights are not here is said and left out."""
    for base, others in (
        ("idd", (
            ("identity distance of the middle instead of the whole picture", "idd[crop=100]"),
            ("identity distance as one minus the cosine", "idd[measure=cosine]"),
            ("identity distance with red and blue in their places", "idd[gray=rgb]"),
        )),
        ("fid", (
            ("FID to 50,000 faces of FFHQ instead of the paired references", "fid-ffhq-512"),
            ("FID by clean-fid's resizing", "fid-clean"),
        )),
    ):  # fmt: skip
        for what, metric in others:
            try:
                yield what, metric, mean(restored, gt, base), mean(restored, gt, metric)
            except bench.BenchError as error:
                print(f"{what}: {error}", file=sys.stderr)


def _scikit(restored: Path, gt: Path) -> float:
    found = []
    for file in restored.glob("*.png"):
        with Image.open(file) as ours, Image.open(gt / file.name) as theirs:
            found.append(structural_similarity(np.asarray(ours), np.asarray(theirs), channel_axis=2))
    return float(np.mean(found))


if __name__ == "__main__":
    print("| What differs | Metric | Recommended | Then | Difference |\n|:--|:--|--:|--:|--:|")
    folders = [Path(given) for given in sys.argv[1:]]
    for what, metric, base, value in rows(*folders) if len(folders) == 1 else of_faces(*folders):
        digits = 2 if metric.startswith(("psnr", "fid")) else 4
        change = round(value - base, digits) + 0.0  # without the sign of a zero
        print(f"| {what} | `{metric}` | {base:.{digits}f} | {value:.{digits}f} | {change:+.{digits}f} |")
