"""DifFace's estimator with a score on a stand-in for its repository: layout, class and constructor, in miniature."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.networks import picture

from bench.bridge.hosts import host as provided
from bench.catalog.registry import registry
from bench.methods.build import build_method
from iqpir.plus import ScoreConditioner

SWINIR = """
import torch
import torch.nn as nn

class SwinIR(nn.Module):
    def __init__(self, img_size=64, patch_size=1, in_chans=3, embed_dim=96, depths=[6, 6, 6, 6], num_heads=[6, 6, 6, 6],
                 window_size=7, mlp_ratio=4., qkv_bias=True, qk_scale=None, drop_rate=0., attn_drop_rate=0.,
                 drop_path_rate=0.1, norm_layer=nn.LayerNorm, ape=False, patch_norm=True, use_checkpoint=False, sf=4,
                 img_range=1., upsampler='', resi_connection='1conv', unshuffle=False, unshuffle_scale=None, **kwargs):
        super().__init__()
        assert unshuffle and len(depths) == len(num_heads) == 8 and upsampler == "nearest+conv"
        self.conv_first = nn.Sequential(nn.PixelUnshuffle(sf), nn.Conv2d(in_chans * unshuffle_scale**2, embed_dim, 1))
        self.conv_after_body = nn.Conv2d(embed_dim, embed_dim, 3, 1, 1)
        self.conv_last = nn.Sequential(nn.Conv2d(embed_dim, 3 * sf**2, 1), nn.PixelShuffle(sf))

    def forward(self, x):
        assert 0 <= x.min() and x.max() <= 1, "the sampler gives it images in [0, 1]"
        x = self.conv_first(x)
        return self.conv_last(self.conv_after_body(x) + x)
"""
SHAPES = {
    "conv_first.1.weight": (180, 192, 1, 1), "conv_first.1.bias": (180,),
    "conv_after_body.weight": (180, 180, 3, 3), "conv_after_body.bias": (180,),
    "conv_last.0.weight": (192, 180, 1, 1), "conv_last.0.bias": (192,),
}  # fmt: skip


@pytest.fixture
def options(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "DifFace/models").mkdir(parents=True)
    (tmp_path / "DifFace/models/swinir.py").write_text(SWINIR)
    draw = torch.Generator().manual_seed(0)
    state = {name: torch.randn(shape, generator=draw) * 0.05 for name, shape in SHAPES.items()}
    torch.save(state, tmp_path / "swinir_restoration512_L1.pth")
    return {"repo": str(tmp_path / "DifFace"), "weights": str(tmp_path / "swinir_restoration512_L1.pth")}


def test_its_site_takes_a_score_and_the_trained_file_runs(options, tmp_path):
    found = provided("difface-estimator+", options, commands=True)
    assert found.size == (512, 512)
    image = picture(512, 512, 0.3)
    plus = ScoreConditioner(found.network, found.sites, bins=5).eval()
    with torch.no_grad():
        plain = plus(image)
        plus.score[0].weight[4] = 1.0
        expected = {0.95: plus(image, score=0.95), 0.05: plain}
    assert (expected[0.95] - plain).abs().max() > 1e-3
    plus.save(tmp_path / "plus.safetensors")
    for score, wanted in expected.items():
        given = {"host_options": options, "weights": str(tmp_path / "plus.safetensors"), "score": score}
        method = build_method(registry("method").get("difface-estimator+"), given, None)
        method.load("cpu", "float32")
        torch.testing.assert_close(method.restore(image), wanted, atol=1e-5, rtol=1e-5)


def test_the_pluses_that_cannot_be_trained_say_why():
    entries = [registry("method").get(name).fields["description"] for name in ("difface+", "interlcm+")]
    assert "difface-estimator+" in entries[0] and "No class or function of the clone makes the whole" in entries[1]
