"""A store of as many scores as asked for, made without restoring or scoring: what readers and planners are timed on.

The folder holds real image files, a suite over them, and a results folder whose rows are what a run of the suite would
have written for these files: the same keys, another value of each score, some of them infinite, missing or failed.

python tests/benchmarks/scores_store.py FOLDER [--items 10000] [--methods 10] [--metrics 10]
"""

from __future__ import annotations

import argparse
import struct
import time
import zlib
from pathlib import Path

import numpy as np

METRICS = (
    "psnr", "ssim", "gmsd", "ms-ssim", "fsim", "vif", "{psnr: {space: y}}", "{ssim: {space: y}}",
    "{psnr: {space: y, crop: 4}}", "{ssim: {space: y, crop: 4}}",
)  # fmt: skip
SIDE = 8
_BLOCK = 1000


def make(folder: Path, items: int, methods: int, metrics: int, *, flaws: bool = False) -> None:
    """Write images, the suite `suite.yaml` and the results folder `results`.

    With `flaws` some outputs and some values are missing for every reason that a row can have.
    """
    from bench.planning.plan import make_jobs
    from bench.results.store import Store
    from bench.runner.request import Request, resolve_request

    for kind, start in (("low", 0), ("high", 1 << 24)):
        (folder / kind).mkdir(parents=True)
        for index in range(items):
            (folder / kind / f"{index:06d}.png").write_bytes(_png(_pixels(start + index)))
    suite = folder / "suite.yaml"
    listed = "\n".join(f"  - {{method: gamma, options: {{gamma: {0.3 + 0.05 * number:.2f}}}, label: m{number}}}"
                       for number in range(methods))  # fmt: skip
    suite.write_text(
        f"schema: 1\ndatasets: [{{dataset: folder, options: {{lq: {folder / 'low'}, gt: {folder / 'high'}}}}}]\n"
        f"methods:\n{listed}\nmetrics: [{', '.join(METRICS[:metrics])}]\n"
    )
    results = folder / "results"
    with Store(results) as store:
        jobs = make_jobs(resolve_request(Request(str(suite), results=str(results))), "cpu")
        for job in jobs:
            _fill(store, job, results, flaws)


def _fill(store, job, results: Path, flaws: bool) -> None:
    """Rows of one method on the dataset."""
    from bench.identity import content_hash
    from bench.planning.jobs import Facts, signature_of
    from bench.results import artefacts
    from bench.results.store import Memo

    drawn = np.random.default_rng(job.index)
    metrics = job.dataset.metrics
    for start in range(0, job.units, _BLOCK):
        with store.transaction():
            signatures = [signature_of(store, job, metric) for metric in metrics]
            rows: list[tuple[object, ...]] = []
            for unit in range(start, min(start + _BLOCK, job.units)):
                item = job.item(unit)
                low, high = (Memo(content_hash(source.load()), SIDE, SIDE, None) for source in (item.lq, item.gt))
                facts = Facts(lq_stamp=item.lq.stamp(), lq=low, gt_stamp=item.gt.stamp(), gt=high)
                if job.index == 0:
                    store.remember(facts.lq_stamp, low)
                    store.remember(facts.gt_stamp, high)
                key = job.key(unit, facts)
                if flaws and unit % 17 == job.index:
                    store.put_restoration(key, input_hash=low.hash, status="input", reason="cannot be decoded")
                    continue
                pixels = _pixels((job.index + 2 << 24) + unit)
                output = content_hash(pixels)
                artefacts.write(results, output, "png", _png(pixels))
                store.put_restoration(
                    key, input_hash=low.hash, status="ok", output_hash=output, size=(SIDE, SIDE), suffix="png",
                    seconds=float(drawn.gamma(2, 0.01)), batch=1, threads=2, device="cpu",
                )  # fmt: skip
                place = store.content_id(output), store.content_id(high.hash)
                for number, value in enumerate(drawn.normal(20, 3, len(metrics)).tolist()):
                    score = ("ok", value, None)
                    if flaws and (unit + number) % 41 == job.index:
                        score = ("inf", float("inf"), None)
                    elif flaws and (unit + number) % 43 == job.index:
                        score = ("input", None, "reference cannot be read: cut short")
                    rows.append((*place, signatures[number], *score, 0.001))
            # The store's own calls, made for one score at a time, take ten times as long.
            store._db.executemany("INSERT OR IGNORE INTO score VALUES(?,?,?,?,?,?,?)", rows)


def _pixels(number: int) -> np.ndarray:
    """An image of its own for every number below 2^32."""
    pixels = np.full((SIDE, SIDE, 3), 128, np.uint8)
    pixels.reshape(-1)[:4] = np.frombuffer(struct.pack("<I", number), np.uint8)
    return pixels


def _png(pixels: np.ndarray) -> bytes:
    """The smallest encoder that there is: libraries take ten times as long for so small an image."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 1)),
        (b"IEND", b""),
    )
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + body


def main() -> None:
    """Make one and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--methods", type=int, default=10)
    parser.add_argument("--metrics", type=int, default=10)
    parser.add_argument("--flaws", action="store_true")
    given = parser.parse_args()
    start = time.process_time()
    make(given.folder.absolute(), given.items, given.methods, given.metrics, flaws=given.flaws)
    print(f"{given.items * given.methods * given.metrics} scores in {time.process_time() - start:.0f} s")


if __name__ == "__main__":
    main()
