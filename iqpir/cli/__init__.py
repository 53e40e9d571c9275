"""The `iqpir` command. A command's module is imported when it is called, so that `iqpir --help` is instant."""

from __future__ import annotations

import click

from iqpir.console import LazyGroup, carry_out

# name → one-line help; the module of that name in this package holds `command`.
COMMANDS: dict[str, str] = {
    "restore": "Restore a file or a folder of images.",
    "train": "Train a stage, a whole recipe, an ablation, or a host with a score.",
    "assess": "Score a folder by an ensemble of no-reference metrics; run again to resume.",
}


@click.group(cls=LazyGroup, package=__name__, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "-v", "-V", "--version", package_name="iqpir-bench", prog_name="iqpir")
def group() -> None:
    """IQPIR, the restorer conditioned on quality priors."""


def main(arguments: list[str] | None = None) -> None:
    """Entry point: exit code 0 all done, 1 an image failed, 2 the request is wrong."""
    carry_out(group, arguments)
