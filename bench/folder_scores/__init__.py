"""Score folders of images: pair by id, score in parallel, one row per item and metric.

Touches no store and remembers nothing; for the same pixels its values equal those of `bench run`, which calls the same
`Scorer`. Several folders against the same references are compared as the methods of a run are (`comparison`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from bench.data.folder import paired
from bench.data.images import FileSource
from bench.data.items import Dataset
from bench.data.lossy import note
from bench.errors import BenchError
from bench.folder_scores.asked import Asked, MetricSpec, ask, parse_spec, split_specs
from bench.folder_scores.scoring import Row, exit_code, run
from bench.folder_scores.text import render

__all__ = [
    "Asked", "MetricSpec", "Row", "ask", "exit_code", "footnotes", "missing", "pairs", "parse_spec", "render", "run",
    "score", "split_specs",
]  # fmt: skip


def score(
    restored: str | os.PathLike[str],
    reference: str | os.PathLike[str] | None = None,
    metrics: Sequence[MetricSpec] = ("psnr", "ssim"),
    protocol: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    advance: Callable[[int], object] | None = None,
    subset: bool = False,
    timeout: float | None = None,
) -> list[Row]:
    """Rows of all items, in the order of their ids, then one row per set metric.

    `restored`, `reference`: a folder, a file or a glob pattern. `protocol`: a name, `recommended/rgb` for None.
    `threads`: images at once, by default the processor's cores. `advance` is called with 1 after each image. `subset`:
    a reference without an output is left out and no failure; so it is where `restored` names one file. `timeout`:
    seconds that a metric which is not ours may take for an image. Raises `BenchError` for a request that cannot be
    carried out; an image that fails is a row.
    """
    asked = ask(metrics, protocol)
    dataset = pairs(restored, reference, asked, subset=subset)
    return list(run(asked, dataset, device=device, threads=threads, advance=advance, timeout=timeout))


def pairs(
    restored: str | os.PathLike[str],
    reference: str | os.PathLike[str] | None,
    asked: Sequence[Asked],
    *,
    id: str | None = None,
    pattern: str | None = None,
    subset: bool = False,
) -> Dataset:
    """The items of a request; `id` is a regular expression whose groups are the ids of both sides, `pattern` says what
    stands around the id in the names of the restored images, such as `{id}_out`.

    Raises `BenchError` when every metric would need a reference that is not given.
    """
    if reference is None and all(one.metric.mode == "FR" for one in asked):
        names = ", ".join(one.label for one in asked)
        raise BenchError(
            f"{names}: compares with a reference: add --reference FOLDER, or ask for a no-reference metric"
        )
    if id is not None and pattern is not None:
        raise BenchError("an id is given by an expression for both sides or by a pattern for the outputs, not by both")
    return paired(restored, reference, None, id=id, pattern=pattern, subset=subset)


def missing(dataset: Dataset) -> int:
    """References that have no output."""
    return sum(item.lq is None and item.gt is not None for item in dataset.items)


def footnotes(dataset: Dataset) -> list[str]:
    """What belongs below the numbers of these files."""
    files = [item.lq.path for item in dataset.items if isinstance(item.lq, FileSource)]
    line = note(files)
    return [] if line is None else [line]
