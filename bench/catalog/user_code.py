"""The code of the user's that a class or function reaches by import, and one digest of what it says.

Followed are the import statements of a module, those within functions as well, through everything that is neither
Python's own, nor installed, nor ours: what is installed has a version, and ours is listed by name. What a file says is
its syntax without positions, comments and docstrings; another language's bytes are taken as they are. Not followed:
modules whose name is computed, and files that a program opens.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.machinery
import inspect
import os
import site
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

_OURS = ("bench", "iqpir")


class _Place(NamedTuple):
    """A module that could be found."""

    name: str
    file: Path | None
    """None for a namespace package."""
    folders: tuple[str, ...] | None
    """Where its submodules lie; None for what is no package."""


class _File(NamedTuple):
    """What one file says, and what it imports: `(level, module, names)` as in `from ..module import names`."""

    digest: bytes
    imports: tuple[tuple[int, str, tuple[str, ...]], ...]


def is_ours(thing: Any) -> bool:
    """Whether the harness itself defines a class, a function or an object's class: its own versions stand for it."""
    return _module_of(thing).partition(".")[0] in _OURS


def code_of(*things: Any) -> str | None:
    """Hex digest of the code of the user's that these classes, functions or objects are and reach; None for none.

    What is defined in no file, as in a notebook, is what it was compiled to.
    """
    strange = [thing for thing in map(_innermost, things) if not is_ours(thing)]
    placed = {name for name in map(_module_of, strange) if _find(name, ()) is not None}
    loose = [bytecode_digest(thing) for thing in strange if _module_of(thing) not in (*placed, "builtins")]
    modules = sorted(name for name in placed if is_users(name, installed=True))
    if not modules and not loose:
        return None
    return hashlib.sha256("|".join([code_digest(modules), *loose]).encode()).hexdigest()


def _innermost(thing: Any) -> Any:
    while isinstance(thing, functools.partial):
        thing = thing.func
    return thing


def _module_of(thing: Any) -> str:
    return str(getattr(thing, "__module__", None) or type(thing).__module__)


def is_users(name: str, *, installed: bool = False) -> bool:
    """Whether a module is the user's, so that its content has to stand for it; with `installed`, a package's too."""
    place = _find(name, ())
    return place is not None and _followed(place, name.partition(".")[0] if installed else "")


def code_digest(modules: Iterable[str]) -> str:
    """Hex SHA-256 of the user's code in these modules and all that they reach by import.

    Where it lies does not enter it, nor in which order it is imported. A package that is named itself counts also
    where it is installed.
    """
    digest = hashlib.sha256()
    for name, content in sorted(reached(modules).items()):
        digest.update(f"{name}|{content.hex()}|".encode())
    return digest.hexdigest()


def reached(modules: Iterable[str]) -> dict[str, bytes]:
    """What the files of these modules and of the user's that they reach by import say, by module; nothing is imported.

    A module that cannot be found is left out.
    """
    given = list(modules)
    found: dict[str, bytes] = {}
    todo = [above for name in given for above in _upwards(name)]
    roots = {name.partition(".")[0] for name in given}
    beside = _beside(given)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        place = _find(name, beside)
        if place is None or not any(_followed(place, root) for root in (*roots, "")):
            continue
        found[name] = b""
        if place.file is not None:
            said = _read(place)
            found[name] = said.digest
            todo += _imported(place, said)
    return found


def _upwards(name: str) -> Iterator[str]:
    """A module's packages from the outermost, and itself: what runs when it is imported."""
    parts = name.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _imported(place: _Place, said: _File) -> Iterator[str]:
    """Full names of what a module imports, the packages on the way included."""
    package = place.name if place.folders is not None else place.name.rpartition(".")[0]
    for level, module, names in said.imports:
        base = module
        if level:
            parts = package.split(".")
            if level > len(parts) or not package:
                continue
            base = ".".join([*parts[: len(parts) - level + 1], *([module] if module else [])])
        yield from _upwards(base)
        # A name may be a submodule or something the module defines: what cannot be found is the latter.
        yield from (f"{base}.{name}" for name in names if name != "*")


def _followed(place: _Place, root: str) -> bool:
    name = place.name.partition(".")[0]
    where = [place.file] if place.file is not None else [Path(each) for each in place.folders or ()]
    packages, standard = _installed()
    if name in _OURS or not where:
        return False
    if any(each.is_relative_to(folder) for each in where for folder in packages):
        return name == root
    return not any(each.is_relative_to(folder) for each in where for folder in standard)


