"""A new method against generated images: does it keep the contract that every number relies on?

Says nothing about quality; a method that passes may still restore badly. `bench selftest METHOD` prints the result.
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bench.catalog.helper_process import Helper, Lost, patience
from bench.catalog.isolation import changes, exits_raised
from bench.catalog.plugins import load_plugins
from bench.catalog.registry import registry
from bench.catalog.rehearsal import rehearse
from bench.errors import BenchError, described, one_line
from bench.identity import canonical
from bench.machine import check_device
from bench.methods.base import Method, StoredMethod
from bench.methods.build import build_method
from bench.testing.checks import Broken, Result, Skipped, carry_out

if TYPE_CHECKING:
    from torch import Tensor

SIZES = ((64, 48), (33, 47), (7, 5), (1, 1))
TOLERANCE = {"float32": 1e-5, "bfloat16": 4e-2, "float16": 4e-3}
"""Largest difference between thread counts that counts as the same output, by dtype."""

_DEATHS = 3
"""After so many checks that did not come back, the others are not tried."""


@dataclass
class _Bench:
    """What every check gets: the loaded method, its input and a way to run it."""

    method: Method
    device: str
    dtype: str
    before: str
    """The method's identity before `load`."""

    @property
    def tolerance(self) -> float:
        return TOLERANCE.get(self.dtype, 1e-5)

    def image(self, height: int, width: int, seed: int = 0) -> Tensor:
        """A dark, noisy scene with edges and colours, float32 [1,3,H,W] in [0,1]."""
        import torch

        generator = torch.Generator().manual_seed(seed)
        y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
        scene = torch.stack([x, y, (x + y) / 2]) * 0.4 + ((x * 5).floor() + (y * 4).floor()) % 2 * 0.2
        noise = torch.randn(3, height, width, generator=generator) * 0.03
        # On the 8-bit grid, as images from files are.
        return ((scene + noise).clamp(0, 1) * 255).round().div(255)[None].to(self.device)

    def seeds(self, *values: int) -> Tensor | None:
        import torch

        return torch.tensor(values, dtype=torch.int64, device=self.device) if self.method.stochastic else None

    def restore(self, images: Tensor, *seeds: int) -> Tensor:
        """Restore and check what must hold of every output: type, dtype, shape."""
        import torch

        with torch.inference_mode():
            output = self.method.restore(images, self.seeds(*(seeds or range(len(images)))))
        if not isinstance(output, torch.Tensor):
            raise Broken(f"restore returned {type(output).__name__}, not a tensor")
        if output.dtype != torch.float32:
            raise Broken(f"output is {output.dtype}, not torch.float32")
        batch, _, height, width = images.shape
        box = self.method.valid_crop(height, width)
        if box is not None:
            if box.top < 0 or box.left < 0 or box.top + box.height > height or box.left + box.width > width:
                raise Broken(f"valid_crop {tuple(box)} leaves the {width}×{height} image")
            height, width = box.height, box.width
        expected = (batch, 3, height * self.method.scale, width * self.method.scale)
        if tuple(output.shape) != expected:
            raise Broken(
                f"{tuple(images.shape)} became {tuple(output.shape)}, not {expected} (scale {self.method.scale})"
            )
        if output.device.type != images.device.type:
            raise Broken(f"output is on {output.device}, the input on {images.device}")
        return output


def selftest(method: Method | StoredMethod, device: str = "cpu", dtype: str = "float32") -> list[Result]:
    """Run every check on a method that is not loaded yet; it is loaded on `device` in `dtype` and closed again.

    A check that the method refuses with an `ItemError` is skipped, with its reason. Raises `BenchError` where the
    request itself cannot be carried out (a missing weight file, a device that is not there).
    """
    if isinstance(method, StoredMethod):
        return [Result("restore", "skipped", "outputs are stored, nothing is restored")]
    bench = _prepared(method, device, dtype)
    if isinstance(bench, Result):
        return [bench]
    try:
        return [carry_out(name, _CHECKS[name], bench) for name in _CHECKS]
    finally:
        with exits_raised():
            method.close()


