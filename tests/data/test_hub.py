"""Hugging Face datasets, read from local folders made by the tests; nothing here needs a network."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from bench.data.images import encode_png
from bench.data.items import Dataset
from bench.errors import BenchError, ImageError

RNG = np.random.default_rng(5)
LOW = [RNG.integers(0, 60, (6, 8, 3), dtype=np.uint8) for _ in range(4)]
HIGH = [RNG.integers(0, 65536, (6, 8, 3), dtype=np.uint16) for _ in range(4)]


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    import datasets

    folder = tmp_path_factory.mktemp("hf")
    patch = pytest.MonkeyPatch()
    patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    patch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True, raising=False)
    patch.setattr(datasets.config, "HF_HUB_OFFLINE", True, raising=False)
    datasets.disable_progress_bars()
    yield  # type: ignore[misc]
    patch.undo()


def parquet(folder: Path, split: str = "test", **columns: list) -> Path:
    """A folder with one parquet file whose columns of bytes are declared as images."""
    import datasets

    kinds = {
        name: datasets.Image() if isinstance(values[0], dict | bytes) else datasets.Value("string")
        for name, values in columns.items()
    }
    cells = {
        name: [{"bytes": value, "path": None} if isinstance(value, bytes) else value for value in values]
        for name, values in columns.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict(cells, features=datasets.Features(kinds)).to_parquet(folder / f"{split}-0.parquet")
    return folder


def pngs(images: list[np.ndarray]) -> list[bytes]:
    return [encode_png(image) for image in images]


def build(path: Path, **options: object) -> Dataset:
    from bench.data.hub import hub

    return hub("h", None, path=str(path), **options)  # type: ignore[arg-type]


def test_image_columns_are_decoded_by_our_decoder(tmp_path: Path) -> None:
    dataset = build(parquet(tmp_path / "d", low=pngs(LOW), high=pngs(HIGH)), lq="low", gt="high")
    assert dataset.paired and [item.id for item in dataset.items] == ["000000", "000001", "000002", "000003"]
    for item, low, high in zip(dataset.items, LOW, HIGH, strict=True):
        assert item.lq is not None and item.gt is not None
        np.testing.assert_array_equal(item.lq.load(), low)
        deep = item.gt.load()
        assert deep.dtype == np.uint16  # the library's own decoding would have cut it to 8 bits
        np.testing.assert_array_equal(deep, high)
        assert item.lq.size() == (6, 8)


def test_an_image_folder_is_read_from_its_files(tmp_path: Path) -> None:
    (tmp_path / "d/test").mkdir(parents=True)
    for number, raw in enumerate(pngs(LOW)):
        (tmp_path / f"d/test/{number}.png").write_bytes(raw)
    dataset = build(tmp_path / "d", lq="image")
    assert not dataset.paired
    assert sorted(item.lq.load().sum() for item in dataset.items if item.lq) == sorted(image.sum() for image in LOW)


def test_a_single_parquet_file_is_a_dataset(tmp_path: Path) -> None:
    folder = parquet(tmp_path / "d", image=pngs(LOW))
    assert len(build(folder / "test-0.parquet").items) == 4


@pytest.mark.parametrize("several", [False, True])
def test_a_folder_of_save_to_disk_is_read_and_another_split_is_refused(tmp_path: Path, several: bool) -> None:
    import datasets

    cells = {"image": [{"bytes": raw, "path": None} for raw in pngs(LOW)]}
    table = datasets.Dataset.from_dict(cells, features=datasets.Features({"image": datasets.Image()}))
    (datasets.DatasetDict({"test": table, "val": table}) if several else table).save_to_disk(tmp_path / "d")
    for item, low in zip(build(tmp_path / "d").items, LOW, strict=True):
        assert item.lq is not None
        np.testing.assert_array_equal(item.lq.load(), low)
    if several:
        with pytest.raises(BenchError, match=r"has no split 'train' \(it has test, val\)"):
            build(tmp_path / "d", split="train")


def test_a_column_names_the_items_and_repeats_are_problems(tmp_path: Path) -> None:
    folder = parquet(tmp_path / "d", image=pngs(LOW), name=["b.png", "a.png", "b.png", None])
    dataset = build(folder, id="name")
    assert [item.id for item in dataset.items if item.problem is None] == ["b", "a"]
    assert [item.problem for item in dataset.items if item.problem] == [
        "row 2 has the id of row 0",
        "row 3 has no 'name'",
    ]
    assert len({item.id for item in dataset.items}) == 4
    assert dataset.notes[0].startswith("2 of 4 items")


def test_stamps_are_the_same_for_the_same_data_and_others_for_other_data(tmp_path: Path) -> None:
    folder = parquet(tmp_path / "d", image=pngs(LOW))

    def stamps() -> list:
        return [item.lq.stamp() for item in build(folder).items if item.lq]

    first = stamps()
    assert first == stamps() and len(set(first)) == 4
    parquet(tmp_path / "d", image=pngs(LOW[::-1]))
    os.utime(folder / "test-0.parquet", ns=(1, 1))
    assert not set(first) & set(stamps())


def test_a_cell_that_is_no_image_is_one_line_and_keeps_its_bytes(tmp_path: Path) -> None:
    dataset = build(parquet(tmp_path / "d", image=[*pngs(LOW[:1]), b"not an image"]))
    source = dataset.items[1].lq
    assert source is not None and source.raw() == b"not an image"
    with pytest.raises(ImageError, match="#1/image: not an image of a known kind"):
        source.load()


def test_an_empty_cell_is_one_line(tmp_path: Path) -> None:
    source = build(parquet(tmp_path / "d", image=[*pngs(LOW[:1]), None])).items[1].lq  # type: ignore[list-item]
    assert source is not None
    with pytest.raises(ImageError, match="holds no image"):
        source.load()


def test_a_table_cannot_point_at_files_outside_its_folder(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(encode_png(LOW[0]))
    folder = parquet(tmp_path / "d", image=[*pngs(LOW[:1]), {"bytes": None, "path": str(secret)}])  # type: ignore[list-item]
    source = build(folder).items[1].lq
    assert source is not None
    with pytest.raises(ImageError, match="outside its own folder"):
        source.load()


def test_sources_survive_being_sent_to_a_worker(tmp_path: Path) -> None:
    source = build(parquet(tmp_path / "d", image=pngs(LOW))).items[2].lq
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).load(), LOW[2])


def test_an_unknown_column_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no column 'imagee'; did you mean 'image'"):
        build(parquet(tmp_path / "d", image=pngs(LOW)), lq="imagee")


def test_a_column_of_text_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"'name' .* not images"):
        build(parquet(tmp_path / "d", image=pngs(LOW), name=list("abcd")), lq="name")


def test_an_unknown_split_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BenchError) as caught:
        build(parquet(tmp_path / "d", image=pngs(LOW)), split="validation")
    assert "validation" in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_with_a_script_is_refused(tmp_path: Path) -> None:
    folder = parquet(tmp_path / "d", image=pngs(LOW))
    (folder / "d.py").write_text("raise SystemExit('executed')")
    with pytest.raises(BenchError, match=r"script \(d\.py\)"):
        build(folder)


def test_a_missing_folder_is_not_looked_for_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="is not there"):
        build(tmp_path / "gone")
