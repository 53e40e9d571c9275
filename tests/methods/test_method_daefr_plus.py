"""DAEFR+ on a stand-in for DAEFR's repository: its layout, class names and constructors, in miniature."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.networks import picture

from bench.bridge.hosts import host as provided
from bench.catalog.registry import registry
from bench.errors import BenchError, ItemError
from bench.methods.build import build_method
from iqpir.errors import IQPIRError
from iqpir.plus import ScoreConditioner

FILES = {
    "main_DAEFR.py": """
import importlib

def get_obj_from_str(string):
    module, name = string.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)

def instantiate_from_config(config):
    return get_obj_from_str(config["target"])(**config.get("params", {}))
""",
    "DAEFR/modules/vqvae/vqvae_arch.py": """
import torch
from torch import nn

class MultiHeadAttnBlock(nn.Module):
    def __init__(self, in_channels, head_size=1):
        super().__init__()
        self.proj_out = nn.Conv2d(in_channels, in_channels, 1)

    def forward(self, x, y=None):
        return x + self.proj_out(x if y is None else y)

class VQVAEGANMERGE(nn.Module):
    def __init__(self, n_embed=1024, embed_dim=256, ch=128, out_ch=3, ch_mult=(1, 2, 4, 8), num_res_blocks=2,
                 attn_resolutions=16, dropout=0.0, in_channels=3, resolution=512, z_channels=256, double_z=False,
                 enable_mid=True, fix_decoder=False, fix_codebook=False, fix_encoder=False, head_size=1, **ignored):
        super().__init__()
        step = 2 ** (len(ch_mult) - 1)
        self.encoder = nn.Conv2d(in_channels, z_channels, step, stride=step)
        self.HQ_encoder = nn.Conv2d(in_channels, z_channels, step, stride=step)
        self.decoder = nn.ConvTranspose2d(embed_dim, out_ch, step, stride=step)
""",
    "DAEFR/models/daefr.py": """
from torch import nn
from main_DAEFR import instantiate_from_config
from DAEFR.modules.vqvae.vqvae_arch import MultiHeadAttnBlock

class DAEFRModel(nn.Module):
    def __init__(self, ddconfig, lossconfig, ckpt_path_HQ=None, ckpt_path_LQ=None, ignore_keys=[], image_key="lq",
                 colorize_nlabels=None, monitor=None, special_params_lr_scale=1.0, comp_params_lr_scale=1.0,
                 schedule_step=[80000, 200000]):
        super().__init__()
        self.vqvae = instantiate_from_config(ddconfig)
        lossconfig["params"]["distill_param"] = ddconfig["params"]
        self.fix_decoder = ddconfig["params"]["fix_decoder"]
        self.disc_start = lossconfig["params"]["disc_start"]
        self.cross_attention = MultiHeadAttnBlock(in_channels=256, head_size=8)

    def forward(self, input, gt=None):
        assert input.shape[-2:] == (512, 512) and input.min() < 0
        found = self.cross_attention(self.vqvae.HQ_encoder(input), self.vqvae.encoder(input))
        return self.vqvae.decoder(found), None, None, None, None, None, None, None
""",
}


def shapes() -> dict[str, tuple[int, ...]]:
    return {
        "vqvae.encoder.weight": (256, 3, 32, 32), "vqvae.encoder.bias": (256,),
        "vqvae.HQ_encoder.weight": (256, 3, 32, 32), "vqvae.HQ_encoder.bias": (256,),
        "vqvae.decoder.weight": (256, 3, 32, 32), "vqvae.decoder.bias": (3,),
        "cross_attention.proj_out.weight": (256, 256, 1, 1), "cross_attention.proj_out.bias": (256,),
    }  # fmt: skip


@pytest.fixture
def clone(tmp_path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "DAEFR" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    draw = torch.Generator().manual_seed(0)
    state = {name: torch.randn(shape, generator=draw) * 0.02 for name, shape in shapes().items()}
    state["loss.discriminator.weight"] = torch.ones(2)  # a checkpoint of training holds it
    torch.save({"state_dict": state, "epoch": 9, "global_step": 4}, tmp_path / "DAEFR_model.ckpt")
    return tmp_path


def options(clone: Path) -> dict[str, str]:
    return {"repo": str(clone / "DAEFR"), "weights": str(clone / "DAEFR_model.ckpt")}


def test_its_site_takes_a_score_and_the_trained_file_runs(clone):
    with pytest.raises(IQPIRError, match=r"imports code from the clone .*: --allow-commands lets it"):
        provided("daefr+", options(clone))
    found = provided("daefr+", options(clone), commands=True)
    assert found.size == (512, 512)
    image = picture(512, 512, 0.3)
    plus = ScoreConditioner(found.network, found.sites, bins=5).eval()
    with torch.no_grad():
        plain = plus(image)
        plus.score[0].weight[4] = 1.0
        expected = {0.95: plus(image, score=0.95), 0.05: plain}
    plus.save(clone / "plus.safetensors")
    assert (expected[0.95] - plain).abs().max() > 1e-3
    for score, wanted in expected.items():
        given = {"host_options": options(clone), "weights": str(clone / "plus.safetensors"), "score": score}
        method = build_method(registry("method").get("daefr+"), given, None)
        first = method.identity()
        method.load("cpu", "float32")
        torch.testing.assert_close(method.restore(image), wanted, atol=1e-5, rtol=1e-5)
        assert method.identity() == first, "its constructor writes into its arguments"
    with pytest.raises(ItemError, match="takes images of 512×512 alone"):
        method.restore(picture(64, 64, 0.3))


def test_what_it_names_by_a_configuration_is_in_its_identity(clone):
    first = build_method(registry("method").get("daefr-network"), options(clone), None).identity()
    path = clone / "DAEFR/DAEFR/modules/vqvae/vqvae_arch.py"
    path.write_text(path.read_text().replace("x + self", "x - self"))
    assert build_method(registry("method").get("daefr-network"), options(clone), None).identity() != first


def test_without_a_clone_it_says_how_to_have_one():
    method = build_method(registry("method").get("daefr-network"), {}, None)
    assert "git clone https://github.com/LIAGM/DAEFR: options: {repo: CLONE" in str(method.unavailable())
    with pytest.raises(IQPIRError, match=r"git clone https://github.com/LIAGM/DAEFR"):
        provided("daefr+")
    plus = build_method(registry("method").get("daefr+"), {}, None)
    assert "iqpir train plus makes them from daefr-network" in str(plus.unavailable())
    with pytest.raises(BenchError, match="no weights of daefr"):
        plus.load("cpu", "float32")
