"""Building methods: from entries to adapters, without the weight of what they run on."""

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.catalog.registry import Entry, registry
from bench.errors import BenchError
from bench.methods.base import Method
from bench.methods.build import build_method


def plugin(factory, **fields):
    return Entry("mine", "method", {"kind": "plugin", **fields}, "registered at mine.py:3", factory)


class Brighter(Method):
    def __init__(self, gain=2.0, mode="soft"):
        self.gain = gain
        self.mode = mode

    def load(self, device, dtype):
        pass

    def restore(self, images, seeds=None):
        return images * self.gain

    def identity(self):
        return {"gain": self.gain}


def test_every_method_of_the_catalogue_is_built_and_identified_without_heavy_imports(tmp_path):
    script = """
import json, sys
from pathlib import Path
from bench.errors import MissingFile
from bench.methods.build import build_method
from bench.catalog.registry import registry
for entry in registry("method"):
    given = {"path": sys.argv[1] if entry.fields["kind"] == "folder" else sys.argv[2], "argv": ["true", "{output}"]}
    given |= {"host": "sci-medium", "weights": sys.argv[2], "module": "archs.net:Net"}
    declared = (entry.fields.get("options") or {}).items()
    options = {name: given[name] for name, form in declared if isinstance(form, dict) and form.get("required")}
    if entry.fields["kind"] == "plus":
        options["weights"] = given["weights"]
    try:
        json.dumps(dict(build_method(entry, options, None).identity()), allow_nan=False)
    except MissingFile:
        pass
heavy = {"torch", "cv2", "skimage", "scipy", "pandas", "pyiqa"} & set(sys.modules)
networks = [name for name in sys.modules if name.startswith("bench.methods.networks.")]
print(json.dumps([sorted(heavy), networks]))
"""
    (tmp_path / "any.pth").write_bytes(b"never read")
    places = [str(tmp_path), str(tmp_path / "any.pth")]
    done = subprocess.run([sys.executable, "-c", script, *places], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[], []]


def test_suite_options_reach_the_method():
    entry = registry("method").get("gamma")
    assert build_method(entry, {"gamma": 2}, None).identity()["options"] == {"gamma": 2.0}


def test_an_unknown_option_names_method_origin_and_nearest():
    with pytest.raises(BenchError, match=r"method 'gamma' \(classical.yaml:\d+\): unknown option 'gama'.*'gamma'"):
        build_method(registry("method").get("gamma"), {"gama": 2}, None)


def test_an_unknown_kind_names_the_nearest():
    with pytest.raises(BenchError, match="unknown kind 'netwrok'; did you mean 'network'"):
        build_method(Entry("x", "method", {"kind": "netwrok"}, "x.yaml:1"), {}, None)


def test_a_missing_kind_lists_the_kinds():
    with pytest.raises(BenchError, match=r"one of network, spandrel, classical, folder, .*plugin"):
        build_method(Entry("x", "method", {}, "x.yaml:1"), {}, None)


def test_a_plugin_gets_its_options_and_its_name():
    method = build_method(plugin(Brighter), {"gain": 3}, None)
    assert (method.gain, method.name) == (3, "mine")


def test_a_plugin_keeps_a_name_of_its_own():
    class Named(Brighter):
        name = "other"

    assert build_method(plugin(Named), {}, None).name == "other"


def test_a_plugins_catalogue_options_are_overridden_by_the_suite():
    assert build_method(plugin(Brighter, options={"gain": 3.0, "mode": "hard"}), {"gain": 4.0}, None).gain == 4.0


def test_a_plugins_unknown_option_is_refused_with_the_nearest():
    with pytest.raises(BenchError, match=r"'mine' \(registered at mine.py:3\): unknown option 'gian'.*'gain'"):
        build_method(plugin(Brighter), {"gian": 3}, None)


def test_a_plugins_option_of_a_wrong_type_is_refused():
    with pytest.raises(BenchError, match="option 'mode' must be a text"):
        build_method(plugin(Brighter), {"mode": 3}, None)


def test_a_plugin_that_makes_something_else_is_refused_with_its_origin():
    with pytest.raises(BenchError, match=r"'mine' \(registered at mine.py:3\) made dict, which is neither"):
        build_method(plugin(dict), {}, None)


def test_a_plugin_that_fails_is_named_with_the_cause():
    def broken():
        raise RuntimeError("no\nluck")

    with pytest.raises(BenchError, match=r"'mine' .*cannot be made: RuntimeError: no luck"):
        build_method(plugin(broken), {}, None)


def test_a_factory_that_is_not_callable_is_refused():
    with pytest.raises(BenchError, match="not a class or function"):
        build_method(plugin(3), {}, None)


CODE = [entry for entry in registry("method") if entry.fields["kind"] in ("classical", "network")]


@pytest.mark.parametrize("entry", CODE, ids=lambda entry: entry.name)
def test_an_entry_declares_every_module_of_ours_that_its_target_imports(entry):
    """Or a change of a shared helper would be answered from results of the old one."""
    module = entry.target.partition(":")[0]
    declared = {module, *entry.fields.get("modules", [])}
    for name in declared:
        tree = ast.parse(Path(importlib.util.find_spec(name).origin).read_text(encoding="utf-8"))
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        assert {one for one in imported if one.startswith("bench.methods.")} <= declared


@pytest.mark.parametrize("entry", CODE, ids=lambda entry: entry.name)
def test_an_entry_says_its_task_licence_title_and_source(entry):
    assert entry.fields["task"] and entry.fields["licence"] and entry.fields["title"]
    assert entry.name == "identity" or {"title", "authors", "venue"} <= set(entry.fields["paper"])
