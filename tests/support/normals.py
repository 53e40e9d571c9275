"""Procedural weights for deep networks: normal numbers from a generator whose stream numpy keeps for good.

Sines of the index give matrices of rank two, which deep networks with normalisation amplify into noise; these do not.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch

FACTORS = ("weight", "skip_scale", "skip_scale2", "Ds")
"""How the names of vectors that multiply end."""


def normals(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A float32 tensor that depends on its name and shape alone, of a size that keeps activations of order 1.

    Matrices and kernels: unit gain. Vectors that multiply: 1 ± 0.1. Other vectors: ± 0.05.
    """
    values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(int(np.prod(shape))).reshape(shape)
    if len(shape) > 1:
        values *= np.sqrt(1 / np.prod(shape[1:]))
    else:
        values = 1 + 0.1 * values if name.endswith(FACTORS) else 0.05 * values
    return torch.from_numpy(values.astype(np.float32))
