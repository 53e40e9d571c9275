"""What commands say of RAR: the rounds of each image as a table, and what is wrong with the images of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqpir import files
from iqpir.errors import ImageFailure, IQPIRError, one_line, shown
from iqpir.rar.kinds import CLEAN, DEGRADATIONS, described

if TYPE_CHECKING:
    import torch

    from iqpir.rar.loop import Trace
    from iqpir.rar.model import RAR

ROUND = (
    "image", "round", "verdict", "reason", "quality", "quality_after", "utility", "utility_after", "better", "change",
    "filled",
)  # fmt: skip
REMEDY = "iqpir train all configs/rar-tiny.yaml makes such a system"


def load(weights: str, device: str) -> RAR:
    """A system by file or name. Raises `IQPIRError` for a name that does not come along, with the remedy."""
    from iqpir.rar import RAR
    from iqpir.weights import shipped

    if shipped(weights) is None and not Path(weights).is_file():
        raise IQPIRError(f"{shown(weights)}: there is no such file, and no system of that name comes along; {REMEDY}")
    return RAR.from_checkpoint(weights).to(device)


class RARRestorer:
    """A system with the way it is used, as `iqpir.restore` has it for other networks; keeps the traces."""

    def __init__(self, system: RAR, rounds: int, gray: bool, device: str) -> None:
        from iqpir.rar import LoopOptions

        self.system, self.options, self.gray, self.device = system, LoopOptions(rounds=rounds), gray, device
        self.traces: list[Trace] = []

    def restore(self, images: torch.Tensor) -> torch.Tensor:
        """float [B,3,H,W] in [0,1] → float32 in [0,1] of the same shape; each image by itself."""
        import torch

        from iqpir.restore import gray_only

        made = [self.system(image[None].to(self.device), self.options) for image in images]
        self.traces = [each.traces[0] for each in made]
        restored = torch.cat([each.image for each in made]).cpu()
        if not self.gray:
            return restored
        taken = torch.tensor([trace.taken > 0 for trace in self.traces])
        return torch.where(taken[:, None, None, None], gray_only(restored, images), restored)


def trace_rows(name: str, trace: Trace) -> list[dict[str, str]]:
    """A row per round of one image."""
    rows = []
    for each in trace.rounds:
        row: dict[str, Any] = {
            "image": name, "round": each.number, "verdict": each.verdict, "reason": each.reason,
            "quality": each.quality, "quality_after": each.quality_after, "utility": each.utility,
            "utility_after": each.utility_after, "better": each.better, "change": each.change,
            "filled": each.filled, **each.degradations,
        }  # fmt: skip
        rows.append({key: f"{value:.6g}" if isinstance(value, float) else str(value) for key, value in row.items()})
    return rows


TRACE = (*ROUND, *DEGRADATIONS, CLEAN)
"""Columns of a trace: the round, then what the assessor saw before it, as probabilities."""
_LATER = ("filled",)
"""Columns that traces of earlier versions do not have; their rows leave them empty."""


def read_trace(path: Path) -> dict[str, list[dict[str, str]]]:
    """Rows of a trace by image. Raises `IQPIRError` for a file that is none."""
    import csv
    import io

    found: dict[str, list[dict[str, str]]] = {}
    try:
        reader = csv.DictReader(io.StringIO(files.read_text(path)), strict=True)
        columns = set(reader.fieldnames or ())
        if not set(TRACE) - set(_LATER) <= columns <= set(TRACE):
            raise IQPIRError(f"{shown(path)} is there, and its columns are not a trace's: name another file")
        for row in reader:
            if None in row or None in row.values():
                raise IQPIRError(f"{shown(path)}:{reader.line_num}: not a value per column: name another file")
            found.setdefault(row["image"], []).append({**dict.fromkeys(_LATER, ""), **row})
    except (OSError, csv.Error) as error:
        raise IQPIRError(f"{shown(path)} is there, and cannot be read as a trace: {one_line(error)}") from error
    return found


ASSESSED = ("image", "status", "quality", CLEAN, *DEGRADATIONS, *(f"severity {name}" for name in DEGRADATIONS))


def assess_folder(folder: Path, weights: str, device: str, out: Path) -> int:
    """Name what is wrong with each image; a line each on standard output, all numbers in OUT/degradations.csv.

    Returns the exit code: 1 where an image failed, whose row says why.
    """
    import click
    import torch

    from iqpir.devices import check_device
    from iqpir.image_files import decode, list_images, read_bytes, to_tensor
    from iqpir.rar.loop import named, severities

    listing = list_images(folder)
    check_device(device)
    system = load(weights, device)
    if listing.note:
        click.echo(listing.note, err=True)
    rows, failed = [], 0
    for path in listing.images:
        name = shown(path.relative_to(folder).as_posix())
        try:
            image = to_tensor(decode(read_bytes(path)))[None].to(device)
            with torch.no_grad():
                found = system.assess(system.encode(image))
        except (ImageFailure, RuntimeError) as error:
            failed += 1
            rows.append({"image": name, "status": f"failed: {one_line(error)}"})
            click.echo(f"{name}: failed: {one_line(error)}", err=True)
            continue
        odds, worst, quality = named(found, 0), severities(found, 0), float(found.quality[0])
        click.echo(f"{name}: {described(odds, worst)}; quality {quality:.2f}")
        numbers = {"quality": quality, **odds, **{f"severity {key}": value for key, value in worst.items()}}
        rows.append({"image": name, "status": "ok", **{key: f"{value:.6g}" for key, value in numbers.items()}})
    files.write_csv(out / "degradations.csv", ASSESSED, rows)
    click.echo(f"written to {shown(out / 'degradations.csv')}", err=True)
    return 1 if failed else 0
