"""`bench explain A B`: why two numbers differ."""

from __future__ import annotations

import click


@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--metric", "metrics", multiple=True, help="Metrics to compare two protocols by (psnr and ssim).")
def command(first: str, second: str, metrics: tuple[str, ...]) -> int:
    """Say which fields make two numbers differ, and what each does.

    A and B are signatures as tables print them, or names of protocols. Exit code 0: comparable; 1: not.
    """
    from bench.metrics import explain

    chosen = metrics or ("psnr", "ssim")
    click.echo(explain.explain(first, second, chosen), nl=False)
    pairs = zip(explain.signatures(first, chosen), explain.signatures(second, chosen), strict=False)
    return int(any(explain.differences(one, other) for one, other in pairs))
