"""Which numbers a machine computes fast with. bfloat16 without units for it is tens of times slower than float32."""

from __future__ import annotations

import platform
from pathlib import Path

_UNITS = ("avx512_bf16", "amx_bf16", "bf16")
"""Names of the units in /proc/cpuinfo: x86's two, and Arm's."""


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


def mixed(precision: str, device: str) -> str:
    """`precision` of settings as accelerate names it; "auto": bf16 where the device has units for it, else float32."""
    if precision != "auto":
        return precision
    return "bf16" if native_bfloat16(device) else "no"
