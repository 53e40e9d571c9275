"""`bench explain A B`: why two numbers differ."""

from __future__ import annotations

import click

from bench.cli import names


@click.command(
    epilog="""\b
    bench explain basicsr/rgb basicsr/y-crop4        two protocols
    bench explain 'psnr|space:rgb|crop:0|v:1' 'psnr|space:y|crop:4|v:1'
    bench explain recommended/rgb reti-diff/lol --metric ssim"""
)
@click.argument("first", metavar="A", shell_complete=names.protocols)
@click.argument("second", metavar="B", shell_complete=names.protocols)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    help="Metrics to compare two protocols by (psnr and ssim).",
    shell_complete=names.metrics,
)
def command(first: str, second: str, metrics: tuple[str, ...]) -> int:
    """Say which fields make two numbers differ, and what each does.

    A and B are signatures as tables print them, or names of protocols. Exit code 0: comparable; 1: not.
    """
    from bench.metrics import explain

    chosen = metrics or ("psnr", "ssim")
    click.echo(explain.explain(first, second, chosen), nl=False)
    pairs = zip(explain.signatures(first, chosen), explain.signatures(second, chosen), strict=False)
    return int(any(explain.differences(one, other) for one, other in pairs))
