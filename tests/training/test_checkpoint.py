"""The partial state of a stage: whose it is, and who may work on it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from bspa.training.checkpoint import identify, open_checkpoints
from bspa.training.snapshot import load_snapshot, save_snapshot
from tests.support.training import Noise, assert_same, partial_of, train


def test_a_checkpoint_of_another_identity_is_deleted(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        train(tmp_path, sampler=Noise(signal_at=5))
    assert partial_of(tmp_path).exists()
    with open_checkpoints(tmp_path / "end.safetensors", "another") as checkpoints:
        assert checkpoints.load() is None
    assert not partial_of(tmp_path).exists()


def test_the_identity_depends_on_key_precision_and_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, folder = tmp_path / "input", tmp_path / "shards"
    folder.mkdir()
    for path in (file, folder / "class01.h5"):
        path.write_bytes(b"a")

    def now(key: str = "key", precision: str = "float32") -> str:
        return identify(key, precision, [file, folder])

    assert now() == now()
    seen = {now(), now(key="other"), now(precision="bfloat16")}
    for path in (folder / "class01.h5", file):
        path.write_bytes(b"b")
        seen.add(now())
    monkeypatch.setattr("bspa.training.checkpoint.HASHED_BYTES", 0)  # size and time count
    seen.add(now())
    file.write_bytes(b"bb")
    seen.add(now())
    assert len(seen) == 7


HOLDER = """
    import os, sys, time
    from bspa.training.checkpoint import open_checkpoints
    with open_checkpoints(sys.argv[1], "identity"):
        print("locked", flush=True)
"""


def test_a_second_process_waits_for_the_first(tmp_path: Path) -> None:
    code = textwrap.dedent(HOLDER) + "    time.sleep(1)\n    print(time.time(), flush=True)\n"
    command = [sys.executable, "-c", code, str(tmp_path / "end.safetensors")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with open_checkpoints(tmp_path / "end.safetensors", "identity"):
            entered = time.time()
        assert entered >= float(holder.stdout.readline())


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(HOLDER) + "    os.kill(os.getpid(), 9)\n"]
    assert subprocess.run([*command, str(tmp_path / "end.safetensors")], check=False).returncode == -9
    with open_checkpoints(tmp_path / "end.safetensors", "identity") as checkpoints:
        checkpoints.remove()
    assert [*tmp_path.iterdir()] == []


def test_equal_snapshots_are_equal_files(tmp_path: Path) -> None:
    end = train(tmp_path)
    save_snapshot(tmp_path / "a.safetensors", end.snapshot, {"key": "k", "b": "1"})
    save_snapshot(tmp_path / "b.safetensors", end.snapshot, {"b": "1", "key": "k"})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    loaded, metadata = load_snapshot(tmp_path / "a.safetensors")
    assert_same(loaded, end.snapshot)
    assert metadata["key"] == "k"
