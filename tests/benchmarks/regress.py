"""Hold the newest stored benchmarks against the first that were stored on the same machine: `tox -e benchmarks`.

    python tests/benchmarks/regress.py [.benchmarks] [--limit 1.15]

Reads what `pytest --benchmark-autosave --benchmark-save-data` wrote. Exit code 1 where the whole 95 % bootstrap
interval of a ratio of medians lies above the limit; one that reaches across it is inconclusive and fails nothing, as is
one beside which the machine itself was another 10 % slower or faster.
The first run is the base, so that many small losses add up to one that is seen; delete its file to begin anew.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

LIMIT = 1.15
LEAST = 5
"""Rounds below which nothing is concluded."""
STEADY = 1.1
"""How much slower or faster the machine itself may have been beside a benchmark; beyond it nothing is concluded."""
RESAMPLES = 2000
SEED = 12345
_SAME = ("system", "machine", "python_implementation", "python_version")
_SAME_CPU = ("brand_raw", "count", "arch")


class Verdict(NamedTuple):
    """One benchmark now, against before."""

    name: str
    word: str
    """slower, faster, same or inconclusive."""
    ratio: float
    low: float
    high: float
    rounds: tuple[int, int]
    machine: float = 1.0
    """The machine's own time for a fixed piece of work beside the benchmark, now over before."""


def machine(run: dict[str, Any]) -> tuple[Any, ...]:
    """What has to be equal for two runs to be compared."""
    told = run["machine_info"]
    return (*(told.get(key) for key in _SAME), *(told.get("cpu", {}).get(key) for key in _SAME_CPU))


def judge(name: str, before: np.ndarray, now: np.ndarray, limit: float = LIMIT) -> Verdict:
    """By medians of rounds, drawn again from each run on its own: rounds of two runs are no pairs."""
    drawn = np.random.Generator(np.random.PCG64(SEED))

    def medians(rounds: np.ndarray) -> np.ndarray:
        some = rounds if rounds.size <= 2000 else drawn.choice(rounds, 2000, replace=False)
        return np.median(some[drawn.integers(0, some.size, (RESAMPLES, some.size))], axis=1)

    low, high = np.quantile(medians(now) / medians(before), [0.025, 0.975])
    if min(before.size, now.size) < LEAST:
        word = "inconclusive"
    elif low > limit:
        word = "slower"
    elif high < 1 / limit:
        word = "faster"
    else:
        word = "same" if low > 1 / limit and high < limit else "inconclusive"
    ratio = float(np.median(now) / np.median(before))
    return Verdict(name, word, ratio, float(low), float(high), (before.size, now.size))


def compare(before: dict[str, Any], now: dict[str, Any], limit: float = LIMIT) -> list[Verdict]:
    """Every benchmark that both runs have."""
    base = {one["fullname"]: one for one in before["benchmarks"]}
    found = []
    for one in (one for one in now["benchmarks"] if one["fullname"] in base):
        first = base[one["fullname"]]
        verdict = judge(one["fullname"], np.array(first["stats"]["data"]), np.array(one["stats"]["data"]), limit)
        fixed = [run.get("extra_info", {}).get("calibration") for run in (first, one)]
        if all(fixed):
            own = float(np.median(fixed[1]) / np.median(fixed[0]))
            unsteady = not 1 / STEADY < own < STEADY
            verdict = verdict._replace(machine=own, word="inconclusive" if unsteady else verdict.word)
        found.append(verdict)
    return found


def main(arguments: list[str]) -> int:
    """Exit code 0: nothing is slower; 1: something is; 2: there is nothing to read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default=".benchmarks", type=Path)
    parser.add_argument("--limit", type=float, default=LIMIT)
    given = parser.parse_args(arguments)
    files = sorted(given.folder.glob("*/[0-9]*.json"), key=lambda path: path.name)
    if not files:
        print(f"no stored benchmarks in {given.folder}: pytest --benchmark-autosave --benchmark-save-data writes them")
        return 2
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    alike = [index for index, run in enumerate(runs[:-1]) if machine(run) == machine(runs[-1])]
    if not alike:
        print(f"{files[-1]} is the first run on this machine: later ones are held against it")
        return 0
    verdicts = compare(runs[alike[0]], runs[-1], given.limit)
    print(f"{files[-1].name} against {files[alike[0]].name}, medians, 95 % bootstrap interval, limit {given.limit:g}")
    for one in sorted(verdicts, key=lambda one: -one.ratio):
        line = f"{one.word:12} {one.ratio:6.3f} [{one.low:.3f}, {one.high:.3f}]  {one.name}  rounds {one.rounds}"
        print(f"{line}, machine {one.machine:.2f}")
    gone = {one["fullname"] for one in runs[alike[0]]["benchmarks"]} - {one.name for one in verdicts}
    for name in sorted(gone):
        print(f"gone         {name}")
    return int(any(one.word == "slower" for one in verdicts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
