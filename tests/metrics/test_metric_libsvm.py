"""LIBSVM's files and predictions: models small enough for hand arithmetic, and the theory of pairwise coupling."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.errors import BenchError
from bench.metrics.primitives.libsvm import _coupled, printed, read_model, read_range

REGRESSION = """svm_type {kind}
kernel_type rbf
gamma 0.5
nr_class 2
total_sv 2
rho -3
probA 1.5
SV
2 1:1 3:-1
-1.5 2:0.5
"""
CLASSES = """svm_type c_svc
kernel_type rbf
gamma 1
nr_class 3
total_sv 3
rho 0.1 0.2 0.3
label 1 2 3
probA -1 -2 -3
probB 0.5 0 -0.5
nr_sv 1 1 1
SV
1 4 1:0
-2 5 1:1
-3 -6 1:2
"""


def write(folder, text):
    file = folder / "model"
    file.write_text(text)
    return file


@pytest.mark.parametrize("kind", ["nu_svr", "epsilon_svr"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_regression_is_the_weighted_sum_of_kernels_less_rho(tmp_path, kind, newline):
    file = tmp_path / "model"
    file.write_bytes(REGRESSION.format(kind=kind).replace("\n", newline).encode())
    # ‖(1,1,1) − (1,0,−1)‖² = 5 and ‖(1,1,1) − (0,½,0)‖² = 2¼
    expected = 2 * math.exp(-0.5 * 5) - 1.5 * math.exp(-0.5 * 2.25) + 3
    assert read_model(file, 3).predict(np.ones(3)) == pytest.approx(expected, rel=1e-14)


def test_pairwise_probabilities_are_sigmoids_of_decision_values(tmp_path, monkeypatch):
    model = read_model(write(tmp_path, CLASSES), 1)
    seen = []
    monkeypatch.setattr(
        "bench.metrics.primitives.libsvm._coupled", lambda pairwise: seen.append(pairwise) or pairwise[0]
    )
    model.probabilities(np.array([0.5]))
    near, far = math.exp(-0.25), math.exp(-2.25)  # distances ½, ½, 1½
    values = [1 * near - 2 * near - 0.1, 4 * near - 3 * far - 0.2, 5 * near - 6 * far - 0.3]
    sigmoids = [1 / (1 + math.exp(a * v + b)) for a, v, b in zip((-1, -2, -3), values, (0.5, 0, -0.5), strict=True)]
    found = seen[0]
    assert [found[0, 1], found[0, 2], found[1, 2]] == pytest.approx(sigmoids, rel=1e-13)
    assert [found[1, 0], found[2, 0], found[2, 1]] == pytest.approx([1 - one for one in sigmoids], rel=1e-13)


def test_coupling_consistent_pairs_gives_the_probabilities_they_came_from():
    chances = np.array([0.05, 0.1, 0.15, 0.3, 0.4])
    pairwise = chances[:, None] / (chances[:, None] + chances[None, :])
    np.fill_diagonal(pairwise, 0)
    found = _coupled(pairwise)
    np.testing.assert_allclose(found, chances, atol=2e-3)  # LIBSVM stops at 0.005 / classes
    assert found.sum() == pytest.approx(1, abs=1e-12)


def test_coupling_minimises_the_objective_of_wu_lin_and_weng():
    from scipy.optimize import minimize

    random = np.random.default_rng(4)
    pairwise = random.uniform(0.1, 0.9, (4, 4))
    pairwise = np.triu(pairwise, 1) + np.tril(1 - pairwise.T, -1)

    def objective(p):
        return sum((pairwise[j, i] * p[i] - pairwise[i, j] * p[j]) ** 2 for i in range(4) for j in range(4) if i != j)

    best = minimize(objective, np.full(4, 0.25), constraints={"type": "eq", "fun": lambda p: p.sum() - 1}, tol=1e-14)
    np.testing.assert_allclose(_coupled(pairwise), best.x, atol=5e-3)


def test_certain_pairs_stay_off_the_ends(tmp_path):
    model = read_model(write(tmp_path, CLASSES.replace("probA -1", "probA -9e9")), 1)
    found = model.probabilities(np.array([0.0]))
    assert np.isfinite(found).all() and found.sum() == pytest.approx(1) and found[0] < 1


def test_a_range_maps_its_limits_to_the_ends_and_leaves_out_what_never_varied(tmp_path):
    (tmp_path / "range").write_text("x\n-1 1\n1 0.3 0.9\n2 1e-005 3\n3 4 4\n")
    limits = read_range(tmp_path / "range")
    assert limits.scale(np.array([0.3, 3.0, 4.0]), text=False).tolist() == [-1, 1, 0]
    assert limits.scale(np.array([0.6, 6.0, 9.0]), text=False) == pytest.approx([0, 3, 0], abs=1e-4)
    assert limits.scale(np.array([0.4, 1.0, 9.0]), text=True).tolist() == [-0.666667, -0.333338, 0]


def test_text_keeps_what_c_prints():
    assert printed(np.array([0.12345678, 1234567.891, 1e-7]), "f").tolist() == [0.123457, 1234567.891, 0.0]
    assert printed(np.array([0.12345678, 1234567.891, 1e-7]), "g").tolist() == [0.123457, 1234570.0, 1e-7]


@pytest.mark.parametrize("text, says", [
    ("", "no support vectors"),
    (REGRESSION.format(kind="one_class"), "one_class"),
    (REGRESSION.format(kind="nu_svr").replace("rbf", "linear"), "linear kernel"),
    (REGRESSION.format(kind="nu_svr").replace("-1.5 2:0.5\n", ""), "cut short"),
    (REGRESSION.format(kind="nu_svr").replace("3:-1", "4:-1"), "feature 4 is not one of 3"),
    (REGRESSION.format(kind="nu_svr").replace("3:-1", "3:x"), "'x'"),
    (REGRESSION.format(kind="nu_svr").replace("rho -3\n", ""), "rho|parameters"),
    (CLASSES.replace("probB 0.5 0 -0.5\n", ""), "parameters do not fit"),
])  # fmt: skip
def test_a_file_that_is_no_such_model_is_refused_in_one_line(tmp_path, text, says):
    with pytest.raises(BenchError, match=says) as caught:
        read_model(write(tmp_path, text), 3)
    assert "\n" not in str(caught.value) and "model" in str(caught.value)


@pytest.mark.parametrize("text", ["", "y\n-1 1\n1 0 1\n", "x\n-1 1\n2 0 1\n", "x\n-1 1\n1 0\n", "x\n-1 1\n1 nan 1\n"])
def test_a_file_that_is_no_range_is_refused(tmp_path, text):
    with pytest.raises(BenchError, match="not a range file"):
        read_range(write(tmp_path, text))


def test_a_file_that_cannot_be_read_is_said(tmp_path):
    (tmp_path / "model").write_bytes(b"svm_type \xff")
    with pytest.raises(BenchError, match="cannot be read"):
        read_model(tmp_path / "model", 3)
