"""Leases of GPUs, with stand-ins for the GPUs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from bspa.system import devices


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(
        "torch.cuda.get_device_properties", lambda index: SimpleNamespace(uuid=f"GPU-{index}")
    )


@pytest.mark.usefixtures("two_gpus")
def test_jobs_spread_over_the_gpus_before_they_share_one() -> None:
    assert [devices._lease([0, 1], jobs_per_gpu=2) for _ in range(4)] == [0, 1, 0, 1]


@pytest.mark.usefixtures("two_gpus")
def test_a_job_waits_while_all_places_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    class WaitedError(Exception):
        pass

    def wait(_seconds: float) -> None:
        raise WaitedError

    monkeypatch.setattr("time.sleep", wait)
    assert devices._lease([1], jobs_per_gpu=1) == 1
    with pytest.raises(WaitedError):
        devices._lease([1], jobs_per_gpu=1)
