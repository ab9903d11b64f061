"""The partial state of a stage: whose it is, and who may work on it."""

from __future__ import annotations

import errno
import platform
import zlib
from pathlib import Path

import numpy as np
import pytest

from bspa.system.locks import try_hold
from bspa.training.checkpoint import identify, open_checkpoints
from tests.support.damage import DAMAGE
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


def test_the_folder_is_locked_while_a_process_works_on_the_stage(tmp_path: Path) -> None:
    with open_checkpoints(tmp_path / "end.safetensors", "identity") as checkpoints:
        assert not try_hold(checkpoints.folder / "lock")
    assert try_hold(checkpoints.folder / "lock")


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_state_is_set_aside_and_the_stage_begins_afresh(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    with pytest.raises(SystemExit):
        train(tmp_path / "cut", sampler=Noise(signal_at=5))
    state = partial_of(tmp_path / "cut")
    state.write_bytes(DAMAGE[damage](state.read_bytes()))
    again = train(tmp_path / "cut", sampler=(sampler := Noise()))
    assert sampler.asked[0] == 0
    assert f"{state} is damaged" in caplog.text
    assert state.with_suffix(".damaged").exists()
    assert_same(again.snapshot, train(tmp_path / "whole").snapshot)


def test_every_flipped_bit_of_a_state_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        train(tmp_path, sampler=Noise(signal_at=5))
    state = partial_of(tmp_path)
    whole = state.read_bytes()
    for place in np.random.default_rng(0).integers(0, 8 * len(whole), 200):
        data = bytearray(whole)
        data[place // 8] ^= 1 << (place % 8)
        state.write_bytes(data)
        with open_checkpoints(tmp_path / "end.safetensors", "identity") as checkpoints:
            assert checkpoints.load() is None, place
    state.write_bytes(whole)
    with open_checkpoints(tmp_path / "end.safetensors", "identity") as checkpoints:
        assert checkpoints.load() is not None


def test_a_state_that_cannot_be_saved_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: Path, *_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    whole = train(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr("bspa.training.checkpoint.save_snapshot", refuse)
        disturbed = train(tmp_path / "full", save_every_seconds=0.0)
        with pytest.raises(SystemExit):
            train(tmp_path / "stopped", sampler=Noise(signal_at=5))
    assert_same(disturbed.snapshot, whole.snapshot)
    assert "the state at step 12 is not saved ([Errno 28] No space left on device: " in caplog.text
    assert "stopped at step 6 of 12" in caplog.text
    assert "state saved" not in caplog.text


def test_leftovers_of_killed_attempts_go(tmp_path: Path) -> None:
    folder = partial_of(tmp_path).parent
    folder.mkdir()
    (folder / f".state.{zlib.crc32(platform.node().encode()):08x}-4194305.safetensors").touch()
    with open_checkpoints(tmp_path / "end.safetensors", "identity"):
        assert [path.name for path in folder.iterdir()] == ["lock"]
