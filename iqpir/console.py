"""What both packages' commands share: modules imported on demand, and how a command ends.

What a console cannot show is escaped. Python's own choice is a traceback: on a Windows code page for an arrow or a
Chinese label, everywhere for a file name that is not UTF-8.
"""

from __future__ import annotations

import codecs
import importlib
import io
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import click

from iqpir.errors import IQPIRError, shown, shown_lines, suggest

_ASCII = "console-ascii"


class LazyGroup(click.Group):
    """A command whose subcommands are modules of `package`, each imported when it is called: help is instant."""

    def __init__(self, *given: Any, package: str, lazy: Mapping[str, str], **more: Any) -> None:
        """`lazy`: name → one-line help; the module of that name in `package` holds `command`."""
        super().__init__(*given, **more)
        self._package, self._lazy = package, lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._lazy)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self._lazy:
            return None
        found = importlib.import_module(f"{self._package}.{name}").command
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self._lazy.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self._lazy and not args[0].startswith("-"):
            raise click.UsageError(f"no command {args[0]!r}{suggest(args[0], self._lazy)}", ctx)
        return super().resolve_command(ctx, args)


def carry_out(
    group: click.Command, arguments: Sequence[str] | None, refusals: tuple[type[Exception], ...] = ()
) -> NoReturn:
    """Run a command and exit: with its own code, 2 and one line where the request is wrong, 130 where interrupted.

    `refusals`: what else than `IQPIRError` says that a request is wrong.
    """
    escape_what_cannot_be_shown()
    try:
        code = group.main(_without_null(arguments), standalone_mode=False)
    except (IQPIRError, *refusals) as error:  # type: ignore[misc]
        click.echo(f"error: {shown_lines(error)}", err=True)
        code = 2
    except click.exceptions.Abort:
        click.echo("interrupted: what was finished is kept, run again to go on", err=True)
        code = 130
    except click.ClickException as error:
        # click prints the whole usage text; one line is enough to act on.
        click.echo(f"error: {shown_lines(error.format_message())}", err=True)
        code = 2
    except BrokenPipeError:
        sys.stderr.close()
        code = 0
    except OSError as error:
        click.echo(f"error: {error.strerror or error}: {shown(str(error.filename or ''))}".rstrip(": "), err=True)
        code = 2
    sys.exit(code if isinstance(code, int) else 0)


def _without_null(arguments: Sequence[str] | None) -> list[str] | None:
    """A shell cannot give a null byte, a caller of `main` can; no file, name or number has one."""
    for argument in arguments or ():
        if "\0" in argument:
            raise IQPIRError(f"{argument!r} has a null byte, which no name can hold")
    return None if arguments is None else list(arguments)


def escape_what_cannot_be_shown() -> None:
    """Make standard output and error write `\\u2191` and `\\udce9` for what their encoding has not."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # click takes ASCII for a mistake and writes UTF-8 instead; under another name it is believed.
            ascii_only = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding=_ASCII if ascii_only else None, errors="backslashreplace")


def _find(name: str) -> codecs.CodecInfo | None:
    if name != _ASCII.replace("-", "_"):
        return None
    plain = codecs.lookup("ascii")
    return codecs.CodecInfo(
        name=_ASCII,
        encode=plain.encode,
        decode=plain.decode,
        incrementalencoder=plain.incrementalencoder,
        incrementaldecoder=plain.incrementaldecoder,
        streamreader=plain.streamreader,
        streamwriter=plain.streamwriter,
    )


codecs.register(_find)
