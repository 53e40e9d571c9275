"""Composite scores of challenges by name: arithmetic that a file states, and nothing else can be written there."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import yaml

from bench import paths
from bench.errors import BenchError, suggest

_BINARY: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_CALLS: Mapping[str, Callable[..., float]] = {"max": max, "min": min, "exp": math.exp}


@dataclass(frozen=True)
class Formula:
    """A score over averaged values."""

    name: str
    title: str
    symbol: str
    formula: str
    source: str
    better: str
    terms: Mapping[str, str] = field(default_factory=dict)
    """Name in the formula → the catalogue's metric."""
    costs: tuple[str, ...] = ()
    """Of runtime, flops and parameters, those that the formula sets against a base's."""
    floor: Mapping[str, Any] | None = None
    gate: Mapping[str, Any] | None = None
    doubt: str = ""

    def value(self, names: Mapping[str, float]) -> float:
        """The score of these values. Raises `BenchError` for what is no arithmetic."""
        return _evaluated(ast.parse(self.formula, mode="eval").body, names, self.name)


def _evaluated(node: ast.expr, names: Mapping[str, float], where: str) -> float:
    def of(inner: ast.expr) -> float:
        return _evaluated(inner, names, where)

    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -of(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return _BINARY[type(node.op)](of(node.left), of(node.right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _CALLS and not node.keywords:
        return _CALLS[node.func.id](*map(of, node.args))
    raise BenchError(f"formula {where!r}: {ast.unparse(node)} is no arithmetic of its terms")


@cache
def formulas() -> Mapping[str, Formula]:
    """All of the catalogue, by name."""
    data = yaml.safe_load((paths.catalog() / "formulas.yaml").read_text(encoding="utf-8"))
    return {name: Formula(name, **{**given, "costs": tuple(given.get("costs", ()))}) for name, given in data.items()}


def find(name: str) -> Formula:
    """One by name, or a `BenchError` with the nearest."""
    if name not in formulas():
        raise BenchError(f"no formula {name!r}{suggest(name, formulas())} (there are {', '.join(formulas())})")
    return formulas()[name]
