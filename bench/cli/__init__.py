"""The `bench` command. A command's module is imported when it is called, so that `bench --help` is instant."""

from __future__ import annotations

import sys

import click

from bench.errors import BenchError
from iqpir.console import escape_what_cannot_be_shown
from iqpir.errors import shown, shown_lines

# name → one-line help; the module of that name in this package holds `command`.
COMMANDS = {
    "run": "Restore and score a suite; run again to resume.",
    "score": "Score a folder of images, with or without references.",
    "table": "Print a run as markdown, LaTeX, CSV, HTML or JSON.",
    "latency": "Time methods side by side, every sample kept.",
    "report": "Write a run as one HTML page: tables, pictures, failures.",
    "figure": "Draw a run for a paper: pictures, distributions, sweeps, ascents.",
    "compare": "Compare two runs item by item, with paired tests.",
    "baseline": "Write down what a run gave, for later runs to be held against.",
    "check": "Hold a run against a baseline; exit code 1 names what changed.",
    "explain": "Say why two numbers differ.",
    "runs": "List the runs of the results folder.",
    "list": "List methods, datasets, metrics, protocols or suites.",
    "info": "Say everything about one method, dataset, metric or protocol.",
    "validate": "Check suites: every key, method, dataset, metric and protocol.",
    "fetch": "Bring the weights and data that a suite or name needs.",
    "export": "Write a run's rows, or its images, for other tools.",
    "selftest": "Check a method against generated images.",
    "doctor": "Say what is installed, cached and missing.",
    "gc": "Delete what no run names.",
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        import importlib

        found = importlib.import_module(f"bench.cli.{name}").command
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from bench.errors import suggest

            raise click.UsageError(f"no command {args[0]!r}{suggest(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "--version", package_name="iqpir-bench", prog_name="bench")
def group() -> None:
    """Compare image restorers: every number carries its signature, and running again resumes.

    \b
    bench run quickstart          restore and score photographs that ship with the package
    bench table --format latex    the newest run as a LaTeX table
    """


def main(arguments: list[str] | None = None) -> None:
    """Entry point: exit code 0 all scored, 1 something failed, 2 the request is wrong."""
    escape_what_cannot_be_shown()
    try:
        code = group.main(arguments, standalone_mode=False)
    except BenchError as error:
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
