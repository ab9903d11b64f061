"""A stage on several devices, here processes on a CPU: as on one, to the rounding of float32."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import distributed, nn

from bspa.data.packed import PackedImages
from bspa.sampling.uniform import UniformSampler
from bspa.system.processes import start_followers
from bspa.training.ranks import Ranks
from bspa.training.snapshot import Snapshot, load_snapshot
from tests.support.noise import pack_noise
from tests.support.ranks import LEAST_SECONDS, STAGES, fail, make_masks, run_together, train_all
from tests.support.training import CPU, assert_same, initial_weights

TWO = [CPU, CPU]

JOB = """
import logging, sys
from tests.support.ranks import run_together
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
run_together(*sys.argv[1:])
"""

FAILS_UNNOTICED = """
import sys, time
from bspa.system import processes
from tests.support.ranks import fail
import torch
processes.GRACE_SECONDS = 0.1
with processes.start_followers(fail, [torch.device("cpu")] * 2):
    time.sleep(120)
"""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("noise")
    pack_noise(folder, (48, 40), (40, 64), scale=4)
    return str(folder / "x4.h5")


@pytest.fixture(scope="module")
def trained(packed: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders in which `STAGES` were trained by one process and by two."""
    alone, together = tmp_path_factory.mktemp("alone"), tmp_path_factory.mktemp("together")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train_all(0, [CPU], packed=packed, folder=str(alone))
    work = partial(train_all, packed=packed, folder=str(together))
    with start_followers(work, TWO):
        work(0, TWO)
    torch.set_num_threads(threads)
    return alone, together


def end_of(folder: Path, name: str, number: int = 0) -> Snapshot:
    return load_snapshot(folder / f"{name}_{number}.safetensors")[0]


@pytest.mark.parametrize("name", [name for name in STAGES if name not in LEAST_SECONDS])
def test_two_devices_train_as_one(trained: tuple[Path, Path], name: str) -> None:
    alone, together = trained
    one, two = (pd.read_csv(folder / f"{name}_0.csv") for folder in trained)
    assert len(one) == 8
    # Of bfloat16, each process rounds its gradients before they are averaged.
    loss, weight = (1e-4, 4e-3) if name == "bfloat16" else (5e-7, 5e-7)
    np.testing.assert_allclose(two.loss, one.loss, rtol=loss)
    end, other = end_of(alone, name), end_of(together, name)
    torch.testing.assert_close(other.weights, end.weights, rtol=0, atol=weight)
    torch.testing.assert_close(other.average, end.average, rtol=0, atol=weight)


@pytest.mark.parametrize("name", STAGES)
def test_every_process_ends_with_the_same_bits(trained: tuple[Path, Path], name: str) -> None:
    assert_same(end_of(trained[1], name, 0), end_of(trained[1], name, 1))
    rows = len(pd.read_csv(trained[1] / f"{name}_0.csv"))
    assert rows > 8 if name in LEAST_SECONDS else rows == 8


def test_frozen_weights_keep_every_bit_in_every_process(trained: tuple[Path, Path]) -> None:
    before, masks = initial_weights(STAGES["masked"]), make_masks(STAGES["masked"])
    for number in (0, 1):
        weights = end_of(trained[1], "masked", number).weights
        for name, mask in masks.items():
            assert torch.equal(weights[name][mask], before[name][mask]), name
            assert float((weights[name] != before[name])[~mask].float().mean()) > 0.9, name


def test_the_journal_counts_the_samples_and_the_seconds_of_all(trained: tuple[Path, Path]) -> None:
    one, two = (pd.read_csv(folder / "l1_0.csv") for folder in trained)
    assert (two[["step", "epoch"]] == one[["step", "epoch"]]).all(axis=None)
    seconds = two.device_seconds.diff()[1:]
    samples = (two.samples_per_second[1:] * seconds).to_numpy()
    np.testing.assert_allclose(samples, 4, atol=1)  # seconds are rounded


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_parts_of_a_batch_are_the_batch(packed: str, count: int) -> None:
    whole = UniformSampler(PackedImages(packed), patch=32, batch=4, seed=3)
    parts = [Ranks(number=number, count=count).share(whole, 4) for number in range(count)]
    for iteration in (0, 7):
        for place in (0, 1):
            joined = np.concatenate([part.batch(iteration)[place] for part in parts])
            np.testing.assert_array_equal(joined, whole.batch(iteration)[place])


def test_a_normalisation_over_the_batch_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    Ranks().check(model)
    with pytest.raises(ValueError, match=r"devices: 2, but .*layer 1 \(BatchNorm2d\).*allowed.*1"):
        Ranks(count=2).check(model)


# ---- stopped, killed, failed -----------------------------------------------------------------------------


def start(code: str, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], env=environment, cwd=log.parent,
        stdout=log.open("w"), stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def wait_until(true: Callable[[], bool], log: Path) -> None:
    limit = time.monotonic() + 120
    while not true():
        assert time.monotonic() < limit, log.read_text()
        time.sleep(0.02)


def is_gone(group: int) -> bool:
    """Whether no process of a group is left, but for those that nobody waits for."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def test_killed_and_stopped_it_ends_in_the_bytes_of_an_undisturbed_run(
    tmp_path: Path, packed: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "bspa")
    whole, cut, log = tmp_path / "whole", tmp_path / "cut", tmp_path / "log"
    run_together(str(whole), packed)
    state = cut / ".end.partial/state.safetensors"
    with start(JOB, str(cut), packed, log=log) as process:
        wait_until(state.exists, log)
        process.kill()  # and not the other process
        process.wait()
        wait_until(lambda: is_gone(process.pid), log)
    saved = state.read_bytes()
    with start(JOB, str(cut), packed, log=log) as process:
        wait_until(lambda: state.read_bytes() != saved, log)
        os.killpg(process.pid, signal.SIGTERM)  # both
        assert process.wait() == 128 + signal.SIGTERM, log.read_text()
        wait_until(lambda: is_gone(process.pid), log)
    assert "continuing at step" in log.read_text()
    assert "state saved" in log.read_text()
    run_together(str(cut), packed)
    assert "continuing at step" in caplog.text
    assert (cut / "end.safetensors").read_bytes() == (whole / "end.safetensors").read_bytes()
    snapshot, header = load_snapshot(cut / "end.safetensors")
    assert header["device"] == "2 x cpu"
    assert snapshot.best
    assert pd.read_csv(cut / "end.csv").psnr_average.max() == snapshot.best.psnr


def wait_for_the_other() -> None:
    with start_followers(fail, TWO):
        try:
            distributed.barrier()
        finally:
            distributed.destroy_process_group()


def test_a_process_that_fails_ends_the_job_with_its_words() -> None:
    with pytest.raises(ChildProcessError, match=r"(?s)process 2 of 2 .*no such luck"):
        wait_for_the_other()


def test_a_failure_that_the_first_process_does_not_notice_ends_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with start(FAILS_UNNOTICED, log=log) as process:
        assert process.wait(120) == 1
    assert "no such luck" in log.read_text()
