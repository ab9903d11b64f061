"""Files that are whole or not there, HDF5 files of a stated format, and the keys of products."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from bspa.system.files import atomic_folder, atomic_path, read_key, remove_leftovers, write_text
from bspa.system.hdf5 import create_hdf5, memory_map, open_hdf5

ROOT = Path(__file__).parents[2]
KILLED = """
import os, signal, sys
from bspa.system.files import atomic_folder, atomic_path
with atomic_path(sys.argv[1]) as file, atomic_folder(sys.argv[2]) as folder:
    file.touch()
    (folder / "class01.h5").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


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


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    product, folder = tmp_path / "x4.h5", tmp_path / "split"
    with (
        subprocess.Popen([sys.executable, "-c", KILLED, product, folder], cwd=ROOT) as killed,
        atomic_path(product) as own,
    ):
        assert killed.wait() == -signal.SIGKILL
        own.touch()
        assert len(names(tmp_path)) == 3
        elsewhere = [tmp_path / f".x4.00000000-1{more}" for more in (".h5", ".old.h5")]
        for other in elsewhere:
            other.touch()
        os.utime(elsewhere[1], (0, 0))
        (tmp_path / ".x4.h5.sha256").touch()
        remove_leftovers([product, folder])
        assert names(tmp_path) == sorted([".x4.h5.sha256", elsewhere[0].name, own.name])


def test_a_full_disk_is_told_with_the_file(tmp_path: Path) -> None:
    for make in (atomic_path, atomic_folder):
        with pytest.raises(OSError, match=r"No space left on device: '.*a\.h5'"), make(tmp_path / "a.h5"):
            raise OSError(errno.ENOSPC, "No space left on device")
        with pytest.raises(OSError, match=r"Input/output error$"), make(tmp_path / "a.h5"):
            raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("size", range(0, 90_000, 5000))
def test_hdf5_fails_once_where_the_system_lets_it_write_no_more(tmp_path: Path, size: int) -> None:
    def write() -> None:
        with create_hdf5(tmp_path / "a.h5", "t", 1, key="") as file:
            file["id"] = [f"photograph {number}" for number in range(100)]
            file.create_dataset("samples", (80_000,), np.uint8, fill_time="never")
            for start in range(0, 80_000, 10_000):
                file["samples"][start : start + 10_000] = start // 10_000
            file["more"] = ["later"] * 100

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: '.*a\.h5'"):
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(tmp_path) == []


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
