"""Leases of GPUs, with stand-ins for the GPUs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

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


@pytest.fixture
def two_usable_gpus(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """Stand-ins that can be chosen; the list is of those that this process was prepared for."""
    del two_gpus
    prepared: list[torch.device] = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda index: f"GPU {index}")
    monkeypatch.setattr("bspa.system.devices.prepare_device", prepared.append)
    return prepared


def test_a_stage_on_several_gpus_leases_each_of_them(two_usable_gpus: list[torch.device]) -> None:
    first, second = torch.device("cuda", 0), torch.device("cuda", 1)
    assert devices.choose_devices("auto", 2, 2) == [first, second]
    assert two_usable_gpus == [first]
    assert devices.choose_devices("cuda", 2, 2) == [first, second]  # the second place on each
    for device, most in (("auto", 2), ("cuda:1", 1)):
        with pytest.raises(ValueError, match=rf"devices: 3, but {most} CUDA"):
            devices.choose_devices(device, 1, 3)