@cache
def _installed() -> tuple[frozenset[Path], frozenset[Path]]:
    """Folders of installed packages, and of the standard library, which may hold the former."""
    paths = sysconfig.get_paths()
    packages = [paths["purelib"], paths["platlib"], *site.getsitepackages(), site.getusersitepackages()]
    return _both(packages), _both([paths["stdlib"], paths["platstdlib"]])


def _both(folders: Iterable[str]) -> frozenset[Path]:
    """As they are written, and where links lead."""
    return frozenset(path for each in folders for path in (Path(each), Path(os.path.realpath(each))))


def _beside(modules: Iterable[str]) -> tuple[str, ...]:
    """Folders of the files that are asked for: a plugin's neighbours are found there, whatever `sys.path` says now."""
    files = (getattr(sys.modules.get(name), "__file__", None) for name in modules)
    return tuple(dict.fromkeys(str(Path(file).parent) for file in files if file))


def _find(name: str, beside: Sequence[str]) -> _Place | None:
    """Where a module lies, without importing anything: what is loaded says it itself."""
    module = sys.modules.get(name)
    if isinstance(module, ModuleType):
        file, folders = getattr(module, "__file__", None), getattr(module, "__path__", None)
        if file is None and folders is None:
            return None
        return _Place(name, None if file is None else Path(file), None if folders is None else tuple(folders))
    parent, _, _ = name.rpartition(".")
    if not parent:
        path: Sequence[str] | None = [*sys.path, *beside]
    else:
        above = _find(parent, beside)
        if above is None or above.folders is None:
            return None
        path = above.folders
    for finder in sys.meta_path:
        look: Callable[..., Any] | None = getattr(finder, "find_spec", None)
        try:
            spec = look(name, path) if look is not None else None
        except KeyError:  # a namespace package below a package that is not loaded
            last = name.rpartition(".")[2]
            folders = tuple(str(Path(each, last)) for each in path or () if Path(each, last).is_dir())
            return _Place(name, None, folders) if folders else None
        if spec is None:
            continue
        places = spec.submodule_search_locations
        file = Path(spec.origin) if spec.origin and spec.has_location else None
        if file is None and places is None:
            return None
        return _Place(name, file, None if places is None else tuple(places))
    return None


_known: dict[Path, tuple[Any, _File]] = {}
"""What files said, by what has to change for them to say something else to this process."""


def _read(place: _Place) -> _File:
    assert place.file is not None
    module = sys.modules.get(place.name)
    status = place.file.stat()
    stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
    # A module that is loaded goes on to do what its file said then; reloading it gives it another spec.
    mark = getattr(module, "__spec__", None) if module is not None else None
    known = _known.get(place.file)
    if known is not None and (known[0][0] is mark if mark is not None else known[0] == (None, stamp)):
        return known[1]
    raw = place.file.read_bytes()
    found = _File(hashlib.sha256(raw).digest(), ())
    if place.file.suffix not in importlib.machinery.EXTENSION_SUFFIXES and place.file.suffix != ".pyc":
        try:
            tree = ast.parse(raw)
            found = _File(hashlib.sha256(repr(_plain(tree)).encode()).digest(), tuple(_imports(tree)))
        except (SyntaxError, ValueError, RecursionError):  # of another language, or of a later Python
            pass
    _known[place.file] = ((mark, None) if mark is not None else (None, stamp)), found
    return found


def _plain(node: Any) -> Any:
    """Syntax as nested tuples, without positions, docstrings and what is empty: versions of Python differ in that."""
    if isinstance(node, list):
        return [_plain(each) for each in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    fields.pop("kind", None)  # of a string: u"…" is "…"
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            fields["body"] = node.body[1:]
        fields["body"] = fields["body"] or [ast.Pass()]
    return type(node).__name__, *((name, _plain(each)) for name, each in fields.items() if each not in (None, []))


def _imports(tree: ast.Module) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Every import statement, and the calls that name a module in so many words, wherever they stand."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or "", tuple(alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            name = node.args[0].value
            if called in ("import_module", "__import__") and isinstance(name, str) and name.strip("."):
                bare = name.lstrip(".")
                yield len(name) - len(bare), bare, ()


def bytecode_digest(thing: Any) -> str:
    """Stands for a class or function without a file, as in a notebook: its functions as they were compiled."""
    found: list[str] = []
    members = vars(thing).values() if inspect.isclass(thing) else [thing]
    for member in members:
        code = getattr(inspect.unwrap(member) if callable(member) else getattr(member, "fget", None), "__code__", None)
        if code is not None:
            found.append(_compiled(code))
    return hashlib.sha256("|".join(found).encode()).hexdigest()


def _compiled(code: CodeType) -> str:
    constants = [_compiled(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts]
    return f"{code.co_name}:{code.co_code.hex()}:{constants}:{code.co_names}"
