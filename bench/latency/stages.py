"""Where the time of the whole job goes, from a file's bytes to a file's bytes, image by image.

Measured on its own, beside the pure `restore`: the sum of the stages is less than the whole, and the rest is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from bench.data.images import decode_bytes, encode_png
from bench.latency.clocks import Clock
from bench.methods.pixels import as_input, quantised
from bench.suite.setting import STAGES


def split(
    restore: Callable[[Any], Any], files: list[bytes], device: str, quantise: str, clock: Clock, repeats: int
) -> dict[str, float]:
    """Median nanoseconds per image and stage, and of the `whole`. `files`: PNG bytes of one batch, all of one size."""
    import torch

    rows: list[dict[str, float]] = []
    quantised(as_input([decode_bytes(encode_png(decode_bytes(files[0], "generated")), "generated")])[0], quantise)
    # What is imported at a first use is no image's time.
    for _ in range(repeats):
        spent = dict.fromkeys(STAGES, 0.0)

        @contextmanager
        def stage(name: str, spent: dict[str, float] = spent) -> Iterator[None]:
            start = time.perf_counter_ns()
            yield
            spent[name] += time.perf_counter_ns() - start

        clock.wait()
        start = time.perf_counter_ns()
        with stage("decode"):
            pixels = [decode_bytes(file, "generated") for file in files]
        with stage("preprocess"):
            planes = as_input(pixels)
        with stage("transfer"):
            images = torch.from_numpy(planes).to(device)
            clock.wait()
        with stage("model"):
            output = restore(images)
            clock.wait()
        with stage("transfer"):
            outputs = output.float().cpu().numpy()
        with stage("postprocess"):
            finished = [quantised(one, quantise)[0] for one in outputs]
        with stage("encode"):
            for one in finished:
                if one is not None and one.dtype == np.uint8:
                    encode_png(one)
        whole = time.perf_counter_ns() - start
        rows.append({**spent, "untracked": whole - sum(spent.values()), "whole": whole})
    return {name: float(np.median([row[name] for row in rows])) / len(files) for name in (*STAGES, "whole")}
