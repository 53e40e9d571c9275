"""What a command asks strangers' code before any work, asked in another process first, where it can do no harm.

A plugin's file, its factories and its identities run in the process of the command, which has nobody to watch over it:
what hangs there, or ends its process, would take the command with it. So everything of the kind is rehearsed, with the
same limit for all commands; what strangers' code refuses with a message it will refuse again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

from bench.catalog.helper_process import Helper, Lost, patience
from bench.catalog.plugins import load_plugins
from bench.catalog.registry import registry
from bench.errors import BenchError, ItemError

_T = TypeVar("_T")

PATIENCE = 300.0
"""Seconds that each piece of strangers' code gets before any work where nobody says: no import takes longer."""


def rehearse(
    what: str, action: Callable[..., object], arguments: Sequence[Any], plugins: Sequence[str], timeout: float | None
) -> None:
    """Raise `BenchError` where strangers' code does not come back from `action(*arguments)` in time, or at all.

    `action` and `arguments` travel by `pickle`; what is returned or refused there is left to the call that counts.
    Nothing is done where no plugin is named and no installed package brings any code.
    """
    if not plugins and not _installed():
        return
    with Helper(what, action, arguments) as helper:
        try:
            helper.call(_done, timeout=patience(timeout) or PATIENCE)
        except Lost as lost:
            raise _refused(lost) from lost
        except (BenchError, ItemError):
            return  # said again by the call that counts


def load_rehearsed(plugins: Sequence[str], timeout: float | None) -> None:
    """`load_plugins`, which first shows elsewhere that it comes back."""
    rehearse("reading plugins", load_plugins, (tuple(plugins),), plugins, timeout)
    load_plugins(plugins)


class Elsewhere:
    """A process in which strangers' code is asked what nothing here has to know of: each question once, none twice.

    Where no plugin is named and no installed package brings any code, everything is asked here.
    """

    def __init__(self, what: str, plugins: Sequence[str], timeout: float | None) -> None:
        self._plugins, self._timeout = tuple(plugins), patience(timeout) or PATIENCE
        strange = bool(plugins) or _installed()
        self._helper = Helper(what, load_plugins, (self._plugins,)) if strange else None

    def __enter__(self) -> Self:
        """Reads the plugins. Raises `BenchError` where one is not read, or does not come back."""
        self.ask(load_plugins, self._plugins)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._helper is not None:
            self._helper.close()

    def ask(self, action: Callable[..., _T], *arguments: Any) -> _T:
        """What `action(*arguments)` returns, by `pickle`. Raises `BenchError`, for strangers' code that is lost too."""
        if self._helper is None:
            return action(*arguments)
        try:
            answer: _T = self._helper.call(_answer, action, arguments, timeout=self._timeout)
            return answer
        except Lost as lost:
            raise _refused(lost) from lost
        except ItemError as error:
            raise BenchError(str(error)) from error


def _answer(_: object, action: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    return action(*arguments)


def _refused(lost: Lost) -> BenchError:
    remedy = "mend it, or give it a longer --timeout" if lost.timeout else "mend it"
    return BenchError(f"{lost}, before any work: {remedy}")


def _done(result: object) -> None:
    pass


def _installed() -> bool:
    """Whether an installed package has brought methods or metrics."""
    kinds = ("method", "metric")
    return any(entry.strange and not entry.factory for kind in kinds for entry in registry(kind))
