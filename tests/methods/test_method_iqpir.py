"""The restorer as a method: its weights by option or catalogue, its options, its identity."""

from __future__ import annotations

import pytest
import torch

import iqpir
from bench.catalog.registry import registry
from bench.errors import BenchError, ItemError, MissingFile
from bench.methods.build import build_method
from bench.methods.iqpir import SOURCES


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    iqpir.save_checkpoint(iqpir.IQPIR(iqpir.preset("small")), path)
    return path


def make(options=None, name="iqpir"):
    return build_method(registry("method").get(name), options or {}, None)


def test_it_restores_what_the_network_restores(checkpoint):
    method = make({"weights": str(checkpoint), "score": 0.3})
    method.load("cpu", "float32")
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    network = iqpir.IQPIR.from_checkpoint(str(checkpoint))
    expected = network(image * 2 - 1, score=0.3).image.clamp(-1, 1) / 2 + 0.5
    assert torch.allclose(method.restore(image), expected, atol=1e-5)
    assert method.restore(image[..., :40, :56]).shape == (1, 3, 40, 56)


def test_exact_makes_another_size_a_failed_item(checkpoint):
    method = make({"weights": str(checkpoint), "fit": "exact"})
    method.load("cpu", "float32")
    with pytest.raises(ItemError, match="this network takes 64×64"):
        method.restore(torch.zeros(1, 3, 65, 64))


def test_native_keeps_the_size_and_has_an_identity_of_its_own(checkpoint):
    options = {"weights": str(checkpoint), "fit": "native", "gray": False}
    method = make(options)
    method.load("cpu", "float32")
    image = torch.rand(1, 3, 60, 72, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = iqpir.IQPIR.from_checkpoint(str(checkpoint))(image * 2 - 1, score=0.9, any_size=True)
    assert torch.allclose(method.restore(image), found.image.clamp(-1, 1) / 2 + 0.5, atol=1e-5)
    assert method.identity() != make({**options, "fit": "resize"}).identity()


def test_options_and_weights_are_its_identity(checkpoint, tmp_path):
    one = make({"weights": str(checkpoint)}).identity()
    copy = tmp_path / "elsewhere.safetensors"
    copy.write_bytes(checkpoint.read_bytes())
    assert make({"weights": str(copy)}).identity() == one
    assert make({"weights": str(checkpoint), "score": 0.5}).identity() != one
    iqpir.save_checkpoint(iqpir.IQPIR(iqpir.preset("small")), copy)
    assert make({"weights": str(copy)}).identity() != one


def test_every_module_that_restoring_imports_is_in_the_identity(checkpoint):
    import subprocess
    import sys

    code = (
        "import sys, torch, iqpir; from iqpir.restore import Options, Restorer\n"
        f"net = iqpir.IQPIR.from_checkpoint({str(checkpoint)!r})\n"
        "for one in (net, net.optimize()): Restorer(one, Options()).restore(torch.zeros(1, 3, 9, 64))\n"
        "print(*sorted(name for name in sys.modules if name.startswith('iqpir.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # RAR is a system of its own: reading checkpoints knows what its files are, and runs nothing of it here.
    taken = {name for name in done.stdout.split() if not (name + ".").startswith("iqpir.rar.")}
    assert taken - {"iqpir.errors", "iqpir.network", "iqpir.network.fast"} <= set(SOURCES)


@pytest.mark.parametrize("name", ["iqpir", "iqpfr"])
def test_without_weights_one_line_says_where_they_are(name, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    (asset,) = make(name=name).assets()
    with pytest.raises(MissingFile, match=r"drive\.google\.com/drive/folders/1C37gV6eAamXw8HSR2lYIsG0_hWRN-Xzo"):
        asset.require()


def test_a_wrong_path_or_option_is_named(tmp_path, checkpoint):
    with pytest.raises(BenchError, match="there is no such file"):
        make({"weights": str(tmp_path / "absent.pth")})
    with pytest.raises(BenchError, match="did you mean 'resize'"):
        make({"fit": "resise"})
    (tmp_path / "x.pth").write_bytes(b"nothing")
    with pytest.raises(BenchError, match="cannot be read as weights"):
        make({"weights": str(tmp_path / "x.pth")}).load("cpu", "float32")


ABLATION = {"a": (False, "none"), "b": (False, "add"), "c": (True, "add"), "d": (True, "add")}


@pytest.mark.parametrize("letter", ABLATION)
def test_the_ablation_has_the_papers_switches_and_random_weights(letter):
    method = make(name=f"iqpir-ablation-{letter}")
    assert method.untrained and method.assets() == []
    assert "not scored" in str(method.unavailable())
    assert method.identity()["weights"].startswith("random")
    network = iqpir.preset(method._preset)
    assert (network.dual, network.conditioning) == ABLATION[letter]


def test_random_weights_are_drawn_alike_and_disturb_nobodys_draws(monkeypatch):
    monkeypatch.setitem(iqpir.network.config.PRESETS, "full", iqpir.network.config.PRESETS["small"])
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    outputs = []
    for _ in range(2):
        method = make({"weights": "random"})
        before = torch.get_rng_state()
        method.load("cpu", "float32")
        assert torch.equal(torch.get_rng_state(), before)
        outputs.append(method.restore(image))
    assert torch.equal(*outputs) and outputs[0].isfinite().all()


def test_a_method_without_its_weights_has_an_untrained_twin(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    method = make({"score": 0.5})
    twin = method.untrained_twin()
    assert twin.untrained and not method.untrained
    assert twin.identity()["options"] == {**twin.identity()["options"], "score": 0.5}


def test_an_ablation_with_a_checkpoint_is_an_ordinary_method(checkpoint):
    method = make({"weights": str(checkpoint)}, "iqpir-ablation-c")
    assert not method.untrained and method.unavailable() is None
