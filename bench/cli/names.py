"""Names for shell completion, from the catalogue's YAML: nothing heavy is imported while somebody presses Tab."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
FILES = "file"


def _completer(names: Callable[[], Iterable[str]], *, files: bool = False, after: str = "") -> Completer:
    """`files`: where no name begins so, the shell completes paths. `after`: what separates several in one word."""

    def complete(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        kept, sign, last = begun.rpartition(after) if after else ("", "", begun)
        found = [CompletionItem(f"{kept}{sign}{name}") for name in names() if name.startswith(last)]
        return found or ([CompletionItem(begun, type=FILES)] if files else [])

    return complete


def _catalogue(*kinds: str) -> Callable[[], list[str]]:
    def names() -> list[str]:
        from bench.catalog.registry import registry

        return [name for kind in kinds for name in registry(kind).names()]

    return names


def _suites() -> list[str]:
    from bench.suite import definition

    return list(definition.names())


def _everything() -> list[str]:
    return [*_suites(), *_catalogue("method", "metric", "dataset", "detector", "protocol")()]


def _published() -> list[str]:
    from bench.catalog import published

    return [*_suites(), *published.names()]


suites = _completer(_suites, files=True)
methods = _completer(_catalogue("method"))
datasets = _completer(_catalogue("dataset"))
metrics = _completer(_catalogue("metric"), after=",")
protocols = _completer(_catalogue("protocol"))
entries = _completer(_everything, files=True)
timed = _completer(lambda: [*_suites(), *_catalogue("method")()], files=True, after=",")
tables = _completer(_published)
formats = _completer(lambda: ("markdown", "latex", "csv", "html", "json", "terminal"))
