"""Fast inference of IQPIR: a plan made once from a trained network by `net.optimize(…)`, with the network's results.

On any device: no cloned encoder features, residual blocks in place, fused attention, positions folded, codes gathered
after an argmax, nearest ×2 and its 3×3 folded into one transposed convolution. On the CPU maps are worked through in
bands (see `kernels`). On CUDA one graph per batch size, with norm and swish fused by Triton where it is installed.

Every conditioning, both fusions and fidelity > 0 run through the plan; none falls back to the plain network. What has
run on a GPU so far: nothing. The CUDA graph has never been captured, and the Triton kernels have run only in Triton's
interpreter.
"""

from __future__ import annotations

import copy
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from iqpir.errors import FidelityWarning, IQPIRError
from iqpir.network.autoencoder import INPUT
from iqpir.network.conditioning import grid_of, score_maps, to_grid
from iqpir.network.fast.graphs import Graphs
from iqpir.network.fast.kernels import Bands, Map, WholeMaps, nchw, nhwc
from iqpir.network.fast.predictor import Predictor
from iqpir.network.fast.steps import ConvStep, Engine, Step, plan_fidelity, plan_steps
from iqpir.network.fidelity import match_statistics

if TYPE_CHECKING:
    from iqpir.network.model import IQPIR, Restoration, Score


