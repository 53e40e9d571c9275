"""`bench check`: hold a run against a baseline."""

from __future__ import annotations

import click

from bench.cli import names, options


@click.command(
    epilog="""\b
    bench check quickstart                              against results/baselines/quickstart.json
    bench check mine --baseline ci/numbers.json --fail-on worse
    bench check mine --format markdown --summary comment.md"""
)
@click.argument("run", required=False, metavar="[SUITE|RUN]", shell_complete=names.suites)
@click.option("--baseline", "file", metavar="FILE", help="What to hold it against (results/baselines/SUITE.json).")
@click.option(
    "--fail-on", "words", multiple=True, metavar="WORD", help="any (the default), worse, none or a kind; repeatable."
)
@click.option("--strict", is_flag=True, help="Hold to the tolerances of the same machine wherever it was made.")
@click.option("--trust-files", is_flag=True, help="Do not read the stored outputs to see whether they are whole.")
@click.option("--format", "style", type=click.Choice(["text", "markdown", "json"]), default="text", show_default=True)
@click.option("--summary", type=click.Path(dir_okay=False), help="Append markdown for a pull request to this file.")
@options.results
def command(
    run: str | None,
    file: str | None,
    words: tuple[str, ...],
    strict: bool,
    trust_files: bool,
    style: str,
    summary: str | None,
    results: str | None,
) -> int:
    """Hold a run (a suite's newest, or a number) against a baseline that bench baseline wrote.

    Exit code 0: nothing that fails was found; 1: something was, each finding on its line; 2: the request is wrong.
    """
    from pathlib import Path

    from bench.gate import arguments, baseline, findings
    from bench.gate.summary import render

    fatal = findings.kinds(words)
    base = arguments.of_file(Path(file)) if file is not None else None
    head = arguments.of_run(run, results, look=not trust_files)
    base = base or arguments.of_file(baseline.default(head.snapshot.suite, results))
    found = findings.compare(base.snapshot, head.snapshot, strict=strict, more=head.damaged)
    click.echo(render(found, base, head, fatal, style), nl=False)
    if summary is not None:
        with Path(summary).open("a", encoding="utf-8") as stream:
            stream.write(render(found, base, head, fatal, "markdown"))
    return int(bool(found.failing(fatal)))
