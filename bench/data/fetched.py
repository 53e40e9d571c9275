"""Datasets whose every file the catalogue lists: what `bench fetch` brought below the cache folder, and nothing else.

The list is the dataset. Other files that lie in the same folders do not join it, and with one of its files missing it
is missing as a whole rather than silently smaller.
"""

from __future__ import annotations

from pathlib import Path

from bench import paths
from bench.data.images import FileSource
from bench.data.items import Dataset
from bench.data.pairing import Listed, pair, problems
from bench.errors import BenchError, MissingFile


def fetched(
    name: str, base: Path | None, *, files: list[str], lq: str, gt: str | None = None, scale: int = 1
) -> Dataset:
    """The files below the folder `lq`, paired with those below `gt` by name without suffix; LQ only without `gt`.

    `files`: all of them, as paths below the cache folder; `lq` and `gt` are folders of that list, such as
    `data/euvp/input`. Raises `MissingFile` while one has not been fetched, `BenchError` for a folder not in the list.
    """
    gone = [file for file in files if not (paths.home() / file).is_file()]
    if gone:
        more = f" and {len(gone) - 1} more files" if len(gone) > 1 else ""
        raise MissingFile(f"dataset {name!r} needs {gone[0]}{more}, not in {paths.home()}: bench fetch {name}")
    references = None if gt is None else _below(name, gt, files)
    pairing = pair(_below(name, lq, files), references)
    notes = (*problems(pairing.items), *pairing.notes)
    return Dataset(name, tuple(pairing.items), references is not None, scale, notes=notes)


def _below(name: str, folder: str, files: list[str]) -> list[Listed]:
    prefix = folder.rstrip("/") + "/"
    listed = [
        Listed(file.removeprefix(prefix), FileSource(paths.home() / file)) for file in files if file.startswith(prefix)
    ]
    if not listed:
        raise BenchError(f"dataset {name!r}: none of its files is below {folder!r}")
    return listed
