"""The partial state of a stage: whose it is, and who may work on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bspa.system.locks import try_hold
from bspa.training.checkpoint import identify, open_checkpoints
from tests.support.training import Noise, partial_of, train


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


def test_the_folder_is_locked_until_the_stage_is_finished(tmp_path: Path) -> None:
    with open_checkpoints(tmp_path / "end.safetensors", "identity") as checkpoints:
        assert not try_hold(checkpoints.folder / "lock")
        checkpoints.remove()
    assert [*tmp_path.iterdir()] == []
