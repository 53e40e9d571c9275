"""`bench init`: write a suite for folders that are there."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from bench.cli import names, options
from iqpir.console import say


@click.command(
    epilog="""\b
    bench init --lq photos/low --gt photos/high --outputs 'outputs/*'
    bench init --lq low --gt high -m clahe -m mine --plugin my_method.py
    bench init --lq photos --metric piqe,niqe -o - | less        no references; look before it is written
    bench run mine.yaml"""
)
@click.option("--lq", required=True, metavar="DIR", help="Folder or pattern of the inputs.")
@click.option("--gt", metavar="DIR", help="Folder or pattern of the references.")
@click.option("--outputs", "outputs", multiple=True, metavar="GLOB", help="Folders of outputs, each of a method.")
@click.option(
    "-m", "--method", "methods", multiple=True, help="Methods to run; repeatable.", shell_complete=names.methods
)
@options.plugins
@click.option("--metric", "metrics", multiple=True, metavar="X", help="Metrics, comma-separated; repeatable.")
@click.option("-o", "--output", "file", default="mine.yaml", show_default=True, help="The suite; - prints it.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def command(
    lq: str, gt: str | None, outputs: tuple[str, ...], methods: tuple[str, ...], plugins: tuple[str, ...],
    metrics: tuple[str, ...], file: str, force: bool,
) -> int:  # fmt: skip
    """Write a suite with comments: inputs, references, and a method for each folder of outputs."""
    from bench.catalog.plugins import load_plugins
    from bench.errors import BenchError, counted
    from bench.files import write
    from bench.folder_scores import comparison, split_specs
    from bench.planning.bind import resolve
    from bench.planning.draft import Outputs, draft
    from bench.suite import definition

    load_plugins(plugins)
    chosen = [_as_suites_say(spec) for text in metrics for spec in split_specs(text)]
    found = comparison.folders(outputs) if outputs else []
    if outputs and not found:
        found = comparison.alone(outputs)
    text = draft(lq, gt, [Outputs(*one) for one in found], chosen, methods)
    if file == "-":
        click.echo(text, nl=False)
        return 0
    if Path(file).exists() and not force:
        raise BenchError(f"{file} is there already: -o OTHER.yaml, or --force to write over it")
    before = Path(file).read_bytes() if Path(file).exists() else None
    write(Path(file), text.encode("utf-8"))
    try:
        resolved = resolve(definition.load(definition.find(file)))
    except BenchError:  # what was asked cannot be: the folder is left as it was
        Path(file).unlink() if before is None else write(Path(file), before)
        raise
    items = resolved.datasets[0].dataset.items
    counts = f"{counted(len(resolved.methods), 'method')} on {counted(len(items), 'image')}"
    say(f"{file}: {counts}; bench run {shlex.join([file, *(word for one in plugins for word in ('--plugin', one))])}")
    return 0


def _as_suites_say(spec: str) -> str:
    """`psnr[space=y]` → `{psnr: {space: y}}`."""
    import yaml

    from bench.folder_scores import parse_spec

    name, options = parse_spec(spec)
    if not options:
        return name
    text: str = yaml.safe_dump({name: options}, default_flow_style=True, sort_keys=False, width=10**6)
    return text.strip()
