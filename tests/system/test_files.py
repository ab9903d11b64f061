"""Files that are whole or not there, HDF5 files of a stated format, and the keys of products."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from bspa.system.files import atomic_folder, atomic_path, read_key, write_text
from bspa.system.hdf5 import create_hdf5, memory_map, open_hdf5


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    write_text(path, "old")
    with pytest.raises(FileNotFoundError), atomic_path(path) as temporary:
        temporary.unlink()
    assert (path.read_text(), names(path.parent)) == ("old", ["a.txt"])
    write_text(path, "new")
    (tmp_path / "own").touch()
    assert (path.read_text(), path.stat().st_mode) == ("new", (tmp_path / "own").stat().st_mode)


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder"
    for name in ("old", "new"):
        with atomic_folder(path) as folder:
            (folder / "inner").mkdir()
            (folder / "inner" / name).touch()
        assert names(path / "inner") == [name]
    with pytest.raises(KeyError), atomic_folder(path):
        raise KeyError
    assert (names(path / "inner"), names(path.parent)) == (["new"], ["folder"])


def test_an_hdf5_file_is_of_its_format_and_mapped_on_whole_pages(tmp_path: Path) -> None:
    path, samples = tmp_path / "a.h5", np.arange(10_000, dtype=np.uint8)
    with create_hdf5(path, "test", 3, key="abc", scale=4) as file:
        file["samples"] = samples
    with open_hdf5(path, "test", 3, rule="make") as file:
        assert dict(file.attrs) == {"format": "test", "format_version": 3, "key": "abc", "scale": 4}
        assert file["samples"].id.get_offset() % 4096 == 0
        assert np.array_equal(memory_map(path, file["samples"]), samples)
    for kind, version in (("other", 3), ("test", 2)):
        with (
            pytest.raises(ValueError, match=r"a\.h5.*'test' version 3.*make"),
            open_hdf5(path, kind, version, rule="make"),
        ):
            pass
    with pytest.raises(ValueError, match=r"a\.h5.*make"), open_hdf5(path, "test", 3, rule="make") as file:
        file["absent"]


def test_every_product_has_its_key(tmp_path: Path) -> None:
    with create_hdf5(tmp_path / "folder" / "class01.h5", "test", 1, key="k"):
        pass
    save_file({"a": np.zeros(3)}, tmp_path / "a.safetensors", metadata={"key": "k"})
    (tmp_path / "a.json").write_text(json.dumps({"key": "k"}))
    (tmp_path / "a.csv").write_text("image,key\nbaby,k\nbird,k\n")
    for name in ("folder/class01.h5", "folder", "a.safetensors", "a.json", "a.csv"):
        assert read_key(tmp_path / name) == "k", name


@pytest.mark.parametrize("suffix", [".h5", ".safetensors", ".json", ".csv", ".txt"])
def test_a_file_without_a_key(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    assert read_key(path) is None
    for content in (b"", b"[]", b"image,psnr\nbaby,1\n", b"\xff" * 99):
        path.write_bytes(content)
        assert read_key(path) is None
        assert read_key(tmp_path) is None
