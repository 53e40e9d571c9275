"""Named protocols: the view and the metric options with which a paper's own code computes its numbers.

A protocol that nothing proves marks its view `unverified`, and every signature made under it says so; among a metric's
own options `unverified: true` says it of that metric alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.catalog.registry import registry
from bench.errors import BenchError, suggest
from bench.metrics.view import View, option_names

DEFAULT = "recommended/rgb"
QUANTISE = ("round", "truncate", "none")


@dataclass(frozen=True)
class Protocol:
    """What a protocol fixes; options of a metric in a suite override it."""

    name: str
    view: Mapping[str, Any]
    """View options for all metrics, with `unverified: true` where nothing proves them."""
    metrics: Mapping[str, Mapping[str, Any]]
    """Further options by metric name; view options among them override `view`, `unverified: true` marks that metric."""
    quantise: str | None
    """How outputs are saved before scoring (`round`, `truncate`, `none`); None leaves it to the method."""
    verified: bool
    """True when a test proves it: with values that the paper's own code gave, or line by line with other libraries."""
    source: str
    """The code that it follows."""
    description: str
    """One sentence or two on what it does that others do not."""

    @property
    def settings(self) -> dict[str, Any]:
        """The `view` and `metrics` that `build_metric` takes."""
        return {"view": dict(self.view), "metrics": {name: dict(own) for name, own in self.metrics.items()}}


def protocol(name: str | None = None) -> Protocol:
    """The protocol of that name, `recommended/rgb` for None. Raises `BenchError` with the nearest name."""
    entry = registry("protocol").get(name or DEFAULT)
    fields = entry.fields
    verified = bool(fields.get("verified", False))
    view = dict(fields.get("view") or {})
    unknown = sorted(set(view) - set(option_names()))
    if unknown:
        raise BenchError(f"{entry.origin}: unknown view option {unknown[0]!r}{suggest(unknown[0], option_names())}")
    View(**view)
    quantise = fields.get("quantise")
    if quantise is not None and quantise not in QUANTISE:
        raise BenchError(f"{entry.origin}: quantise {quantise!r} is not one of {', '.join(QUANTISE)}")
    if not verified:
        view["unverified"] = True
    metrics = {name: dict(own) for name, own in (fields.get("metrics") or {}).items()}
    source, description = (str(fields.get(key, "")) for key in ("source", "description"))
    return Protocol(entry.name, view, metrics, quantise, verified, source, description)
