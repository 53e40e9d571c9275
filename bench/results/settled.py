"""Which of many outputs have all of their scores: counted by the store, so that nobody makes an object of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.metrics.kinds import Kind
from bench.metrics.outcome import SETTLED, Status
from bench.results.store import NO_EXTRACTION, Store

_CHUNK = 300
"""Outputs asked for at once; each is two parameters of the query, and SQLite allows at least 999."""


class Asked(NamedTuple):
    """An output and what it is compared with, by content ids."""

    unit: int
    output: int
    reference: int


def unsettled(store: Store, outputs: Sequence[Asked], metrics: Sequence[tuple[Kind, int]]) -> Iterator[int]:
    """Units of outputs that may lack a score of one of the metrics, each with the signature that its rows have.

    None is left out that lacks one. Where a metric needs several rows, a unit is named unless all hold a value: whether
    one that holds none settles it is for whoever looks closer.
    """
    places = [(kind, signature, _places(kind)) for kind, signature in metrics]
    if any(known is None for _, _, known in places):  # a kind that keeps its rows elsewhere
        yield from (one.unit for one in outputs)
        return
    missing = " OR ".join(_missing([(kind, signature, known or []) for kind, signature, known in places]))
    for start in range(0, len(outputs) if missing else 0, _CHUNK):
        chunk = outputs[start : start + _CHUNK]
        listed = ",".join(f"({place},?,?)" for place in range(len(chunk)))
        sql = f"WITH asked(place, output, reference) AS (VALUES {listed}) SELECT place FROM asked a WHERE {missing}"  # noqa: S608
        values = [content for one in chunk for content in (one.output, one.reference)]
        yield from (chunk[row[0]].unit for row in store.select(sql, values))


_OUTPUT, _REFERENCE = 1, 2
_NAMES = {0: "0", _OUTPUT: "a.output", _REFERENCE: "a.reference"}


def _places(kind: Kind) -> list[tuple[str, str]] | None:
    """Where a kind's rows of an output lie, in words of the query; None where the query has none for it."""
    places = kind.places(_OUTPUT, _REFERENCE)
    if not all(output in _NAMES and reference in _NAMES for output, reference in places):
        return None
    return [(_NAMES[output], _NAMES[reference]) for output, reference in places]


_SETTLED = ",".join(f"'{status}'" for status in sorted(SETTLED))
_SCORE = (
    f"status IN ({_SETTLED}) AND typeof(value) NOT IN ('text','blob') AND "
    f"(status='{Status.INPUT}' OR value IS NOT NULL)"
)
_EXTRACTION = f"status IN ({_SETTLED}) AND NOT {NO_EXTRACTION}"


def _missing(metrics: Sequence[tuple[Kind, int, Sequence[tuple[str, str]]]]) -> Iterator[str]:
    """Conditions on a row of `asked`: the values of images are counted, all at one place together."""
    counted: dict[tuple[str, str], set[int]] = {}
    for kind, signature, places in metrics:
        if not kind.of_sets and len(places) == 1:
            counted.setdefault(places[0], set()).add(signature)
            continue
        good = _EXTRACTION if kind.of_sets else _SCORE
        good += f" AND status='{Status.OK}'" if len(places) > 1 else ""
        table = "extraction" if kind.of_sets else "score"
        for output, reference in places:
            yield (
                f"NOT EXISTS (SELECT 1 FROM {table} WHERE output={output} AND reference={reference} "  # noqa: S608
                f"AND signature={signature} AND {good})"
            )
    for (output, reference), signatures in counted.items():
        # The plus keeps SQLite from looking for every signature by itself: the few of an output lie together.
        listed = ",".join(map(str, sorted(signatures)))
        yield (
            f"(SELECT count(*) FROM score WHERE output={output} AND reference={reference} "  # noqa: S608
            f"AND +signature IN ({listed}) AND {_SCORE}) != {len(signatures)}"
        )
