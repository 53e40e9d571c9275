"""A user's own Python file that registers methods: `--plugin my_method.py`, the only way a command runs user code."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from bench.errors import BenchError, one_line


def load_plugins(files: Iterable[str]) -> None:
    """Execute each file once as a module of its own. Raises `BenchError` naming the file and the cause."""
    for name in files:
        path = Path(name).resolve()
        if not path.is_file():
            raise BenchError(f"no plugin file {name}: --plugin takes the path of a Python file")
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
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[module_name]
            raise BenchError(f"plugin {name} failed: {type(error).__name__}: {one_line(error)}") from error
