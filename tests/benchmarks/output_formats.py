"""What a stored output costs: processor time against bytes of every lossless encoder at hand, on photographs.

python tests/benchmarks/output_formats.py [--rounds 3] [--write docs/performance.md]
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import store_scale
from PIL import Image, features

from bench import provenance
from bench.data.images import encode_png

HEADING = "## Outputs on disk"
Encoder = Callable[[np.ndarray], bytes]


def photographs() -> list[np.ndarray]:
    """512² parts of the colour photographs that scikit-image ships."""
    from skimage import data

    given = (data.astronaut(), data.coffee(), data.chelsea(), data.rocket())
    return [np.ascontiguousarray(cv2.resize(one[..., :3], (512, 512), interpolation=cv2.INTER_AREA)) for one in given]


def encoders() -> Iterator[tuple[str, Encoder]]:
    """By name, `encode_png` first."""
    yield "PNG as stored", encode_png
    strategies = {"default": cv2.IMWRITE_PNG_STRATEGY_DEFAULT, "filtered": cv2.IMWRITE_PNG_STRATEGY_FILTERED,
                  "RLE": cv2.IMWRITE_PNG_STRATEGY_RLE}  # fmt: skip
    for name, strategy in strategies.items():
        for level in (1, 3, 6):
            yield f"PNG, OpenCV, {name}, level {level}", _opencv(".png", cv2.IMWRITE_PNG_COMPRESSION, level,
                                                                  cv2.IMWRITE_PNG_STRATEGY, strategy)  # fmt: skip
    yield "PNG, Pillow, level 1", _pillow("PNG", compress_level=1)
    if features.check("webp"):
        for effort in (0, 20):
            yield f"WebP, lossless, effort {effort}", _pillow("WEBP", lossless=True, quality=effort, method=0)


def _opencv(suffix: str, *settings: int) -> Encoder:
    def encode(pixels: np.ndarray) -> bytes:
        return cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), settings)[1].tobytes()

    return encode


def _pillow(kind: str, **settings: object) -> Encoder:
    def encode(pixels: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, kind, **settings)
        return buffer.getvalue()

    return encode


def table(rounds: int) -> str:
    """Markdown: milliseconds of the processor to write and read an image, and its bytes, against `encode_png`."""
    images = photographs()
    lines = ["| encoder | write | read | bytes an image | |", "|:--|--:|--:|--:|--:|"]
    base: list[float] = []
    for name, encode in encoders():
        written = [encode(one) for one in images]
        for one, payload in zip(images, written, strict=True):
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(payload))), one), name
        writing = _spent(rounds, lambda encode=encode: [encode(one) for one in images]) / len(images)
        reading = _spent(rounds, lambda written=written: [_decode(one) for one in written]) / len(images)
        size = sum(map(len, written)) / len(written)
        base = base or [writing, size]
        against = f"{writing / base[0]:.2f} × the time, {size / base[1]:.2f} × the bytes"
        lines.append(f"| {name} | {1e3 * writing:.1f} ms | {1e3 * reading:.1f} ms | {size / 1e3:.0f} kB | {against} |")
    return "\n".join(lines)


def _decode(payload: bytes) -> None:
    cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR)


def _spent(rounds: int, work: Callable[[], object]) -> float:
    """Processor time of the quickest of some rounds."""
    found = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    """Measure, print, and write where that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path, metavar="FILE", help="Make the figures a section of this document.")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    text = table(given.rounds)
    print(text)
    if given.write is not None:
        told = (
            f"{HEADING}\n\nFour photographs of 512², processor time on {provenance.processor()}; every encoder gives "
            "the same pixels back. Made by `python tests/benchmarks/output_formats.py --write docs/performance.md`.\n\n"
        )
        store_scale.put(given.write, f"{told}{text}\n", HEADING)


if __name__ == "__main__":
    main()
