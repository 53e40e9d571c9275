"""Importing from a clone of somebody's repository without leaving a trace of it in this process.

Repositories are no packages: many have a top-level folder `basicsr`, `models` or `utils`, and each counts on being the
first in `sys.path`. So a clone's modules are in `sys.modules`, and its folder in `sys.path`, only while code of that
clone runs; what had those names before is put back after. Its code is strangers' code all the same: this keeps two
clones apart, it is no protection from either.
"""

from __future__ import annotations

import copy
import importlib
import importlib.machinery
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from bench.catalog.isolation import exits_raised
from bench.catalog.user_code import code_digest, reached
from bench.errors import BenchError, one_line, suggest

_KEPT = frozenset(
    {"bench", "iqpir", "torch", "numpy", "abc", "codecs", "encodings", "io", "os", "site", "stat", "types"}
    | set(sys.builtin_module_names)
)
"""Names that stay this process's own, whatever a clone calls its folders: it could not work without them."""
_SUFFIXES = (".py", *importlib.machinery.EXTENSION_SUFFIXES)
_LOCK = threading.RLock()
"""`sys.modules` is the process's: one clone's code runs at a time."""


class Clone:
    """The code in one clone; every object has modules of its own."""

    def __init__(self, where: str, repo: Path) -> None:
        """Raises `BenchError` where there is no such folder."""
        if not repo.is_dir():
            raise BenchError(f"{where}: repo names {repo}, and there is no such folder: git clone it there")
        self._where, self._repo = where, Path(repo.resolve())
        self._modules: dict[str, ModuleType] = {}
        self._paths: list[str] = []
        """What its code has added to `sys.path`."""
        self._owned: frozenset[str] | None = None
        self._covered: frozenset[str] | None = None

    def __deepcopy__(self, memo: object) -> Self:
        return self  # classes are not copied either

    @contextmanager
    def active(self, *, fresh: bool = False) -> Iterator[None]:
        """Inside, names mean what they mean in the clone; with `fresh`, nothing of it is imported yet."""
        with _LOCK:
            names = self._names()
            outside = {name: module for name, module in sys.modules.items() if _top(name) in names}
            path, finders, hooks = list(sys.path), list(sys.meta_path), list(sys.path_hooks)
            wrote, sys.dont_write_bytecode = sys.dont_write_bytecode, True
            for name in outside:
                del sys.modules[name]
            if not fresh:
                sys.modules.update(self._modules)
            sys.path[:0] = [str(self._repo), *self._paths]
            known = set(sys.modules)
            try:
                yield
            finally:
                mine = {
                    name: module
                    for name, module in list(sys.modules.items())
                    if _top(name) in names or (name not in known and self._holds(module))
                }
                for name in mine:
                    del sys.modules[name]
                if not fresh:
                    self._modules = {**self._modules, **mine}
                    self._paths += [each for each in sys.path if each not in (*path, *self._paths, str(self._repo))]
                sys.modules.update(outside)
                sys.path[:], sys.meta_path[:], sys.path_hooks[:] = path, finders, hooks
                sys.dont_write_bytecode = wrote

    def digest(self, modules: Sequence[str]) -> str:
        """Hex SHA-256 of what these modules and all that they reach by import say.

        Many repositories import by names they compute (`basicsr.archs.…_arch`, the `target` of a configuration), so
        that of every top-level package which is reached all files count. Nothing is imported.
        Raises `BenchError` for a module that is not there.
        """
        importlib.invalidate_caches()
        with self.active(fresh=True):
            for name in modules:
                if name not in reached([name]):
                    raise self._absent(name)
            names, tops = list(modules), frozenset[str]()
            while True:
                now = frozenset(_top(name) for name in reached(names)) & self._names()
                if now == tops:
                    break
                tops, names = now, [*modules, *(name for name in self._files() if _top(name) in now)]
            self._covered = tops
            return code_digest(names)

    def make(self, module: str, attribute: str, arguments: Mapping[str, Any]) -> Any:
        """What the class or function makes of these arguments. Raises `BenchError` for all that can fail."""
        importlib.invalidate_caches()
        with exits_raised(f"{self._where}: {module}"), self.active():
            thing: Any = self._import(module)
            for part in attribute.split("."):
                if not hasattr(thing, part):
                    raise BenchError(
                        f"{self._where}: {module} in {self._repo} has no {attribute!r}{suggest(part, dir(thing))}: "
                        "module is FILE:CLASS"
                    )
                thing = getattr(thing, part)
            if not callable(thing):
                raise BenchError(f"{self._where}: {module}:{attribute} is {type(thing).__name__}, no class or function")
            self._check_arguments(f"{module}:{attribute}", thing, arguments)
            try:
                made = thing(**copy.deepcopy(dict(arguments)))  # some write into what they are given
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                raise self._failed(f"{module}:{attribute} cannot be made with these arguments", error) from error
        self.check_covered()
        return made

    def check_covered(self) -> None:
        """Raise `BenchError` where code has run that no digest stands for."""
        strange = sorted({_top(name) for name in self._modules} - (self._covered or frozenset()))
        if self._covered is not None and strange:
            raise BenchError(
                f"{self._where}: {self._repo} imports {strange[0]!r} by a computed name, which its identity does not "
                f"cover: name it, modules: [{strange[0]}]"
            )

    def _import(self, module: str) -> ModuleType:
        try:
            return importlib.import_module(module)
        except KeyboardInterrupt:
            raise
        except ModuleNotFoundError as error:
            name = error.name or ""
            if _top(name) in self._names():
                raise self._absent(name) from error
            raise BenchError(
                f"{self._where}: {module} in {self._repo} needs the package {_top(name)!r}, which is not installed "
                "here: its readme says which version"
            ) from error
        except BaseException as error:
            raise self._failed(f"importing {module} from {self._repo} failed", error) from error

    def _check_arguments(self, name: str, factory: Any, arguments: Mapping[str, Any]) -> None:
        import inspect

        try:
            signature = inspect.signature(factory)
        except (TypeError, ValueError):
            return
        try:
            signature.bind(**arguments)
        except TypeError as error:
            known = [each for each in signature.parameters if each not in ("args", "kwargs")]
            foreign = next((each for each in arguments if each not in known), "")
            hint = suggest(foreign, known) if foreign else ""
            takes = f" (it takes {', '.join(known)})" if known else " (it takes none)"
            raise BenchError(f"{self._where}: arguments of {name}: {error}{hint or takes}") from error

    def _absent(self, name: str) -> BenchError:
        return BenchError(f"{self._where}: {self._repo} has no module {name!r}{suggest(name, self._files())}")

    def _failed(self, what: str, error: BaseException) -> BenchError:
        if isinstance(error, BenchError):
            return error
        return BenchError(f"{self._where}: {what}: {type(error).__name__}: {one_line(error)}")

    def _names(self) -> frozenset[str]:
        """Top-level names that mean something of the clone's where its folder comes first."""
        if self._owned is None:
            path = [str(self._repo), *sys.path]
            stems = {_stem(each) for each in self._repo.iterdir() if each.is_dir() or each.name.endswith(_SUFFIXES)}
            self._owned = frozenset(
                name for name in stems if name.isidentifier() and name not in _KEPT and self._provides(name, path)
            )
        return self._owned

    def _provides(self, name: str, path: list[str]) -> bool:
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None:
            return False
        places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
        return any(Path(each).resolve().is_relative_to(self._repo) for each in places)

    def _holds(self, module: object) -> bool:
        file = getattr(module, "__file__", None)
        return isinstance(file, str) and Path(file).resolve().is_relative_to(self._repo)

    def _files(self) -> list[str]:
        """Every module of the clone by its dotted name, whether it can be imported or not."""
        found = []
        for path in sorted(self._repo.rglob("*")):
            parts = [*path.relative_to(self._repo).parent.parts, _stem(path)]
            if path.name.endswith(_SUFFIXES) and all(part.isidentifier() for part in parts):
                found.append(".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts))
        return found


def _top(name: str) -> str:
    return name.partition(".")[0]


def _stem(path: Path) -> str:
    return path.name.partition(".")[0] if path.name.endswith(_SUFFIXES) else path.name
