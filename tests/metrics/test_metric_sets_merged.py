"""Values of whole sets whose images were worked on in parts: those of one whole run, to the last bit, in any order."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from support.toy_features import DIMENSIONS, command, photographs, suite

PARTS = 4
SETS = "fid, kid, {kid: {subsets: 3, size: 4}}, {fid: {ref: moments.npz}}, psnr-pooled"
ORDERS = ("1234", "4321", "3142")


def tables(capsys, results: str) -> tuple[str, list[dict]]:
    """For a reader, and with every digit."""
    found = []
    for style in ("markdown", "json"):
        code, out, err = command(capsys, "table", "--format", style, "--results", results)
        assert code == 0, err
        found.append(out)
    return found[0], json.loads(found[1])


def test_four_parts_in_any_order_are_the_sets_of_the_whole_run(toy, capsys):
    for folder, seed in (("a", 0), ("b", 1)):
        photographs(folder, 11, seed)
        for file in Path(folder).iterdir():  # PIQE needs some blocks of 16 pixels
            Image.open(file).resize((240, 200), Image.Resampling.BICUBIC).save(file)
    shutil.copyfile("a/01.png", "a/07.png")  # one output, held against two references of two parts
    shutil.copyfile("b/02.png", "b/05.png")
    Path("b/09.png").write_bytes(b"no image")
    np.savez("moments.npz", mu=np.zeros(DIMENSIONS), sigma=np.eye(DIMENSIONS))
    job = suite("one", f"[{SETS}, psnr, ssim, piqe, uciqe]", "[identity, gamma]")
    code, _, err = command(capsys, "run", job)
    assert code == 1, err
    whole = tables(capsys, "results")
    sets = [row for row in whole[1] if row["signature"].partition("|")[0] in ("fid", "kid", "psnr-pooled")]
    assert len(sets) == 10 and all(row["value"] is not None and row["n"] in (10, 11) for row in sets), sets
    assert len({row["value"] for row in sets}) == len(sets)
    for number in range(1, PARTS + 1):
        assert command(capsys, "run", job, "--shard", f"{number}/{PARTS}", "--results", f"part{number}")[0] in (0, 1)
    seen = toy.seen
    for order in ORDERS:
        code, _, err = command(capsys, "merge", *(f"part{number}" for number in order), "-o", order)
        assert code == 0 and "makes the values of whole sets" not in err, err
        assert tables(capsys, order) == whole
    assert toy.seen == seen, "what was extracted is not extracted again"
