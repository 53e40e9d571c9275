"""`iqpir train STAGE CONFIG`: one sub-command per stage."""

from __future__ import annotations

from pathlib import Path

import click

from iqpir.cli.ablation import command as ablation
from iqpir.cli.bars import steps_bar
from iqpir.console import HelpfulGroup, say

_CONFIG = click.argument("config", type=click.Path(path_type=Path))
_OUT = click.option("-o", "--out", metavar="FOLDER", help="Default: results/train/NAME-OF-CONFIG. Goes on if it can.")
_DEVICE = click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
_STEPS = click.option("--steps", type=click.IntRange(min=1), help="In place of the settings' number.")


@click.group(
    cls=HelpfulGroup,
    epilog="""\b
    iqpir train all configs/tiny.yaml              a whole recipe, stage by stage
    iqpir train quality configs/quality.yaml       a quality network, minutes on two cores
    iqpir train plus configs/plus-sci.yaml         a host with a score, and the host alone
    iqpir train all configs/tiny.yaml -o runs/a    again: goes on where it was stopped""",
)
def command() -> None:
    """Train a stage from a YAML file of settings."""


@command.command(short_help="A host with a score, and beside it the host alone.")
@_CONFIG
@click.option("-o", "--out", metavar="OUT", help="Folder of the results. Default: results/train/NAME-OF-CONFIG.")
@_DEVICE
@_STEPS
@click.option("--allow-commands", is_flag=True, help="Let the host be imported from the clone that CONFIG names.")
def plus(config: Path, out: str | None, device: str, steps: int | None, allow_commands: bool) -> int:
    """Give a host a score and fine-tune it; beside it the host alone, on the same batches, for comparison.

    Writes OUT/plus.safetensors, OUT/control.safetensors and OUT/losses.csv. Both run in a suite: {method: plus,
    options: {host: NAME, weights: OUT/plus.safetensors, score: 0.9}}.
    """
    import math
    from dataclasses import replace

    from iqpir.devices import check_device
    from iqpir.errors import IQPIRError
    from iqpir.quality.files import read_scores
    from iqpir.training.hosts import load_host
    from iqpir.training.paired_folders import AnyPairs, GeneratedPairs, Pairs
    from iqpir.training.plus import PlusSettings, keep_settings, train_plus, write_losses

    check_device(device)
    settings = PlusSettings.load(config)
    settings = replace(settings, steps=steps or settings.steps)
    host = load_host(settings.host, settings.host_options, base=settings.base, commands=allow_commands)
    if host.size is not None and host.size != (settings.crop, settings.crop):
        only = "×".join(map(str, host.size))
        raise IQPIRError(f"{config}: the host takes images of {only} alone: crop: {host.size[0]}")
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
    keep_settings(where, settings)
    error = "L1" if settings.loss == "l1" else "log error"
    with steps_bar(settings.steps) as bar:

        def progress(step: int, loss: float, control: float) -> None:
            bar.set_description_str(f"{error} {loss:.4f}, without score {control:.4f}")
            bar.update(step - bar.n)

        trained = train_plus(host.network, settings, pairs, device=device, progress=progress)
    trained.plus.save(where / "plus.safetensors", with_host=True)
    trained.control.save(where / "control.safetensors", with_host=True)
    write_losses(where / "losses.csv", trained.losses)
    last = trained.losses[-min(50, len(trained.losses)) :]
    ours, theirs = (sum(pair[side] for pair in last) / len(last) for side in (0, 1))
    click.echo(f"{where}: mean {error} of the last {len(last)} steps: {ours:.5f} with the score, {theirs:.5f} without")
    return 0


def _train(name: str, config: Path, out: str | None, device: str, steps: int | None) -> int:
    """Train a stage of IQPIR, from where its folder's state left off."""
    from dataclasses import replace

    from iqpir.devices import check_device
    from iqpir.precision import choice
    from iqpir.training.crop_dataset import GENERATED
    from iqpir.training.engine import Report, train
    from iqpir.training.image_check import check_images
    from iqpir.training.settings import load, recipe
    from iqpir.training.stages import make_stage

    check_device(device)
    where = _root(config, out)
    settings = load(name, config, where)
    if settings.precision == "auto":
        say(choice(device).reason)
    settings = replace(settings, steps=steps or settings.steps)
    check_images([settings])
    if recipe(config) is not None:
        where = where / name
    stage = make_stage(settings, where, device)
    for note in stage.notes:
        say(note)
    if settings.held_out and settings.data.source != GENERATED:
        say("held-out numbers are of other crops of the same photographs: they say little about photographs of others")
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
        say(f"the steps waited for images {done.waiting:.0%} of the time: more data.workers help")
    return 0


