"""`iqpir restore`: restore a file or a folder of images."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from iqpir import files
from iqpir.console import complain, say
from iqpir.errors import ImageFailure, IQPIRError, counted, one_line, shown

if TYPE_CHECKING:
    import numpy as np

    from iqpir.cli.rar import RARRestorer
    from iqpir.faces import FaceRestorer
    from iqpir.restore import AnyRestorer


@click.command(
    epilog="""\b
    iqpir restore photos restored                      with iqpir-tiny, which comes along
    iqpir restore dark.jpg bright.png --score 1        one file
    iqpir restore photos restored --keep               go on where it was stopped
    iqpir restore faces out --weights iqpir.pth --fit square    aligned faces, the authors' checkpoint

    """
    "FIT: resize – squeezed to the network's square and brought back; square – the square is kept, as "
    "the authors do with aligned faces; tile – overlapping squares; native – at its own size; exact – other sizes are "
    "refused. Never a crop."
)
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--weights",
    default="iqpir-tiny",
    show_default=True,
    metavar="FILE",
    help="Checkpoint: the authors' .pth, our .safetensors (IQPIR's or RAR's), or iqpir-tiny, which comes along.",
)
@click.option("--score", help="Quality asked for, 0 … 1; one per IQA model: .9,.8. Default: 0.9.")
@click.option("--alpha", type=float, help="Weight of the HQ+ codebook. Default: the file's, or 0.8.")
@click.option("--fidelity", type=float, help="w: bend towards the input's features. Default: 0; of iqpir-tiny 1.")
@click.option(
    "--adain/--no-adain", default=None, help="Match the input's latent statistics. Default: yes; of iqpir-tiny no."
)
@click.option("--fit", metavar="FIT", help="What becomes of other sizes. Default: resize; of iqpir-tiny native.")
@click.option("--rounds", type=click.IntRange(min=0), help="Of RAR: at most so many. Default: 4.")
@click.option("--trace", metavar="CSV", type=click.Path(path_type=Path), help="Of RAR: write each image's rounds.")
@click.option("--gray/--no-gray", default=True, show_default=True, help="Keep gray photographs gray.")
@click.option("--faces", is_flag=True, help="Whole photographs: find, align, restore and paste back every face.")
@click.option("--face-weights", metavar="DIR", type=click.Path(path_type=Path), help="facexlib's two files.")
@click.option("--upscale", type=click.IntRange(1, 8), default=1, show_default=True, help="With --faces.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16", "auto"]),
    default="float32",
    show_default=True,
    help="auto: bfloat16 where this machine is faster with it.",
)
@click.option("--threads", type=click.IntRange(1, 256), help="Of the CPU. Default: as many as are fastest, by trying.")
@click.option("--keep", is_flag=True, help="Leave outputs that exist: go on where a run was stopped.")
def command(
    source: Path,
    target: Path,
    weights: str,
    score: str | None,
    alpha: float | None,
    fidelity: float | None,
    adain: bool | None,
    fit: str | None,
    rounds: int | None,
    trace: Path | None,
    gray: bool,
    faces: bool,
    face_weights: Path | None,
    upscale: int,
    device: str,
    dtype: str,
    threads: int | None,
    keep: bool,
) -> int:
    """Restore IN, an image or a folder of images, into OUT: a .png file, or a folder with the same tree of .png files.

    Outputs are RGB, with 16 bits a channel where the input has them (with --faces 8). Exit code 1: an image failed, its
    reason is on standard error, the others are done.
    """
    from iqpir.progress import bar
    from iqpir.threads import settled

    if upscale > 1 and not faces:
        raise IQPIRError("--upscale goes with --faces; without it an image keeps its size")
    if faces and face_weights is None:
        raise IQPIRError("--faces needs --face-weights DIR, the folder of facexlib's two weight files")
    jobs, note = plan(source, target, keep=keep)
    if note:
        say(note)
    asked = {
        "fidelity": fidelity,
        "adain": adain,
        "fit": fit,
        "score": None if score is None else _scores(score),
        "gray": gray,
    }
    if about := click.get_current_context().with_resource(settled(threads, device)):
        click.echo(about, err=True)
    if dtype == "auto":
        from iqpir.precision import choice

        dtype, said = choice(device).dtype, choice(device).reason
        click.echo(said, err=True)
    system = _system(weights, {**asked, "alpha": alpha}, rounds, trace, faces, device, dtype)
    restorer = _restorer(weights, alpha, device, dtype, asked) if system is None else system
    told: dict[str, list[dict[str, str]]] = {}
    if trace is not None:
        before = _check_trace(trace, jobs)
        told = before if keep else {}
    whole: FaceRestorer | None = None
    if face_weights is not None and faces:
        from iqpir.faces import FaceRestorer
        from iqpir.restore import Restorer

        if not isinstance(restorer, Restorer):
            raise IQPIRError(f"--faces goes with a network of aligned faces; {weights} is one for photographs")
        whole = FaceRestorer(restorer, face_weights, upscale=upscale, device=device)
    failed = kept = 0
    try:
        with bar("images", len(jobs)) as progress:
            for given, made in jobs:
                note = None
                try:
                    if keep and made.is_file():
                        kept += 1
                    else:
                        note = _one(given, made, restorer, whole)
                        if trace is not None:
                            name = (made.relative_to(target) if source.is_dir() else Path(made.name)).as_posix()
                            told[shown(name)] = _rounds(restorer, shown(name))
                    if note:
                        say(f"{shown(given)}: {note}")
                except ImageFailure as error:
                    failed += 1
                    complain(f"{shown(given)}: failed: {error}")
                progress.update(1)
    finally:  # rounds of what was done are kept where a run is interrupted
        if trace is not None:
            _write_trace(trace, told)
    left = f", {kept} left as {'it was' if kept == 1 else 'they were'}" if kept else ""
    say(f"{len(jobs) - failed - kept} of {counted(len(jobs), 'image')} restored to {shown(target)}{left}")
    return 1 if failed else 0


def _system(
    weights: str, asked: Mapping[str, Any], rounds: int | None, trace: Path | None, faces: bool, device: str, dtype: str
) -> RARRestorer | None:
    """RAR, where the weights are of it. Raises `IQPIRError` for options that such a system, or another, cannot follow.

    `asked`: options by name, None where nobody has asked.
    """
    from iqpir.devices import check_device
    from iqpir.weights import kind_of, shipped

    # A name of RAR that does not come along is said to be one, with what makes it.
    named = weights.startswith("rar-") and not Path(weights).exists()
    if not named and kind_of(shipped(weights) or weights) != "rar":
        for option, value in (("--rounds", rounds), ("--trace", trace)):
            if value is not None:
                raise IQPIRError(f"{option} has no effect on {weights}, which is no system of RAR: leave it out")
        return None
    from iqpir.cli.rar import RARRestorer, load

    for option in ("score", "alpha", "fidelity", "adain", "fit"):
        if asked[option] is not None:
            raise IQPIRError(f"--{option} has no effect on {weights}, a system of RAR: leave it out")
    if faces:
        raise IQPIRError(f"--faces goes with a network of aligned faces; {weights} is one for photographs")
    if dtype != "float32":
        raise IQPIRError(f"--dtype {dtype}: systems of RAR compare qualities, in float32: leave it out")
    check_device(device)
    system = load(weights, device)
    return RARRestorer(system, 4 if rounds is None else rounds, bool(asked["gray"]), device)


def _check_trace(trace: Path, jobs: Sequence[tuple[Path, Path]]) -> dict[str, list[dict[str, str]]]:
    """Rows by image of a trace that is there already. Raises `IQPIRError` for a file that cannot be written, or is
    something else, before there is anything to lose."""
    import tempfile

    from iqpir.cli.rar import read_trace
    from iqpir.codecs import SUFFIXES

    if trace.is_dir():
        raise IQPIRError(f"--trace {shown(trace)} is a folder: name a .csv file")
    if trace.suffix.lower() in SUFFIXES or trace.resolve() in {each.resolve() for job in jobs for each in job}:
        raise IQPIRError(f"--trace {shown(trace)} is an image: name a .csv file")
    if trace.is_file() and trace.suffix.lower() != ".csv":
        raise IQPIRError(f"--trace {shown(trace)} is there and no .csv file: name one")
    try:
        trace.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=trace.parent):
            pass
    except OSError as error:
        raise IQPIRError(f"--trace {shown(trace)} cannot be written: {error.strerror or error}") from error
    return read_trace(trace) if trace.is_file() else {}


def _rounds(restorer: AnyRestorer | RARRestorer, name: str) -> list[dict[str, str]]:
    """Rows of the image that was restored last."""
    from iqpir.cli.rar import RARRestorer, trace_rows

    traces = restorer.traces if isinstance(restorer, RARRestorer) else []
    return [row for trace in traces for row in trace_rows(name, trace)]


def _write_trace(path: Path, told: Mapping[str, list[dict[str, str]]]) -> None:
    from iqpir.cli.rar import TRACE

    files.write_csv(path, TRACE, [row for rows in told.values() for row in rows])


class Plan(NamedTuple):
    """What there is to do."""

    jobs: list[tuple[Path, Path]]
    """Input and output files."""
    note: str | None
    """On files of the folder that are left out."""


def plan(source: Path, target: Path, *, keep: bool = False) -> Plan:
    """Input and output files. Raises `IQPIRError` where two inputs would share an output, one would replace itself, or
    a single one a file beside it that nobody has named (which `keep` leaves as it is).

    A single file goes to `target` if that ends in .png, else into it as a folder; its content tells whether it is an
    image.
    """
    from iqpir.codecs import SUFFIXES, is_image
    from iqpir.image_files import begins_as_image, list_images

    note = None
    if source.is_file():
        if not is_image(source.name) and not begins_as_image(source):
            raise IQPIRError(f"{shown(source)} is not an image, by its name and by its content")
        if target.suffix.lower() in SUFFIXES and target.suffix.lower() != ".png" and not target.is_dir():
            raise IQPIRError(f"{shown(target)}: outputs are PNG files: name {target.stem}.png, or a folder")
        jobs = [(source, target if target.suffix.lower() == ".png" else target / f"{source.stem}.png")]
        beside = jobs[0][1]
        own = target.resolve() == source.parent.resolve() and beside.resolve() != source.resolve()
        if own and os.path.lexists(beside) and not keep:
            told = f"{shown(beside)} lies beside the input and would be replaced"
            raise IQPIRError(f"{told}: name a file, or another folder")
    elif not os.path.lexists(source):
        raise IQPIRError(f"{shown(source)} does not exist")
    else:
        if target.suffix.lower() == ".png" or target.is_file():
            raise IQPIRError(f"{shown(source)} is a folder, so OUT must be a folder too, not {shown(target)}")
        inside = target.resolve()
        images, note = list_images(source)
        found = [path for path in images if not path.resolve().is_relative_to(inside)]
        if source.resolve() == inside or not found:
            raise IQPIRError(f"OUT is {shown(target)}, where the inputs lie: name another folder")
        jobs = [(path, (target / path.relative_to(source)).with_suffix(".png")) for path in found]
    taken: dict[Path, Path] = {}
    clashes = []
    for given, made in jobs:
        if given.resolve() == made.resolve():
            raise IQPIRError(f"{shown(given)} would be replaced by its own output: name another OUT")
        if made in taken:
            clashes.append(f"{shown(taken[made])} and {shown(given)} would both be written to {shown(made)}")
        taken.setdefault(made, given)
    if clashes:
        more = f"; so would {counted(len(clashes) - 3, 'more pair')}" if len(clashes) > 3 else ""
        raise IQPIRError(f"{'; '.join(clashes[:3])}{more}: rename one of each")
    return Plan(jobs, note)


def _scores(text: str) -> float | tuple[float, ...]:
    try:
        scores = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise IQPIRError(f"--score {text!r} is not a number, or numbers with commas between them") from None
    return scores[0] if len(scores) == 1 else scores


def _restorer(weights: str, alpha: float | None, device: str, dtype: str, asked: Mapping[str, Any]) -> AnyRestorer:
    """`asked`: options by name; None where nobody has asked, and the checkpoint's or the usual value is taken."""
    from iqpir.checkpoint import load
    from iqpir.cli.fitting import check, finite
    from iqpir.devices import check_device
    from iqpir.restore import Options, restorer
    from iqpir.weights import shipped

    finite("alpha", alpha)
    finite("fidelity", asked["fidelity"])
    given = {name: value for name, value in asked.items() if value is not None}
    Options(**given)  # what cannot be is said before a file is read
    file = shipped(weights)
    if alpha is not None and file is not None:
        raise IQPIRError(f"--alpha: {weights} has the one that it was trained with; it is for IQPIR's own files")
    network = load(file or weights, alpha=alpha)
    check(network, weights, {**asked, "alpha": alpha})
    check_device(device)
    return restorer(network, given, device, dtype)


