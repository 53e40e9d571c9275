"""Which devices may be asked for, and whether this machine has them."""

from __future__ import annotations

import os

from iqpir.errors import IQPIRError


def usable_cores() -> int:
    """Cores this process may use: the threads that torch gets unless told otherwise."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def check_device(device: str, error: type[Exception] = IQPIRError) -> None:
    """Raise an `error` of one line for a device other than cpu, cuda and cuda:N, and for one that is not here."""
    if device == "cpu":
        return
    kind, colon, number = device.partition(":")
    if kind != "cuda" or (colon and not (number.isascii() and number.isdecimal())):
        raise error(f"unknown device {device!r}: cpu, cuda or cuda:N")
    import torch

    if not torch.cuda.is_available() or int(number or 0) >= torch.cuda.device_count():
        raise error(f"device {device!r} is not on this machine ({torch.cuda.device_count()} CUDA devices)")
