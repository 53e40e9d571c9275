"""UCIQE and UIQM pixel by pixel and block by block, as scripts compute them: what ours must equal, and be faster than.

Written from the definitions, on SciPy's, scikit-image's and OpenCV's filters; shares nothing with `bench`. Running it
prints the speed of ours beside it in one process: `python tests/support/underwater_loops.py [side]`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import cv2
import numpy as np
from scipy import ndimage
from skimage import color, filters

PAPER = (0.4680, 0.2745, 0.2576)


def weighted(weights: tuple[float, float, float], terms: tuple[float, float, float]) -> float:
    return sum(weight * term for weight, term in zip(weights, terms, strict=True))


def uciqe_hsv(levels: np.ndarray, weights: tuple[float, float, float], swapped: bool) -> float:
    code = cv2.COLOR_BGR2HSV if swapped else cv2.COLOR_RGB2HSV
    hue, saturation, brightness = cv2.split(cv2.cvtColor(levels, code))
    percent = brightness.size // 100

    def average(pick: Callable[[np.ndarray], float], spent: float) -> float:
        left, total = brightness / 255, 0.0
        for _ in range(percent):
            extreme = pick(left)
            row, column = np.argwhere(left == extreme)[0]
            total += extreme
            left[row, column] = spent
        return total / percent

    contrast = average(np.amax, 0) - average(np.amin, 1)
    return weighted(weights, (np.std(hue) / 180, contrast, np.mean(saturation) / 255))


def uciqe_lab255(lab: np.ndarray) -> float:
    """OpenCV's Lab in uint8 or float32."""
    scaled = lab / 255
    chroma = np.sqrt(scaled[..., 1] ** 2 + scaled[..., 2] ** 2)
    spread = np.sqrt(np.mean(np.abs(1 - (np.mean(chroma) / chroma) ** 2)))
    saturation = np.mean(chroma / np.sqrt(chroma**2 + scaled[..., 0] ** 2))
    counts = np.histogram(scaled[..., 0], 65536)[0]
    share = np.cumsum(counts) / np.sum(counts)
    contrast = (np.argmax(share >= 0.99) - np.argmax(share > 0.01)) / 65535
    return weighted(PAPER, (float(spread), contrast, float(saturation)))


def uciqe_raw_lab(levels: np.ndarray) -> float:
    lab = color.rgb2lab(levels)
    lightness, chroma = lab[..., 0], np.hypot(lab[..., 1], lab[..., 2])
    ordered = sorted(lightness.ravel())
    percent = round(0.01 * len(ordered))
    contrast = np.mean(ordered[-percent:]) - np.mean(ordered[:percent])
    saturations = [c / light if light else 0.0 for c, light in zip(chroma.ravel(), lightness.ravel(), strict=True)]
    return weighted(PAPER, (np.std(chroma), contrast, np.mean(saturations)))


def blocks(plane: np.ndarray, side: int, partial: bool) -> list[np.ndarray]:
    grow = math.ceil if partial else math.floor
    rows, columns = (grow(length / side) for length in plane.shape[:2])
    return [
        plane[row * side : (row + 1) * side, column * side : (column + 1) * side]
        for row in range(rows)
        for column in range(columns)
    ]


def uicm(means: list[float], spreads: list[float]) -> float:
    return -0.0268 * math.sqrt(means[0] ** 2 + means[1] ** 2) + 0.1586 * math.sqrt(spreads[0] + spreads[1])


def uiqm_funie(levels: np.ndarray, single: bool = False) -> float:
    """`single` keeps NumPy's float32 scalars, which NumPy 2 sums in float32; else Python's floats."""
    image = levels.astype(np.float32)
    red, green, blue = (image[..., channel].ravel() for channel in range(3))
    means, spreads = [], []
    for opponent in (red - green, (red + green) / 2 - blue):
        pixels = list(opponent) if single else opponent.tolist()
        low, high = math.ceil(0.1 * len(pixels)), math.floor(0.1 * len(pixels))
        mean = 1 / (len(pixels) - low - high) * sum(sorted(pixels)[low + 1 : len(pixels) - high])
        spread = 0.0
        for pixel in pixels:
            spread += math.pow(pixel - mean, 2)
        means.append(float(mean))
        spreads.append(spread / len(pixels))
    sharpness = 0.0
    for channel, weight in enumerate((0.299, 0.587, 0.144)):
        plane = image[..., channel]
        edges = np.hypot(ndimage.sobel(plane, 0), ndimage.sobel(plane, 1))
        tiles = blocks(edges * np.float32(255 / edges.max()) * plane, 10, partial=False)
        for tile in tiles:
            if tile.min() > 0:
                sharpness += weight * 2 / len(tiles) * math.log(tile.max() / tile.min())
    contrast, tiles = 0.0, blocks(image, 10, partial=False)
    for tile in tiles:
        if tile.max() > tile.min():
            ratio = float((tile.max() - tile.min()) / (tile.max() + tile.min()))
            contrast -= ratio * math.log(ratio) / len(tiles)
    return weighted((0.0282, 0.2953, 3.5753), (uicm(means, spreads), sharpness, contrast))


