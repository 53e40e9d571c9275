"""How a method of the catalogue comes to run, and why one does not run here, without loading any."""

from __future__ import annotations

from bench.catalog.registry import Entry
from bench.errors import BenchError
from bench.methods.build import build_method
from bench.methods.rar import RAR_TINY
from iqpir.weights import shipped

STATUSES = ("runs", "download", "command", "results-only", "timing-only", "training")
"""`runs`: as it is, or with small weights of a known hash. `download`: with weights that their authors host, whose hash
is accepted once. `command`: in the authors' repository. `results-only`: only outputs are to be had, and scored.
`timing-only`: only the network is known, and timed with random weights. `training`: the network is here, and nobody
publishes its weights: `iqpir train` makes them."""


def status(entry: Entry) -> str:
    """What the entry says, else what follows from its kind and weights. Raises `BenchError` for an unknown word."""
    fields = entry.fields
    given = fields.get("status")
    if given is not None:
        if given not in STATUSES:
            where = f"method {entry.name!r} ({entry.origin})"
            raise BenchError(f"{where}: status {given!r} is none of {', '.join(STATUSES)}")
        return str(given)
    kind = fields.get("kind")
    if kind == "folder":
        return "results-only"
    if kind in ("command", "clone"):
        return "command"
    if kind in ("rar", "agent") and shipped(RAR_TINY) is None:
        return "training"
    weights = fields.get("weights")
    if weights and (kind != "network" or any(not one.get("url") for one in _list(weights))):
        return "download"
    return "runs"


def venue(entry: Entry) -> str:
    """Where it was published, as the tables of papers say it; empty where that is unknown."""
    paper = entry.fields.get("paper")
    return str(entry.fields.get("venue") or (paper.get("venue") if isinstance(paper, dict) else None) or "")


def why_not(entry: Entry) -> str | None:
    """Why the method, with the catalogue's options alone, cannot run on this machine; None where it can."""
    try:
        method = build_method(entry, {}, None)
        for asset in method.assets():
            asset.require()
        return method.unavailable()
    except BenchError as error:
        return str(error)


def _list(value: object) -> list[dict[str, object]]:
    return value if isinstance(value, list) else [value]  # type: ignore[list-item]