def _one(given: Path, made: Path, restorer: AnyRestorer | RARRestorer, whole: FaceRestorer | None) -> str | None:
    """Restore one file; returns what is worth saying. Raises `ImageFailure`."""
    import numpy as np

    from iqpir.image_files import decode, read_bytes, to_tensor

    pixels = decode(read_bytes(given))
    note = None
    try:
        if whole is not None:
            eight = (pixels // 257).astype(np.uint8) if pixels.dtype == np.uint16 else pixels
            output, faces = whole.restore(eight)
            said = [] if faces else ["no face found, nothing restored"]
            said += ["8 of its 16 bits were kept"] if pixels.dtype == np.uint16 else []
            note = "; ".join(said) or None
        else:
            image = restorer.restore(to_tensor(pixels)[None])[0]
            if not bool(image.isfinite().all()):
                raise ImageFailure("the network gave values that are no numbers: nothing was written")
            scaled = image.permute(1, 2, 0) * np.iinfo(pixels.dtype).max
            output = scaled.round().cpu().numpy().astype(pixels.dtype)
    except IQPIRError as error:
        raise ImageFailure(str(error)) from error
    except RuntimeError as error:  # out of memory, say: the next image may be smaller
        raise ImageFailure(one_line(error)) from error
    files.write(made, png(output))
    return note


def png(pixels: np.ndarray) -> bytes:
    """uint8 or uint16 RGB [H,W,3] as a file's content."""
    if pixels.itemsize == 1:
        from PIL import Image

        made = io.BytesIO()
        Image.fromarray(pixels).save(made, "PNG")
        return made.getvalue()
    import cv2  # Pillow has no colour of 16 bits

    written, buffer = cv2.imencode(".png", pixels[:, :, ::-1])
    assert written
    return buffer.tobytes()
