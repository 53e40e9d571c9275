"""`bench completion`: what a shell needs to complete commands, options and names."""

from __future__ import annotations

import click

_WHERE = {
    "bash": 'eval "$(bench completion bash)"    in ~/.bashrc',
    "zsh": 'eval "$(bench completion zsh)"    in ~/.zshrc, after compinit',
    "fish": "bench completion fish > ~/.config/fish/completions/bench.fish",
}


@click.command(epilog="\b\n    " + "\n    ".join(_WHERE.values()))
@click.argument("shell", type=click.Choice(list(_WHERE)))
def command(shell: str) -> int:
    """Print the script that makes a shell complete commands, options, and names of suites, methods and metrics."""
    from click.shell_completion import get_completion_class

    from bench.cli import group

    maker = get_completion_class(shell)
    assert maker is not None
    # Its own source() starts a shell to look at its version; a script for another machine needs no shell here.
    made = maker(group, {}, "bench", "_BENCH_COMPLETE")
    click.echo(made.source_template % made.source_vars())
    return 0
