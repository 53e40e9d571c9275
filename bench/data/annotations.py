"""Annotations of a dataset's images: which objects are where, read from files as their publishers lay them out.

Formats: `bbgt` (Piotr's toolbox, as ExDark has it: a header line, then `Class left top width height`, alone or with the
toolbox's seven further numbers) and `yolo` (`number cx cy w h` as parts of the image's sides, with or without a score).
Rows of other shapes share these files: polygons and rotated boxes. They are problems of their line, since their first
four numbers are no box, or taken by the box around them where the dataset says `shapes: box`. A file that is broken,
empty or missing is a problem of its item, named with file and line, and never an image without objects.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from bench import paths
from bench.data.boxes import Annotations, Boxes, digest_of, plain
from bench.data.decimal_text import decimal
from bench.data.images import shown
from bench.data.items import Item
from bench.data.pairing import item_id
from bench.errors import BenchError, ImageError, MissingFile, one_line, suggest

FORMATS = ("bbgt", "yolo")
KEYS = ("format", "path", "file", "classes", "empty", "shapes")
_HEADER = "% bbGt version=3"
_LIMIT = 1 << 20
_WHOLE = 12
"""Columns of a bbGt row: class, box, occluded, four of the visible part, ignore, angle in degrees."""
_SHAPES = "give boxes, or say shapes: box for the box around it"


class _Said(NamedTuple):
    """What one annotation file says."""

    where: str
    """How messages name it."""
    rows: tuple[tuple[float, ...], ...]
    """(class, a, b, c, d) as written, and 1 where the object is to be ignored."""
    problem: str | None


@dataclass(frozen=True)
class AnnotationSource:
    """Where a dataset's annotations lie. Nothing is read before `read`."""

    owner: str
    """The dataset's catalogue name, for messages."""
    path: Path
    """A folder or a zip archive, with one text file per image at any depth."""
    format: str
    classes: tuple[str, ...]
    empty: str = "fail"
    """What a file without boxes means: `fail`, an annotation that was forgotten; `background`, no objects."""
    shapes: str = "fail"
    """What a polygon or a rotated box means: `fail`, a problem of its line; `box`, the upright box around it."""

    @classmethod
    def of(cls, owner: str, given: Mapping[str, Any], base: Path | None) -> AnnotationSource:
        """From a catalogue entry's `annotations` or a suite's option of that name. Raises `BenchError`."""
        where = f"dataset {owner!r}: annotations"
        for key in given:
            if key not in KEYS:
                raise BenchError(f"{where}: unknown key {key!r}{suggest(key, KEYS)} (it takes {', '.join(KEYS)})")
        kind, classes, empty = given.get("format"), given.get("classes"), given.get("empty", "fail")
        if kind not in FORMATS:
            raise BenchError(f"{where}: format {kind!r} is not one of {', '.join(FORMATS)}")
        if empty not in ("fail", "background"):
            raise BenchError(f"{where}: empty {empty!r} is neither fail nor background")
        shapes = given.get("shapes", "fail")
        if shapes not in ("fail", "box"):
            raise BenchError(f"{where}: shapes {shapes!r} is neither fail nor box")
        named = isinstance(classes, list) and classes and all(isinstance(name, str) for name in classes)
        if not named or len({plain(name) for name in classes or ()}) < len(classes or ()):
            raise BenchError(f"{where}: classes is a list of different names, in the order of their numbers")
        if ("path" in given) == ("file" in given) or not isinstance(given.get("path", given.get("file")), str):
            raise BenchError(f"{where}: name the folder or zip with path")
        path = paths.find(given["path"], base) if "path" in given else paths.home() / given["file"]
        return cls(owner, path, kind, tuple(classes or ()), empty, shapes)

    def read(self, items: Sequence[Item]) -> Annotations:
        """The objects of some images, found by name and folders: `2015_00001.png.txt` or `2015_00001.txt`, in whatever
        case (see `_fitting`).

        Raises `MissingFile` where there is no such folder or archive, `BenchError` where it cannot be read.
        """
        files = list(self._files())
        said = {name: self._parse(name, data) for name, data in files}
        fitting = _fitting([item.id for item in items], list(said))
        boxes: dict[str, Boxes] = {}
        sizes: dict[str, tuple[int, int]] = {}
        problems: dict[str, str] = {}
        for item in items:
            hits, others = fitting[item.id]
            try:
                if item.lq is None:
                    raise BenchError(item.problem or "no image")
                if len(hits) != 1:
                    told = ", ".join(shown(hit) for hit in hits[:3]) if hits else "none"
                    raise BenchError(f"{item.id}: needs one annotation file below {shown(self.path)}, found {told}")
                if others:
                    told = ", ".join(map(shown, others[:3]))
                    raise BenchError(f"{item.id}: {shown(hits[0])} fits {told} as well: name it by its folder too")
                one = said[hits[0]]
                if one.problem is not None:
                    raise BenchError(one.problem)
                sizes[item.id] = item.lq.size()
                boxes[item.id] = Boxes.of(list(self._corners(one.rows, sizes[item.id])))
            except (BenchError, ImageError) as error:
                problems[item.id] = one_line(error)
        raw = {_stem(name): [*one.rows, *([one.problem] if one.problem else [])] for name, one in said.items()}
        notes = [f"no boxes: {reason}" for reason in list(problems.values())[:10]]
        if len(problems) > 10:
            notes.append(f"no boxes: {len(problems) - 10} more images")
        return Annotations(self.classes, digest_of(self.classes, raw), boxes, sizes, problems, tuple(notes))

    def _files(self) -> Iterator[tuple[str, bytes]]:
        """(posix path, content) of every text file, sorted."""
        if self.path.is_dir():
            for file in sorted(self.path.rglob("*.txt")):
                if file.is_file():
                    with file.open("rb") as stream:
                        yield file.relative_to(self.path).as_posix(), stream.read(_LIMIT + 1)
            return
        if not self.path.is_file():
            raise MissingFile(
                f"dataset {self.owner!r} needs its annotations, {shown(self.path)}: bench fetch {self.owner}"
            )
        try:
            with zipfile.ZipFile(self.path) as archive:
                for info in sorted(archive.infolist(), key=lambda one: one.filename):
                    if info.filename.lower().endswith(".txt"):
                        with archive.open(info) as stream:
                            yield info.filename, stream.read(_LIMIT + 1)
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
            raise BenchError(f"annotations {shown(self.path)} cannot be read: {one_line(error)}") from error

    def _parse(self, name: str, data: bytes) -> _Said:
        where = f"{shown(self.path.name)}/{shown(name)}"
        rows: list[tuple[float, ...]] = []
        line = 1
        if len(data) > _LIMIT:
            return _Said(where, (), f"{where}: larger than {_LIMIT} bytes, which no annotation of one image is")
        try:
            lines = data.decode("utf-8-sig").splitlines()
            if self.format == "bbgt" and (not lines or lines[0].strip() != _HEADER):
                raise ValueError(f"a bbGt file begins with {_HEADER!r}" if lines else "the file is empty")
            for line, text in enumerate(lines, start=1):
                if text.strip() and not (self.format == "bbgt" and line == 1):
                    rows.append(self._row(text.split()))
            if not rows and self.empty == "fail":
                raise ValueError("no box in it; write them in, or say empty: background")
        except UnicodeDecodeError:
            return _Said(where, (), f"{where}:{line}: not a text file: bring it again")
        except ValueError as error:
            return _Said(where, (), f"{where}:{line}: {one_line(error)}")
        return _Said(where, tuple(rows), None)

    def _row(self, words: list[str]) -> tuple[float, ...]:
        if len(words) < 5:
            raise ValueError(f"{len(words)} columns, needs 5: the class and four numbers")
        if self.format == "bbgt":
            places = {plain(name): place for place, name in enumerate(self.classes)}
            if plain(words[0]) not in places:
                raise ValueError(f"unknown class {words[0]!r}{suggest(words[0], self.classes)}")
            number = places[plain(words[0])]
        else:
            number = int(words[0]) if re.fullmatch("[0-9]{1,9}", words[0]) else -1
            if not 0 <= number < len(self.classes):
                raise ValueError(f"class {one_line(words[0], 40)!r} is not a number from 0 to {len(self.classes) - 1}")
        try:
            numbers = [decimal(word) for word in words[1:]]
        except ValueError:
            many = "four" if len(words) == 5 else len(words) - 1
            raise ValueError(f"{one_line(' '.join(words[1:]), 80)!r} are not {many} numbers") from None
        ignored: tuple[float, ...] = ()
        if self.format == "bbgt":
            box = self._upright(numbers)
            ignored = (1.0,) if len(numbers) == _WHOLE - 1 and numbers[9] else ()
        else:
            box = self._unit(numbers)
        words = [words[0], *(f"{value:g}" for value in box)]
        if not all(abs(value) < 1e6 for value in box) or box[2] <= 0 or box[3] <= 0:
            raise ValueError(f"{' '.join(words[1:5])!r} is no box: its width and height are not positive")
        if self.format == "yolo" and not all(-0.01 <= value <= 1.01 for value in box):
            raise ValueError(f"{' '.join(words[1:5])!r} are not parts of the image's sides, from 0 to 1")
        return (number, *box, *ignored)

    def _unit(self, numbers: list[float]) -> list[float]:
        """A YOLO row's numbers → its box; of a polygon, or the corners of a rotated box, the box around it."""
        count = len(numbers)
        if count == 4:
            return numbers
        if count == 5:
            if not 0 <= numbers[4] <= 1:
                raise ValueError(
                    f"{numbers[4]:g} is no score from 0 to 1 (a rotated box has its angle there: {_SHAPES})"
                )
            return numbers[:4]
        if count % 2:
            raise ValueError(f"{count + 1} columns; a box has 5, or 6 with a score, a polygon pairs of x and y")
        if self.shapes == "fail":
            raise ValueError(f"{count + 1} columns are a polygon or a rotated box of {count // 2} corners: {_SHAPES}")
        if not all(-0.01 <= value <= 1.01 for value in numbers):
            raise ValueError("the corners of the polygon are not parts of the image's sides, from 0 to 1")
        across, down = numbers[::2], numbers[1::2]
        left, right, top, bottom = min(across), max(across), min(down), max(down)
        return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]

    def _upright(self, numbers: list[float]) -> list[float]:
        """A bbGt row's numbers → left, top, width, height; of a box turned about its middle, the box around it."""
        box = numbers[:4]
        if len(numbers) not in (4, _WHOLE - 1):
            raise ValueError(f"{len(numbers) + 1} columns; a bbGt row has {_WHOLE}, or the first 5")
        angle = math.radians(numbers[10] % 180) if len(numbers) == _WHOLE - 1 else 0.0
        if math.isnan(angle):
            raise ValueError("the angle is not a number")
        if not angle:
            return box
        if self.shapes == "fail":
            raise ValueError(f"the box is turned by {numbers[10]:g} degrees: {_SHAPES}")
        left, top, width, height = box
        turned = (
            abs(width * math.cos(angle)) + abs(height * math.sin(angle)),
            abs(width * math.sin(angle)) + abs(height * math.cos(angle)),
        )
        return [left + (width - turned[0]) / 2, top + (height - turned[1]) / 2, *turned]

    def _corners(self, rows: Sequence[tuple[float, ...]], size: tuple[int, int]) -> Iterator[tuple[float, ...]]:
        """(class, left, top, right, bottom) in pixels, and 1 where it is ignored.

        ExDark's own counting from the left edge is taken as it is.
        """
        for kind, first, second, width, height, *ignored in rows:
            if self.format == "yolo":
                across, down = size[1], size[0]
                left, top = (first - width / 2) * across, (second - height / 2) * down
                yield kind, left, top, left + width * across, top + height * down, *ignored
            else:
                yield kind, first, second, first + width, second + height, *ignored


