"""One run however it is carried out: killed and taken up again, in parts of a batch, by several processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from iqpir.training.engine import train
from iqpir.training.settings import AutoencoderSettings, load
from iqpir.training.stages import make_stage

RATE = 1e-3
NETWORK = {
    # Two channels to a group: with one, biases before a norm have no gradient but rounding, which Adam makes a step of.
    "image_size": 16, "channels": 8, "groups": 4, "multipliers": [1, 2], "blocks": 1, "attention_sizes": [],
    "latent_channels": 8, "codebook": 16, "hq_codebook": 16, "connect": [16],
}  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "photographs").mkdir()
    for seed in range(8):
        rough = np.random.default_rng(seed).integers(30, 220, (5, 5, 3)).astype(np.uint8)
        image = cv2.resize(rough, (24, 24), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(tmp_path / "photographs" / f"{seed}.png"), image)
    settings = {
        "changes": NETWORK, "steps": 6, "batch": 2, "rate": RATE, "save_every": 2, "sample_every": 6, "log_every": 1,
        "held_out": 2, "ema": 0.5, "data": {"source": "photographs", "flawed": 0.5, "workers": 1},
    }  # fmt: skip
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def settings(config: Path, **changes: Any) -> AutoencoderSettings:
    found = load("autoencoder", config)
    return AutoencoderSettings.from_dict({**found.as_dict(), **changes})


def started(code: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    """A process of its own, on one thread."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip


KILLED = """
import os, signal, sys
import torch
from iqpir.cli import main
from iqpir import files
from iqpir.training import stages

torch.set_num_threads(1)
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[3] == "step":  # in the fifth step, after the fourth was saved
    losses = stages.AutoencoderStage.losses
    stages.AutoencoderStage.losses = lambda self, player, batch, step: (
        die() if step == 4 else losses(self, player, batch, step)
    )
else:  # while the fourth is saved: its tensors are written, and nothing names them yet
    write = files.write
    files.write = lambda path, content: (
        die() if path.name == "state.json" and '"step": 4' in content else write(path, content)
    )
main(["train", "autoencoder", sys.argv[1], "-o", sys.argv[2]])
"""


def test_a_run_that_was_killed_ends_with_the_weights_of_one_that_was_not(config):
    root = config.parent
    processes = {where: started(KILLED, config, root / where, where) for where in ("step", "save")}
    train(make_stage(settings(config), root), root / "whole")
    whole = load_file(root / "whole/state-6.safetensors")
    for where, process in processes.items():
        output, _ = process.communicate(timeout=1200)
        assert process.returncode == -signal.SIGKILL, output
        assert json.loads((root / where / "state.json").read_text())["step"] == {"step": 4, "save": 2}[where]
        assert (root / where / "state-4.safetensors").is_file()
        done = train(make_stage(settings(config), root), root / where)
        state = load_file(root / where / "state-6.safetensors")
        assert done.steps == 6 and state.keys() == whole.keys()
        assert all(torch.equal(state[name], whole[name]) for name in whole)
        assert (root / where / "losses.csv").read_text() == (root / "whole/losses.csv").read_text()
        assert [path.name for path in (root / where).glob("state-*")] == ["state-6.safetensors"]


def assert_equal_but_for_rounding(state: dict[str, torch.Tensor], whole: dict[str, torch.Tensor], steps: int) -> None:
    """The optimisers' mean gradients to 1e-4 of each tensor's largest; weights to 1e-5.

    Adam divides a gradient by its own size, so it makes whole steps of what is rounding alone: the bias of attention's
    keys, of which the softmax takes no notice.
    """
    for name, value in whole.items():
        found = state[name]
        if name.endswith("exp_avg"):
            torch.testing.assert_close(found, value, rtol=0, atol=1e-4 * float(value.abs().max()) + 1e-8, msg=name)
        elif name.startswith("network/module/") and not name.endswith(".k.bias"):
            torch.testing.assert_close(found, value, rtol=0, atol=1e-5, msg=name)
        elif name.endswith(".k.bias"):
            assert float((found - value).abs().max()) <= 2 * steps * RATE


@pytest.mark.parametrize("accumulate", [2, 4])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(config, accumulate):
    root = config.parent
    for number in (1, accumulate):
        each = settings(config, batch=4, steps=3, accumulate=number)
        train(make_stage(each, root), root / str(number))
    parts, whole = (load_file(root / str(number) / "state-3.safetensors") for number in (accumulate, 1))
    assert_equal_but_for_rounding(parts, whole, 3)


RANKED = """
import os, sys
from dataclasses import replace
from pathlib import Path
import torch
from safetensors.torch import save_file
from iqpir.training.engine import train
from iqpir.training.settings import load
from iqpir.training.stages import make_stage

torch.set_num_threads(1)
config, folder = (Path(each) for each in sys.argv[1:])
found = {}
for name, changes in (("plain", {"steps": 3}), ("revived", {"steps": 2, "revive": 2})):
    stage = make_stage(replace(load("autoencoder", config), **changes), folder / name)
    train(stage, folder / name)
    found |= {f"{name}/{key}": value.contiguous() for key, value in stage.averaged.state_dict().items()}
save_file(found, folder / f"rank-{os.environ['RANK']}.safetensors")
torch.distributed.destroy_process_group()
"""


def test_two_processes_are_one_with_twice_the_batch(config):
    """Ranks agree bit for bit, also after codes were moved by chance; with one process but for rounding."""
    root = config.parent
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = [
        started(
            RANKED, config, root / "two", RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", LOCAL_WORLD_SIZE="2",
            MASTER_ADDR="127.0.0.1", MASTER_PORT=port,
        )
        for rank in range(2)
    ]  # fmt: skip
    train(make_stage(settings(config, batch=4, steps=3), root), root / "one")
    for process in processes:
        output, _ = process.communicate(timeout=1200)
        assert process.returncode == 0, output
    ranks = [load_file(root / "two" / f"rank-{rank}.safetensors") for rank in range(2)]
    assert all(torch.equal(ranks[0][name], ranks[1][name]) for name in ranks[0])
    two, one = (load_file(root / where / "state-3.safetensors") for where in ("two/plain", "one"))
    assert_equal_but_for_rounding(two, one, 3)
