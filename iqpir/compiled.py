"""How the kernels are compiled: with NumPy's rules for numbers, kept on disk, and without the interpreter's lock.

A kernel's value does not depend on how wide the processor's vectors are: sums run in lanes that the code itself names,
and nothing is reordered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(*, fused: bool = False) -> Callable[[Function], Function]:
    """Compile a function at its first call, for the types that it is called with.

    `fused` rounds a product and the sum that it goes into once, where the processor can; not for what has to be equal
    with its operands exchanged.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"} if fused else False}

    def compile_(function: Function) -> Function:
        try:
            made: Function = numba.njit(cache=True, **options)(function)
        except RuntimeError:  # neither the package's folder nor the user's can be written to
            made = numba.njit(**options)(function)
        return made

    return compile_
