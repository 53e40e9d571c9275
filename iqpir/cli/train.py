"""`iqpir train STAGE CONFIG`: one sub-command per stage."""

from __future__ import annotations

from pathlib import Path

import click

from iqpir.cli.ablation import command as ablation
from iqpir.cli.bars import steps_bar


@click.group()
def command() -> None:
    """Train a stage from a YAML file of settings."""


@command.command(short_help="A host with a score, and beside it the host alone.")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("-o", "--out", metavar="OUT", help="Folder of the results. Default: results/train/NAME-OF-CONFIG.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--steps", type=click.IntRange(min=1), help="In place of the settings' number.")
def plus(config: Path, out: str | None, device: str, steps: int | None) -> int:
    """Give a host a score and fine-tune it; beside it the host alone, on the same batches, for comparison.

    Writes OUT/plus.safetensors, OUT/control.safetensors and OUT/losses.csv. Both run in a suite: {method: plus,
    options: {host: NAME, weights: OUT/plus.safetensors, score: 0.9}}.
    """
    import math
    from dataclasses import replace

    from iqpir.errors import IQPIRError
    from iqpir.quality.files import read_scores
    from iqpir.quality.scorers import check_device
    from iqpir.training.hosts import load_host
    from iqpir.training.paired_folders import AnyPairs, GeneratedPairs, Pairs
    from iqpir.training.plus import PlusSettings, train_plus, write_losses

    check_device(device)
    settings = PlusSettings.load(config)
    settings = replace(settings, steps=steps or settings.steps)
    host = load_host(settings.host)
    if not (settings.sites or host.sites):
        raise IQPIRError(f"{config}: host {settings.host!r} has no sites of its own: name some under the key sites")
    settings = replace(settings, sites=settings.sites or host.sites)
    pairs: AnyPairs
    if settings.data is not None:
        pairs = GeneratedPairs(settings.data, settings.crop)
    else:
        file = read_scores(settings.scores)
        named = zip(file.names, file.scores, strict=True)
        scores = {Path(name).with_suffix("").as_posix(): float(score) for name, score in named if math.isfinite(score)}
        pairs = Pairs(Path(settings.lq), Path(settings.gt), scores)
    pairs.check(settings.crop)
    where = Path(out) if out else Path("results") / "train" / config.stem
    with steps_bar(settings.steps) as bar:

        def progress(step: int, loss: float, control: float) -> None:
            bar.set_description_str(f"L1 {loss:.4f}, without score {control:.4f}")
            bar.update(step - bar.n)

        trained = train_plus(host.network, settings, pairs, device=device, progress=progress)
    trained.plus.save(where / "plus.safetensors", with_host=True)
    trained.control.save(where / "control.safetensors", with_host=True)
    write_losses(where / "losses.csv", trained.losses)
    last = trained.losses[-min(50, len(trained.losses)) :]
    ours, theirs = (sum(pair[side] for pair in last) / len(last) for side in (0, 1))
    click.echo(f"{where}: mean L1 of the last {len(last)} steps: {ours:.5f} with the score, {theirs:.5f} without")
    return 0


def _stage(name: str, config: Path, out: str | None, device: str, steps: int | None) -> int:
    """Train a stage of IQPIR, from where its folder's state left off."""
    from dataclasses import replace

    from iqpir.quality.scorers import check_device
    from iqpir.training.engine import Report, train
    from iqpir.training.image_check import check_images
    from iqpir.training.settings import load, recipe
    from iqpir.training.stages import make_stage

    check_device(device)
    where = _root(config, out)
    settings = load(name, config, where)
    settings = replace(settings, steps=steps or settings.steps)
    check_images([settings])
    if recipe(config) is not None:
        where = where / name
    stage = make_stage(settings, where, device)
    for note in stage.notes:
        click.echo(note, err=True)
    with steps_bar(settings.steps) as bar:

        def progress(told: Report) -> None:
            shown = [key for key in ("total", "held-out psnr") if key in told.values]
            bar.set_description_str(", ".join(f"{key} {told.values[key]:.4g}" for key in shown))
            bar.update(told.step - bar.n)

        done = train(stage, where, report=progress, device=device)
    held = {key: value for key, value in done.values.items() if key.startswith("held-out")}
    told = ", ".join(f"{key} {value:.4g}" for key, value in held.items()) or "nothing to do"
    click.echo(f"{done.saved}: {done.steps} steps; {told}")
    if done.waiting > 0.05:
        click.echo(f"the steps waited for images {done.waiting:.0%} of the time: more data.workers help", err=True)
    return 0


