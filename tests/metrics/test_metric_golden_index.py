"""Golden discipline: whatever number this project can sign, somebody else's value stands behind it, or it says not.

`tests/golden/INDEX.yaml` maps patterns of signatures to the tests that hold an independent value. A new metric, or a
protocol that changes a signature, fails here until it has a row.
"""

from __future__ import annotations

import ast
import functools
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import yaml

from bench.catalog.registry import registry
from bench.errors import BenchError
from bench.metrics.build import build_metric
from bench.metrics.protocols import protocol

ROOT = Path(__file__).resolve().parents[2]
INDEX = yaml.safe_load((ROOT / "tests/golden/INDEX.yaml").read_text(encoding="utf-8"))


@functools.cache
def shipped() -> dict[str, list[tuple[str, str]]]:
    """Every signature that a metric of the catalogue has under a protocol of the catalogue → (metric, protocol)."""
    found: dict[str, list[tuple[str, str]]] = {}
    for entry in registry("metric"):
        if entry.fields.get("unavailable"):
            continue
        for rules in registry("protocol"):
            try:
                text = str(build_metric(entry, {}, protocol(rules.name)).signature())
            except BenchError:
                continue  # the protocol has options that this metric refuses
            found.setdefault(text, []).append((entry.name, rules.name))
    return found


def covers(row: dict, signature: str, pairs: list[tuple[str, str]]) -> bool:
    if "library" in row:
        return any(registry("metric").get(name).fields.get("library") == row["library"] for name, _ in pairs)
    return any(fnmatchcase(signature, pattern) for pattern in row["signatures"])


def unverified(signature: str) -> bool:
    return "proto:unverified" in signature.split("|")


def test_every_signature_has_a_golden_value_or_says_that_it_has_none():
    rows = [*INDEX["proved"], *INDEX["unproved"]]
    bare: dict[str, list[str]] = {}
    for signature, pairs in shipped().items():
        if not unverified(signature) and not any(covers(row, signature, pairs) for row in rows):
            bare.setdefault(pairs[0][0], []).append(signature)
    lines = [f"{name}: {len(found)} signatures, {found[0]} for one" for name, found in sorted(bare.items())]
    assert not lines, "no row of tests/golden/INDEX.yaml covers:\n" + "\n".join(lines)


@pytest.mark.parametrize("row", INDEX["proved"], ids=lambda row: row["source"][:40])
def test_the_tests_that_are_named_exist(row):
    assert row["source"] and row["tests"]
    for identifier in row["tests"]:
        file, _, name = identifier.partition("::")
        tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name in names, f"tests/{file} has no {name}"


def test_what_has_no_golden_value_has_a_reason():
    assert all(len(row["reason"]) > 20 for row in INDEX["unproved"])


@pytest.mark.parametrize("kind", ["proved", "unproved"])
def test_no_row_is_left_over(kind):
    """A pattern that no shipped signature matches is of a metric that is gone, or mistyped."""
    dead = [
        pattern
        for row in INDEX[kind]
        for pattern in row.get("signatures", [])
        if not any(fnmatchcase(signature, pattern) for signature in shipped())
    ]
    assert not dead
