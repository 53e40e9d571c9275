"""`bench baseline`: write down what a run gave, for `bench check` to hold later runs against."""

from __future__ import annotations

import click

from bench.cli import names, options
from iqpir.console import say


@click.command(
    epilog="""\b
    bench baseline quickstart                  results/baselines/quickstart.json, for bench check
    bench baseline mine -o ci/numbers.json     where a repository keeps it"""
)
@click.argument("suite", metavar="SUITE|RUN", shell_complete=names.suites)
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="File (results/baselines/SUITE.json).")
@click.option("--allow-incomplete", is_flag=True, help="Write down a run that has failures, and them too.")
@options.results
def command(suite: str, output: str | None, allow_incomplete: bool, results: str | None) -> int:
    """Write the newest run of a suite as a baseline: values, signatures, hashes of images, times.

    Its section `tolerances` is yours to edit, and kept when the file is written again.
    """
    from pathlib import Path

    from bench.errors import BenchError
    from bench.gate import arguments, baseline
    from bench.results import view

    side = arguments.complete_run(suite, results)
    assert side.run is not None
    failed = view.failures(side.run).failed
    if failed and not allow_incomplete:
        first = next(cell for cell in side.run.cells if not cell.complete and cell.status not in ("n/a", "unavailable"))
        raise BenchError(
            f"{side.name} of {side.snapshot.suite} has {failed} failures, the first {first.method} on {first.dataset}: "
            f"{first.reason}; --allow-incomplete writes it down all the same"
        )
    file = Path(output) if output is not None else baseline.default(side.snapshot.suite, results)
    written = baseline.write(side.snapshot, file)
    values = sum(
        value.number is not None
        for dataset in written.datasets.values() for method in dataset.methods.values()
        for value in method.values.values()
    )  # fmt: skip
    times = len(written.timings)
    say(f"{file}: {values} values and {times} times of {side.name} of {written.suite}")
    return 0
