"""`bench fetch`: bring what a suite or a name needs, so that everything after it runs offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from bench.cli import names as completions
from iqpir.console import is_quiet, say

if TYPE_CHECKING:
    from bench.catalog.registry import Entry
    from bench.fetch.assets import Asset

_KINDS = ("method", "metric", "dataset", "detector")
_WITHOUT_FILES = ("classical", "folder", "command")
"""Kinds of methods that bring their own files or need none."""


def assets_for(name: str) -> list[Asset]:
    """The files that a suite (name or path), method, metric, dataset or detector needs.

    Raises `BenchError` for a name that is none of them, with the nearest one that is.
    """
    from bench.catalog.registry import registry
    from bench.errors import BenchError, suggest
    from bench.suite import definition

    kinds = [kind for kind in _KINDS if name in registry(kind)]
    if kinds:
        return [asset for kind in kinds for asset in assets_of_entry(registry(kind).get(name))]
    if name in definition.names() or Path(name).suffix in {".yaml", ".yml"} or Path(name).is_file():
        from bench.planning.bind import assets_of

        return assets_of(name)
    known = [*definition.names(), *(known for kind in _KINDS for known in registry(kind).names())]
    raise BenchError(
        f"no suite, method, metric, dataset or detector {name!r}{suggest(name, known)} (bench list methods)"
    )


def assets_of_entry(entry: Entry) -> list[Asset]:
    """The files that one catalogue entry needs, with its own options. Raises `BenchError`."""
    from bench.fetch.assets import Asset

    if entry.kind == "dataset":
        fields = entry.fields
        shared = {"instructions": fields.get("instructions")}
        return [
            Asset.from_fields(entry.name, {**shared, **file}, fields.get("licence")) for file in fields.get("files", [])
        ]
    if entry.kind == "detector":
        weights = entry.fields.get("weights")
        return [] if weights is None else [Asset.from_fields(entry.name, weights, entry.fields.get("licence"))]
    if entry.kind == "metric":
        if entry.fields.get("unavailable"):
            return []
        from bench.metrics.build import build_metric

        return build_metric(entry, {}, {}).assets()
    options = entry.fields.get("options") or {}
    own = any(isinstance(option, dict) and option.get("required") for option in options.values())
    if own or entry.fields.get("kind") in _WITHOUT_FILES:
        return []
    from bench.methods.build import build_method

    return build_method(entry, {}, None).assets()


class WantedDataset(NamedTuple):
    """A dataset of the literature, and how a suite names it."""

    entry: Entry
    options: dict[str, Any]
    base: Path | None


def datasets_for(name: str) -> list[WantedDataset]:
    """The datasets with a layout of their own that a suite or a dataset's name stands for."""
    from bench.catalog.registry import registry
    from bench.suite import definition

    known = registry("dataset")
    if any(name in registry(kind) for kind in _KINDS):
        found = [WantedDataset(known.get(name), {}, None)] if name in known else []
    else:
        file = definition.load(definition.find(name))
        found = [WantedDataset(known.get(one.dataset), dict(one.options), file.base) for one in file.suite.datasets]
    return [one for one in found if one.entry.fields.get("kind") == "official"]


def _take_over(wanted: WantedDataset, mirror: Path) -> None:
    from bench.data.survey import adopt, folder_of

    copied = adopt(wanted.entry, mirror)
    if copied:
        click.echo(f"{'mirrored':<10}  {wanted.entry.name}  {copied} files into {folder_of(wanted.entry)}")


def _tell(wanted: WantedDataset) -> bool:
    """What is there of a dataset now, and what a person has to do; True when all of it is there."""
    from bench.data.survey import steps, survey

    state = survey(wanted.entry, wanted.options, wanted.base, deep=True)
    first, *more = state.lines
    click.echo(f"{'present' if state.status == 'here' else state.status:<10}  {first}")
    for line in [*more, *(steps(wanted.entry) if state.status != "here" else [])]:
        click.echo(f"{'':<10}  {line}")
    return state.status == "here"


def _by_hand(name: str) -> str | None:
    """What a person has to bring for a method without files of ours: its repository, or a folder of its outputs."""
    from bench.catalog import registry
    from bench.methods.availability import why_not

    methods = registry.registry("method")
    return why_not(methods.get(name)) if name in methods else None


def _plan(assets: list[Asset]) -> None:
    for asset in assets:
        about = "? bytes" if asset.gigabytes is None else f"about {asset.gigabytes:g} GB"
        size = about if asset.bytes is None else f"{asset.bytes:,} bytes"
        source = asset.url or "by hand"
        click.echo(f"{asset.verify().status:<10}  {asset.file}  {size}  {asset.licence or 'licence unknown'}  {source}")


@click.command(
    epilog="""\b
    bench fetch quickstart lol                 what two suites need
    bench fetch sci-medium psnr                a method, a metric
    bench fetch lol --plan                     which files, how large, whether they are here
    bench fetch lol --mirror /media/stick      from a folder, without a network"""
)
@click.argument("names", nargs=-1, required=True, metavar="SUITE|NAME...", shell_complete=completions.entries)
@click.option(
    "--mirror", type=click.Path(path_type=Path), help="Take the files from this folder instead of the network."
)
@click.option("--pin", is_flag=True, help="Accept files without a published hash, and hold them to what came.")
@click.option("--force", is_flag=True, help="Bring files again that are there already.")
@click.option("--dry-run", "--plan", "dry_run", is_flag=True, help="Only list the files, and whether they are there.")
def command(names: tuple[str, ...], mirror: Path | None, pin: bool, force: bool, dry_run: bool) -> int:
    """Bring the weights and data that suites, methods, metrics or datasets need, checked by SHA-256.

    Archives are unpacked, and a dataset's layout is held against the official one; where only a person can get the
    data, the steps are printed.

    Exit code 1 when a file could not be brought, or needs a person.
    """
    from bench.fetch.fetch import fetch

    wanted = {name: assets_for(name) for name in names}  # every name is known before the first byte comes
    sets = {one.entry.name: one for name in names for one in datasets_for(name)}
    for name, assets in wanted.items():
        if not assets and not sets:
            click.echo(_by_hand(name) or f"{name} needs no files", err=True)
    everything = [asset for assets in wanted.values() for asset in assets]
    if dry_run:
        _plan(everything)
        return 0
    from bench.data.survey import survey
    from bench.fetch.mirror import check_folder

    if mirror is not None:
        for one in sets.values():
            _take_over(one, check_folder(mirror))
    done = {name for name, one in sets.items() if survey(one.entry, one.options, one.base, deep=False).status == "here"}
    results = fetch(
        [asset for asset in everything if force or asset.owner not in done or asset.unpack is None],
        mirror=mirror,
        pin=pin,
        force=force,
        progress=not is_quiet(),
        say=say,
    )
    for result in results:
        click.echo(f"{result.status:<10}  {result.asset.file}  {result.detail}")
    complete = [_tell(one) for one in sets.values()]
    return 0 if all(result.here or result.asset.owner in sets for result in results) and all(complete) else 1