def _root(config: Path, out: str | None) -> Path:
    """The folder of a run, or of a recipe's runs."""
    return Path(out) if out else Path("results") / "train" / config.stem


@command.command(name="all", short_help="Every stage of a recipe that is not finished.")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("-o", "--out", metavar="FOLDER", help="Holds a folder per stage. Default: results/train/NAME-OF-CONFIG.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--steps", type=click.IntRange(min=1), help="In place of every stage's number: to try a recipe out.")
@click.pass_context
def everything(context: click.Context, config: Path, out: str | None, device: str, steps: int | None) -> int:
    """Train all stages of a recipe, one after the other; what is finished already is not trained again.

    Writes FOLDER/NAME-OF-CONFIG.safetensors: the last stage's network, its numbers stored in 16 bits.
    """
    import torch

    from iqpir.checkpoint import load_any, save_checkpoint
    from iqpir.errors import IQPIRError
    from iqpir.training import settings
    from iqpir.training.image_check import check_images
    from iqpir.training.settings import RECIPE, STAGES, recipe

    sections = recipe(config)
    stages = [name for name in RECIPE if sections is not None and name in sections]
    if not any(name in STAGES for name in stages):
        raise IQPIRError(f"{config}: a recipe has at least one of the sections {', '.join(STAGES)}")
    root = _root(config, out)
    check_images(settings.load(name, config, root) for name in stages if name in STAGES)
    for number, name in enumerate(stages, 1):
        click.echo(f"{name} ({number} of {len(stages)} stages): {root / name}", err=True)
        if name != "quality":
            _stage(name, config, str(root), device, steps)
            continue
        made = root / "quality" / "quality.safetensors"
        if not made.is_file():
            context.invoke(quality, config=config, out=str(made), device=device, steps=steps)
    last = stages[-1]
    network = load_any(root / last / f"{last}.safetensors")
    final = root / f"{config.stem}.safetensors"
    save_checkpoint(network, final, dtype=torch.float16)
    click.echo(f"{final}: {final.stat().st_size / 1e6:.1f} MB")
    return 0


_CONFIG = click.argument("config", type=click.Path(path_type=Path))
_OUT = click.option("-o", "--out", metavar="FOLDER", help="Default: results/train/NAME-OF-CONFIG. Goes on if it can.")
_DEVICE = click.option("--device", default="cpu", show_default=True)
_STEPS = click.option("--steps", type=click.IntRange(min=1), help="In place of the settings' number.")


@command.command(short_help="Stage 1: encoder, codebooks, generator.")
@_CONFIG
@_OUT
@_DEVICE
@_STEPS
def autoencoder(config: Path, out: str | None, device: str, steps: int | None) -> int:
    """Stage 1: encoder, one or two codebooks, generator."""
    return _stage("autoencoder", config, out, device, steps)


@command.command(short_help="Stage 2: the transformer that predicts codes.")
@_CONFIG
@_OUT
@_DEVICE
@_STEPS
def restorer(config: Path, out: str | None, device: str, steps: int | None) -> int:
    """Stage 2: the transformer that predicts codes from a degraded image and a score."""
    return _stage("restorer", config, out, device, steps)


@command.command(short_help="Stage 3: the blocks that bend the generator.")
@_CONFIG
@_OUT
@_DEVICE
@_STEPS
def fidelity(config: Path, out: str | None, device: str, steps: int | None) -> int:
    """Stage 3: the blocks that bend the generator towards the input."""
    return _stage("fidelity", config, out, device, steps)


@command.command(short_help="Photographs: light and colour of the whole.")
@_CONFIG
@_OUT
@_DEVICE
@_STEPS
def front(config: Path, out: str | None, device: str, steps: int | None) -> int:
    """A network for photographs: its front end alone, on thumbnails."""
    return _stage("front", config, out, device, steps)


