"""The user's code by which methods and metrics are told apart: what reaches it, and what does not."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.catalog.user_code import code_digest, code_of, is_users

Write = Callable[[str, str], None]
FILES = {
    "net/__init__.py": "from .arch import Net\n",
    "net/arch.py": '"""Doc."""\nfrom .ops import curve\n\nclass Net:\n    def run(self, x):\n        return curve(x)\n',
    "net/ops.py": "def curve(x):\n    from net.deep.lazy import k\n    return x ** k\n",
    "net/deep/lazy.py": "import importlib\nk = 2\nother = lambda: importlib.import_module('aside')\n",
    "aside.py": "import json, numpy\nfrom far import *\n",
    "far/__init__.py": "",
    "far/unused.py": "x = 1\n",
}
"""`net.deep` is a namespace package; `far.unused` is imported by nobody."""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    def one(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    for name, text in FILES.items():
        one(name, text)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield one
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("net/__init__.py", "from .arch import Net\nx = 1\n"),
        ("net/arch.py", "from .ops import curve\n\nclass Net:\n    def run(self, x):\n        return -curve(x)\n"),
        ("net/ops.py", "def curve(x):\n    from net.deep.lazy import k\n    return x ** -k\n"),
        ("net/deep/lazy.py", "import importlib\nk = 3\nother = lambda: importlib.import_module('aside')\n"),
        ("aside.py", "import json, numpy\nfrom far import *\ny = 2\n"),
        ("far/__init__.py", "z = 3\n"),
    ],
)
def test_other_code_that_is_reached_is_another_digest(write: Write, name: str, text: str, loaded: bool) -> None:
    if loaded:
        importlib.import_module("net")
    before = code_digest(["net.arch"])
    assert code_digest(["net.arch"]) == before
    write(name, text)
    if loaded:  # as the next process would
        for module in [each for each in sys.modules if each.partition(".")[0] in ("net", "aside", "far")]:
            del sys.modules[module]
        importlib.invalidate_caches()
        importlib.import_module("net")
    assert code_digest(["net.arch"]) != before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "net/arch.py",
            "# said otherwise\nfrom .ops import curve\nclass Net:\n  def run(self,x): return (curve( x ))\n",
        ),
        (
            "net/ops.py",
            "def curve(x):\n    'Raises to k.'\n    from net.deep.lazy import k  # lazily\n    return x**k\n",
        ),
        ("far/unused.py", "x = 2\n"),
        ("elsewhere.py", "x = 2\n"),
    ],
)
def test_comments_formatting_docstrings_and_what_is_not_reached_are_no_part_of_it(
    write: Write, name: str, text: str
) -> None:
    before = code_digest(["net.arch"])
    write(name, text)
    assert code_digest(["net.arch"]) == before


def test_a_module_that_is_loaded_goes_on_to_be_what_it_was_until_it_is_reloaded(write: Write) -> None:
    net = importlib.import_module("net.ops")
    before = code_digest(["net.ops"])
    write("net/ops.py", "def curve(x):\n    return 0\n")
    assert code_digest(["net.ops"]) == before
    importlib.reload(net)
    assert code_digest(["net.ops"]) != before


def test_a_neighbour_of_the_file_is_found_whatever_the_path_says(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("plugins/mine.py", "def f():\n    import helper\n    return helper.k\n")
    write("plugins/helper.py", "k = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path / "plugins"))
    importlib.import_module("mine")
    sys.path.remove(str(tmp_path / "plugins"))
    before = code_digest(["mine"])
    write("plugins/helper.py", "k = 2\n")
    assert code_digest(["mine"]) != before


def test_what_is_installed_or_ours_is_no_users_code() -> None:
    import json

    import bench.metrics.psnr

    assert code_of(json.JSONDecoder) is None and not is_users("json") and not is_users("numpy.linalg")
    assert code_of(bench.metrics.psnr.Psnr) is None


def test_what_is_in_no_file_is_what_it_was_compiled_to() -> None:
    def made(text: str) -> type:
        space: dict[str, object] = {"__name__": "a_notebook"}
        exec(text, space)
        made = space["C"]
        assert isinstance(made, type)
        return made

    one = made("class C:\n    def f(self): return 1\n")
    assert code_of(one) == code_of(made("class C:\n\n    def f(self):\n        return 1\n")) is not None
    assert code_of(one) != code_of(made("class C:\n    def f(self): return 2\n"))
