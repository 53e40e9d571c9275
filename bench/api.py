"""The Python face of the harness: what the commands do, as functions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.errors import BenchError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from bench.methods.base import Method
    from bench.runner.driver import Summary


def run(
    suite: str,
    *,
    methods: Sequence[str] = (),
    datasets: Sequence[str] = (),
    limit: int | None = None,
    device: str = "cpu",
    batch: int = 1,
    workers: int | None = None,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    cpus_per_worker: int | None = None,
    gpus_per_worker: float | None = None,
    timeout: float | None = None,
    plugins: Sequence[str | Path] = (),
    results: str | Path | None = None,
    available: bool = False,
    allow_commands: bool = False,
    fresh: bool = False,
    shard: str | None = None,
    keep_outputs: Literal["all", "failed", "none"] = "all",
    progress: bool = False,
) -> Summary:
    """Run a suite (path or name) as `bench run` does; running again resumes, with `fresh` it computes all anew.

    Methods registered with `register_method` can be named in the suite, with one worker and no `timeout`; those of
    `plugins`, files that register them, with any. `timeout` is in seconds, for one image or one loading.
    `shard`, such as "1/4", is the part of the work to do; `keep_outputs` says which outputs stay on disk once scored.
    `engine="ray"` works on the cluster at `address`, or on one that this process has joined by `ray.init`.
    Returns the counts that the command turns into its exit code. Raises `BenchError` when the request itself is wrong.
    """
    from bench.planning.plan import Shard
    from bench.runner.request import Request, cluster_of
    from bench.runner.steps import run as run_request

    cluster = cluster_of(engine, device, address, cpus_per_worker, gpus_per_worker)
    request = Request(
        suite=str(suite), methods=tuple(methods), datasets=tuple(datasets), limit=limit, device=device, batch=batch,
        workers=workers or (1 if cluster is None else 0), cluster=cluster,
        results=None if results is None else str(results), available=available,
        allow_commands=allow_commands, timeout=timeout, plugins=tuple(str(plugin) for plugin in plugins), fresh=fresh,
        shard=None if shard is None else Shard.parse(shard), keep=keep_outputs,
    )  # fmt: skip
    if not progress:
        return run_request(request)
    from bench.progress import bar

    with bar("units") as shown:
        return run_request(request, shown)


def score(
    restored: str | Path | Sequence[str | Path],
    reference: str | Path | None = None,
    *,
    metrics: Sequence[str] = ("psnr", "ssim"),
    protocol: str | None = None,
    device: str = "cpu",
    subset: bool = False,
    id: str | None = None,
    pattern: str | None = None,
) -> pd.DataFrame:
    """Score any folder of images: one row per item and metric. Touches no store.

    Of several folders, or a pattern that only folders match, the column `method` says which one a row is of. `id` is a
    regular expression with a group for the ids of both sides, `pattern` says how outputs are named, such as `{id}_out`;
    without them it is found out. A reference without an image is a row that failed; with `subset` it is left out.
    """
    import pandas as pd

    from bench import folder_scores
    from bench.folder_scores import comparison

    named = [restored] if isinstance(restored, str | Path) else list(restored)
    for one in (*named, *([] if reference is None else [reference])):
        if not isinstance(one, str | Path):
            raise BenchError(
                f"bench.score takes folders by their names, not {type(one).__name__}: save the images first"
            )
    given = [str(one) for one in named]
    asked = folder_scores.ask(list(metrics), protocol)
    several = comparison.folders(given)
    against = None if reference is None else str(reference)
    if not several:
        dataset = folder_scores.pairs(given[0], against, asked, id=id, pattern=pattern, subset=subset)
        return pd.DataFrame(list(folder_scores.run(asked, dataset, device=device)))
    found = comparison.compare(asked, several, against, id=id, pattern=pattern, subset=subset, device=device)
    return pd.DataFrame([{"method": one.folder.label, **row} for one in found for row in one.rows])


def load_method(name: str, *, device: str = "cpu", dtype: str = "float32", **options: Any) -> Method:
    """A method by its catalogue name, loaded: `.restore(images)` takes float32 RGB [B,3,H,W] in [0,1].

    Raises `BenchError` for an unknown name or option, `MissingFile` when its weights are not fetched.
    """
    from bench.catalog.registry import registry
    from bench.methods.base import Method
    from bench.methods.build import build_method

    method = build_method(registry("method").get(name), options, None)
    if not isinstance(method, Method):
        raise BenchError(f"method {name!r} reads outputs from disk; there is nothing to load")
    method.load(device, dtype)
    return method


def register_method(name: str, factory: Callable[..., Any]) -> None:
    """Make `factory(**options) → Method` known under a name, for suites run by this process.

    What is registered by a running program is in no other process, so it runs in this one, as a metric does that
    `bench.catalog.registry.registry("metric").register` adds: an exception or `os._exit` becomes its row, but a crash
    of native code or an endless loop takes the program with it. Registered in a file of its own and named in `plugins`
    (`--plugin`), or brought by an installed package, it runs apart, and a crash is a row too.

    `bench.methods.module.from_module` wraps any torch module:
    `register_method("mine", lambda: from_module(MyNet()))`.
    """
    from bench.catalog.registry import registry

    caller = sys._getframe(1)  # `inspect.stack` would read the source of every frame, which takes a tenth of a second
    place = f"{Path(caller.f_code.co_filename).name}:{caller.f_lineno}"
    registry("method").register(name, factory, f"registered at {place}")


def load_results(path: str | Path = "results/bench.db", run: str | int | None = None) -> pd.DataFrame:
    """A run as a long-form DataFrame, one row per item and metric (columns and types: `bench.results.view.DTYPES`).

    `path` is the database or its folder; `run` a run number or a suite, None for the newest of all.
    """
    from bench.results.store import FILE_NAME, Store
    from bench.results.view import load

    given = Path(path)
    folder = given.parent if given.name == FILE_NAME else given
    with Store.reading(folder) as store:
        return load(store, None if run is None else str(run))


def compare(base: str | int | Summary, head: str | int | Summary, *, results: str | Path | None = None) -> pd.DataFrame:
    """Two runs cell by cell, as `bench compare`: a row per dataset, method and metric.

    A run is a number, a suite (its newest run), `DIR:RUN`, a baseline file, or what `bench.run` returned. Columns:
    dataset, method, metric, base, head, difference, low and high (of its 95 % interval), p (paired randomisation
    test), n (items of the test), verdict, detail; low, high, p and n are missing where nothing was tested. Raises
    `BenchError` where the two have no number in common.
    """
    import pandas as pd

    from bench.gate import arguments
    from bench.tables import compare as tables

    folder = None if results is None else str(results)
    sides = [arguments.of(_named(one), folder) for one in (base, head)]
    changes = tables.changes(sides[0].cells, sides[1].cells)
    if not any(change.compared for change in changes):
        raise BenchError(f"{sides[0].name} and {sides[1].name}: {tables.why_nothing(changes)}")
    rows = []
    for change in changes:
        test = change.test
        found = (None,) * 4 if test is None else (*test.interval, test.p_randomisation, test.n)
        rows.append((*change[:3], change.base, change.head, change.difference, *found, change.verdict, change.detail))
    names = ["dataset", "method", "metric", "base", "head", "difference", "low", "high", "p", "n", "verdict", "detail"]
    return pd.DataFrame(rows, columns=names)


def figure(
    kind: str, run: str | int | Summary | None = None, *, datasets: Sequence[str] = (), methods: Sequence[str] = (),
    metrics: Sequence[str] = (), items: Sequence[str] = (), count: int = 2, option: str | None = None,
    width: str = "page", output: str | Path | None = None, results: str | Path | None = None,
) -> Figure:  # fmt: skip
    """A run drawn for a paper, as `bench figure`: grid, distribution, sweep, pareto, rounds or ascent, of matplotlib.

    `output` also writes it (.pdf, .png or .svg). The other options are the command's. Raises `BenchError`.
    """
    from bench import paths
    from bench.report import drawing
    from iqpir.console import say

    folder = run.results if isinstance(run, _summary()) else paths.results(None if results is None else str(results))
    asked = drawing.Asked(
        kind, tuple(datasets), tuple(methods), tuple(metrics), tuple(items), count, option=option, width=width
    )
    number = str(run.run) if isinstance(run, _summary()) else None if run is None else str(run)
    return drawing.draw(asked, number, Path(folder), None if output is None else Path(output), note=say)


def _summary() -> type[Summary]:
    from bench.runner.driver import Summary

    return Summary


def _named(run: str | int | Summary) -> str:
    """A run as commands name it, with its results folder where it knows it."""
    return f"{run.results}:{run.run}" if isinstance(run, _summary()) else str(run)
