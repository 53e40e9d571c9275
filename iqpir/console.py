"""What both packages' commands share: modules imported on demand, and how a command ends.

What a console cannot show is escaped. Python's own choice is a traceback: on a Windows code page for an arrow or a
Chinese label, everywhere for a file name that is not UTF-8.
"""

from __future__ import annotations

import codecs
import importlib
import io
import re
import shutil
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click

from iqpir.errors import IQPIRError, shown, shown_lines, suggest

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_ASCII = "console-ascii"
_HELP, _INDENT = 80, 2
"""Columns of a help page at most, and those before an example."""
_VOICE = (
    (("-q", "--quiet"), "Only the result, and what went wrong: no progress, no remarks."),
    (("-v", "--verbose"), "Say more on standard error: each failure as it comes, times, where a refusal came from."),
)


def is_quiet() -> bool:
    """Whether the command that runs was asked for its result alone."""
    return _asked("quiet")


def is_verbose() -> bool:
    """Whether the command that runs was asked to say more."""
    return _asked("verbose")


def _asked(what: str) -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and what in (context.obj or ())


def say(line: str) -> None:
    """A remark on standard error, which `--quiet` leaves out."""
    if not is_quiet():
        complain(line)


def complain(line: str) -> None:
    """A line on standard error whatever was asked; one that would run into a progress bar stands above it."""
    if "tqdm" in sys.modules and sys.stderr.isatty():
        from iqpir.progress import above_bar

        above_bar(line)
    else:
        click.echo(line, err=True)


def _with_voice(command: click.Command) -> click.Command:
    """A command with `--quiet` and `--verbose`, the same ones in all."""

    def keep(context: click.Context, option: click.Parameter, value: bool) -> None:
        if value and isinstance(context.obj, set):
            context.obj.add(option.opts[-1].removeprefix("--"))

    command.epilog = _fitted(command.epilog, min(shutil.get_terminal_size((_HELP, 24)).columns, _HELP))
    taken = {text for parameter in command.params for text in parameter.opts}
    for options, told in _VOICE:
        free = [text for text in options if text not in taken]
        if options[-1] in free:
            command.params.append(
                click.Option(free, is_flag=True, expose_value=False, callback=keep, is_eager=True, help=told)
            )
    return command


def _fitted(examples: str | None, columns: int) -> str | None:
    """Worked examples for a window: where a remark has no room behind its command, all of them stand below theirs."""
    lines = (examples or "").splitlines()
    if all(len(line.strip()) + _INDENT <= columns or not _told(line) for line in lines):
        return examples
    return "\n".join(part for line in lines for part in (_told(line) or (line,)))


def _told(example: str) -> tuple[str, str] | None:
    """A command, and the remark behind it as a line of its own; None where there is none."""
    found = re.fullmatch(r"( *)(\S.*?) {2,}(\S.*)", example)
    return (f"{found[1]}{found[2]}", f"{found[1]}    {found[3]}") if found else None


class HelpfulGroup(click.Group):
    """A command whose subcommands are asked for by name: alone it is its help, a wrong name is told the nearest."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **{"invoke_without_command": True, **more})

    def invoke(self, ctx: click.Context) -> Any:
        result = super().invoke(ctx)
        if ctx.invoked_subcommand is None:  # the group alone asks what there is
            click.echo(ctx.get_help())
        return result

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        found = super().get_command(ctx, name)
        return found and _with_voice(found)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            near = suggest(args[0], known) or f"; {ctx.command_path} --help has them all"
            raise click.UsageError(f"no command {args[0]!r}{near}", ctx)
        return super().resolve_command(ctx, args)


class LazyGroup(HelpfulGroup):
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
        found = importlib.import_module(f"{self._package}.{name.replace('-', '_')}").command
        assert isinstance(found, click.Command)
        return _with_voice(found)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        found = [CompletionItem(name, help=told) for name, told in self._lazy.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self._lazy.items()))


def carry_out(
    group: click.Command, arguments: Sequence[str] | None, refusals: tuple[type[Exception], ...] = ()
) -> NoReturn:
    """Run a command and exit: with its own code, 2 and one line where the request is wrong, 130 where interrupted.

    `refusals`: what else than `IQPIRError` says that a request is wrong.
    """
    escape_what_cannot_be_shown()
    voice: set[str] = set()
    began = time.monotonic()
    try:
        code = group.main(_without_null(arguments), standalone_mode=False, obj=voice)
    except (IQPIRError, *refusals) as error:  # type: ignore[misc]
        if "verbose" in voice:
            click.echo("".join(traceback.format_exception(error)).rstrip(), err=True)
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
    if "verbose" in voice:
        click.echo(f"took {time.monotonic() - began:.1f} s, {time.process_time():.1f} s of processor time", err=True)
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