def _fitting(items: Sequence[str], files: Sequence[str]) -> dict[str, tuple[list[str], list[str]]]:
    """Item → the annotation files that fit it best, and the other items that the one file fits as well.

    A file fits by its name, and by as many of its folders as both have: of `a/x.txt` and `b/x.txt` the first is that of
    `set/a/x`. Where the folders are others, a name will do that one file and one item alone have.
    """
    by_name: dict[str, list[str]] = {}
    for file in files:
        by_name.setdefault(_stem(file), []).append(file)
    names = Counter(PurePosixPath(item).name.casefold() for item in items)
    found: dict[str, tuple[list[str], list[str]]] = {}
    claims: dict[str, dict[str, int]] = {}
    for item in items:
        name = PurePosixPath(item).name.casefold()
        shared = {file: _shared(item, file) for file in by_name.get(name, [])}
        related = {file: depth for file, depth in shared.items() if depth is not None}
        most = max(related.values(), default=0)
        hits = [file for file, depth in related.items() if depth == most]
        if not hits and len(shared) == names[name] == 1:
            hits = list(shared)
        found[item] = hits, []
        for file in hits:
            claims.setdefault(file, {})[item] = most
    for item, (hits, _) in found.items():
        if len(hits) == 1:
            mine = claims[hits[0]][item]
            found[item] = hits, [one for one, depth in claims[hits[0]].items() if one != item and depth >= mine]
    return found


def _shared(item: str, file: str) -> int | None:
    """How many of their last folders an item and a file have in common; None where they contradict each other."""
    ours, theirs = (PurePosixPath(each.casefold()).parent.parts[::-1] for each in (item, file))
    least = min(len(ours), len(theirs))
    return least if ours[:least] == theirs[:least] else None


def _stem(name: str) -> str:
    """An annotation file's image: its name without folders, `.txt` and the image's suffix, casefolded."""
    return item_id(PurePosixPath(name).name[: -len(".txt")]).casefold()
