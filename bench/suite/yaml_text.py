"""The text of a suite file: YAML as plain data, the line of every key, other files included, and an end to everything.

Whoever writes a suite may write anything, so each way of growing without end has a limit, and what is beyond it is one
line with the number. Of YAML's many scalars a suite has words, truth, finite numbers of 64 bits and nothing; dates and
base-60 numbers are words as they stand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bench import files
from bench.errors import BenchError, one_line

MOST_BYTES = 1 << 20
MOST_VALUES = 20_000
"""Values of a file, those behind an alias counted each time."""
MOST_LEVELS = 32
"""Of mappings and lists within each other; a suite needs six."""
MOST_FILES = 64
"""Files that a suite may be included from, however often."""
MOST_INCLUDES = 16
"""Of files that include each other in a row."""

Place = tuple[Any, ...]
"""The keys and positions that lead to a value."""


class SourceLine(NamedTuple):
    """Where a key was written."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


Lines = Mapping[Place, SourceLine]


def nearest(lines: Lines, where: Place) -> SourceLine:
    """The line of the innermost key of a path that was written."""
    for length in range(len(where), 0, -1):
        for last in (where[length - 1], str(where[length - 1])):  # a key that is a number is written down as its text
            if (*where[: length - 1], last) in lines:
                return lines[(*where[: length - 1], last)]
    return next(iter(lines.values()), SourceLine("suite", 1))._replace(line=1)


def read(path: Path, keys: str) -> tuple[dict[str, Any], Lines]:
    """A file with what it includes; `keys` names those of a suite, for what is no mapping. Raises `BenchError`."""
    return _Reader(keys).read(path, ())


def parse(text: str, name: str, keys: str) -> tuple[dict[str, Any], dict[Place, SourceLine]]:
    """A file's data and the lines of its keys. Raises `BenchError`, one line with its place."""
    try:
        _check_events(text, name)
        loader = _Plain(text)
        root = loader.get_single_node()
        lines = {place: SourceLine(name, line) for place, line in _walk(root, name)}
        data = None if root is None else loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = error.problem or str(error)
        said = f"{error.context}, {said}" if error.context and said.startswith("but ") else said
        raise BenchError(f"{name}:{mark.line + 1 if mark else 1}: {one_line(said)}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise BenchError(f"{name}:{line}: a character that no text has: {error.character:#x}") from None
    except yaml.YAMLError as error:
        raise BenchError(f"{name}:1: not YAML: {one_line(error)}") from None
    if not isinstance(data, dict):
        raise BenchError(f"{name}:1: a suite is a mapping with the keys {keys}")
    return data, lines


class _Reader:
    """Reads a file and its includes, counting them."""

    def __init__(self, keys: str) -> None:
        self._keys = keys
        self._files = 0

    def read(self, path: Path, above: tuple[Path, ...]) -> tuple[dict[str, Any], Lines]:
        resolved = path.resolve()
        if resolved in above:
            raise BenchError(f"{path}: include loop {' → '.join(each.name for each in (*above, resolved))}")
        self._files += 1
        if self._files > MOST_FILES:
            raise BenchError(f"{path}: the suite includes more than {MOST_FILES} files, counting repeats")
        data, lines = parse(_text(path), str(path), self._keys)
        merged: dict[str, Any] = {}
        merged_lines: dict[Place, SourceLine] = {}
        for other in _included(data, lines):
            where = nearest(lines, ("include",))
            if len(above) + 1 >= MOST_INCLUDES:
                raise BenchError(f"{where}: files include each other more than {MOST_INCLUDES} deep")
            base, base_lines = self.read(_target(path, other, where), (*above, resolved))
            merged.update(base)
            merged_lines.update(base_lines)
        # A key of this file replaces the included one whole, and with it the lines of everything below it.
        kept = {place: line for place, line in merged_lines.items() if not place or place[0] not in data}
        return {**merged, **data}, {**kept, **lines}


def _text(path: Path) -> str:
    try:
        return files.read_text(path, most=MOST_BYTES)
    except OSError as error:
        raise BenchError(f"{path}: cannot be read: {one_line(error.strerror or error)}") from None


def _included(data: dict[str, Any], lines: Lines) -> list[str]:
    """The files under `include:`, which is taken out of the data."""
    given = data.pop("include", [])
    named = [given] if isinstance(given, str) else given
    if not isinstance(named, list) or not all(isinstance(one, str) for one in named):
        where = nearest(lines, ("include",))
        raise BenchError(f"{where}: include takes a file's name or a list of them, not {one_line(repr(given), 60)}")
    return named


def _target(path: Path, other: str, where: SourceLine) -> Path:
    if not other.endswith((".yaml", ".yml")):
        raise BenchError(f"{where}: include names {other!r}, which is no .yaml file")
    target = path.parent / other
    try:
        there = target.is_file()
    except OSError as error:  # a name that is too long
        raise BenchError(f"{where}: included file cannot be looked at: {one_line(error)}") from None
    if not there:
        raise BenchError(f"{where}: included file {target} does not exist")
    return target


# YAML


class _Plain(yaml.SafeLoader):
    """YAML's words, truth, numbers and nothing."""


_PREFIX = "tag:yaml.org,2002:"
_SCALARS = frozenset(_PREFIX + name for name in ("str", "int", "float", "bool", "null"))
_TAGS = _SCALARS | {_PREFIX + name for name in ("seq", "map", "merge")}
_READ_AS_WORDS = frozenset({_PREFIX + "timestamp"})
"""Tags that unquoted text gets by itself and that are read as words."""
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-9_.]+)+")

