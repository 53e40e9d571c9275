"""The selective scan of Mamba (Gu and Dao, 2023) in plain PyTorch: a linear recurrence whose speed the input sets.

Channel d of a sequence holds N numbers, and at position t

    state[d,n] = exp(delta[t,d] · a[d,n]) · state[d,n] + delta[t,d] · b[t,n] · input[t,d]
    output[t,d] = Σ_n c[t,n] · state[d,n] + skip[d] · input[t,d]

Only the multiply-and-add from one state to the next waits for the position before; everything else is done for a chunk
of positions at once. Where no gradient is asked for, chunks share two buffers, and the states of a chunk overwrite what
flowed into them, so that memory does not grow with the sequence.
"""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 16
"""Positions at a time: enough to make single operations cheap, few enough for a processor's cache."""


def selective_scan(inputs: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, skip: Tensor) -> Tensor:
    """`inputs` and `delta` [L,*,D], `a` [*a,D,N], `b` and `c` [L,*,N], `skip` [*a,D] → [L,*,D].

    The leading dimensions of `a` and `skip` are the last ones of `*`. In the dtype of its inputs; exact to rounding,
    for any decay, since no quotient of products is ever formed. Differentiable.
    """
    driven, rates = delta * inputs, a.mT.contiguous()  # states are [N,D], which runs faster along the longer axis
    state = inputs.new_zeros(*inputs.shape[1:-1], *rates.shape[-2:])
    learning = torch.is_grad_enabled() and any(each.requires_grad for each in (inputs, delta, a, b, c, skip))
    held, flown = (state.new_empty(0 if learning else CHUNK, *state.shape) for _ in range(2))
    outputs = []
    for start in range(0, len(inputs), CHUNK):
        part = slice(start, min(start + CHUNK, len(inputs)))
        length = part.stop - start
        steps, flows = (delta[part].unsqueeze(-2), rates), (driven[part].unsqueeze(-2), b[part].unsqueeze(-1))
        if learning:
            states = []
            for kept, added in zip(torch.mul(*steps).exp(), torch.mul(*flows), strict=True):
                state = torch.addcmul(added, kept, state)
                states.append(state)
            chunk = torch.stack(states)
        else:
            decay, chunk = torch.mul(*steps, out=held[:length]).exp_(), torch.mul(*flows, out=flown[:length])
            for kept, added in zip(decay, chunk, strict=True):
                state = added.addcmul_(kept, state)
            state = state.clone()  # the next chunk takes its place
        outputs.append((c[part].unsqueeze(-2) @ chunk).squeeze(-2))
    return torch.cat(outputs) + skip * inputs
