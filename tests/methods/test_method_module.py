"""Any torch module or callable as a method, with an identity that follows what it computes."""

import argparse
import threading

import pytest
import torch
from torch import nn

import bench.errors
from bench.catalog.registry import Entry
from bench.identity import canonical
from bench.methods.build import build_method
from bench.methods.module import describe, from_module
from bench.testing.method_contract import selftest


class Gain(nn.Module):
    def __init__(self, gain=1.0, power=1.0):
        super().__init__()
        self.gain = nn.Parameter(torch.full((3, 1, 1), gain))
        self.register_buffer("offset", torch.zeros(1), persistent=False)
        self.power = power
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        return self.dropout(x) ** self.power * self.gain + self.offset


def loaded(module, **options):
    method = from_module(module, "mine", **options)
    method.load("cpu", "float32")
    return method


def identity(module, **options):
    return canonical(dict(from_module(module, "mine", **options).identity()))


def test_a_module_restores_in_eval_mode():
    image = torch.rand(1, 3, 5, 6)
    torch.testing.assert_close(loaded(Gain(2.0)).restore(image), image * 2)


def test_a_function_restores():
    image = torch.rand(1, 3, 5, 6)
    assert torch.equal(loaded(lambda x: x.sqrt()).restore(image), image.sqrt())


def test_it_pads_to_a_multiple_and_cuts_at_the_scale():
    def twice(x):
        assert x.shape[-1] % 8 == 0 and x.shape[-2] % 8 == 0
        return nn.functional.interpolate(x, scale_factor=2, mode="nearest")

    assert loaded(twice, scale=2, multiple=8).restore(torch.rand(1, 3, 5, 6)).shape == (1, 3, 10, 12)


def test_a_stochastic_one_is_called_with_the_seeds():
    method = loaded(lambda x, seeds: x * 0 + seeds[0], stochastic=True)
    assert method.restore(torch.rand(1, 3, 2, 2), torch.tensor([7])).max() == 7


def test_loading_in_half_precision_leaves_the_module_alone():
    module = Gain(1.2345678)
    method = from_module(module, "mine")
    before = canonical(dict(method.identity()))
    method.load("cpu", "bfloat16")
    assert method.restore(torch.rand(1, 3, 2, 2)).dtype == torch.float32
    assert module.gain.dtype == torch.float32
    assert canonical(dict(method.identity())) == before == identity(module)


def test_equal_modules_have_equal_identities():
    assert identity(Gain(2.0)) == identity(Gain(2.0))


@pytest.mark.parametrize(
    "other",
    [
        Gain(2.0 + 1e-6),
        Gain(2.0, power=2.0),
        Gain(2.0).double(),
        nn.Sequential(Gain(2.0)),
    ],
    ids=["weight", "attribute", "dtype", "wrapped"],
)
def test_another_module_has_another_identity(other):
    assert identity(other) != identity(Gain(2.0))


def test_a_buffer_outside_the_state_dict_and_a_tensor_attribute_count():
    plain = identity(Gain())
    module = Gain()
    module.offset += 1
    assert identity(module) != plain
    module = Gain()
    module.kernel = torch.ones(3)
    with_ones = identity(module)
    module.kernel = torch.zeros(3)
    assert plain != with_ones != identity(module)


def test_options_scale_and_padding_count():
    assert len({identity(Gain()), identity(Gain(), options={"steps": 4}), identity(Gain(), multiple=4)}) == 3


def test_what_a_function_captures_counts():
    def times(k):
        return lambda x: x * k

    assert identity(times(2)) == identity(times(2))
    assert identity(times(2)) != identity(times(3))


def test_a_module_that_a_function_captures_counts():
    def around(net):
        return lambda x: net(x)

    assert identity(around(Gain(1.0))) == identity(around(Gain(1.0)))
    assert identity(around(Gain(1.0))) != identity(around(Gain(2.0)))


def test_what_an_inner_function_captures_counts():
    def times(k):
        def inner(x):
            return x * k

        return lambda x: inner(x)

    assert identity(times(2)) != identity(times(3))


def test_a_recursive_function_is_described():
    def power(x, n=2):
        return x if n == 0 else x * power(x, n - 1)

    assert identity(power) == identity(power)


def test_objects_are_described_by_class_and_attributes():
    class Caller:
        def __init__(self, config):
            self.config = config

        def __call__(self, x):
            return x * self.config.k

    one, same, other = (Caller(argparse.Namespace(k=k)) for k in (1, 1, 2))
    assert identity(one) == identity(same) != identity(other)


def test_what_cannot_be_identified_is_refused_with_a_remedy():
    lock = threading.Lock()

    def locked(x):
        with lock:
            return x

    with pytest.raises(bench.errors.BenchError, match=r"'mine' depends on a .*lock.*nn\.Module"):
        from_module(locked, "mine")


def test_options_must_be_plain_data():
    with pytest.raises(bench.errors.BenchError, match="plain JSON-like"):
        from_module(Gain(), "mine", options={"x": object()})


@pytest.mark.parametrize(
    "tensor", [torch.zeros(0), torch.tensor(1.0), torch.ones(2, dtype=torch.bfloat16), torch.ones(2, 3).T]
)
def test_every_tensor_has_a_hash(tensor):
    assert describe(tensor, "here") == describe(tensor.clone(), "here")


def test_it_serves_as_a_registered_factory_and_passes_the_selftest():
    entry = Entry("mine", "method", {"kind": "plugin"}, "here", lambda: from_module(Gain(0.5), multiple=4))
    method = build_method(entry, {}, None)
    assert method.name == "mine"
    assert [check for check in selftest(method) if check.status == "failed"] == []
