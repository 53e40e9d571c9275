"""From a catalogue entry and options to a dataset: options are checked before anything is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from bench.catalog.registry import Entry, registry
from bench.data import build
from bench.data.build import build_dataset
from bench.data.images import encode_png
from bench.data.items import Dataset
from bench.errors import BenchError


def toy(
    name: str,
    base: Path | None,
    *,
    path: str,
    count: int = 3,
    strength: float = 1.0,
    flag: bool = False,
    kind: Literal["a", "b"] = "a",
    folders: list[str] | None = None,
) -> Dataset:
    return Dataset(name, (), paired=False, notes=(path, str(count), str(strength), str(flag), kind, str(folders)))


def entry(factory: Any = toy, **fields: Any) -> Entry:
    return Entry("toy", "dataset", fields, "toy.yaml:1", factory)


def test_the_suites_options_win_over_the_catalogues() -> None:
    dataset = build_dataset(entry(options={"path": "theirs", "count": 9}), {"path": "mine"}, None)
    assert dataset.notes[:2] == ("mine", "9")


def test_an_unknown_option_is_named_with_the_nearest() -> None:
    with pytest.raises(BenchError, match="no option 'paht'; did you mean 'path'"):
        build_dataset(entry(), {"paht": "x"}, None)


@pytest.mark.parametrize("name", ["name", "base"])
def test_the_callers_parameters_are_no_options(name: str) -> None:
    with pytest.raises(BenchError, match="no option"):
        build_dataset(entry(), {"path": "x", name: "y"}, None)


def test_a_missing_option_is_named() -> None:
    with pytest.raises(BenchError, match="needs the option 'path'"):
        build_dataset(entry(), {}, None)


@pytest.mark.parametrize(
    "option, value",
    [("path", 3), ("count", "3"), ("count", True), ("count", 1.5), ("strength", "x"), ("strength", True), ("flag", 1),
     ("kind", "c"), ("folders", "x"), ("folders", [1]), ("path", None)],
)  # fmt: skip
def test_a_value_of_the_wrong_type_is_refused(option: str, value: object) -> None:
    with pytest.raises(BenchError, match=f"option '{option}' must be"):
        build_dataset(entry(), {"path": "x", option: value}, None)


@pytest.mark.parametrize("option, value", [("strength", 2), ("folders", None), ("folders", ["a"]), ("kind", "b")])
def test_values_that_fit_are_taken(option: str, value: object) -> None:
    assert isinstance(build_dataset(entry(), {"path": "x", option: value}, None), Dataset)


def test_the_catalogues_protocol_is_carried() -> None:
    assert build_dataset(entry(protocol="basicsr/rgb"), {"path": "x"}, None).protocol == "basicsr/rgb"


def test_the_catalogues_scale_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(np.zeros((2, 2, 3), np.uint8)))
    fields = {"target": "bench.data.folder:folder", "scale": 4, "options": {"lq": str(tmp_path)}}
    assert build_dataset(Entry("sr", "dataset", fields, "x:1"), {}, None).scale == 4
    assert build_dataset(Entry("sr", "dataset", fields, "x:1"), {"scale": 2}, None).scale == 2


def test_a_builder_that_fails_is_named() -> None:
    def broken(name: str, base: Path | None) -> Dataset:
        raise KeyError("boom\nand more")

    with pytest.raises(BenchError, match=r"'toy': KeyError: 'boom.*more'"):
        build_dataset(entry(broken), {}, None)


def test_a_builder_that_returns_something_else_is_named() -> None:
    def odd(name: str, base: Path | None) -> Any:
        return []

    with pytest.raises(BenchError, match="built a list"):
        build_dataset(entry(odd), {}, None)


def test_every_catalogue_dataset_has_what_a_list_shows_and_a_builder_that_loads() -> None:
    builtin = {f"builtin-{kind}" for kind in ("lowlight", "lowlight-headroom", "realworld", "underwater", "backlit")}
    names = {"folder", "hub", *builtin}
    assert names <= set(registry("dataset").names())
    for name in names:
        found = registry("dataset").get(name)
        assert {"title", "task", "licence", "description", "target"} <= set(found.fields)
        assert callable(found.load())


def test_the_catalogues_own_options_are_of_their_types() -> None:
    """Nobody looks when a dataset is built; the builder itself then objects to what it cannot read."""
    told = [(one, option) for one in registry("dataset") for option in one.fields.get("options") or {}]
    assert len(told) > 40
    for one, option in told:
        build.value_of(build._options(one.load())[option].type, one.fields["options"][option], f"{one.name}: {option}")


@pytest.mark.parametrize("name", ["lowlight", "lowlight-headroom", "realworld", "underwater", "backlit"])
def test_the_catalogue_says_how_many_items_a_builtin_has(name: str) -> None:
    found = registry("dataset").get(f"builtin-{name}")
    dataset = build_dataset(found, {}, None)
    assert len(dataset.items) == found.fields["count"]
    assert dataset.paired is found.fields["paired"] and dataset.name == f"builtin-{name}"
