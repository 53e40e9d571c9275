"""What a command asks strangers' code before any work, asked in another process first, where it can do no harm.

A plugin's file, its factories and its identities run in the process of the command, which has nobody to watch over it:
what hangs there, or ends its process, would take the command with it. So everything of the kind is rehearsed, with the
same limit for all commands; what strangers' code refuses with a message it will refuse again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bench.catalog.helper_process import Helper, Lost, patience
from bench.catalog.plugins import load_plugins
from bench.catalog.registry import registry
from bench.errors import BenchError, ItemError

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
            remedy = "mend it, or give it a longer --timeout" if lost.timeout else "mend it"
            raise BenchError(f"{lost}, before any work: {remedy}") from lost
        except (BenchError, ItemError):
            return  # said again by the call that counts


def load_rehearsed(plugins: Sequence[str], timeout: float | None) -> None:
    """`load_plugins`, which first shows elsewhere that it comes back."""
    rehearse("reading plugins", load_plugins, (tuple(plugins),), plugins, timeout)
    load_plugins(plugins)


def _done(result: object) -> None:
    pass


def _installed() -> bool:
    """Whether an installed package has brought methods or metrics."""
    kinds = ("method", "metric")
    return any(entry.strange and not entry.factory for kind in kinds for entry in registry(kind))
