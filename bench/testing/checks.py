"""The frame in which methods and metrics are checked: what a check may find, and how one is carried out.

What is checked, of methods in `method_contract`, of metrics in `promises` and `declarations`, is no business of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple, TypeVar

from bench.catalog.isolation import exits_raised
from bench.errors import ItemError, described, one_line

Subject = TypeVar("Subject")


class Broken(Exception):
    """A promise that does not hold: one line with the values."""


class Skipped(Exception):
    """The check does not apply, and why."""


class Result(NamedTuple):
    """What one check found."""

    check: str
    status: Literal["passed", "failed", "skipped"]
    detail: str


def needs(applies: bool, otherwise: str) -> None:
    """Leave the check, saying why, where it does not apply."""
    if not applies:
        raise Skipped(otherwise)


def carry_out(name: str, check: Callable[[Subject], str | None], subject: Subject) -> Result:
    """Call a check, which may say in a few words what it saw. Whatever it raises is its result."""
    try:
        with exits_raised(name):
            return Result(name, "passed", check(subject) or "")
    except Broken as failure:
        return Result(name, "failed", one_line(failure))
    except Skipped as reason:
        return Result(name, "skipped", one_line(reason))
    except ItemError as refusal:
        return Result(name, "skipped", f"refused: {one_line(refusal)}")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 – whatever a stranger's code raises is the finding
        return Result(name, "failed", described(error))


def render(results: Iterable[Result]) -> str:
    """The report as text: one line per check, then a count."""
    results = list(results)
    signs = {"passed": "ok  ", "failed": "FAIL", "skipped": "skip"}
    width = max((len(result.check) for result in results), default=0)
    lines = [f"{signs[one.status]}  {one.check:<{width}}  {one_line(one.detail)}".rstrip() for one in results]
    counts = {status: sum(one.status == status for one in results) for status in signs}
    return "\n".join([*lines, ", ".join(f"{count} {status}" for status, count in counts.items())])