def uiqm_xueleichen(levels: np.ndarray, wrap: bool) -> float:
    pixels = levels if wrap else levels.astype(float)
    red, green, blue = (pixels[..., channel].ravel() for channel in range(3))
    means, spreads = [], []
    for opponent in (red - green, (red + green) / 2 - blue):
        ordered = np.sort(opponent).astype(float)
        cut = int(0.1 * len(ordered))
        means.append(np.mean(ordered[cut:-cut]))
        spreads.append(np.mean((ordered[cut:-cut] - means[-1]) ** 2))
    sharpness = 0.0
    for channel, weight in enumerate((0.299, 0.587, 0.114)):
        edges = np.round(levels[..., channel] * filters.sobel(levels[..., channel])).astype(np.uint8)
        tiles = blocks(edges, 8, partial=True)
        for tile in tiles:
            sharpness += weight * 2 / len(tiles) * math.log(float(tile.max() or 1) / float(tile.min() or 1))
    contrast, tiles = 0.0, blocks(color.rgb2gray(levels), 8, partial=True)
    for tile in tiles:
        low, high = float(tile.min()), float(tile.max())
        ratio = 1026 * (high - low) / (1026 - low) / (high + low - high * low / 1026)
        contrast += ratio * math.log(ratio) if ratio else 0.0
    plip = 1026 - 1026 * (1 - contrast / 1026) ** (1 / len(tiles))
    return weighted((0.0282, 0.2953, 3.5753), (uicm(means, spreads), sharpness, plip))


def peers(levels: np.ndarray) -> dict[str, Callable[[], float]]:
    """The loops for each catalogue name that is finite on most images."""
    unit = levels.astype(np.float32) / np.float32(255)
    return {
        "uciqe-jou-uip": lambda: uciqe_lab255(cv2.cvtColor(levels, cv2.COLOR_RGB2LAB)),
        "uciqe-adpcc-unit": lambda: uciqe_lab255(cv2.cvtColor(unit, cv2.COLOR_RGB2LAB)),
        "uciqe-hsv-fky": lambda: uciqe_hsv(levels, (0.25, 0.6, 0.15), swapped=True),
        "uciqe-hsv-fky-rgb": lambda: uciqe_hsv(levels, (0.25, 0.6, 0.15), swapped=False),
        "uciqe-hsv-szu": lambda: uciqe_hsv(levels, (0.468, 0.2745, 0.2575), swapped=True),
        "uciqe-hsv-szu-rgb": lambda: uciqe_hsv(levels, (0.468, 0.2745, 0.2575), swapped=False),
        "uciqe-raw-lab": lambda: uciqe_raw_lab(levels),
        "uiqm-funie": lambda: uiqm_funie(levels),
        "uiqm-xueleichen": lambda: uiqm_xueleichen(levels, wrap=True),
        "uiqm-xueleichen-nowrap": lambda: uiqm_xueleichen(levels, wrap=False),
    }


def fastest(calls: list[Callable[[], object]], turns: int) -> list[float]:
    """Seconds of the fastest of `turns` alternating calls of each, so that other load falls on all."""
    best = [float("inf")] * len(calls)
    for _ in range(turns):
        for place, call in enumerate(calls):
            start = time.perf_counter()
            call()
            best[place] = min(best[place], time.perf_counter() - start)
    return best


def main(side: int) -> None:
    import torch
    from skimage import data

    from bench.catalog.registry import registry
    from bench.errors import ItemError
    from bench.metrics.build import build_metric
    from bench.metrics.protocols import protocol

    levels = np.ascontiguousarray(cv2.resize(np.ascontiguousarray(data.chelsea()), (side, side)))
    tensor = torch.from_numpy(np.ascontiguousarray(levels.transpose(2, 0, 1)) / 255.0)[None]
    print(f"{side}×{side}\n\n| metric | value | loops, ms | ours, ms | ratio | difference |\n|---|--:|--:|--:|--:|--:|")
    for name, peer in peers(levels).items():
        metric = build_metric(registry("metric").get(name), {}, protocol())
        try:
            value = float(metric.score(tensor, None))
        except ItemError as error:
            print(f"| {name} | {error} ||||")
            continue
        slow, fast = fastest([peer, lambda metric=metric: metric.score(tensor, None)], 3)
        fast = min(fast, *fastest([lambda metric=metric: metric.score(tensor, None)], 10))
        print(
            f"| {name} | {value:.6f} | {slow * 1e3:.1f} | {fast * 1e3:.1f} | {slow / fast:.0f}× | {value - peer():.0e}"
        )


if __name__ == "__main__":
    import sys

    main(int(sys.argv[1]) if len(sys.argv) > 1 else 512)
