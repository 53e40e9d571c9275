"""Adapter for `kind: folder`: somebody's outputs on disk, found by item id and scored as they are.

Nothing is restored here, and an output's identity is its own pixels, which the run hashes.
"""

from __future__ import annotations

import os
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from bench import paths
from bench.catalog.registry import Entry
from bench.errors import BenchError, ItemError
from bench.methods.base import StoredMethod
from bench.methods.options import Option, declared_options, resolve
from iqpir.codecs import is_image, left_out
from iqpir.errors import shown

OPTIONS = {
    "path": Option("path", type=str, required=True),
    "pattern": Option("pattern", "{id}.*", str),
    "scale": Option("scale", 1, int, min=1, max=64),
}
_FIELD = re.compile(r"\{(\w*)\}")


class FolderMethod(StoredMethod):
    """Outputs at `path`/`pattern`, both of which may hold `{dataset}`; `pattern` holds `{id}` and may hold `*`.

    An item's id may be a path (`low/0001`) and then names sub-folders. The default pattern takes any image suffix.
    """

    def __init__(
        self, name: str, path: str | None, pattern: str = "{id}.*", scale: int = 1, base: Path | None = None
    ) -> None:
        where = f"method {name!r}"
        for text, known in ((path or "", {"dataset"}), (pattern, {"id", "dataset"})):
            foreign = set(_FIELD.findall(text)) - known
            if foreign:
                named = ", ".join(f"{{{field}}}" for field in sorted(known))
                raise BenchError(f"{where}: {text!r} may hold only {named}, not {{{foreign.pop()}}}")
        if "{id}" not in pattern:
            raise BenchError(f"{where}: pattern {pattern!r} must hold {{id}}, or every item would have the same output")
        if "*" in str(PurePosixPath(pattern).parent) or "*" in (path or ""):
            raise BenchError(f"{where}: a * may stand only in the file name of pattern {pattern!r}")
        if not _inside(pattern.replace("{id}", "id")):
            raise BenchError(f"{where}: pattern {pattern!r} leaves the folder")
        self.name = name
        self.scale = scale
        self._path, self._pattern, self._base = path, pattern, base
        self._names: dict[Path, tuple[int, list[tuple[str, str]]]] = {}
        if path is not None and "{dataset}" not in path and not paths.find(path, base).is_dir():
            raise BenchError(f"{where}: there is no folder {paths.find(path, base)}")

    @classmethod
    def from_entry(cls, entry: Entry, options: Mapping[str, Any], base: Path | None) -> FolderMethod:
        where = f"method {entry.name!r} ({entry.origin})"
        values = resolve(where, declared_options(where, entry.fields, OPTIONS), options)
        return cls(entry.name, values["path"], values["pattern"], values["scale"], base)

    def unavailable(self) -> str | None:
        """A method of which only outputs exist needs the folder that they were put into."""
        if self._path is not None:
            return None
        return f"{self.name} exists as outputs only; options: {{path: FOLDER}} names the folder with them"

    def locate(self, dataset: str, item_id: str) -> Path:
        if self._path is None:
            raise ItemError(str(self.unavailable()))
        for word, value in (("id", item_id), ("dataset", dataset)):
            if not _inside(value):
                raise ItemError(f"{word} {value!r} would leave the folder of outputs")
        folder = paths.find(_fill(self._path, {"dataset": dataset}), self._base)
        fields = {"id": item_id, "dataset": dataset}
        # The wildcard is split off before ids go in, so that a * or [ in an id stands for itself.
        parts = [_plain(_fill(part, fields)) for part in self._pattern.split("*")]
        subfolder, _, parts[0] = parts[0].rpartition("/")
        parent, wanted = _below(folder, subfolder), "*".join(parts)
        found = self._matches(parent, parts)
        if not found:
            near = left_out(name for name, _ in self._listing(parent) if name.startswith(parts[0]))
            told = f"; {near}" if near else ""
            raise ItemError(f"no output of {self.name} for {item_id!r}: looked for {wanted} in {shown(parent)}{told}")
        if len(found) > 1:
            names = ", ".join(shown(name) for name in found[:4])
            raise ItemError(f"{len(found)} outputs of {self.name} for {item_id!r} in {shown(parent)}: {names}")
        return parent / found[0]

    def _matches(self, folder: Path, parts: list[str]) -> list[str]:
        """Names in a folder that consist of the parts with anything between them.

        A last `.*` stands for one image suffix: `a.*` is neither `a.b.png`, which is another item's, nor `a.txt`.
        """
        names = self._listing(folder)
        any_suffix = len(parts) > 1 and parts[-1] == "" and parts[-2].endswith(".")
        text = _expression(parts, any_suffix)
        matches = []
        for name, real in names[bisect_left(names, (parts[0], "")) :]:
            if not name.startswith(parts[0]):
                break
            if re.fullmatch(text, name) and (not any_suffix or is_image(name)):
                matches.append(real)
        return matches

    def _listing(self, folder: Path) -> list[tuple[str, str]]:
        """Files in a folder, as ids spell them and as they are called; read again only when the folder changed."""
        try:
            changed = folder.stat().st_mtime_ns
            if folder not in self._names or self._names[folder][0] != changed:
                with os.scandir(folder) as entries:
                    files = sorted((_plain(entry.name), entry.name) for entry in entries if entry.is_file())
                self._names[folder] = (changed, files)
        except OSError as error:
            raise ItemError(f"outputs of {self.name}: {shown(folder)} cannot be listed ({error.strerror})") from error
        return self._names[folder][1]

    def identity(self) -> Mapping[str, Any]:
        return {"kind": "folder"}


def _expression(parts: list[str], any_suffix: bool) -> str:
    """Of names that consist of the parts with anything between them.

    Each part is taken where it first occurs, as a later one leaves less for those that follow: no way back is tried,
    of which there would be very many for many parts.
    """
    first, *more = map(re.escape, parts)
    if not more:
        return first
    last = ".*" + more.pop()
    if any_suffix:
        last = "[^.]*"
        if more:  # the last dot of the name, and not the first, begins its suffix
            last = ".*" + more.pop() + last
    return first + "".join(f"(?>.*?{part})" for part in more) + last


def _inside(relative: str) -> bool:
    """Whether a posix path stays below the folder it is joined to, on any system."""
    path = PurePosixPath(relative.replace("\\", "/"))
    # An id may begin with the escape of an odd byte, `\udce9`; a backslash leads elsewhere on Windows alone.
    leads_away = relative.startswith("/") or (os.name == "nt" and bool(PureWindowsPath(relative).anchor))
    return bool(path.parts) and not leads_away and ".." not in path.parts and "\0" not in relative


def _plain(name: str) -> str:
    """A name as item ids spell it: composed, and with escapes for what cannot be shown."""
    return shown(unicodedata.normalize("NFC", name))


def _below(folder: Path, subfolder: str) -> Path:
    """A folder below another, each part as an id spells it."""
    for part in filter(None, subfolder.split("/")):
        inner = folder / part
        if not inner.exists() and folder.is_dir():
            inner = next((other for other in folder.iterdir() if _plain(other.name) == part), inner)
        folder = inner
    return folder


def _fill(template: str, fields: Mapping[str, str]) -> str:
    """Substitute by name only, in one pass: a value that looks like a field stays as it is."""
    return _FIELD.sub(lambda match: fields[match[1]], template)
