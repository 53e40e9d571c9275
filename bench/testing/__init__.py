"""What every metric promises, as checks that anybody can run on a metric of their own.

    from bench.testing import check_metric
    def test_my_metric_keeps_the_contract():
        check_metric("my-metric")        # a catalogue or entry-point name, or a Metric instance

They prove that a value depends on the pixels and the signature alone – not on batch, order, threads, device or file
type – and never silently becomes NaN. They do not prove that the value is right: only golden values from an
independent source do.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from bench.errors import BenchError, ItemError, one_line
from bench.metrics.base import Metric
from bench.testing.checks import Broken, Result, Skipped, carry_out, needs
from bench.testing.declarations import DECLARATIONS
from bench.testing.generated import photograph
from bench.testing.promises import PROMISES
from bench.testing.subject import Check, Claims, Subject

__all__ = [
    "CHECKS",
    "Claims",
    "ContractError",
    "Report",
    "Skipped",
    "Subject",
    "check_metric",
    "photograph",
    "run_check",
]

CHECKS: Mapping[str, Check] = {check.__name__: check for check in (*PROMISES, *DECLARATIONS)}
"""All checks by name, in the order in which they are run; each one's docstring is the promise that it proves."""

_WITHOUT_VALUES = ("flat", "small", "signature", "options", "catalogue")


class ContractError(AssertionError):
    """A metric breaks its contract. One line per broken check: which, with what values."""


class Report(NamedTuple):
    """What `check_metric` found to hold, and what did not apply."""

    held: tuple[str, ...]
    skipped: Mapping[str, str]
    """Check → why it does not apply to this metric."""


def check_metric(
    metric: str | Metric, claims: Claims | None = None, *, only: Collection[str] = (), skip: Collection[str] = ()
) -> Report:
    """Run the checks (`CHECKS`, or those in `only`, less those in `skip`) on a metric.

    `claims` says what is true of it beyond what all metrics promise: the value of identical images, say.
    Raises `ContractError` with a line per broken promise, `MissingFile` where the metric lacks its weights.
    """
    unknown = sorted({*only, *skip} - set(CHECKS))
    if unknown:
        raise BenchError(f"there is no check {unknown[0]!r}: they are {', '.join(CHECKS)}")
    subject = Subject.of(metric, claims)
    subject.metric.load("cpu")
    names = [name for name in CHECKS if (not only or name in only) and name not in skip]
    results = [_result(subject, name) for name in names]
    broken = [_said(subject, result) for result in results if result.status == "failed"]
    if broken:
        raise ContractError("\n".join(broken))
    return Report(
        tuple(result.check for result in results if result.status == "passed"),
        {result.check: result.detail for result in results if result.status == "skipped"},
    )


def run_check(subject: Subject, name: str) -> None:
    """One check. Raises `ContractError` where the promise is broken, `Skipped` where it does not apply."""
    result = _result(subject, name)
    needs(result.status != "skipped", result.detail)
    if result.status == "failed":
        raise ContractError(_said(subject, result))


def _result(subject: Subject, name: str) -> Result:
    def check(subject: Subject) -> None:
        needs(
            not subject.claims.undefined or name in _WITHOUT_VALUES, "the definition has no value for ordinary images"
        )
        try:
            CHECKS[name](subject)
        except ItemError as error:  # the checks for which a refusal is an answer take it themselves
            raise Broken(f"cannot score a photograph: {one_line(error)}") from error

    return carry_out(name, check, subject)


def _said(subject: Subject, result: Result) -> str:
    return f"{subject.metric.name}: {result.check}: {result.detail}"
