"""The selective scan of Mamba (Gu and Dao, 2023) in plain PyTorch: a linear recurrence whose speed the input sets.

Channel d of a sequence holds N numbers, and at position t

    state[d,n] = exp(delta[t,d] · a[d,n]) · state[d,n] + delta[t,d] · b[t,n] · input[t,d]
    output[t,d] = Σ_n c[t,n] · state[d,n] + skip[d] · input[t,d]

Only the multiply-and-add from one state to the next waits for the position before; everything else is done for a chunk
of positions at once. Within a chunk states overwrite what flowed in, so that memory does not grow with the sequence.
"""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 32
"""Positions at a time: enough to make single operations cheap, few enough for a processor's cache."""


def selective_scan(inputs: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, skip: Tensor) -> Tensor:
    """`inputs` and `delta` [L,*,D], `a` [*a,D,N], `b` and `c` [L,*,N], `skip` [*a,D] → [L,*,D].

    The leading dimensions of `a` and `skip` are the last ones of `*`. In the dtype of its inputs; exact to rounding,
    for any decay, since no quotient of products is ever formed. Differentiable.
    """
    state = inputs.new_zeros(*inputs.shape[1:], a.shape[-1])
    driven = delta * inputs
    outputs = []
    for start in range(0, len(inputs), CHUNK):
        part = slice(start, start + CHUNK)
        decay = (delta[part, ..., None] * a).exp()
        flow = driven[part, ..., None] * b[part, ..., None, :]
        if decay.requires_grad or flow.requires_grad:
            states = []
            for kept, added in zip(decay, flow, strict=True):
                state = torch.addcmul(added, kept, state)
                states.append(state)
            flow = torch.stack(states)
        else:
            for kept, added in zip(decay, flow, strict=True):
                state = added.addcmul_(kept, state)
            state = state.clone()  # the chunk's memory is free to go
        outputs.append((flow @ c[part, ..., None])[..., 0])
    return torch.cat(outputs) + skip * inputs
