"""What the training loop costs: `iqpir train restorer` against a plain loop over batches that lie ready in memory.

Both take the same steps of the same stage; the plain loop has no loader, no averaged weights, no record and no states.
The difference is the whole price of making images on the fly, and of everything that a run keeps. Start-up is in
neither time.

    python tests/benchmarks/train_vs_loop.py [--steps 40] [--rounds 3] [--config configs/tiny.yaml]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import torch

from iqpir.training.batch_loading import training_loader
from iqpir.training.engine import Report, train
from iqpir.training.settings import Common, load
from iqpir.training.stage_data import collate, paired
from iqpir.training.stages import make_stage


def main() -> None:
    """Print both times of each round, their ratio, and the share of time that steps waited for images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--config", type=Path, default=Path(__file__).parents[2] / "configs" / "tiny.yaml")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        steps = given.steps + WARM
        every = {"steps": steps, "log_every": WARM, "save_every": steps, "sample_every": steps, "held_out": 0}
        first = replace(load("autoencoder", given.config, root), **{**every, "steps": 1, "save_every": 1})
        train(make_stage(first, root / "autoencoder"), root / "autoencoder")
        settings = replace(load("restorer", given.config, root), **every)
        ratios = []
        for number in range(given.rounds):
            theirs = plain(settings, root / f"plain-{number}", given.steps)
            ours, waiting = engine(settings, root / f"engine-{number}", given.steps)
            ratios.append(ours / theirs)
            print(
                f"plain {theirs:6.2f} s   iqpir train {ours:6.2f} s   ratio {ratios[-1]:.3f}   waiting {waiting:.1%}",
                flush=True,
            )
    print(f"{given.steps} steps of {settings.batch}, {torch.get_num_threads()} threads: ", end="")
    print(f"median ratio {statistics.median(ratios):.3f}")


WARM = 5
"""Steps before the clock starts: workers fill their queues, memory is taken."""


def plain(settings: Common, folder: Path, steps: int) -> float:
    """Seconds of `steps` steps on batches in memory."""
    stage = make_stage(settings, folder)
    network = stage.averaged
    optimiser = torch.optim.Adam([each for each in network.parameters() if each.requires_grad], lr=settings.rate)
    samples = paired(settings.data, network.config.image_size, degraded=True)
    ready = [collate(raw, settings.data, torch.device("cpu")) for raw in training_loader(samples, settings.batch, 4)]
    start = 0.0
    for step, batch in enumerate(islice(cycle(ready), steps + WARM)):
        if step == WARM:
            start = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16"):
            loss = stage.losses("network", batch, step)["total"]
        loss.backward()
        if settings.clip is not None:
            torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
        optimiser.step()
    return time.perf_counter() - start


def engine(settings: Common, folder: Path, steps: int) -> tuple[float, float]:
    """Seconds of as many steps of the real loop, from its first report on, and its share of waiting."""
    times: list[float] = []

    def note(report: Report) -> None:
        times.append(time.perf_counter())

    done = train(make_stage(settings, folder), folder, report=note)
    return times[-1] - times[0], done.waiting


if __name__ == "__main__":
    main()
