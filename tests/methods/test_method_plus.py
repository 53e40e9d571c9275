"""A host with a score as a method: the host's own adapter, the conditioner in a file, both in the identity."""

from __future__ import annotations

import hashlib

import pytest
import torch
from safetensors import safe_open
from support.networks import picture
from support.normals import normals

from bench.catalog.registry import registry
from bench.errors import BenchError, MissingFile
from bench.methods.build import build_method
from bench.methods.networks.mambair import MambaIR
from bench.methods.networks.nu2net import Nu2Net
from bench.methods.networks.puie import Puie, PuieMostProbable
from bench.methods.networks.retidiff import RetiDiff
from bench.methods.networks.sci import Sci
from iqpir.plus import ScoreConditioner, Site
from iqpir.tensors import write_tensors

SITES = [Site("enhance.in_conv", "film", 3)]


@pytest.fixture
def published(tmp_path, monkeypatch):
    """SCI with weights of our own in place of the official file, whose hash the entry pins."""
    torch.manual_seed(0)
    network = Sci().eval()
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    entry = registry("method").get("sci-medium")
    path = tmp_path / "home" / entry.fields["weights"]["file"]
    path.parent.mkdir(parents=True)
    torch.save(network.state_dict(), path)
    pinned = {**entry.fields["weights"], "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    monkeypatch.setitem(entry.fields, "weights", pinned)
    return network


def make(weights, **options) -> object:
    return build_method(
        registry("method").get("plus"), {"host": "sci-medium", "weights": str(weights), **options}, None
    )


def rows(network: Sci, path, value: float) -> ScoreConditioner:
    plus = ScoreConditioner(network, SITES).eval()
    with torch.no_grad():
        plus.score[0].weight[9] = value
    plus.save(path)
    return plus


def test_it_is_the_conditioned_host_at_one_score(published, tmp_path):
    plus = rows(published, tmp_path / "plus.safetensors", 0.4)
    image = torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(1))
    found = {}
    for score in (0.95, 0.15):
        method = make(tmp_path / "plus.safetensors", score=score)
        method.load("cpu", "float32")
        found[score] = method.restore(image)
        assert torch.allclose(found[score], plus(image, score=score), atol=1e-6)
    host = build_method(registry("method").get("sci-medium"), {}, None)
    host.load("cpu", "float32")
    assert torch.allclose(found[0.15], host.restore(image), atol=1e-6)  # that bin's row is zero
    assert (found[0.95] - found[0.15]).abs().max() > 0.01
    guided = make(tmp_path / "plus.safetensors", score=0.95, guidance=1.5)
    guided.load("cpu", "float32")
    expected = found[0.15] + 1.5 * (found[0.95] - found[0.15])
    assert torch.allclose(guided.restore(image), expected, atol=1e-5)


def test_host_rows_and_score_are_its_identity(published, tmp_path):
    rows(published, tmp_path / "a.safetensors", 0.4)
    rows(published, tmp_path / "b.safetensors", 0.5)
    identities = [
        make(tmp_path / "a.safetensors").identity(),
        make(tmp_path / "b.safetensors").identity(),
        make(tmp_path / "a.safetensors", score=0.1).identity(),
        make(tmp_path / "a.safetensors", guidance=2.0).identity(),
    ]
    assert make(tmp_path / "a.safetensors").identity() == identities[0]
    assert all(one != other for place, one in enumerate(identities) for other in identities[:place])


def test_what_is_wrong_is_named(published, tmp_path, monkeypatch):
    with pytest.raises(BenchError, match=r"absent\.safetensors, and there is no such file: iqpir train plus"):
        make(tmp_path / "absent.safetensors")
    rows(published, tmp_path / "a.safetensors", 0.4)
    with pytest.raises(BenchError, match="host 'gamma' is of kind 'classical'; a host is a network"):
        make(tmp_path / "a.safetensors", host="gamma")
    ScoreConditioner(torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1)), [Site("0", "film", 3)]).save(
        tmp_path / "other.safetensors"
    )
    method = make(tmp_path / "other.safetensors")
    with pytest.raises(BenchError, match="plus: Sci has no module '0'"):
        method.load("cpu", "float32")
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "empty"))
    (asset,) = make(tmp_path / "a.safetensors").assets()
    with pytest.raises(MissingFile, match="bench fetch sci-medium"):
        asset.require()


def test_a_file_that_holds_the_host_needs_no_download_and_keeps_its_key(published, tmp_path, monkeypatch):
    torch.manual_seed(3)
    plus = ScoreConditioner(Sci(), SITES).eval()
    with torch.no_grad():
        plus.score[0].weight[9] = 0.4
    path = tmp_path / "whole.safetensors"
    plus.save(path, with_host=True)
    host = build_method(registry("method").get("sci-medium"), {}, None).identity()
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "empty"))
    method = make(path)
    assert method.assets() == [] and method.unavailable() is None
    assert method.identity()["host"] == host  # as it was stored by one who has the file
    method.load("cpu", "float32")
    image = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(method.restore(image), plus(image, score=0.9), atol=1e-6)


