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
from bench.testing.declarations import DECLARATIONS
from bench.testing.generated import photograph
from bench.testing.promises import PROMISES
from bench.testing.subject import Broken, Check, Claims, Skipped, Subject, needs

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
    skipped: dict[str, str] = {}
    broken: list[str] = []
    for name in names:
        try:
            run_check(subject, name)
        except Skipped as reason:
            skipped[name] = str(reason)
        except ContractError as error:
            broken.append(str(error))
    if broken:
        raise ContractError("\n".join(broken))
    return Report(tuple(name for name in names if name not in skipped), skipped)


def run_check(subject: Subject, name: str) -> None:
    """One check. Raises `ContractError` where the promise is broken, `Skipped` where it does not apply."""
    needs(not subject.claims.undefined or name in _WITHOUT_VALUES, "the definition has no value for ordinary images")
    where = f"{subject.metric.name}: {name}"
    try:
        CHECKS[name](subject)
    except Skipped:
        raise
    except Broken as error:
        raise ContractError(f"{where}: {one_line(error)}") from error
    except ItemError as error:
        raise ContractError(f"{where}: cannot score a photograph: {one_line(error)}") from error
    except Exception as error:  # whatever a metric throws is what the check found
        raise ContractError(f"{where}: raises {type(error).__name__}: {one_line(error, 200)}") from error