_Plain.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag not in _READ_AS_WORDS and tag != _PREFIX + "value"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _plain_int(loader: _Plain, node: yaml.ScalarNode) -> int | str:
    text = node.value
    if _SEXAGESIMAL.fullmatch(text):
        return str(text)
    digits = len(text.replace("_", ""))
    value = None
    if digits <= 66:  # of 64 bits, written in base 2
        try:
            value = int(loader.construct_yaml_int(node))
        except ValueError:
            raise _wrong(node, f"{one_line(text, 40)!r} is no whole number") from None
    if value is None or not -(2**63) <= value < 2**63:
        raise _wrong(node, f"a whole number of {digits} digits, beyond the 64 bits that a suite holds")
    return value


def _plain_float(loader: _Plain, node: yaml.ScalarNode) -> float | str:
    if _SEXAGESIMAL.fullmatch(node.value):
        return str(node.value)
    try:
        value = float(loader.construct_yaml_float(node))
    except ValueError:
        raise _wrong(node, f"{one_line(node.value, 40)!r} is no number") from None
    if not math.isfinite(value):
        raise _wrong(node, f"{one_line(node.value, 40)} is not finite; a suite holds finite numbers")
    return value


def _plain_bool(loader: _Plain, node: yaml.ScalarNode) -> bool:
    try:
        return bool(loader.construct_yaml_bool(node))
    except KeyError:
        raise _wrong(node, f"{one_line(node.value, 40)!r} is neither true nor false") from None


_Plain.add_constructor(_PREFIX + "int", _plain_int)
_Plain.add_constructor(_PREFIX + "float", _plain_float)
_Plain.add_constructor(_PREFIX + "bool", _plain_bool)


def _wrong(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _check_events(text: str, name: str) -> None:
    """Hold nesting and number of values against their limits on the stream of events, which no depth can overflow."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Plain)):
        if count > 2 * MOST_VALUES:
            raise _too_many(name)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MOST_LEVELS:
                line = event.start_mark.line + 1 if event.start_mark else 1
                raise BenchError(f"{name}:{line}: nested deeper than {MOST_LEVELS} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _too_many(name: str) -> BenchError:
    return BenchError(f"{name}: more than {MOST_VALUES} values, which no suite file has")


def _walk(root: yaml.Node | None, name: str) -> Iterator[tuple[Place, int]]:
    """Every key's path and line; every value is looked at, those behind an alias each time they are met, so that a bomb
    of aliases is refused before it is built."""
    left = MOST_VALUES
    stack: list[tuple[yaml.Node | None, Place, tuple[int, ...]]] = [(root, (), ())]
    while stack:
        node, place, above = stack.pop()
        left -= 1
        if left < 0:
            raise _too_many(name)
        if node is None:
            continue
        _check(node)
        if isinstance(node, yaml.ScalarNode):
            continue
        if id(node) in above:
            raise _wrong(node, "an alias stands for what it is itself a part of")
        if len(above) >= MOST_LEVELS:
            raise _wrong(node, f"aliases nest it deeper than {MOST_LEVELS} levels")
        inside = (*above, id(node))
        for key, value, line in _members(node):
            yield (*place, key), line
            stack.append((value, (*place, key), inside))


def _members(node: yaml.Node) -> Iterator[tuple[Hashable, yaml.Node, int]]:
    """(key or position, value, line) of a list or mapping."""
    if isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield index, value, value.start_mark.line + 1
        return
    seen: set[str] = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _wrong(key, "a key is a word, not a list or a mapping")
        _check(key)
        if key.value in seen:
            raise _wrong(key, f"key {key.value!r} is written twice")
        seen.add(key.value)
        yield key.value, value, key.start_mark.line + 1


def _check(node: yaml.Node) -> None:
    """Raise for a tag that is not plain data's, and for letters that no file name or label can hold."""
    if node.tag not in _TAGS:
        tag = node.tag.replace(_PREFIX, "!!")
        raise _wrong(
            node, f"no constructor for {one_line(tag, 60)}: a suite is plain words, numbers, lists and mappings"
        )
    if node.tag in _SCALARS and not isinstance(node, yaml.ScalarNode):
        raise _wrong(node, f"{node.tag.replace(_PREFIX, '!!')} is of a single word, not of a list or a mapping")
    if isinstance(node, yaml.ScalarNode):
        if "\0" in node.value:
            raise _wrong(node, "a null byte, which no name can hold")
        if any("\ud800" <= letter <= "\udfff" for letter in node.value):
            raise _wrong(node, "half of a surrogate pair, which is no letter")
