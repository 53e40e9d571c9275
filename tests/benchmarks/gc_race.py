"""Collections and kills at many random moments: `python tests/benchmarks/gc_race.py [--races 200] [--kills 99]`.

Races: two overlapping suites at once on one results folder, with one worker and with two, and `bench gc` (`--keep 0`,
`--keep 1`, plain) after a random time. Kills: SIGKILL at random moments, a third each with one process, with two
workers, and with a collection beside; then the run is finished and every table and output is compared. The tests try
a few of the same (`tests/runner/test_run_gc.py`). Prints a line per kind; the first difference ends it.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import races
from support.workplace import Launcher, Workplace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--races", type=int, default=200)
    parser.add_argument("--kills", type=int, default=99)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no further trial after so long")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gc-race-") as folder:
        root = Path(folder)
        (root / "commands").mkdir()
        launcher = Launcher(root / "commands")
        try:
            _races(Workplace(root / "races", launcher), asked.races, asked.seed, time.monotonic() + asked.seconds)
            if asked.kills:
                _kills(Workplace(root / "kills", launcher), asked.kills, asked.seed)
        finally:
            launcher.close()


def _races(workplace: Workplace, count: int, seed: int, end: float) -> None:
    workplace.root.mkdir()
    job = races.prepare(workplace)
    draw = random.Random(seed)
    told: Counter[str] = Counter()
    for trial in range(count):
        if time.monotonic() > end:
            break
        keep, workers = races.KEEPS[trial % len(races.KEEPS)], 1 + trial // len(races.KEEPS) % 2
        outcome = races.race(workplace, job, draw.uniform(0, job.seconds * workers * 1.2), keep, workers)
        told.update(equal=outcome.equal, refused=outcome.refused, collected=outcome.collected, trials=1)
    print(
        f"{told['trials']} collections beside two runs: {told['equal']} tables as undisturbed, {told['refused']} runs "
        f"refused, {told['collected']} collections done, 0 outputs lost"
    )


def _kills(workplace: Workplace, count: int, seed: int) -> None:
    workplace.root.mkdir()
    job = races.prepare(workplace)
    draw = random.Random(seed)
    for kind in ("features", "workers", "gc"):
        killed = races.kills(workplace, job, count // 3, kind, draw)
        print(f"{killed} kills ({kind}): table and outputs byte-identical after resuming")


if __name__ == "__main__":
    main()
