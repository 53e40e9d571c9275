"""What every method of ours puts out for one picture, in a few numbers; running this file stores them.

Classical methods run as the catalogue has them, networks with weights made of sines in float64, RAR's system with such
weights in float32; a chain is told that everything was done, and what comes with the package has its own weights.
Stored beside each is what stands for its code in keys (tests/golden/fingerprints.json).
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.catalog.registry import Entry, registry
from bench.identity import canonical
from bench.methods.base import ToldMethod
from bench.methods.build import build_method
from iqpir.rar.kinds import DEGRADATIONS
from support.networks import make_official, picture
from support.rar import saved, waves

STORED = Path(__file__).parents[1] / "golden/fingerprints.json"
METHODS = [
    entry
    for entry in registry("method")
    if entry.fields["kind"] == "classical"
    or (entry.fields["kind"] == "network" and entry.fields.get("status") == "runs")
    or entry.fields["kind"] in ("rar", "chain", "agent")
    or entry.name in ("iqpir-tiny", "iat+", "iat-finetuned")
]
ROUNDS = {
    "rar": {"adaptive": False, "rounds": 2, "hidden": 0.0},
    "tool-agent": {"verify": False, "severity": "very low", "rounds": 3},
}
"""Options under which something is done, whatever an assessor of sines may think of it."""
_SAMPLES = 24


def fingerprint(entry: Entry, home: Path) -> dict[str, Any]:
    """`code`, and `values`: mean, deviation and some pixels of the output. `home`: where weight files are made."""
    os.environ["BENCH_HOME"] = str(home)
    network = entry.fields["kind"] == "network"
    options = {**ROUNDS[entry.name], "weights": str(saved(waves(), home))} if entry.name in ROUNDS else {}
    method = build_method(make_official(entry.name, home) if network else entry, options, None)
    identity = method.identity()
    method.load("cpu", "float64" if network else "float32")
    least = max(int(entry.fields.get("min_size", 1)), 32)
    with torch.inference_mode():
        given, seeds = picture(least + 1, least + 9, 0.3), torch.tensor([7])
        if isinstance(method, ToldMethod):
            output = method.restore_told(given, [DEGRADATIONS], seeds)[0].double().numpy()
        else:
            output = method.restore(given, seeds)[0].double().numpy()
    flat = output.reshape(-1)
    places = np.linspace(0, flat.size - 1, _SAMPLES).astype(int)
    values = [flat.mean(), flat.std(), *flat[places]]
    return {"code": code_of(identity), "values": [round(float(value), 7) for value in values]}


def code_of(identity: Mapping[str, Any]) -> str:
    """Digest of the versions of our own modules, and of what they are called in keys."""
    told = [identity.get("target"), identity["sources"]]
    for kind, tools in identity.get("tools", {}).items():
        told.append([kind, [[name, tool["target"], tool["options"], tool["sources"]] for name, tool in tools]])
    return hashlib.sha256(canonical(told).encode()).hexdigest()[:16]


def stored() -> Mapping[str, Any]:
    return dict(json.loads(STORED.read_text(encoding="utf-8")))


def _all() -> Iterator[tuple[str, dict[str, Any]]]:
    for entry in METHODS:
        with tempfile.TemporaryDirectory() as home:
            yield entry.name, fingerprint(entry, Path(home))


if __name__ == "__main__":
    lines = [f"{json.dumps(name)}: {json.dumps(found)}" for name, found in _all()]
    STORED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