def selftest_named(
    name: str, device: str = "cpu", plugins: Sequence[str] = (), timeout: float | None = None
) -> list[Result]:
    """`selftest` of a method by name, in another process: what hangs or ends its process is a check that failed.

    `timeout`: seconds that loading or a check may take, never less than `LEAST_PATIENCE`. Raises `BenchError`.
    """
    asked = (name, device, tuple(plugins))
    rehearse(f"method {name!r}", _built, asked, plugins, timeout)
    limit = patience(timeout)
    with Helper(f"method {name!r}", _named, asked) as helper:
        try:
            unfit = helper.call(_unfit, timeout=limit)
        except Lost as lost:
            unfit = Result("load", "failed", lost.how)
        return [unfit] if unfit is not None else _run_apart(helper, limit)


def _run_apart(helper: Helper, limit: float | None) -> list[Result]:
    """Every check; the one after a loss begins with a method that is loaded anew."""
    found: list[Result] = []
    lost = 0
    for name in _CHECKS:
        if lost == _DEATHS:
            found.append(Result(name, "skipped", f"not tried: {_DEATHS} checks did not come back"))
            continue
        try:
            found.append(helper.call(_checked, name, timeout=limit))
        except Lost as loss:
            lost += 1
            found.append(Result(name, "failed", loss.how))
    return found


def _built(name: str, device: str, plugins: tuple[str, ...]) -> Method:
    load_plugins(plugins)
    check_device(device)
    method = build_method(registry("method").get(name), {}, None)
    if not isinstance(method, Method):
        raise BenchError(f"method {name!r} reads outputs from disk; there is nothing to test")
    return method


def _named(name: str, device: str, plugins: tuple[str, ...]) -> _Bench | Result:
    return _prepared(_built(name, device, plugins), device, "float32")


def _unfit(bench: _Bench | Result) -> Result | None:
    return bench if isinstance(bench, Result) else None


def _checked(bench: _Bench | Result, name: str) -> Result:
    return bench._replace(check=name) if isinstance(bench, Result) else carry_out(name, _CHECKS[name], bench)