def test_a_file_that_says_so_and_does_not_hold_the_host_is_refused(published, tmp_path):
    rows(published, tmp_path / "rows.safetensors", 0.4)
    with safe_open(tmp_path / "rows.safetensors", framework="pt") as file:
        told, held = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    write_tensors(held, tmp_path / "liar.safetensors", {**told, "host": "included"})
    with pytest.raises(BenchError, match=r"liar\.safetensors does not fit this host"):
        make(tmp_path / "liar.safetensors").load("cpu", "float32")


def test_a_host_of_unknown_hash_is_asked_for_whatever_the_file_holds(published, tmp_path, monkeypatch):
    """Its key is the hash of a file that nobody has vouched for, so that the file is needed."""
    entry = registry("method").get("sci-medium")
    monkeypatch.setitem(entry.fields, "weights", {**entry.fields["weights"], "sha256": None})
    ScoreConditioner(Sci(), SITES).save(tmp_path / "whole.safetensors", with_host=True)
    assert [asset.owner for asset in make(tmp_path / "whole.safetensors").assets()] == ["sci-medium"]


class Wrapped(torch.nn.Module):
    """As a checkpoint of spandrel's is held: the architecture under `model`."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.model(image)


def sites_of(name: str) -> list[Site]:
    return [Site(**site) for site in registry("method").get(name).fields["sites"]]


def test_cidnets_sites_take_a_score_in_both_branches():
    from spandrel.architectures.HVICIDNet import HVICIDNet

    torch.manual_seed(0)
    host = Wrapped(HVICIDNet()).eval()
    image = torch.rand(2, 3, 32, 40, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = host(image)
        for place in (0, 1):
            plus = ScoreConditioner(host, sites_of("cidnet+")).eval()
            assert torch.equal(plus(image, score=0.9), expected)
            plus.score[place].weight.add_(1.0)
            assert (plus(image, score=0.9) - expected).abs().max() > 1e-4
            plus.remove()


def normal(host: torch.nn.Module) -> torch.nn.Module:
    host.load_state_dict({name: normals(name, tuple(held.shape)) for name, held in host.state_dict().items()})
    return host.eval()


@pytest.mark.parametrize(
    ("name", "host", "arguments"),
    [
        ("reti-diff+", RetiDiff(blocks=1), [torch.tensor([1, 2])]),
        ("mambair+", MambaIR(groups=1, depth=1, partition=20), []),
        ("nu2net+", Nu2Net(), []),
        ("puie-net+", Puie(samples=2), [torch.tensor([1, 2])]),
        ("puie-net-mp+", PuieMostProbable(), []),
    ],
)
def test_every_site_of_our_own_hosts_takes_a_score(name, host, arguments):
    host, image = normal(host), picture(17, 23, 0.3).repeat(2, 1, 1, 1)
    with torch.no_grad():
        expected = host(image, *arguments)
        for place, site in enumerate(sites_of(name)):
            plus = ScoreConditioner(host, sites_of(name)).eval()
            for score in (None, 0.05, 0.95):
                assert torch.equal(plus(image, *arguments, score=score), expected)
            plus.score[place].weight[9] = 0.5
            scored = plus(image, *arguments, score=[0.95, 0.15])
            assert (scored[0] - expected[0])[:, 4:-4, 4:-4].abs().max() > 1e-3, site
            torch.testing.assert_close(scored[1], expected[1], atol=1e-5, rtol=1e-5)
            plus.remove()
        assert torch.equal(host(image, *arguments), expected)


def test_codeformers_site_is_where_the_authors_add_their_map():
    from spandrel_extra_arches.architectures.CodeFormer import CodeFormer

    (site,) = sites_of("codeformer+")
    with torch.device("meta"):
        module = Wrapped(CodeFormer()).get_submodule(site.module)
    assert isinstance(module, torch.nn.Conv2d)  # the encoder's last convolution: its output is the latent
    assert module.out_channels == site.channels == 256 and site.size == (512 // 32, 512 // 32)


def test_an_entry_of_the_papers_needs_the_trained_file_only() -> None:
    """Without it there is nothing to run or to fetch, which a suite says in its row."""
    method = build_method(registry("method").get("codeformer+"), {}, None)
    assert method.assets() == [] and "iqpir train plus makes them from codeformer" in str(method.unavailable())
    with pytest.raises(BenchError, match=r"no weights of codeformer[+] are published"):
        method.load("cpu", "float32")
