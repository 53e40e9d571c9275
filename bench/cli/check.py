"""`bench check`: hold a run against a baseline."""

from __future__ import annotations

import click

from bench.cli import names, options

STYLES = ("text", "markdown", "json", "github", "gitlab")


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
@click.option(
    "--strict",
    is_flag=True,
    help="Hold to the tolerances of the same machine wherever it was made, and fail where it is inconclusive.",
)
@click.option("--confirm", is_flag=True, help="Measure a slow-down again before it fails.")
@click.option("--trust-files", is_flag=True, help="Do not read the stored outputs to see whether they are whole.")
@click.option(
    "--format",
    "style",
    type=click.Choice(STYLES),
    help="github: with annotations; gitlab: a code quality report. [default: text]",
)
@click.option("--summary", type=click.Path(dir_okay=False), help="Append markdown for a pull request to this file.")
@click.option("--comment", type=click.Path(dir_okay=False), help="Write a comment here, only where there is a finding.")
@options.plugins
@options.allow_commands
@options.results
def command(
    run: str | None,
    file: str | None,
    words: tuple[str, ...],
    strict: bool,
    trust_files: bool,
    confirm: bool,
    style: str | None,
    summary: str | None,
    comment: str | None,
    plugins: tuple[str, ...],
    allow_commands: bool,
    results: str | None,
) -> int:
    """Hold a run (a suite's newest, or a number) against a baseline that bench baseline wrote.

    Exit code 0: nothing that fails was found; 1: something was, each finding on its line; 2: the request is wrong;
    3: inconclusive, a method is perhaps slower. --confirm and --plugin go with suites that have latency:.
    """
    from pathlib import Path

    from bench.gate import annotations, arguments, baseline, findings
    from bench.gate import confirm as again
    from bench.gate.summary import render
    from iqpir.console import say

    fatal = findings.kinds(words) | ({"inconclusive"} if strict else set())
    base = arguments.of_file(Path(file)) if file is not None else None
    head = arguments.of_run(run, results, look=not trust_files)
    base = base or arguments.of_file(baseline.default(head.snapshot.suite, results))
    found = findings.compare(base.snapshot, head.snapshot, strict=strict, more=head.damaged)
    methods = again.slower(found)
    if methods and not confirm:
        was = "was" if len(methods) == 1 else "were"
        say(f"{', '.join(methods)} {was} measured once: --confirm measures again before that fails")
    if confirm and methods:
        assert head.run is not None and head.folder is not None
        say(f"measuring again: {', '.join(methods)}")
        again.measure_again(head.run, methods, head.folder, plugins=plugins, commands=allow_commands, note=say)
        second = arguments.of_number(head.run.number, head.folder).snapshot
        timed = again.timed_anew(head.snapshot, second)
        found = again.joined(found, findings.compare(base.snapshot, second, strict=strict), timed)
    click.echo(render(found, base, head, fatal, style or "text"), nl=False)
    told = render(found, base, head, fatal, "markdown")
    if summary is not None:
        with Path(summary).open("a", encoding="utf-8") as stream:
            stream.write(told)
    if comment is not None:
        written = annotations.comment(found, fatal, head.snapshot.suite, told)
        if written is None:
            Path(comment).unlink(missing_ok=True)  # an older answer must not be posted again
        else:
            Path(comment).write_text(written, encoding="utf-8")
    return findings.EXIT_CODES[found.outcome(fatal)]