def _prepared(method: Method, device: str, dtype: str) -> _Bench | Result:
    """The loaded method, or the check that it fails before any image. Raises `BenchError`."""
    import torch  # noqa: F401 – its import is not the method's time

    with exits_raised("loading"):
        try:
            before = _identity_text(method)
        except Broken as failure:
            return Result("identity", "failed", str(failure))
        try:
            method.load(device, dtype)
        except (BenchError, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 – whatever a stranger's method raises is the finding
            return Result("load", "failed", described(error))
    return _Bench(method, device, dtype, before)


def _identity_text(method: Method) -> str:
    try:
        text = canonical(dict(method.identity()))
    except (TypeError, ValueError) as error:
        raise Broken(f"identity() is not JSON-like data: {one_line(error)}") from error
    if text == "{}":
        raise Broken("identity() is empty: every method would be answered from the same cache")
    return text


def _identity_stays(bench: _Bench) -> str:
    if _identity_text(bench.method) != bench.before:
        raise Broken("identity() changed between before load() and after use: results could never be found again")
    return f"{len(bench.before)} characters of JSON"


def _shape(bench: _Bench) -> str:
    output = bench.restore(bench.image(64, 48))
    return f"48×64 → {output.shape[3]}×{output.shape[2]}, scale {bench.method.scale}"


def _finite(bench: _Bench) -> str:
    return _say_range(_check_finite(bench.restore(bench.image(64, 48))))


def _range(bench: _Bench) -> str:
    output = _check_finite(bench.restore(bench.image(64, 48)))
    excess = float((output - output.clamp(0, 1)).abs().mean())
    # The harness clamps, so a little overshoot is fine; a wrong scale (0…255, −1…1) is not a little.
    if excess > 0.1:
        raise Broken(f"{_say_range(output)} is not [0,1]: {excess:.3g} is cut off on average")
    return f"{excess:.2g} is cut off on average"


def _input_kept(bench: _Bench) -> str:
    image = bench.image(64, 48)
    copy = image.clone()
    bench.restore(image)
    if not bool((image == copy).all()):
        raise Broken("restore() wrote into its input")
    return ""


def _process_kept(bench: _Bench) -> str:
    """Generators, default dtype, threads, folder, environment and switches stand as before."""
    image = bench.image(64, 48)
    bench.restore(image)  # what is imported on demand may add filters of warnings, once
    changed = changes(lambda: bench.restore(image))
    if changed:
        raise Broken(f"restore() changes {', '.join(changed)}")
    return ""


def _determinism(bench: _Bench) -> str:
    """Twice equal, whatever the global generators stand at."""
    image = bench.image(64, 48)
    outputs = []
    for seed in (1, 2):
        with _global_seed(seed):
            outputs.append(bench.restore(image, 7))
    difference = float((outputs[0] - outputs[1]).abs().max())
    if difference > 0 or difference != difference:
        hint = "with equal seeds" if bench.method.stochastic else "and is not declared stochastic"
        raise Broken(f"differs by {difference:.3g} between two runs {hint}")
    return "bit-identical twice"


def _seeds(bench: _Bench) -> str:
    if not bench.method.stochastic:
        raise Skipped("not stochastic")
    image = bench.image(64, 48)
    if bool((bench.restore(image, 7) == bench.restore(image, 8)).all()):
        raise Broken("declared stochastic, but two seeds give the same output")
    return "another seed gives another output"


def _batch(bench: _Bench) -> str:
    import torch

    images = [bench.image(33, 47, seed) for seed in range(3)]
    alone = torch.cat([bench.restore(image, seed) for seed, image in enumerate(images)])
    try:
        together = bench.restore(torch.cat(images), 0, 1, 2)
    except Exception as error:
        if bench.method.batch_invariant:
            raise
        raise Skipped(f"takes no batch of 3 ({one_line(error, 80)}); not declared batch-invariant") from error
    difference = float((alone - together).abs().max())
    if bench.method.batch_invariant:
        # Equal to the last bit: outputs are stored by content, so the least difference would show in a hash.
        if difference != 0:
            raise Broken(f"declared batch-invariant, but a batch of 3 differs by {difference:.3g}")
        return "a batch of 3 is bit-identical to three of 1"
    raise Skipped(f"not declared batch-invariant (a batch of 3 differs by {difference:.2g})")


def _threads(bench: _Bench) -> str:
    import torch

    if torch.device(bench.device).type != "cpu":
        raise Skipped("not on the CPU")
    image = bench.image(64, 48)
    before = torch.get_num_threads()
    opencv = sys.modules.get("cv2")  # has threads of its own, where a method uses it
    outputs = []
    try:
        for count in (1, 4):
            torch.set_num_threads(count)
            if opencv is not None:
                opencv.setNumThreads(count)
            outputs.append(bench.restore(image))
    finally:
        torch.set_num_threads(before)
        if opencv is not None:
            opencv.setNumThreads(-1)
    difference = float((outputs[0] - outputs[1]).abs().max())
    if not difference <= bench.tolerance:
        raise Broken(f"1 and 4 threads differ by {difference:.3g}")
    return f"1 and 4 threads differ by {difference:.2g}"


def _size(bench: _Bench, height: int, width: int) -> str:
    return _say_range(_check_finite(bench.restore(bench.image(height, width))))


def _flat(bench: _Bench, level: float) -> str:
    import torch

    return _say_range(_check_finite(bench.restore(torch.full((1, 3, 33, 47), level, device=bench.device))))


def _check_finite(output: Tensor) -> Tensor:
    bad = int((~output.isfinite()).sum())
    if bad:
        raise Broken(f"{bad} of {output.numel()} values are NaN or infinite")
    return output


def _say_range(output: Tensor) -> str:
    return f"{float(output.min()):z.3f} … {float(output.max()):z.3f}"


@contextlib.contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    """The global random generators at a known state, and back again."""
    import numpy as np
    import torch

    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


_CHECKS: dict[str, Callable[[_Bench], str]] = {
    "shape": _shape,
    "finite": _finite,
    "range": _range,
    "input kept": _input_kept,
    "process kept": _process_kept,
    "determinism": _determinism,
    "seeds": _seeds,
    "batch": _batch,
    "threads": _threads,
    **{f"size {width}×{height}": partial(_size, height=height, width=width) for height, width in SIZES},
    **{f"flat {name}": partial(_flat, level=level) for name, level in (("black", 0.0), ("gray", 0.5), ("white", 1.0))},
    "identity after use": _identity_stays,
}
"""In the order in which they run."""