def _root(config: Path, out: str | None) -> Path:
    """The folder of a run, or of a recipe's runs."""
    return Path(out) if out else Path("results") / "train" / config.stem


@command.command(name="all", short_help="Every stage of a recipe that is not finished.")
@_CONFIG
@click.option("-o", "--out", metavar="FOLDER", help="Holds a folder per stage. Default: results/train/NAME-OF-CONFIG.")
@_DEVICE
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
        say(f"{name} ({number} of {len(stages)} stages): {root / name}")
        if name != "quality":
            _train(name, config, str(root), device, steps)
            continue
        made = root / "quality" / "quality.safetensors"
        if not _finished(made, config, steps):
            context.invoke(quality, config=config, out=str(made), device=device, steps=steps)
    last = stages[-1]
    network = load_any(root / last / f"{last}.safetensors")
    final = root / f"{config.stem}.safetensors"
    save_checkpoint(network, final, dtype=torch.float16)
    click.echo(f"{final}: {final.stat().st_size / 1e6:.1f} MB")
    return 0


# stage → what the list of stages says of it, and its own help.
_STAGES = {
    "autoencoder": ("Stage 1: encoder, codebooks, generator.", "Stage 1: encoder, one or two codebooks, generator."),
    "restorer": (
        "Stage 2: the transformer that predicts codes.",
        "Stage 2: the transformer that predicts codes from a degraded image and a score.",
    ),
    "fidelity": (
        "Stage 3: the blocks that bend the generator.",
        "Stage 3: the blocks that bend the generator towards the input.",
    ),
    "front": (
        "Photographs: light and colour of the whole.",
        "A network for photographs: its front end alone, on thumbnails.",
    ),
    "detail": (
        "Photographs: noise, blocks and blur at full size.",
        "A network for photographs: its detail branch, behind a front end that stays as it is.",
    ),
    "joint": (
        "Photographs: front end, codes and detail together.",
        "A network for photographs: front end, IQPIR's codes and detail together.",
    ),
    "rar-latent": (
        "RAR: the latent that its rounds happen in.",
        "RAR: a small autoencoder that keeps detail, and codebooks upon its latent.",
    ),
    "rar-assessor": (
        "RAR, S1: what is wrong, how badly, which is better.",
        "RAR, S1: the assessor, on clean and degraded images and on states between them.",
    ),
    "rar-restorer": (
        "RAR, S2: restorers that are told by the assessor.",
        "RAR, S2: A_Q and the restorers, behind an assessor that stays as it is.",
    ),
    "rar-joint": (
        "RAR, S3: both together, in rounds.",
        "RAR, S3: assessor and restorers together, in unrolled rounds.",
    ),
    "rar-overview": (
        "RAR: the assessor, with a view of the whole.",
        "RAR: the assessor of a whole system learns on, with a view of the whole image at the latent's size.",
    ),
    "rar-rounds": (
        "RAR: both together once more.",
        "RAR, S3 once more: assessor and restorers together, after rar-overview.",
    ),
    "rar-filler": (
        "RAR: what rain and snow hide.",
        "RAR: what fills in what rain and snow hide, in a whole system of which all else stays as it is.",
    ),
    "rar-judge": (
        "RAR: which is better, of what is filled in.",
        "RAR: what the assessor answers, and that alone, about images that are filled in.",
    ),
    "rar-behind": (
        "RAR: the flow restorer, on what is filled in.",
        "RAR: the flow restorer alone, on what is filled in where rain or snow is.",
    ),
}


def _add_stage(name: str, short: str, long: str) -> None:
    @command.command(name=name, short_help=short, help=long)
    @_CONFIG
    @_OUT
    @_DEVICE
    @_STEPS
    def stage(config: Path, out: str | None, device: str, steps: int | None) -> int:
        return _train(name, config, out, device, steps)


for _name, (_short, _long) in _STAGES.items():
    _add_stage(_name, _short, _long)


