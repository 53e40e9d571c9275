"""Our own code stands in keys by its version: moving it changes no key, and another output needs another version."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support import fingerprints

from bench.catalog.registry import Entry, registry
from bench.errors import BenchError
from bench.fetch.assets import Asset
from bench.identity import canonical
from bench.methods import versions
from bench.methods.build import build_method, identity_of
from bench.methods.network import NetworkMethod

KEYS = json.loads((Path(__file__).parents[1] / "golden/method_keys.json").read_text(encoding="utf-8"))
"""Digests of the identities that the catalogue's methods had when versions began, without versions of packages."""
NEAR = 2e-4
"""How far float32 may lie off on another processor."""


def without_packages(identity: object) -> object:
    if not isinstance(identity, dict):
        return identity
    return {name: without_packages(value) for name, value in identity.items() if name != "packages"}


@pytest.mark.parametrize("name", KEYS)
def test_what_was_stored_when_versions_began_is_still_found(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Asset, "digest", lambda self: "0" * 64)
    monkeypatch.setattr(NetworkMethod, "_verified", lambda self, asset, found: "0" * 64)
    entry = registry("method").get(name)
    identity = without_packages(dict(identity_of(build_method(entry, {}, None), entry)))
    found = hashlib.sha256(canonical(identity).encode()).hexdigest()[:16]
    assert found == KEYS[name], "another key: meant where a version was raised, and its line here then goes"


@pytest.mark.parametrize("entry", fingerprints.METHODS, ids=lambda entry: entry.name)
def test_another_output_has_another_version(entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    found, known = fingerprints.fingerprint(entry, tmp_path), fingerprints.stored().get(entry.name)
    again = "python tests/support/fingerprints.py stores it"
    assert known is not None, f"no fingerprint of {entry.name} is stored: {again}"
    assert found["code"] == known["code"], f"the fingerprint of {entry.name} is of another version: {again}"
    far = np.abs(np.subtract(found["values"], known["values"])).max()
    assert far < NEAR, (
        f"{entry.name}: outputs changed by {far:.2g} under the same version (bench/catalog/versions.yaml)"
    )


def test_every_module_with_a_version_is_there():
    gone = [module for module in versions.versions() if importlib.util.find_spec(module) is None]
    assert not gone, "a module that moved keeps its version under its new name, with was: OLD NAME"


def test_a_module_of_ours_without_a_version_is_refused():
    with pytest.raises(BenchError, match=r"gives bench\.errors no version"):
        versions.code_versions(["bench.errors"])


def test_neither_a_move_nor_a_comment_changes_a_key(tmp_path: Path):
    """The same entry, its module copied under another name with a comment, and listed with the name it had."""
    program = """
import importlib.util, sys, pathlib
from dataclasses import replace
from bench import paths
from bench.catalog.registry import registry
from bench.methods import versions
from bench.methods.build import build_method
entry = registry("method").get("gamma")
before = dict(build_method(entry, {}, None).identity())
module = "bench.methods.algorithms.tone"
text = pathlib.Path(importlib.util.find_spec(module).origin).read_text(encoding="utf-8")
pathlib.Path("curves.py").write_text("# moved" + chr(10) + text, encoding="utf-8")
known = versions.versions()[module]
versions.versions = lambda found={**versions.versions(), "curves": known}: found
moved = replace(entry, fields={**entry.fields, "target": "curves:gamma"})
assert dict(build_method(moved, {}, None).identity()) == before
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
