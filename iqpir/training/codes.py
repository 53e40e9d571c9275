"""The GT's codes by the frozen autoencoder, made on the fly or kept by sample."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from iqpir.errors import IQPIRError
from iqpir.files import write
from iqpir.network.autoencoder import VQAutoEncoder
from iqpir.training.common import Data


@torch.no_grad()
def gt_codes(teacher: VQAutoEncoder, gt: Tensor) -> Tensor:
    """Images [B,3,H,W] in [-1,1] → int64 [B,N], or [B,N,2] with two codebooks: HQ+ first, as the logits are.

    HQ+ codes are given for every image, whatever its score, as the authors' cache does.
    """
    latent = teacher.encoder(gt)
    common = teacher.quantize.nearest(latent)
    if not teacher.config.dual:
        return common.flatten(1)
    hq = teacher.quantize_aesthetic.nearest(teacher.hq_input(latent, teacher.quantize.lookup(common)))
    return torch.stack([hq.flatten(1), common.flatten(1)], dim=2)


class CodeCache:
    """Codes by the number of the sample, in a file that belongs to one autoencoder and one set of samples."""

    LIMIT = 1 << 32
    """Bytes at most."""

    def __init__(self, path: Path, data: Data, teacher: VQAutoEncoder) -> None:
        """Raises `IQPIRError` where the file would be larger than `LIMIT`: then there are too many samples to come
        again."""
        tokens, books = teacher.config.latent_size**2, 2 if teacher.config.dual else 1
        shape = (data.count, tokens, books)
        if 2 * int(np.prod(shape)) > self.LIMIT:
            raise IQPIRError(
                f"code_cache: {data.count} samples of {tokens} codes do not fit; lower data.count, or leave it"
            )
        # How samples are degraded does not change their GT, and how they are made ready does not either.
        samples = {
            key: value
            for key, value in asdict(data).items()
            if key not in ("lq", "degradation", "scores", "normalise", "hq_only", "workers", "cache")
        }
        digest = hashlib.sha256(json.dumps(samples, sort_keys=True).encode())
        for name, tensor in teacher.state_dict().items():
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        note = path.with_suffix(".json")
        known = {"belongs to": digest.hexdigest(), "shape": list(shape)}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and note.is_file() and json.loads(note.read_text(encoding="utf-8")) == known:
            self._codes = np.lib.format.open_memmap(path, mode="r+")
        else:
            self._codes = np.lib.format.open_memmap(path, mode="w+", dtype=np.int16, shape=shape)
            self._codes[:] = -1
            write(note, json.dumps(known))
        self.made = 0
        """Samples that had to be encoded."""

    def of(self, index: Tensor, gt: Tensor, teacher: VQAutoEncoder) -> Tensor:
        """The codes of a batch's samples, encoding those that are not known yet."""
        places = index.cpu().numpy()
        known = self._codes[places]
        lacking = (known < 0).any(axis=(1, 2))
        if lacking.any():
            made = gt_codes(teacher, gt[torch.from_numpy(lacking).to(gt.device)])
            made = made if made.ndim == 3 else made[..., None]
            known[lacking] = made.cpu().numpy().astype(np.int16)
            self._codes[places[lacking]] = known[lacking]
            self.made += int(lacking.sum())
        codes = torch.from_numpy(known.astype(np.int64)).to(gt.device)
        return codes if teacher.config.dual else codes[..., 0]
