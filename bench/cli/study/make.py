"""`bench study make RUN -o DIR`: a study from a run."""

from __future__ import annotations

import secrets
from pathlib import Path

import click

from bench.cli import options


@click.command(
    epilog="""\b
    bench study make user-study -o study --items 20
    bench study make lol -o study --design pairs --people 12 -m iqpir -m reti-diff
    bench study make mine -o study --design ranking --seed 7"""
)
@click.argument("run", required=False, metavar="[SUITE|RUN]")
@click.option("--output", "-o", type=click.Path(file_okay=False, path_type=Path), required=True, help="A new folder.")
@click.option(
    "--design",
    type=click.Choice(["rating", "pairs", "ranking"]),
    default="rating",
    show_default=True,
    help="Scores of one output at a time, the better of two, or all outputs in order.",
)
@click.option("--items", type=click.IntRange(1), help="So many of each dataset, drawn by chance. Default: all.")
@click.option(
    "--criteria",
    metavar="A,B",
    help="What is asked for: overall, colour, noise, structure or words of your own. Default: colour,noise,structure "
    "for ratings, else overall.",
)
@click.option("--people", type=click.IntRange(1, 10_000), default=12, show_default=True, help="Participants.")
@click.option("--scale", default="0-5", show_default=True, metavar="LOW-HIGH", help="Of ratings, whole numbers.")
@click.option("--votes", type=click.IntRange(1), help="Most questions for a person, traps apart. Default: all.")
@click.option("--traps", type=click.IntRange(0), default=3, show_default=True, help="Questions with one right answer.")
@click.option("--repeats", type=click.IntRange(0), default=3, show_default=True, help="Questions that come twice.")
@click.option("--seed", type=click.IntRange(0), help="Of items, sides and orders. Default: drawn, and kept in the key.")
@click.option(
    "--text", "texts", multiple=True, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Another language, as bench/study/page/en.yaml has it; named by its code, fr.yaml. Repeatable.",
)  # fmt: skip
@options.only_datasets
@options.only_methods
@options.results
def command(
    run: str | None,
    output: Path,
    design: str,
    items: int | None,
    criteria: str | None,
    people: int,
    scale: str,
    votes: int | None,
    traps: int,
    repeats: int,
    seed: int | None,
    texts: tuple[Path, ...],
    datasets: tuple[str, ...],
    methods: tuple[str, ...],
    results: str | None,
) -> int:
    """Make a study of a run: DIR/page for participants, DIR/key.json for you alone.

    The page needs no network and no server: it works from a disk, from any web server, and with bench study serve. Its
    images have opaque names, are written anew without metadata, and nothing of it names a method. DIR/people.txt has
    a link for each participant, whose order and sides are drawn beforehand.
    """
    from bench import paths
    from bench.errors import BenchError
    from bench.results import leases, view
    from bench.study import make

    low, dash, high = scale.partition("-")
    if (
        not (dash and low.isascii() and low.isdigit() and high.isascii() and high.isdigit())
        or not int(low) < int(high) <= 10
    ):
        raise BenchError(f"--scale {scale!r} is not LOW-HIGH, two whole numbers from 0 to 10, such as 0-5")
    asked = tuple(part.strip() for part in (criteria or "").split(",") if part.strip())
    if len(set(asked)) != len(asked) or any(len(part) > 60 or "|" in part or not part.isprintable() for part in asked):
        raise BenchError(f"--criteria {criteria!r}: each is named once, in 60 signs at most, without |")
    # Anybody can draw from a seed that is easily guessed, and find out which method is where.
    chance = secrets.randbits(48) if seed is None else seed
    wish = make.Wish(
        design, items, asked, people, int(low), int(high), traps, repeats, votes, chance, methods, datasets, texts,  # type: ignore[arg-type]
    )  # fmt: skip
    folder = paths.results(results)
    with leases.reading(folder, lambda line: click.echo(line, err=True)) as store:
        data = view.read_cells(store, view.find_run(store, run))
        made = make.make(store, data, folder, wish, output)
    for line in made.left_out:
        click.echo(f"left out: {line}", err=True)
    key = made.key
    lengths = sorted({len(plan) for plan in key.plans})
    click.echo(
        f"study {key.study}: {key.design}, {len(key.questions)} questions, {len(key.traps)} traps, "
        f"{len(key.images)} images, "
        f"{'–'.join(map(str, lengths[:: max(len(lengths) - 1, 1)]))} a person, {key.people} people",
        err=True,
    )
    click.echo(f"hand out {output / make.PAGE}; keep {output / 'key.json'} to yourself", err=True)
    click.echo(str(output / make.PAGE / "index.html"))
    return 0
