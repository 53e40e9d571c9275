"""`bench study`: one module per verb."""

from __future__ import annotations

import click

from iqpir.console import LazyGroup

VERBS = {
    "make": "Make a study of a run: a page for participants, and a sealed key.",
    "serve": "Serve a study on this machine, and take its votes.",
    "add": "Check votes, and store them with what was voted on.",
    "report": "Say what people said: scores with intervals, agreement, bias, power.",
}


@click.group(
    cls=LazyGroup,
    package=__name__,
    lazy=VERBS,
    epilog="""\b
    bench study make RUN -o DIR      DIR/page is handed out, DIR/key.json is not
    bench study serve DIR            or: put DIR/page on any web server, or a USB stick
    bench study add DIR              or: the files that people send
    bench study report RUN -o DIR    intervals, who was left out and why, CSV files
    bench table RUN                  columns mos, bt and rank have values now""",
)
def command() -> None:
    """Ask people which images are better."""