@command.command(short_help="Photographs: noise, blocks and blur at full size.")
@_CONFIG
@_OUT
@_DEVICE
@_STEPS
def detail(config: Path, out: str | None, device: str, steps: int | None) -> int:
    """A network for photographs: its detail branch, behind a front end that stays as it is."""
    return _stage("detail", config, out, device, steps)


@command.command(short_help="Photographs: front end, codes and detail together.")
@_CONFIG
@_OUT
@_DEVICE
@_STEPS
def joint(config: Path, out: str | None, device: str, steps: int | None) -> int:
    """A network for photographs: front end, IQPIR's codes and detail together."""
    return _stage("joint", config, out, device, steps)


@command.command(name="rar-latent", short_help="RAR: the latent that its rounds happen in.")
@_CONFIG
@_OUT
@_DEVICE
@_STEPS
def rar_latent(config: Path, out: str | None, device: str, steps: int | None) -> int:
    """RAR: a small autoencoder that keeps detail, and codebooks upon its latent."""
    return _stage("rar-latent", config, out, device, steps)


@command.command(name="rar-assessor", short_help="RAR, S1: what is wrong, how badly, which is better.")
@_CONFIG
@_OUT
@_DEVICE
@_STEPS
def rar_assessor(config: Path, out: str | None, device: str, steps: int | None) -> int:
    """RAR, S1: the assessor, on clean and degraded images and on states between them."""
    return _stage("rar-assessor", config, out, device, steps)


@command.command(name="rar-restorer", short_help="RAR, S2: restorers that are told by the assessor.")
@_CONFIG
@_OUT
@_DEVICE
@_STEPS
def rar_restorer(config: Path, out: str | None, device: str, steps: int | None) -> int:
    """RAR, S2: A_Q and the restorers, behind an assessor that stays as it is."""
    return _stage("rar-restorer", config, out, device, steps)


@command.command(name="rar-joint", short_help="RAR, S3: both together, in rounds.")
@_CONFIG
@_OUT
@_DEVICE
@_STEPS
def rar_joint(config: Path, out: str | None, device: str, steps: int | None) -> int:
    """RAR, S3: assessor and restorers together, in unrolled rounds."""
    return _stage("rar-joint", config, out, device, steps)


@command.command(short_help="A small no-reference quality network.")
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option("-o", "--out", metavar="FILE", help="Default: results/train/quality/NAME-OF-CONFIG.safetensors.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--steps", type=click.IntRange(min=1), help="In place of the settings' number.")
def quality(config: Path | None, out: str | None, device: str, steps: int | None) -> int:
    """Train a small no-reference quality network on generated distortions; without CONFIG by its own settings.

    Then a prior can have it as a member: iqpir assess IMAGES --member iqpir:FILE.
    """
    from dataclasses import asdict, replace

    from iqpir.errors import IQPIRError
    from iqpir.quality.scorers import check_device
    from iqpir.training.quality import QualitySettings, train_quality

    check_device(device)
    from iqpir.training.settings import recipe

    settings = QualitySettings.load(config) if config else QualitySettings()
    settings = replace(settings, steps=steps or settings.steps)
    where = Path(out or f"results/train/quality/{config.stem if config else 'tiny'}.safetensors")
    if config is not None and recipe(config) is not None and not out:
        where = _root(config, None) / "quality" / "quality.safetensors"
    if where.suffix != ".safetensors":
        raise IQPIRError(f"{where}: the name must end in .safetensors")
    with steps_bar(settings.steps) as bar:

        def progress(step: int, error: float) -> None:
            bar.set_description_str(f"error {error:.3f}")
            bar.update(step - bar.n)

        trained = train_quality(settings, device=device, progress=progress)
    trained.network.save(where, {"settings": asdict(settings)})
    last = trained.errors[-min(50, len(trained.errors)) :]
    click.echo(f"{where}: mean absolute error of the last {len(last)} steps {sum(last) / len(last):.4f}")
    return 0


command.add_command(ablation, "ablation")
