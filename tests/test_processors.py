"""The tests that once held on the processor they were written on alone, again as on one that has AVX2 and no more."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
OLDER = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "DNNL_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "OMP_NUM_THREADS": "1",
}
ILL_CONDITIONED = [
    "methods/test_method_script_networks.py::test_a_network_gives_what_its_authors_script_gives_with_the_same_weights[nu2net 48x64]",  # noqa: E501
    "methods/test_method_script_networks.py::test_float32_is_as_near_as_the_networks_condition_lets_it[nu2net]",
    "methods/test_method_script_networks.py::test_float32_is_as_near_as_the_networks_condition_lets_it[puie-net-mp]",
    "methods/test_method_script_networks.py::test_an_image_does_not_depend_on_the_others_in_its_batch[nu2net]",
    "methods/test_method_networks.py::test_float32_is_as_near_as_the_networks_condition_lets_it[iat-lol]",
    "methods/test_method_networks.py::test_float32_is_as_near_as_the_networks_condition_lets_it[clip-lit]",
]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="only x86 processors have AVX2")
def test_ill_conditioned_networks_hold_on_a_processor_with_avx2_alone():
    """In a process of its own: the libraries choose their instructions once."""
    names = [str(TESTS / name) for name in ILL_CONDITIONED]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *names]
    environment = {**os.environ, **OLDER}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=TESTS.parent, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(names)} passed" in done.stdout
