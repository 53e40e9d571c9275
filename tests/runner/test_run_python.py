"""The harness as functions: `bench.run`, `score`, `load_method`, `load_results`, `register_method`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from support.workplace import Workplace


def said(workplace: Workplace, program: str) -> object:
    """What a Python program prints as JSON."""
    done = workplace.python(f"import json, bench\n{program}")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_run_does_what_the_command_does_and_resumes(workplace: Workplace) -> None:
    workplace.pairs(4)
    workplace.suite("[identity, gamma]", "[psnr, ssim]")
    program = (
        "one = bench.run('suite.yaml')\n"
        "two = bench.run('suite.yaml')\n"
        "print(json.dumps([one.run, one.suite, one.units, one.worked, one.failed, two.run, two.worked]))"
    )
    assert said(workplace, program) == [1, "suite", 8, 8, 0, 1, 0]
    again = workplace.bench("run", "suite.yaml")
    assert "0 worked on" in again.err and again.out.count("4/4") == 2


def test_run_takes_a_part_of_a_suite(workplace: Workplace) -> None:
    workplace.pairs(4)
    workplace.suite("[identity, gamma]")
    program = "print(json.dumps(bench.run('suite.yaml', methods=['gamma'], limit=2, results='part', batch=2).units))"
    assert said(workplace, program) == 2
    assert (workplace.root / "part/bench.db").is_file() and not workplace.results.exists()


def test_a_wrong_request_is_a_bench_error(workplace: Workplace) -> None:
    workplace.pairs(1)
    workplace.suite("[gama]")
    program = (
        "try:\n    bench.run('suite.yaml')\nexcept bench.BenchError as error:\n    print(json.dumps(str(error)))\n"
    )
    assert "did you mean 'gamma'?" in str(said(workplace, program))


def test_load_results_is_one_row_per_item_and_metric(workplace: Workplace) -> None:
    workplace.pairs(3)
    (workplace.root / "data/low/001.png").write_bytes(b"")
    workplace.bench("run", workplace.suite("[identity, gamma]", "[psnr, ssim, psnr-pooled]"))
    for place in ("results/bench.db", "results"):
        columns, rows = said(  # type: ignore[misc]
            workplace,
            f"frame = bench.load_results('{place}', 'suite')\n"
            "print(json.dumps([list(frame), json.loads(frame.to_json(orient='values'))]))",
        )
        rows = [dict(zip(columns, row, strict=True)) for row in rows]
        assert len(rows) == 2 * (3 + 3 + 1)
        assert columns[:7] == ["run", "suite", "dataset", "method", "item", "repeat", "metric"]
        missing = [row for row in rows if row["item"] == "001"]
        assert len(missing) == 4 and all(row["value"] is None and row["status"] == "input" for row in missing)


def test_load_method_restores_tensors(workplace: Workplace) -> None:
    program = (
        "import torch\n"
        "method = bench.load_method('gamma', gamma=0.5)\n"
        "output = method.restore(torch.full((2, 3, 5, 7), 0.25))\n"
        "print(json.dumps([list(output.shape), str(output.dtype), float(output.min()), float(output.max())]))"
    )
    shape, dtype, low, high = said(workplace, program)  # type: ignore[misc]
    assert (shape, dtype) == ([2, 3, 5, 7], "torch.float32")
    assert (low, high) == (pytest.approx(0.5, abs=1e-6), pytest.approx(0.5, abs=1e-6))


def test_a_registered_method_can_be_named_in_a_suite(workplace: Workplace) -> None:
    workplace.pairs(2)
    workplace.suite("[mine, {method: mine, options: {gain: 3.0}, label: triple}]", "[psnr]")
    program = (
        "import torch\n"
        "from bench.methods.module import from_module\n"
        "class Gain(torch.nn.Module):\n"
        "    def __init__(self, gain):\n"
        "        super().__init__()\n"
        "        self.gain = gain\n"
        "    def forward(self, images):\n"
        "        return images * self.gain\n"
        "bench.register_method('mine', lambda gain=2.0: from_module(Gain(gain), name='mine'))\n"
        "summary = bench.run('suite.yaml')\n"
        "frame = bench.load_results('results')\n"
        "print(json.dumps([summary.failed, sorted(frame['method'].unique()), list(frame['value'])]))"
    )
    failed, methods, values = said(workplace, program)  # type: ignore[misc]
    assert failed == 0 and methods == ["mine", "triple"]
    low, high = (
        np.asarray(Image.open(workplace.root / "data" / kind / "000.png")).astype(float) for kind in ("low", "high")
    )
    expected = -10 * np.log10(np.mean((np.clip(low * 2, 0, 255) / 255 - high / 255) ** 2))
    assert values[0] == pytest.approx(expected, abs=1e-9)
    assert said(workplace, program) == [failed, methods, values] and workplace.count("restoration") == 4


def test_load_method_refuses_what_it_does_not_know(workplace: Workplace) -> None:
    for call, words in (("'gama'", "did you mean 'gamma'?"), ("'gamma', gama=1", "did you mean 'gamma'?")):
        attempt = f"try:\n    bench.load_method({call})\n"
        program = attempt + "except bench.BenchError as error:\n    print(json.dumps(str(error)))\n"
        assert words in str(said(workplace, program))


@pytest.mark.parametrize("protocol", ["recommended/rgb", "basicsr/y-crop4", "hvi-cidnet/lol-v1"])
def test_score_and_run_give_equal_values_for_the_same_pixels(workplace: Workplace, protocol: str) -> None:
    workplace.pairs(5, (48, 56))
    job = workplace.suite("[gamma, clahe]", "[psnr, ssim, psnr-pooled]", more=f"protocol: {protocol}")
    assert workplace.bench("run", job).code == 0
    assert workplace.bench("export", "--images", "laid").code == 0
    stored = {(row["method"], row["item"], row["metric"]): row for row in workplace.export()}
    assert len(stored) == 2 * (5 + 5 + 1)
    for method in ("gamma", "clahe"):
        program = (
            f"frame = bench.score('laid/mine/{method}', 'data/high', metrics=['psnr', 'ssim', 'psnr-pooled'], "
            f"protocol='{protocol}')\n"
            "print(json.dumps(frame.to_dict('records')))"
        )
        done = workplace.bench(
            "score", f"laid/mine/{method}", "--reference", "data/high", "--metric", "psnr,ssim,psnr-pooled",
            "--protocol", protocol, "--format", "json",
        )  # fmt: skip
        assert done.code == 0, done.err
        for rows in (said(workplace, program), json.loads(done.out)):
            assert len(rows) == 11  # type: ignore[arg-type]
            for row in rows:  # type: ignore[attr-defined]
                same = stored[method, row["item"], row["metric"]]
                assert (row["value"], row["signature"], row["status"]) == (same["value"], same["signature"], "ok")


def test_importing_the_package_imports_nothing_heavy(workplace: Workplace) -> None:
    """In a fresh interpreter."""
    import subprocess
    import sys

    heavy = ("torch", "cv2", "pandas", "pyiqa", "scipy", "skimage", "datasets")
    program = f"import sys, bench, bench.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=workplace.root, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
