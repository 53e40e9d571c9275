"""Image columns of a Hugging Face dataset, on the hub or in a local folder, as a dataset.

The `datasets` library finds, downloads and caches the table; the images are decoded here, by `images.decode_bytes`, so
that the same file gives the same pixels wherever it came from. No loading script is ever run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import paths
from bench.data.images import decode_bytes, decoder, header_size_bytes, shown
from bench.data.items import Dataset, ImageSource, Item, Stamp, file_stamp
from bench.data.pairing import item_id, problems
from bench.errors import BenchError, ImageError, one_line, suggest

if TYPE_CHECKING:
    from datasets import Dataset as Table


def hub(
    name: str,
    base: Path | None,
    *,
    path: str,
    lq: str = "image",
    gt: str | None = None,
    id: str | None = None,  # the option's name in a suite
    config: str | None = None,
    revision: str | None = None,
    split: str = "test",
    scale: int = 1,
) -> Dataset:
    """A dataset from image columns.

    `path`: `owner/name` on the hub, or a local folder or parquet file. `config`, `revision`, `split`: as
    `datasets.load_dataset` takes them. `lq`, `gt`: columns of images; without `gt` the data are LQ only. `id`: a
    column of unique names; without it an item's id is its row number, six digits. `scale`: GT size divided by LQ size.
    The first use downloads into the library's own cache; after that nothing is fetched when `HF_HUB_OFFLINE=1`.
    Raises `BenchError` when the data, the split or a column is not there.
    """
    if scale < 1:
        raise BenchError(f"dataset {name!r}: scale {scale} is not a positive whole number")
    table, root = _load(name, base, path, config, revision, split)
    for column in filter(None, (lq, gt, id)):
        if column not in table.column_names:
            raise BenchError(
                f"dataset {name!r}: {shown(path)} has no column {column!r}{suggest(column, table.column_names)} "
                f"(columns: {', '.join(table.column_names)})"
            )
    ids = [f"{row:06d}" for row in range(len(table))] if id is None else [_name(value) for value in table[id]]
    columns = {column: _undecoded(name, table, column, root, path) for column in filter(None, (lq, gt))}
    items: list[Item] = []
    first: dict[str, int] = {}
    for row, identity in enumerate(ids):
        if identity and first.setdefault(identity, row) == row:
            items.append(Item(identity, columns[lq].source(row), columns[gt].source(row) if gt else None))
        else:
            reason = f"has the id of row {first[identity]}" if identity else f"has no {id!r}"
            items.append(Item(f"{identity} (row {row})", None, problem=f"row {row} {reason}"))
    return Dataset(name, tuple(items), gt is not None, scale, notes=tuple(problems(items)))


def _load(
    name: str, base: Path | None, path: str, config: str | None, revision: str | None, split: str
) -> tuple[Table, Path | None]:
    """The table of one split, and the local folder it is read from."""
    import datasets

    local = paths.find(path, base)
    target, root = path, None
    more: dict[str, Any] = {}
    if local.exists():
        root = local if local.is_dir() else local.parent
        scripts = [file.name for file in root.glob("*.py")] if local.is_dir() else []
        if scripts:
            raise BenchError(f"dataset {name!r}: {shown(local)} holds a script ({scripts[0]}); only data are loaded")
        target = str(local)
        if local.is_file():
            target, more = local.suffix.lstrip(".").lower(), {"data_files": {split: str(local)}}
    elif path.startswith((".", "/", "~")) or path.count("/") > 1:
        raise BenchError(f"dataset {name!r}: {shown(path)} is not there; looked at {shown(local)}")
    if int(datasets.__version__.split(".")[0]) < 4:
        more["trust_remote_code"] = False
    try:
        if local.is_dir() and _saved(local):
            table = _from_disk(name, local, split)
        else:
            table = datasets.load_dataset(target, config, revision=None if root else revision, split=split, **more)
    except BenchError:
        raise
    except Exception as error:  # the library raises whatever its parts raise; it is the user's request
        pinned = f" at {revision}" if revision else ""
        raise BenchError(
            f"dataset {name!r}: {shown(path)}{pinned}, split {split!r}, cannot be loaded "
            f"({type(error).__name__}: {one_line(error, 200)})"
        ) from error
    if not isinstance(table, datasets.Dataset):
        raise BenchError(f"dataset {name!r}: split {split!r} of {shown(path)} is several splits; name one")
    if len(table) == 0:
        raise BenchError(f"dataset {name!r}: split {split!r} of {shown(path)} is empty")
    return table, root


def _saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote the folder, which `load_dataset` does not read."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def _from_disk(name: str, folder: Path, split: str) -> Any:
    """A split that `save_to_disk` wrote; a table that has no split of its own name is whichever is asked for."""
    import datasets

    table = datasets.load_from_disk(str(folder))
    if isinstance(table, datasets.DatasetDict):
        if split not in table:
            raise BenchError(f"dataset {name!r}: {shown(folder)} has no split {split!r} (it has {', '.join(table)})")
        return table[split]
    if table.split is not None and str(table.split) != split:
        raise BenchError(f"dataset {name!r}: {shown(folder)} is split {str(table.split)!r}, not {split!r}")
    return table


def _name(value: Any) -> str:
    return "" if value is None else item_id(str(value))


def _undecoded(name: str, table: Table, column: str, root: Path | None, path: str) -> ImageColumn:
    import datasets

    kind = table.features[column]
    if isinstance(kind, datasets.Image):
        table = table.cast_column(column, datasets.Image(decode=False))
    elif not (isinstance(kind, datasets.Value) and kind.dtype in ("binary", "large_binary")):
        raise BenchError(f"dataset {name!r}: column {column!r} of {shown(path)} holds {kind}, not images")
    allowed = (root, Path(datasets.config.HF_CACHE_HOME), Path(datasets.config.HF_DATASETS_CACHE))
    return ImageColumn(
        table.select_columns([column]),
        column,
        f"hub:{path}@{table._fingerprint}",
        tuple(folder.resolve() for folder in allowed if folder is not None),
    )


@dataclass(frozen=True)
class ImageColumn:
    """One column of undecoded images, read row by row from the memory-mapped table."""

    table: Table = field(repr=False, compare=False)
    name: str
    locator: str
    """Names the content: the library's fingerprint covers the data files and every step since."""
    allowed: tuple[Path, ...]
    """Folders that a file named by the table may lie in."""

    def source(self, row: int) -> HubSource:
        return HubSource(self, row)

    @cached_property
    def linked(self) -> bool:
        """Whether rows name files, which can change behind the table, instead of holding their bytes."""
        return len(self.table) > 0 and _link(self.table[0][self.name]) is not None

    def file(self, row: int) -> Path | None:
        """The file that a row of a linked column names; None where it holds the bytes."""
        found = _link(self.table[row][self.name])
        return None if found is None else found.resolve()

    def bytes(self, row: int) -> bytes:
        """The file's bytes. Raises `ImageError`."""
        where = f"{self.locator}#{row}/{self.name}"
        value = self.table[row][self.name]
        if (link := _link(value)) is not None:
            path = link.resolve()
            if not any(path.is_relative_to(folder) for folder in self.allowed):
                raise ImageError(f"{where}: the table points at {shown(path)}, outside its own folder")
            try:
                return path.read_bytes()
            except OSError as error:
                raise ImageError(f"{where}: {shown(path)}: {error.strerror}") from error
        raw = value.get("bytes") if isinstance(value, dict) else value
        if raw is None:
            raise ImageError(f"{where}: the row holds no image")
        return raw


@dataclass(frozen=True)
class HubSource(ImageSource):
    """One cell of an image column."""

    column: ImageColumn
    row: int

    def load(self) -> np.ndarray:
        return decode_bytes(self.raw(), self.where)

    def stamp(self) -> Stamp:
        locator = f"{self.where}?{decoder()}"
        file = self.column.file(self.row) if self.column.linked else None
        if file is None:
            return Stamp(locator, 0, 0)
        try:
            return file_stamp(locator, file.stat())
        except OSError as error:
            raise ImageError(f"{self.where}: {shown(file)}: {error.strerror}") from error

    def size(self) -> tuple[int, int]:
        return header_size_bytes(self.raw(), self.where)

    def raw(self) -> bytes:
        return self.column.bytes(self.row)

    @property
    def where(self) -> str:
        return f"{shown(self.column.locator)}#{self.row}/{self.column.name}"


def _link(value: Any) -> Path | None:
    """The path in a cell that holds no bytes of its own."""
    if isinstance(value, dict) and value.get("bytes") is None and value.get("path"):
        return Path(value["path"])
    return None
