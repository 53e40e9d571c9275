"""Files: whatever training writes is read, our own comes back as it was, and what does not fit is said in one line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from iqpir.checkpoint import load_autoencoder, load_restorer, read_checkpoint, save_checkpoint
from iqpir.errors import IQPIRError
from iqpir.network.autoencoder import VQAutoEncoder
from iqpir.network.config import AutoEncoderConfig, IQPIRConfig, preset
from iqpir.network.model import IQPIR


def same(one, other) -> bool:
    one, other = one.state_dict(), other.state_dict()
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


CONTAINERS = {
    "params_ema": lambda state: {"params": {name: value * 0 for name, value in state.items()}, "params_ema": state},
    "params": lambda state: {"params": state},
    "raw": lambda state: state,
    "module.": lambda state: {"params_ema": {f"module.{name}": value for name, value in state.items()}},
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_authors_containers_are_read(container, small, tmp_path):
    network = small()
    content = CONTAINERS[container](network.state_dict())
    torch.save(content, tmp_path / "net.pth")
    assert same(IQPIR.from_checkpoint(tmp_path / "net.pth"), network)
    assert same(IQPIR.from_state_dict(content), network)


@torch.no_grad()
def test_safetensors_without_settings_are_read(small, images, tmp_path):
    network = small(hq_codebook=0, conditioning="adaln", connect=(32,))
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    read = IQPIR.from_checkpoint(tmp_path / "net.safetensors")
    assert read.config == network.config
    assert torch.equal(read(images, 0.9).image, network(images, 0.9).image)


def test_loading_leaves_the_random_generator_as_it_was(small):
    state = small().state_dict()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    IQPIR.from_state_dict(state)
    assert torch.equal(torch.rand(3), expected)


def test_alpha_is_given_or_the_authors(small, tmp_path):
    state = small(alpha=0.3).state_dict()
    torch.save(state, tmp_path / "net.pth")
    assert IQPIR.from_state_dict(state).alpha == 0.8
    assert IQPIR.from_state_dict(state, alpha=0.5).alpha == 0.5
    assert IQPIR.from_checkpoint(tmp_path / "net.pth", alpha=0.0).config.alpha == 0.0


def test_what_no_tensor_tells_can_be_given(small, tmp_path):
    network = small(conditioning="adaln", heads=4, adaln_drops_attention=True)
    torch.save(network.state_dict(), tmp_path / "net.pth")
    read = IQPIR.from_checkpoint(tmp_path / "net.pth", config=network.config)
    assert read.config.adaln_drops_attention
    assert read.ft_layers[0].self_attn.num_heads == 4
    assert not IQPIR.from_checkpoint(tmp_path / "net.pth").config.adaln_drops_attention


def test_half_precision_files_make_a_float32_network_of_its_own_tensors(small):
    state = small().bfloat16().state_dict()
    network = IQPIR.from_state_dict(state)
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert not network.training
    whole = small()
    state = whole.state_dict()
    with torch.no_grad():
        IQPIR.from_state_dict(state).position_emb.zero_()
    assert whole.position_emb.any()


@torch.no_grad()
@pytest.mark.parametrize(
    "changes",
    [
        {"alpha": 1.0, "beta_on": "codebook", "threshold": 0.7},
        {"conditioning": "adaln", "adaln_drops_attention": True, "heads": 4, "groups": 16},
        {"conditioning": "add-list", "bins": (20, 5), "hq_codebook": 16},
        {"fusion": "attention", "fusion_switch": "batch", "conditioning": "none"},
    ],
)
def test_our_own_file_comes_back_as_it_was(changes, small, images, tmp_path):
    network = small(**changes)
    network.fidelity_trained = True
    save_checkpoint(network, tmp_path / "runs" / "net.safetensors")
    read = IQPIR.from_checkpoint(tmp_path / "runs" / "net.safetensors")
    assert (read.config, read.fidelity_trained) == (network.config, True)
    assert same(read, network)
    score = [0.2, 0.9] if network.config.conditioning == "add-list" else 0.9
    assert torch.equal(read(images, score, fidelity=1.0).image, network(images, score, fidelity=1.0).image)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["net.safetensors"]


def test_an_alpha_set_on_the_network_is_the_one_that_is_saved(small, tmp_path):
    network = small()
    network.alpha = 0.25
    save_checkpoint(network, tmp_path / "net.safetensors")
    assert IQPIR.from_checkpoint(tmp_path / "net.safetensors").alpha == 0.25


def test_fidelity_weights_are_trained_only_where_somebody_says_so(small, tmp_path):
    save_checkpoint(small(), tmp_path / "net.safetensors")
    assert not IQPIR.from_checkpoint(tmp_path / "net.safetensors").fidelity_trained
    assert IQPIR.from_checkpoint(tmp_path / "net.safetensors", fidelity_trained=True).fidelity_trained


def test_an_autoencoder_is_saved_and_read_and_is_no_restorer(tmp_path):
    fields = {name: value for name, value in preset("small").as_dict().items() if name in AutoEncoderConfig().as_dict()}
    network = VQAutoEncoder(AutoEncoderConfig.from_dict(fields | {"beta": 0.5}))
    save_checkpoint(network, tmp_path / "vq.safetensors")
    read = load_autoencoder(tmp_path / "vq.safetensors")
    assert read.config == network.config
    assert same(read, network)
    assert same(VQAutoEncoder.from_checkpoint(tmp_path / "vq.safetensors"), network)
    with pytest.raises(IQPIRError, match="stage 1 alone"):
        load_restorer(tmp_path / "vq.safetensors")
    torch.save({"params_ema": network.state_dict()}, tmp_path / "vq.pth")
    assert same(VQAutoEncoder.from_state_dict(read_checkpoint(tmp_path / "vq.pth").state), network)


def renamed(state, old, new):
    return {new if name == old else name: value for name, value in state.items()}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda s: {k: v for k, v in s.items() if k != "feat_emb.bias"}, "missing feat_emb.bias"),
        (lambda s: s | {"teacher.weight": torch.zeros(2)}, "foreign teacher.weight"),
        (
            lambda s: s | {"feat_emb.bias": torch.zeros(3)},
            r"shape feat_emb.bias is \(3,\) instead of \(64,\)",
        ),
        (
            lambda s: {k: v for k, v in s.items() if not k.startswith("generator.")},
            r"missing generator.blocks.0.weight, generator.blocks.0.bias, generator.\S+ and \d+ more",
        ),
        (lambda s: renamed(s, "quantize.embedding.weight", "codebook"), "no quantize.embedding.weight"),
        (lambda s: s | {"score_embed.weight": torch.zeros(10, 77)}, "rows of 77"),
        (lambda s: {k: v for k, v in s.items() if not k.startswith("encoder.blocks.0")}, "encoder.blocks.0.weight"),
        (lambda s: {"conv.weight": torch.zeros(3)}, "not IQPIR's tensors"),
        (lambda s: s | {"epoch": 3}, "more than named tensors: epoch"),
        (lambda s: {}, "not named tensors"),
        (lambda s: {"params_ema": [1, 2]}, "more than named tensors: params_ema"),
        (lambda s: s | {3: torch.zeros(2)}, "more than named tensors: 3"),
    ],
)
def test_tensors_that_do_not_fit_are_named_in_one_line(damage, said, small):
    with pytest.raises(IQPIRError, match=said) as error:
        IQPIR.from_state_dict(damage(small().state_dict()))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


class Trap:
    def __reduce__(self):
        return (print, ("code ran",))


def test_a_file_that_holds_code_is_refused_unrun(tmp_path, capsys):
    torch.save({"params_ema": Trap()}, tmp_path / "net.pth")
    with pytest.raises(IQPIRError, match=r"net\.pth cannot be read as weights") as error:
        IQPIR.from_checkpoint(tmp_path / "net.pth")
    assert "\n" not in str(error.value)
    assert capsys.readouterr().out == ""


def test_damaged_and_missing_files_are_said_in_one_line(small, tmp_path):
    with pytest.raises(IQPIRError, match="no such file"):
        IQPIR.from_checkpoint(tmp_path / "none.pth")
    for name in ("net.pth", "net.safetensors"):
        (tmp_path / name).write_bytes(b"this is no checkpoint")
        with pytest.raises(IQPIRError, match=name) as error:
            IQPIR.from_checkpoint(tmp_path / name)
        assert "\n" not in str(error.value)
    save_checkpoint(small(), tmp_path / "cut.safetensors")
    whole = (tmp_path / "cut.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-100])
    with pytest.raises(IQPIRError, match=r"cut\.safetensors"):
        IQPIR.from_checkpoint(tmp_path / "cut.safetensors")
    with pytest.raises(IQPIRError, match="safetensors"):
        save_checkpoint(small(), tmp_path / "net.pth")


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"format": "iqpir/9"}, "later version"),
        ({"config": "{"}, "metadata"),
        ({"config": json.dumps({"colour": 1})}, "no setting colour"),
        ({"kind": "toaster"}, "metadata"),
    ],
)
def test_metadata_that_cannot_be_understood_are_refused(metadata, said, small, tmp_path):
    good = {"format": "iqpir/1", "kind": "restorer", "config": json.dumps(small().config.as_dict())}
    save_file(small().state_dict(), tmp_path / "net.safetensors", good | metadata)
    with pytest.raises(IQPIRError, match=said):
        IQPIR.from_checkpoint(tmp_path / "net.safetensors")


def test_equal_networks_are_equal_files(small, tmp_path):
    """safetensors alone orders four metadata in any of 24 ways."""
    network = small()
    for place in range(8):
        save_checkpoint(network, tmp_path / f"{place}.safetensors")
    (content,) = {path.read_bytes() for path in tmp_path.iterdir()}
    read = IQPIR.from_checkpoint(tmp_path / "0.safetensors")
    assert all(torch.equal(tensor, read.state_dict()[name]) for name, tensor in network.state_dict().items())
    assert content.index(b'"config"') < content.index(b'"fidelity_trained"') < content.index(b'"format"')


def test_saving_replaces_the_file_that_was_there_or_leaves_it(small, tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    save_checkpoint(small(), path)
    before = load_file(path)

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(small(), path)
    assert [each.name for each in tmp_path.iterdir()] == ["net.safetensors"]
    assert load_file(path).keys() == before.keys()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"groups": 24}, "groups must divide"),
        ({"image_size": 65}, "multiple of 4"),
        ({"heads": 7}, "heads must divide"),
        ({"conditioning": "film"}, "'film'"),
        ({"bins": (10, 10)}, "one number of bins"),
        ({"bins": ()}, "bins must be positive"),
        ({"connect": (128,)}, r"\[128\]"),
        ({"alpha": float("nan")}, "alpha"),
        ({"fusion": "attention", "hq_codebook": 0}, "HQ+"),
        ({"layers": 0}, "positive"),
        ({"colour": 1}, "no setting colour"),
    ],
)
def test_settings_that_make_no_network_are_refused(changes, said):
    with pytest.raises(IQPIRError, match=said.replace("+", r"\+")):
        preset("small", **changes)


def test_a_preset_that_does_not_exist_is_answered_with_those_that_do():
    with pytest.raises(IQPIRError, match=r"'huge'.*full.*small"):
        preset("huge")


def test_settings_survive_json():
    for name in ("full", "multi-score", "small"):
        config = preset(name)
        assert IQPIRConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config


def test_importing_iqpir_does_not_import_torch():
    program = (
        "import sys, iqpir; iqpir.preset('small'); assert 'torch' not in sys.modules\n"
        "from iqpir import IQPIR, VQAutoEncoder, save_checkpoint; assert 'torch' in sys.modules\n"
        "assert IQPIR.__module__ == 'iqpir.network.model'"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
