"""The network adapter: weights are verified before they are read, sizes are its business, identity tells all."""

import hashlib
import importlib.metadata
import pickle
import sys

import pytest
import torch

from bench.catalog.registry import Entry
from bench.errors import BenchError, ItemError, MissingFile
from bench.methods.network import NetworkMethod

SOURCE = """
import torch
from torch import nn

class Gain(nn.Module):
    ignored_prefixes = ("teacher.",)
    def __init__(self, power=1.0):
        super().__init__()
        self.power = power
        self.gain = nn.Parameter(torch.ones(3, 1, 1))
    def forward(self, x):
        assert x.shape[-1] % 4 == 0 and x.shape[-2] % 4 == 0
        return x ** self.power * self.gain

class Double(nn.Module):
    def __init__(self, power):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))
    def forward(self, x):
        return torch.nn.functional.interpolate(x, scale_factor=2, mode="nearest") * self.gain
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "gain_net.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    monkeypatch.delitem(sys.modules, "gain_net", raising=False)
    yield tmp_path / "home"
    sys.modules.pop("gain_net", None)


def save(home, state, name="w.pt"):
    torch.save(state, home / name)
    return hashlib.sha256((home / name).read_bytes()).hexdigest()


def make(sha256=None, options=None, file="w.pt", target="gain_net:Gain", **fields):
    fields = {
        "kind": "network",
        "target": target,
        "multiple": 4,
        "options": {"power": 1.0},
        "weights": {"file": file, "url": "https://example.org/w.pt", "sha256": sha256},
        **fields,
    }
    return NetworkMethod.from_entry(Entry("net", "method", fields, "net.yaml:1"), options or {}, None)


def gain(value=1.0):
    return {"gain": torch.full((3, 1, 1), value)}


def loaded(*args, **kwargs):
    method = make(*args, **kwargs)
    method.load("cpu", "float32")
    return method


def test_a_file_that_does_not_begin_with_the_published_digits_is_refused(home):
    digest = save(home, gain())
    loaded(weights={"file": "w.pt", "prefix": digest[:8]})
    with pytest.raises(BenchError, match=r"not the pinned 00000000"):
        loaded(weights={"file": "w.pt", "prefix": "0" * 8})


def test_a_network_restores_with_its_weights(home):
    image = torch.rand(2, 3, 8, 12)
    torch.testing.assert_close(loaded(save(home, gain(2.0))).restore(image), image * 2)


def test_any_size_is_padded_and_cut_back(home):
    method = loaded(save(home, gain(2.0)))
    for size in ((1, 1), (3, 5), (7, 9)):
        image = torch.rand(1, 3, *size)
        torch.testing.assert_close(method.restore(image), image * 2)


def test_padding_is_cut_at_the_networks_scale(home):
    method = loaded(save(home, {"gain": torch.ones(1)}), target="gain_net:Double", scale=2)
    image = torch.rand(1, 3, 5, 6)
    assert method.restore(image).shape == (1, 3, 10, 12)
    torch.testing.assert_close(method.restore(image)[..., ::2, ::2], image)


def test_network_options_reach_the_class(home):
    image = torch.rand(1, 3, 4, 4)
    torch.testing.assert_close(loaded(save(home, gain()), {"power": 2}).restore(image), image**2)


def test_tiles_give_the_whole_image(home):
    image = torch.rand(1, 3, 37, 50)
    method = loaded(save(home, gain(0.5)), {"tile": 16, "overlap": 4})
    torch.testing.assert_close(method.restore(image), image * 0.5)


def test_a_too_large_image_is_refused_and_the_remedy_named(home):
    method = loaded(save(home, gain()), {"max_pixels": 100})
    assert method.restore(torch.rand(1, 3, 10, 10)).shape == (1, 3, 10, 10)
    with pytest.raises(ItemError, match=r"at most 100.*option tile"):
        method.restore(torch.rand(1, 3, 10, 11))


def test_tiles_lift_the_size_limit(home):
    method = loaded(save(home, gain()), {"max_pixels": 100, "tile": 8, "overlap": 2})
    assert method.restore(torch.rand(1, 3, 20, 20)).shape == (1, 3, 20, 20)


def test_an_overlap_that_fills_the_tile_is_refused(home):
    with pytest.raises(BenchError, match=r"'overlap' \(32\) must be less than 'tile' \(16\)"):
        make(save(home, gain()), {"tile": 16})


def test_missing_weights_name_the_command_that_brings_them():
    with pytest.raises(MissingFile, match="bench fetch net"):
        make("0" * 64).identity()
    with pytest.raises(MissingFile, match="bench fetch net"):
        loaded("0" * 64)


def test_weights_of_another_hash_are_refused_before_they_are_read(home, monkeypatch):
    save(home, gain())
    monkeypatch.setattr(torch, "load", lambda *a, **k: pytest.fail("read before it was verified"))
    with pytest.raises(BenchError, match="not the pinned 000000000000"):
        loaded("0" * 64)
    with pytest.raises(BenchError, match="not the pinned 000000000000"):
        make("0" * 64).identity()


def test_weights_that_change_after_planning_are_refused(home):
    save(home, gain(1.0))
    method = make()
    method.identity()
    save(home, gain(2.0))
    with pytest.raises(BenchError, match="changed while it was in use"):
        method.load("cpu", "float32")


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(home, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    (home / "w.pt").write_bytes(pickle.dumps({"gain": Bomb()}))
    with pytest.raises(BenchError, match="cannot be read as weights") as error:
        loaded()
    assert "\n" not in str(error.value)
    torch.save({"gain": Bomb()}, home / "w.pt")
    with pytest.raises(BenchError, match="cannot be read as weights"):
        loaded()
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("damage", [b"", b"not weights", b"PK\x03\x04broken"])
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_a_damaged_file_is_one_line(home, damage, name):
    (home / name).write_bytes(damage)
    with pytest.raises(BenchError, match=name) as error:
        loaded(file=name)
    assert "\n" not in str(error.value)


def test_a_file_of_something_else_is_refused(home):
    save(home, [torch.ones(3)])
    with pytest.raises(BenchError, match="holds list, not a mapping"):
        loaded()


def test_safetensors_are_read_by_suffix(home):
    from safetensors.torch import save_file

    save_file(gain(3.0), home / "w.safetensors")
    image = torch.rand(1, 3, 4, 4)
    torch.testing.assert_close(loaded(file="w.safetensors").restore(image), image * 3)


def test_missing_foreign_and_misshapen_keys_are_said_in_one_line(home):
    save(home, {"gian": torch.ones(3, 1, 1)})
    with pytest.raises(BenchError, match=r"w\.pt does not fit Gain: missing gain; foreign gian"):
        loaded()
    save(home, {"gain": torch.ones(4)})
    with pytest.raises(BenchError, match=r"shape gain \(4,\) instead of \(3, 1, 1\)"):
        loaded()


def test_only_declared_prefixes_are_ignored(home):
    save(home, {**gain(2.0), "teacher.weight": torch.ones(5)})
    loaded()
    save(home, {**gain(2.0), "student.weight": torch.ones(5)})
    with pytest.raises(BenchError, match=r"foreign student\.weight"):
        loaded()


def test_other_weights_are_another_identity(home):
    save(home, gain(1.0))
    first = make().identity()
    save(home, gain(2.0))
    assert make().identity() != first


def test_identity_names_weights_sources_and_torch(home):
    identity = make(sha := save(home, gain())).identity()
    assert identity["weights"] == sha
    assert identity["packages"] == {"torch": importlib.metadata.version("torch")}
    own = {f"bench.methods.{name}" for name in ("network", "padding", "tiling", "weights")}
    assert set(identity["sources"]) == {"gain_net", *own}
    assert identity["sources"]["gain_net"] == hashlib.sha256(SOURCE.encode()).hexdigest()
    assert "gain_net" not in sys.modules


def test_tiling_is_part_of_the_identity_and_the_size_limit_is_not(home):
    save(home, gain())
    plain = make().identity()
    assert make(options={"tile": 64}).identity() != plain
    assert make(options={"max_pixels": 5}).identity() == plain
    assert make(options={"overlap": 8}).identity() == plain  # without tiles there is nothing to overlap


def test_a_device_that_is_not_there_is_one_line(home):
    method = make(save(home, gain()))
    with pytest.raises(BenchError, match="cannot be loaded on 'no-such-device'"):
        method.load("no-such-device", "float32")


def test_half_precision_returns_float32(home):
    method = make(save(home, gain(2.0)))
    method.load("cpu", "bfloat16")
    image = torch.rand(1, 3, 4, 4)
    output = method.restore(image)
    assert output.dtype == torch.float32
    torch.testing.assert_close(output, image * 2, atol=0.02, rtol=0)


def test_using_a_method_before_load_is_said():
    with pytest.raises(BenchError, match="before load"):
        make().restore(torch.rand(1, 3, 4, 4))


def test_an_entry_without_weights_is_refused():
    with pytest.raises(BenchError, match="has no weights"):
        make(weights=None)
