"""A user's own Python file that registers methods: `--plugin my_method.py`, the only way a command runs user code."""

from __future__ import annotations

import importlib.util
import os
import random
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.catalog.isolation import exits_raised
from bench.catalog.registry import KINDS, Entry, registry
from bench.errors import BenchError, one_line

_brought: set[tuple[str, str]] = set()
"""Kind and name of what plugin files have registered in this process."""
_files: list[str] = []


def made_elsewhere(entry: Entry) -> bool:
    """Whether another process can come by an entry: not where a caller of this one has registered it."""
    return entry.factory is None or (entry.kind, entry.name) in _brought


def plugin_files() -> list[str]:
    """The plugin files that this process has executed, by which another one comes by what they registered."""
    return list(_files)


def load_plugins(files: Iterable[str]) -> None:
    """Execute each file once as a module of its own. Raises `BenchError` naming the file and the cause."""
    for name in files:
        path = Path(name)
        if not path.is_file():  # false for a null byte as well, which `resolve` raises for
            raise BenchError(f"no plugin file {name}: --plugin takes the path of a Python file")
        path = path.resolve()
        # The name can enter a method's identity (bench.methods.module): it depends neither on folder nor process.
        module_name = f"bench_plugin_{path.stem}"
        if module_name in sys.modules:
            if sys.modules[module_name].__file__ == str(path):
                continue
            raise BenchError(f"plugin {name}: another plugin is called {path.name}, rename one of them")
        spec = importlib.util.spec_from_file_location(module_name, path)
        if spec is None or spec.loader is None:
            raise BenchError(f"plugin {name} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        known = _registered()
        try:
            with _left_as_it_was(), exits_raised(f"plugin {name}"):
                spec.loader.exec_module(module)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            del sys.modules[module_name]
            raise BenchError(f"plugin {name} failed: {type(error).__name__}: {one_line(error)}") from error
        _brought.update(_registered() - known)
        _files.append(str(path))


def _registered() -> set[tuple[str, str]]:
    return {(kind, entry.name) for kind in KINDS for entry in registry(kind) if entry.factory is not None}


@contextmanager
def _left_as_it_was() -> Iterator[None]:
    """What a file does to the process while it is read ends with that, as for its methods' calls (`isolation`).

    But for the environment and `sys.path`, by which libraries are configured and found. torch need not be there: what
    it stands at when it has been imported by the file is known.
    """
    folder, state, filters = Path.cwd(), random.getstate(), list(warnings.filters)
    before = _of_torch()
    try:
        yield
    finally:
        with suppress(OSError):
            os.chdir(folder)
        random.setstate(state)
        warnings.filters[:] = filters  # type: ignore[index]
        if "torch" in sys.modules:
            _restore_torch(*before)


def _of_torch() -> tuple[object, bool]:
    torch = sys.modules.get("torch")
    return (None, True) if torch is None else (torch.get_default_dtype(), torch.is_grad_enabled())


def _restore_torch(dtype: object, grad: bool) -> None:
    torch = sys.modules["torch"]
    torch.set_default_dtype(torch.float32 if dtype is None else dtype)
    torch.set_grad_enabled(grad)
    torch.set_default_device(None)
