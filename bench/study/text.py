"""What the votes say, as text for a reader, with what each number means below it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tabulate import tabulate

from bench.study.coverage import Need
from bench.study.summary import Apart, DatasetSummary, Estimate, PairSummary, RankSummary, RatingSummary, Summary
from bench.tables.render import pipe


def render(summary: Summary) -> str:
    """Markdown."""
    return "\n".join(_lines(summary)).rstrip() + "\n"


def as_json(summary: Summary) -> str:
    """The same numbers, strict JSON: what there is not is null."""
    data = {
        "sessions": [
            {"study": one.study, "session": one.session, "observer": one.observer, "kept": one.kept,
             "accepted": one.accepted, "reasons": list(one.reasons)}
            for one in summary.sessions
        ],
        "repeats": {study: {"same": same, "of": of} for study, (same, of) in summary.repeats.items()},
        "datasets": [
            {"dataset": one.dataset, **_parts(one)} for one in summary.datasets
        ],
    }  # fmt: skip
    return json.dumps(_finite(data), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _parts(one: DatasetSummary) -> dict[str, Any]:
    parts = {"rating": one.rating, "pairs": one.pairs, "rank": one.rank}
    needs = {
        name: {"outputs": len(each), "votes": sum(n.votes for n in each), "missing": sum(n.missing for n in each)}
        for name, each in one.needs.items()
    }
    return {"needs": needs, **{name: _plain(part) for name, part in parts.items() if part is not None}}


def _plain(part: RatingSummary | PairSummary | RankSummary) -> dict[str, Any]:
    found = asdict(part)
    if "shares" in found:
        found["shares"] = [
            {"method": one, "over": other, "share": share, "n": count}
            for (one, other), (share, count) in found["shares"].items()
        ]
    return found


def _finite(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return _finite(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if hasattr(value, "tolist"):
        return _finite(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _lines(summary: Summary) -> Iterator[str]:
    kept = sum(one.kept for one in summary.sessions)
    yield f"{kept} sessions kept, {len(summary.sessions) - kept} left out"
    yield ""
    for one in summary.sessions:
        if not one.kept:
            yield f"- left out: {one.observer} of study {one.study}: {'; '.join(one.reasons)}"
    for study, (same, count) in summary.repeats.items():
        if count:
            yield f"- study {study}: {same} of {count} questions that came twice were answered alike"
    for dataset in summary.datasets:
        yield from ("", f"## {dataset.dataset}")
        yield from _dataset(dataset)


def _dataset(dataset: DatasetSummary) -> Iterator[str]:
    if dataset.rating is not None:
        yield from (*_rating(dataset.rating), _cast(dataset.needs["mos"]))
    if dataset.pairs is not None:
        yield from (*_pairs(dataset.pairs), _cast(dataset.needs["bt"]))
    if dataset.rank is not None:
        yield from (*_rank(dataset.rank), _cast(dataset.needs["rank"]))


def _cast(needs: Sequence[Need]) -> str:
    """How evenly votes lie, and what still needs some."""
    had = [one.votes for one in needs]
    lacking = [one for one in needs if one.missing]
    told = f"- {len(needs)} outputs have {min(had)} to {max(had)} votes each"
    if not lacking:
        return f"{told}: all that were planned"
    return f"{told}; {len(lacking)} lack {sum(one.missing for one in lacking)} of those planned (-o DIR: needs.csv)"


def _rating(found: RatingSummary) -> Iterator[str]:
    criteria = list(found.criteria) if len(found.criteria) > 1 else []
    rows = [
        [method, f"{one.value:.2f}", _interval(one, 2), f"{found.corrected[method]:.2f}",
         *(f"{found.criteria[each][method]:.2f}" for each in criteria)]
        for method, one in found.scores.items()
    ]  # fmt: skip
    yield from ("", "**Opinion scores**", "", _table(["Method", "MOS", "95 %", "P.910", *criteria], rows), "")
    yield f"- {len(found.people)} people; Krippendorff's α (interval) {_alpha(found.alpha)}"
    out = [one.observer for one in found.people if one.rejected]
    yield f"- BT.500 rejects {', '.join(out)}; MOS has them" if out else "- BT.500 rejects nobody"
    most = max(found.people, key=lambda one: abs(one.bias))
    yield f"- the strongest bias is {most.bias:+.2f} ({most.observer}); P.910 takes it away"
    yield from _apart(found.apart, "a difference of")


def _pairs(found: PairSummary) -> Iterator[str]:
    rows = [
        [method, f"{one.value:+.3f}", _interval(one, 3), f"{found.elo[method]:.0f}"]
        for method, one in found.strengths.items()
    ] or [[method, "–", "–", f"{value:.0f}"] for method, value in sorted(found.elo.items(), key=lambda pair: -pair[1])]
    yield from ("", "**Pairs**", "", _table(["Method", "Bradley–Terry", "95 %", "Elo"], rows), "")
    if found.why_not:
        yield f"- no strengths: {found.why_not}"
    if found.lost:
        yield f"- {found.lost} resamples had no finite strengths and are not in the intervals"
    first, clear, p = found.first
    yield f"- no difference: {100 * found.ties:.0f} %; A was preferred in {first} of {clear} others (p = {p:.2g})"
    yield f"- Krippendorff's α (nominal) {_alpha(found.alpha)}"
    yield from _apart(found.apart, "preferred in a share of")


def _rank(found: RankSummary) -> Iterator[str]:
    rows = [[method, f"{one.value:.2f}", _interval(one, 2)] for method, one in found.ranks.items()]
    yield from ("", "**Rankings**", "", _table(["Method", "Mean rank", "95 %"], rows), "")
    if found.test is not None:
        test = found.test
        far = f"methods whose ranks lie further apart than {test.difference:.2f} differ (Nemenyi, 5 %)"
        yield f"- Friedman over {test.items} items: χ² = {test.statistic:.2f}, p = {test.p:.2g}; {far}"
    places, p = found.first
    yield f"- first places by place on the screen: {', '.join(map(str, places))} (p = {p:.2g})"
    yield f"- Krippendorff's α (ordinal) {_alpha(found.alpha)}"
    yield from _apart(found.apart, "ranks apart by")


def _apart(found: Sequence[Apart], what: str) -> Iterator[str]:
    for one in found:
        between = f"- {one.better} and {one.worse}: "
        if math.isnan(one.difference):
            yield f"{between}too few votes to say anything ({one.votes} now)"
        elif one.more is None:
            yield f"{between}as things are no number of votes would tell them apart ({one.votes} now)"
        elif one.more:
            more = f"about {one.more} more votes would tell them apart ({one.votes} now)"
            yield f"{between}{what} {one.difference:.2f}; {more}"
        else:
            yield f"{between}{what} {one.difference:.2f}; {one.votes} votes are enough to tell them apart"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    aligned = ["left", *["right"] * (len(header) - 1)]
    header, rows = [pipe(one) for one in header], [[pipe(one) for one in row] for row in rows]
    return tabulate(rows, header, tablefmt="pipe", colalign=aligned, disable_numparse=True)


def _interval(one: Estimate, digits: int) -> str:
    return "–" if math.isnan(one.low) else f"[{one.low:.{digits}f}, {one.high:.{digits}f}]"


def _alpha(value: float | None) -> str:
    return "cannot be said" if value is None else f"{value:.3f}"
