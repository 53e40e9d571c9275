"""The `iqpir` command. Its subcommands come with the network, its training and its quality priors."""

from __future__ import annotations

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "--version", package_name="iqpir-bench", prog_name="iqpir")
def main() -> None:
    """IQPIR, the restorer conditioned on quality priors. This version has no subcommands yet."""
