"""The selftest finds what it is there to find."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.errors import ItemError, MissingFile
from bench.methods.base import Box, Method, StoredMethod
from bench.testing.checks import Result, render
from bench.testing.method_contract import selftest


class Good(Method):
    name = "good"
    batch_invariant = True

    def load(self, device, dtype):
        pass

    def restore(self, images, seeds=None):
        return images.sqrt()

    def identity(self):
        return {"name": "good"}


def verdicts(method):
    return {check.check: check for check in selftest(method)}


def failed(method):
    return {check.check for check in selftest(method) if check.status == "failed"}


def with_restore(restore, **attributes):
    return type("Made", (Good,), {"restore": lambda self, images, seeds=None: restore(images, seeds), **attributes})()


def test_a_good_method_passes():
    checks = selftest(Good())
    assert {check.status for check in checks if check.check != "seeds"} == {"passed"}
    assert {"size 1×1", "size 5×7", "size 47×33", "size 48×64", "flat black", "flat gray", "flat white"} <= {
        check.check for check in checks
    }


def test_a_wrong_scale_fails():
    assert "shape" in failed(with_restore(lambda x, s: x.repeat_interleave(2, 2).repeat_interleave(2, 3)))
    assert failed(with_restore(lambda x, s: x.repeat_interleave(2, 2).repeat_interleave(2, 3), scale=2)) == set()


def test_an_output_of_another_dtype_fails():
    assert "output is torch.float64" in verdicts(with_restore(lambda x, s: x.double()))["shape"].detail


def test_nan_and_infinity_fail():
    assert "finite" in failed(with_restore(lambda x, s: x / 0))
    assert "flat black" in failed(with_restore(lambda x, s: x / x.mean()))


@pytest.mark.parametrize("wrong", [lambda x, s: x * 255, lambda x, s: x * 2 - 1])
def test_a_wrong_range_fails(wrong):
    assert failed(with_restore(wrong)) == {"range"}


def test_a_little_overshoot_passes():
    assert failed(with_restore(lambda x, s: x * 1.1 - 0.02)) == set()


def test_writing_into_the_input_fails():
    assert "input kept" in failed(with_restore(lambda x, s: x.mul_(0.5)))


@pytest.mark.parametrize(
    "draw",
    [lambda: torch.rand(1).item(), lambda: random.random(), lambda: float(np.random.rand())],
    ids=["torch", "random", "numpy"],
)
def test_undeclared_randomness_fails(draw):
    assert "determinism" in failed(with_restore(lambda x, s: x * draw()))


def noisy(images, seeds):
    planes = [torch.rand(images.shape[1:], generator=torch.Generator().manual_seed(int(seed))) for seed in seeds]
    return images * 0.9 + torch.stack(planes) * 0.1


def test_a_seeded_stochastic_method_passes():
    checks = verdicts(with_restore(noisy, stochastic=True))
    assert {check.status for check in checks.values()} == {"passed"}


def test_seeds_that_are_ignored_fail():
    assert failed(with_restore(lambda x, s: x, stochastic=True)) == {"seeds"}


def test_the_global_generators_are_left_as_they_were():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    selftest(Good())
    assert torch.equal(torch.rand(1), expected)


def test_a_batch_that_leaks_between_images_fails_where_invariance_is_declared():
    leaky = with_restore(lambda x, s: x - x.mean() * 1e-6)
    assert failed(leaky) == {"batch"}
    leaky.batch_invariant = False
    assert verdicts(leaky)["batch"].status == "skipped"
    assert "differs by" in verdicts(leaky)["batch"].detail


def test_a_method_that_takes_no_batch_is_skipped_there():
    def single(x, s):
        assert len(x) == 1
        return x

    assert verdicts(with_restore(single, batch_invariant=False))["batch"].status == "skipped"
    assert verdicts(with_restore(single))["batch"].status == "failed"


def test_a_crash_on_an_odd_size_fails_and_a_clear_refusal_is_skipped():
    def crash(x, s):
        return x.reshape(len(x), 3, 8, -1, x.shape[-1]).reshape(x.shape)

    def refuse(x, s):
        if x.shape[-1] < 8:
            raise ItemError("needs 8 pixels")
        return x

    assert {"size 5×7", "size 1×1", "size 47×33"} <= failed(with_restore(crash))
    small = verdicts(with_restore(refuse))["size 1×1"]
    assert (small.status, small.detail) == ("skipped", "refused: needs 8 pixels")


def test_a_valid_crop_is_what_the_output_must_have():
    crop = {"valid_crop": lambda self, height, width: Box(0, 0, max(1, height // 4 * 4), max(1, width // 4 * 4))}

    def cut(x, s):
        return x[..., : max(1, x.shape[2] // 4 * 4), : max(1, x.shape[3] // 4 * 4)]

    assert failed(with_restore(cut, **crop)) == set()
    assert "shape" not in failed(with_restore(lambda x, s: x, **crop))  # 48×64 is a multiple of 4
    assert "size 47×33" in failed(with_restore(lambda x, s: x, **crop))


def test_an_identity_that_changes_with_use_fails():
    class Drifting(Good):
        loaded = False

        def load(self, device, dtype):
            self.loaded = True

        def identity(self):
            return {"loaded": self.loaded}

    assert failed(Drifting()) == {"identity after use"}


@pytest.mark.parametrize("identity", [{}, {"weights": b"bytes"}, {"gain": float("nan")}])
def test_an_identity_that_cannot_key_anything_fails(identity):
    assert failed(type("Made", (Good,), {"identity": lambda self: identity})()) == {"identity"}


def test_a_load_that_crashes_is_one_failed_check():
    def load(self, device, dtype):
        raise RuntimeError("no\nluck")

    assert selftest(type("Made", (Good,), {"load": load})()) == [Result("load", "failed", "RuntimeError: no luck")]


def test_missing_weights_are_the_callers_business():
    def load(self, device, dtype):
        raise MissingFile("bench fetch it")

    with pytest.raises(MissingFile):
        selftest(type("Made", (Good,), {"load": load})())


def test_stored_outputs_are_skipped():
    class Stored(StoredMethod):
        def locate(self, dataset, item_id):
            return Path(item_id)

        def identity(self):
            return {}

    assert [check.status for check in selftest(Stored())] == ["skipped"]


def test_the_report_has_a_line_per_check_and_a_count():
    text = render(
        [Result("shape", "passed", "fine"), Result("range", "failed", "a\nb"), Result("seeds", "skipped", "")]
    )
    assert text.splitlines() == [
        "ok    shape  fine",
        "FAIL  range  a b",
        "skip  seeds",
        "1 passed, 1 failed, 1 skipped",
    ]
