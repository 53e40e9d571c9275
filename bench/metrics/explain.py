"""Why two numbers differ: the fields in which two signatures disagree, and what each field does to a value.

It compares what was said, not what was measured; the sizes it quotes are those that people reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.catalog.registry import registry
from bench.errors import BenchError, suggest
from bench.metrics.build import build_metric
from bench.metrics.protocols import protocol
from bench.metrics.view import MEANINGS

_MEANING = {
    "space": "colour space: PSNR on luma lies 1 to 2 dB above RGB on natural images",
    "range": "rounding before measuring: floats and saved 8-bit files differ in the second decimal of PSNR",
    "crop": "border that is cut before measuring: about 0.1 dB, more where a method fails at the border",
    "gtmean": "brightness matched to the reference: several dB in low light (21.15 → 25 dB on LOL is reported)",
    "resize": "rule for outputs of another size",
    "fit": "size to which every image is brought first: another size is another number",
    "win": "window of local statistics: uniform 7×7 and Gaussian 11×11 differ in the second decimal of SSIM",
    "border": "where windows overlap the border: kept, or only complete windows",
    "data": "range that SSIM's constants assume: twice the true one inflates the value",
    "cov": "correction of the variances in a window: the third decimal of SSIM",
    "cs": "whether negative structure terms count",
    "k": "SSIM's constants",
    "eps": "added to the squared error: caps PSNR",
    "impl": "whose code, and which version",
    "proto": "unverified: no value from the paper's own code proves this protocol",
    "v": "version of our definition",
    "params": "trained parameters",
    "variant": "which of several rival definitions",
    "ref": "reference set: paired GT and FFHQ give FIDs on different scales, 50 000 and 70 000 FFHQ images two values",
    "ext": "feature extractor: its resizing alone moves FID by 6 and more",
    "subsets": "how KID draws: all images at once, or the mean over random subsets",
    "seed": "of what is drawn at random",
}
_ALIAS = {"range": "rounding"}


class Difference(NamedTuple):
    """One field in which two signatures disagree."""

    field: str
    first: str
    second: str
    meaning: str


def parse(signature: str) -> tuple[str, dict[str, str]]:
    """(metric, fields) of a signature as tables print it. Raises `BenchError` for text that is none."""
    name, *pairs = signature.strip().split("|")
    if not name or not all(":" in pair for pair in pairs):
        raise BenchError(f"{signature!r} is not a signature such as psnr|space:rgb|range:u8|crop:0|gtmean:no|v:1")
    return name, dict(pair.split(":", 1) for pair in pairs)


def differences(first: str, second: str) -> list[Difference]:
    """Every field in which two signatures disagree, the metric itself first; empty when they are comparable."""
    (one, left), (other, right) = parse(first), parse(second)
    found = [] if one == other else [Difference("metric", one, other, "another metric altogether")]
    for field in dict.fromkeys([*left, *right]):
        if left.get(field) != right.get(field):
            said = [_MEANING.get(field), *_values(field, left.get(field), right.get(field))]
            meaning = "; ".join(text for text in said if text)
            found.append(Difference(field, left.get(field, "–"), right.get(field, "–"), meaning))
    return found


def _values(field: str, *values: str | None) -> Iterator[str]:
    choices = MEANINGS.get(_ALIAS.get(field, field), {})
    for value in values:
        rule = (value or "").partition("@")[0]
        if rule in choices:
            yield f"{value}: {choices[rule]}"


def signatures(name: str, metrics: Sequence[str]) -> list[str]:
    """What a command-line argument stands for: a signature, or a protocol's signatures of some metrics."""
    if "|" in name:
        return [name]
    known = registry("protocol")
    if name in known:
        rules = protocol(name)
        return [str(build_metric(registry("metric").get(one), {}, rules.settings).full_signature()) for one in metrics]
    raise BenchError(
        f"{name!r} is no signature and no protocol{suggest(name, known.names())} "
        "(bench list protocols; bench table prints signatures)"
    )


def explain(first: str, second: str, metrics: Sequence[str] = ("psnr", "ssim")) -> str:
    """The answer for a reader: per pair of signatures, what differs and what it does."""
    pairs = list(zip(signatures(first, metrics), signatures(second, metrics), strict=False))
    blocks = []
    for one, other in pairs:
        found = differences(one, other)
        lines = [f"A  {one}", f"B  {other}"]
        if not found:
            lines.append("equal: the two numbers are comparable")
        lines += [
            f"   {row.field}: {row.first} against {row.second}" + (f" – {row.meaning}" if row.meaning else "")
            for row in found
        ]
        blocks.append("\n".join(lines))
    saved = [_quantise(name) for name in (first, second)]
    if saved[0] != saved[1] and None not in saved:
        blocks.append(f"outputs before scoring: A {saved[0]}, B {saved[1]}")
    return "\n\n".join(blocks) + "\n"


def _quantise(name: str) -> str | None:
    """How a protocol has outputs saved; None for a signature, which does not say."""
    if "|" in name:
        return None
    return {
        "round": "rounded to 8 bits",
        "truncate": "cut down to 8 bits",
        "none": "kept as floats",
        None: "saved as each method does",
    }[protocol(name).quantise]
