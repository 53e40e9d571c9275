"""Which numbers a machine computes fast with, by its processor's units and by trying.

bfloat16 without units for it is tens of times slower than float32, and that is not even tried.
"""

from __future__ import annotations

import functools
import platform
import time
from pathlib import Path
from typing import NamedTuple

from iqpir.errors import IQPIRError

_UNITS = ("avx512_bf16", "amx_bf16", "bf16")
"""Names of the units in /proc/cpuinfo: x86's two, and Arm's."""
_WORTH = 0.9
"""Of float32's time: what bfloat16 may take at most to be worth its digits."""
_TURNS = 7


def native_bfloat16(device: str = "cpu") -> bool:
    """Whether the device multiplies bfloat16 itself; where a CPU does not tell, it is taken not to."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.is_available() and torch.cuda.get_device_capability(device)[0] >= 8  # since Ampere
    return platform.system() == "Linux" and bool(set(_UNITS) & _flags())


def _flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.lower().startswith(("flags", "features")) for flag in line.split()}


class Choice(NamedTuple):
    """What a device computes networks with, and why."""

    bfloat16: bool
    reason: str
    """One line for whoever asked for "auto"."""

    @property
    def dtype(self) -> str:
        return "bfloat16" if self.bfloat16 else "float32"


@functools.cache
def choice(device: str = "cpu") -> Choice:
    """The faster of float32 and bfloat16: where there are units for the second, a convolution of each kind is timed."""
    if not native_bfloat16(device):
        return Choice(False, f"precision auto: float32, {device} has no units for bfloat16")
    ratio = _seconds(device, half=True) / _seconds(device, half=False)
    faster = ratio <= _WORTH
    name = "bfloat16" if faster else "float32"
    return Choice(faster, f"precision auto: {name}, a convolution in bfloat16 takes {ratio:.2f} × float32's time here")


def _seconds(device: str, *, half: bool) -> float:
    """Of a 3×3 convolution of 64 channels at 96², the fastest of several."""
    import torch

    generator = torch.Generator().manual_seed(0)
    kind = torch.bfloat16 if half else torch.float32
    given, weight = (
        torch.rand(shape, generator=generator).to(device, kind).contiguous(memory_format=torch.channels_last)
        for shape in ((1, 64, 96, 96), (64, 64, 3, 3))
    )

    def once() -> float:
        start = time.perf_counter()
        torch.nn.functional.conv2d(given, weight, padding=1)
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    with torch.inference_mode():
        once()  # the first makes the kernel
        return min(once() for _ in range(_TURNS))


def mixed(precision: str, device: str) -> str:
    """`precision` of settings as accelerate names it; "auto": bf16 where the device is faster with it, else float32."""
    if precision == "fp16" and device == "cpu":
        raise IQPIRError("precision: fp16 is a GPU's: a CPU trains with no, or with bf16 where it has units for that")
    if precision != "auto":
        return precision
    return "bf16" if choice(device).bfloat16 else "no"