class OptimizedIQPIR:
    """Restores as the network it was made from does, [B,3,S,S] in [-1,1] → `Restoration`, without gradients.

    The plan has copies of the weights, on `device`: training the network later does not change it. Results are float32
    in memory of their own. Weights, and what convolutions and attention take, are in `dtype`; the residual streams,
    norms, last convolutions, latents, codebooks and the logits' head are float32. On the CPU the images of a batch are
    taken one by one, so a batch gives exactly what its images give alone, and the memory of the largest maps is kept
    between calls; `release` frees it. Calls from several threads wait for each other.

    With `any_size` images of other sizes go through as `IQPIR` says; neither a CUDA graph nor a compiled kernel is made
    for them, since each would serve one size alone.

    `compiled`: torch.compile makes the kernels, at the first call of each batch size; `warm_up` shows what that
    costs: on a CPU minutes even for the small network, which then takes a quarter less time. So it is not the default.
    """

    for_photographs = False

    def __init__(
        self, net: IQPIR, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu", compiled: bool = False
    ) -> None:
        if dtype not in (torch.float32, torch.bfloat16):
            raise IQPIRError(f"a plan computes in torch.float32 or torch.bfloat16, not in {dtype}")
        self.config, self.dtype, self.device = net.config, dtype, torch.device(device)
        device = self.device
        self.fidelity_trained = net.fidelity_trained
        self._warned = False
        with torch.no_grad():
            self._encoder = plan_steps(net.encoder.blocks, dtype, device)
            self._generator = plan_steps(net.generator.blocks, dtype, device)
            self._taps = {net.encoder.taps[size]: size for size in net.config.connect}
            # The last norm and the last convolution are one step.
            last = len(self._generator) - 1
            self._joints = {min(net.generator.joints[size], last): size for size in net.config.connect}
            self._fidelity = {
                size: plan_fidelity(net.fuse_convs_dict[str(size)], dtype, device) for size in net.config.connect
            }
            self._predictor = Predictor(
                net.config, net.feat_emb, net.position_emb, net.ft_layers, net.idx_pred_layer, dtype, device
            )
            self._common = net.quantize.embedding.weight.detach().to(device, torch.float32, copy=True)
            self._embedding = copy.deepcopy(getattr(net, "score_embed", None))
            if self._embedding is not None:
                self._embedding.to(device, torch.float32)
            self._attention = None
            if net.config.dual:
                weight = 1.0 if net.config.fusion == "attention" else net.alpha
                hq = net.quantize_aesthetic.embedding.weight.detach().to(device, torch.float32)
                self._hq = hq * weight
                if net.config.fusion == "attention":
                    self._attention = copy.deepcopy(net.attention).to(device, torch.float32).eval()
        self._lock = threading.Lock()
        self._bands: Bands | None = None
        self._graphs: Graphs | None = None
        whole = WholeMaps(fused=device.type == "cuda" and not compiled and _has_triton())
        self._engine: Engine = whole
        self._batch: Any = self._restore
        if compiled:
            self._batch = torch.compile(self._restore, dynamic=False)
        elif device.type == "cpu":
            self._engine = self._bands = Bands()
            self._batch = self._one_by_one
        if device.type == "cuda":
            self._graphs = Graphs(self._batch, device)

    def __call__(
        self,
        image: Tensor,
        score: Score | None = None,
        fidelity: float = 0.0,
        adain: bool = True,
        *,
        codes: Tensor | None = None,
        any_size: bool = False,
    ) -> Restoration:
        """As `IQPIR.forward`, for images of any device and floating dtype; the results are on the plan's device.

        Raises `IQPIRError` for another size, a missing, misshapen or NaN score, codes that do not exist.
        """
        from iqpir.network.model import Restoration

        grid = grid_of(image, self.config, any_size)
        if not fidelity >= 0:
            raise IQPIRError(f"fidelity is {fidelity}; it must be 0 or more")
        with torch.no_grad(), self._lock:
            if fidelity > 0:
                self._warn_of_fidelity()
            if codes is not None:
                codes = self._checked(codes, len(image), grid)
            image, maps = image.detach().to(self.device, torch.float32), self._score_maps(score, len(image), grid)
            strength = float(fidelity) if fidelity > 0 else None
            run = self._batch if self._graphs is None else self._graphs
            if grid != (self.config.latent_size, self.config.latent_size):
                run = self._restore if self._bands is None else self._one_by_one
            return Restoration(*run(image, maps, codes, strength, adain))

    def warm_up(self, batch: int = 1) -> float:
        """Seconds of a first call for a batch size: where a graph is captured, kernels compiled and memory taken."""
        side, config = self.config.image_size, self.config
        score: Any = [0.5] * len(config.bins) if config.conditioning == "add-list" else 0.5
        image = torch.zeros(batch, 3, side, side, device=self.device)
        start = time.perf_counter()
        self(image, score)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter() - start

    def release(self) -> None:
        """Free the working memory that is kept between calls; the next call takes it again."""
        with self._lock:
            if self._bands is not None:
                self._bands.release()
            if self._graphs is not None:
                self._graphs.release()
            self._predictor.release()

    def _one_by_one(
        self, image: Tensor, maps: Tensor | None, codes: Tensor | None, fidelity: float | None, adain: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        parts = []
        for n in range(len(image)):
            each = slice(n, n + 1)
            one_map, one_codes = (None if given is None else given[each] for given in (maps, codes))
            parts.append(self._restore(image[each], one_map, one_codes, fidelity, adain))
        images, logits, features = (torch.cat(found) for found in zip(*parts, strict=True))
        return images, logits, features

    def _restore(
        self, image: Tensor, maps: Tensor | None, codes: Tensor | None, fidelity: float | Tensor | None, adain: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Images, logits and features. `fidelity` None: without the fidelity blocks."""
        latent, skips = self._encode(image, keep=fidelity is not None)
        adaln = self.config.conditioning == "adaln"
        features = latent if maps is None or adaln else latent + maps
        logits = self._predictor(features, maps if adaln else None)
        by_book = logits.argmax(dim=3) if codes is None else codes.view(len(image), -1, logits.shape[2]).long()
        quantized = self._dequantize(by_book, (features.shape[-2], features.shape[-1]))
        matched = match_statistics(quantized, features) if adain else quantized
        restored = self._generate(matched, fidelity, skips)
        return restored, logits.transpose(2, 3) if self.config.dual else logits.squeeze(2), features

    def _encode(self, image: Tensor, keep: bool) -> tuple[Tensor, dict[int, Tensor]]:
        skips: dict[int, Tensor] = {}
        engine = self._engine
        image = F.pixel_unshuffle(image, self.config.stem)
        if keep and INPUT in self._taps:
            skips[self._taps[INPUT]] = nhwc(image).contiguous()
        x = self._first(self._encoder, image)
        for index, step in enumerate(self._encoder[1:], start=1):
            x = step(engine, x)
            if keep and index in self._taps:
                skips[self._taps[index]] = x.tensor.clone()
        return self._last(x), skips

    def _generate(self, latent: Tensor, fidelity: float | Tensor | None, skips: dict[int, Tensor]) -> Tensor:
        engine = self._engine
        x = self._first(self._generator, latent)
        for index, step in enumerate(self._generator[1:], start=1):
            x = step(engine, x)
            if fidelity is not None and index in self._joints:
                size = self._joints[index]
                x = self._fidelity[size](engine, skips.pop(size), x, fidelity)
        return F.pixel_shuffle(self._last(x), self.config.stem)

    def _first(self, steps: list[Step], x: Tensor) -> Map:
        """The first convolution, which does not take its input over: that is the caller's."""
        first = steps[0]
        assert isinstance(first, ConvStep)
        return self._engine.conv(Map(nhwc(x).to(self.dtype).contiguous()), first.conv)

    def _last(self, x: Map) -> Tensor:
        y = nchw(x.tensor).to(torch.float32, memory_format=torch.contiguous_format, copy=True)
        self._engine.give(x)
        return y

    def _dequantize(self, codes: Tensor, grid: tuple[int, int]) -> Tensor:
        """int64 [B,h·w,books] → [B,C,h,w]."""
        if not self.config.dual:
            return F.embedding(codes[..., 0], self._common).transpose(1, 2).unflatten(2, grid)
        common, hq = F.embedding(codes[..., 1], self._common), F.embedding(codes[..., 0], self._hq)
        if self._attention is None:
            return (common + hq).transpose(1, 2).unflatten(2, grid)
        maps = [part.transpose(1, 2).unflatten(2, grid).contiguous() for part in (common, hq)]
        return self._attention(*maps, torch.ones(len(codes), dtype=torch.bool, device=codes.device))

    def _score_maps(self, score: Score | None, batch: int, grid: tuple[int, int]) -> Tensor | None:
        if self._embedding is None:
            return None
        if score is None:
            raise IQPIRError("this network is conditioned on quality: give a score in [0,1], such as 0.9")
        return to_grid(score_maps(self._embedding, score, batch, self.config.latent_size, self.device), grid)

    def _checked(self, codes: Tensor, batch: int, grid: tuple[int, int]) -> Tensor:
        config = self.config
        expected = (batch, grid[0] * grid[1], 2) if config.dual else (batch, grid[0] * grid[1])
        if codes.shape != expected or codes.is_floating_point():
            raise IQPIRError(
                f"codes of shape {tuple(codes.shape)} and {codes.dtype}; give integers of shape {expected}"
            )
        codes = codes.to(self.device)
        sizes = torch.tensor([config.hq_codebook, config.codebook] if config.dual else config.codebook).to(codes.device)
        if ((codes < 0) | (codes >= sizes)).any():
            raise IQPIRError(f"codes must lie in 0 … {sizes.tolist()} (excluded)")
        return codes.long()

    def _warn_of_fidelity(self) -> None:
        if not self.fidelity_trained and not self._warned:
            self._warned = True
            message = (
                "fidelity > 0 is meaningless with untrained fidelity weights, and these are not known to be trained"
            )
            warnings.warn(message, FidelityWarning, stacklevel=3)


def _has_triton() -> bool:
    try:
        import iqpir.network.fast.triton_norm  # noqa: F401
    except ImportError:
        return False
    return True
