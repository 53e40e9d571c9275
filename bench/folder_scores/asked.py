"""The metrics of a request as they are written on a command line or in Python, built and named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bench.catalog.registry import Entry, registry
from bench.errors import BenchError
from bench.metrics.base import Metric
from bench.metrics.build import build_metric
from bench.metrics.protocols import protocol as protocol_named

MetricSpec = str | Mapping[str, Mapping[str, Any]]
"""`"psnr"`, `"psnr[space=y,crop=4]"` or `{"psnr": {"space": "y", "crop": 4}}`."""


class Asked(NamedTuple):
    """A metric as it was asked for."""

    label: str
    """The name with its options, such as `psnr[space=y]`; unique in a request."""
    entry: Entry
    metric: Metric
    signature: str
    options: Mapping[str, Any]
    settings: Mapping[str, Any]
    """Of the protocol."""


def ask(metrics: Sequence[MetricSpec], protocol: str | None = None) -> list[Asked]:
    """The metrics of a request, built but not loaded. Asking twice for the same number gives it once."""
    settings = protocol_named(protocol).settings
    asked: dict[str, Asked] = {}
    for spec in metrics:
        name, options = parse_spec(spec) if isinstance(spec, str) else _single(spec)
        entry = registry("metric").get(name)
        metric = build_metric(entry, options, settings)
        if metric.kind.boxes:
            raise BenchError(
                f"{name}: holds boxes against a dataset's annotation: write a suite with detection: {{detector: …}} "
                "and the folder's annotations, and use bench run"
            )
        if not metric.kind.computed:
            raise BenchError(f"{name}: people give it, for the methods of a suite: bench info {name}, then bench run")
        signature = str(metric.full_signature())
        label = (
            f"{entry.name}[{','.join(f'{key}={value}' for key, value in options.items())}]" if options else entry.name
        )
        asked.setdefault(signature, Asked(label, entry, metric, signature, options, settings))
    if not asked:
        raise BenchError("no metric is asked for: --metric psnr,ssim")
    return list(asked.values())


def parse_spec(text: str) -> tuple[str, dict[str, Any]]:
    """`psnr[space=y,crop=4]` → ("psnr", {"space": "y", "crop": 4})."""
    name, bracket, rest = text.strip().partition("[")
    if not bracket:
        return name, {}
    if not rest.endswith("]") or "[" in rest:
        raise BenchError(f"metric {text!r} is not NAME or NAME[option=value,...]")
    options: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in rest[:-1].split(","))):
        key, equals, value = (side.strip() for side in part.partition("="))
        if not (key and equals and value):
            raise BenchError(f"metric {text!r}: {part!r} is not option=value")
        if key in options:
            raise BenchError(f"metric {text!r} sets {key!r} twice")
        options[key] = _scalar(value)
    return name.strip(), options


def split_specs(text: str) -> list[str]:
    """The metrics of a comma-separated list; commas within brackets belong to the options."""
    specs, depth, start = [], 0, 0
    for place, sign in enumerate(text):
        depth += (sign == "[") - (sign == "]")
        if sign == "," and depth <= 0:
            specs.append(text[start:place])
            start = place + 1
    return [spec.strip() for spec in (*specs, text[start:]) if spec.strip()]


def _scalar(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)


def _single(spec: Mapping[str, Mapping[str, Any]]) -> tuple[str, Mapping[str, Any]]:
    if len(spec) != 1:
        raise BenchError(f"a metric with options is one name: {{psnr: {{space: y}}}}, not {dict(spec)!r}")
    [(name, options)] = spec.items()
    return name, options