@command.command(short_help="A small no-reference quality network.")
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option("-o", "--out", metavar="FILE", help="Default: results/train/quality/NAME-OF-CONFIG.safetensors.")
@click.option("--like", metavar="NAME", help="Instead, a network on people's ratings; musiq-gfiqa is known.")
@_DEVICE
@_STEPS
def quality(config: Path | None, out: str | None, like: str | None, device: str, steps: int | None) -> int:
    """Train a small no-reference quality network on generated distortions; without CONFIG by its own settings.

    Then a prior can have it as a member: iqpir assess IMAGES --member iqpir:FILE.

    With --like musiq-gfiqa, CONFIG names a folder of images and a CSV of ratings, and the network is the one that the
    papers call MUSIQ-GFIQA, whose weights are not published: {musiq-g: {weights: FILE}} in a suite measures with it.
    """
    if like is not None:
        return _rater(config, out, like, device, steps)
    from dataclasses import asdict, replace

    from iqpir.devices import check_device
    from iqpir.errors import IQPIRError
    from iqpir.training.quality import QualitySettings, train_quality
    from iqpir.training.settings import recipe

    check_device(device)
    settings = QualitySettings.load(config) if config else QualitySettings()
    settings = replace(settings, steps=steps or settings.steps)
    where = Path(out or f"results/train/quality/{config.stem if config else 'tiny'}.safetensors")
    if config is not None and recipe(config) is not None and not out:
        where = _root(config, None) / "quality" / "quality.safetensors"
    if where.suffix != ".safetensors":
        raise IQPIRError(f"{where}: the name must end in .safetensors")
    _finished(where, config, steps)
    with steps_bar(settings.steps) as bar:

        def progress(step: int, error: float) -> None:
            bar.set_description_str(f"error {error:.3f}")
            bar.update(step - bar.n)

        trained = train_quality(settings, device=device, progress=progress)
    trained.network.save(where, {"settings": asdict(settings)})
    last = trained.errors[-min(50, len(trained.errors)) :]
    click.echo(f"{where}: mean absolute error of the last {len(last)} steps {sum(last) / len(last):.4f}")
    return 0


def _finished(file: Path, config: Path | None, steps: int | None) -> bool:
    """Whether a quality network of these settings is there. Raises `IQPIRError` for one of others."""
    from dataclasses import asdict, replace

    from iqpir.quality.tiny import TinyQuality
    from iqpir.training.quality import QualitySettings
    from iqpir.training.strict import same

    if not file.is_file():
        return False
    settings = QualitySettings.load(config) if config else QualitySettings()
    asked = asdict(replace(settings, steps=steps or settings.steps))
    told = TinyQuality.note_of(file).get("settings", asked)
    before = {**asked, **told} if isinstance(told, dict) else asked
    same(f"{file} was trained", before, asked, "name another file, or remove it")
    return True


def _rater(config: Path | None, out: str | None, like: str, device: str, steps: int | None) -> int:
    from dataclasses import replace

    from iqpir.devices import check_device
    from iqpir.errors import IQPIRError, suggest
    from iqpir.training.rated import LIKE, RatedSettings, train_rater

    check_device(device)
    if like not in LIKE:
        raise IQPIRError(f"--like {like}: unknown{suggest(like, LIKE)} (known: {', '.join(LIKE)})")
    if config is None:
        raise IQPIRError(f"--like {like} needs a settings file with the keys images and ratings")
    settings = RatedSettings.load(config)
    settings = replace(settings, steps=steps or settings.steps)
    where = Path(out or f"results/train/quality/{config.stem}.pth")
    if where.suffix != ".pth":
        raise IQPIRError(f"{where}: the name must end in .pth")
    with steps_bar(settings.steps) as bar:

        def progress(step: int, error: float) -> None:
            bar.set_description_str(f"error {error:.3f}")
            bar.update(step - bar.n)

        trained = train_rater(settings, device=device, progress=progress)
    trained.save(where, settings)
    if trained.without:
        say(f"{trained.without} images of {settings.images} have no rating, and were left out")
    click.echo(
        f"{where}: rank correlation {trained.agreement:.3f} with the ratings of {trained.held_out} held-out images"
    )
    return 0


command.add_command(ablation, "ablation")
