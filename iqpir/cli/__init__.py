"""The `iqpir` command. A command's module is imported when it is called, so that `iqpir --help` is instant."""

from __future__ import annotations

import sys

import click

from iqpir.console import escape_what_cannot_be_shown
from iqpir.errors import IQPIRError, shown, shown_lines, suggest

# name → one-line help; the module of that name in this package holds `command`.
COMMANDS: dict[str, str] = {
    "restore": "Restore a file or a folder of images.",
    "train": "Train a stage, a whole recipe, an ablation, or a host with a score.",
    "assess": "Score a folder by an ensemble of no-reference metrics; run again to resume.",
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        import importlib

        found = importlib.import_module(f"iqpir.cli.{name}").command
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"no command {args[0]!r}{suggest(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "--version", package_name="iqpir-bench", prog_name="iqpir")
def group() -> None:
    """IQPIR, the restorer conditioned on quality priors."""


def main(arguments: list[str] | None = None) -> None:
    """Entry point: exit code 0 all done, 1 an image failed, 2 the request is wrong."""
    escape_what_cannot_be_shown()
    try:
        code = group.main(arguments, standalone_mode=False)
    except IQPIRError as error:
        click.echo(f"error: {error}", err=True)
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
