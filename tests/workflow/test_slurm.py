"""On a real SLURM: a stage that is stopped goes on in the next job, to the bytes of a local run."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.workflow import Project


def _no_slurm() -> str | None:
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return "the extra `cluster` is not installed"
    if not shutil.which("sinfo") or subprocess.run(["sinfo", "-h"], capture_output=True).returncode:
        return "no SLURM answers: sinfo"
    return None


NO_SLURM = _no_slurm()

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.skipif(NO_SLURM is not None, reason=str(NO_SLURM)),
]

REFERENCE = "results/reference/x4.safetensors"
SLURM = (
    "--workflow-profile", "profiles/slurm", "--slurm-status-command", "squeue", "--slurm-no-account",
    "--max-threads", "1", "--default-resources", "mem_mb=1000", "runtime=30",
)  # fmt: skip


def steps_for(project: Project, seconds: int) -> str:
    """Return an overlay with which the reference trains for about ``seconds``, by a measurement."""
    short = project.overlay("short", {"models": {"tiny_reference": {"training": {"repeat": 100}}}})
    project.run(REFERENCE, configs=(short,))
    log = (project.results / "logs/train_reference/x4.log").read_text()
    started, ended = (_seconds(line) for line in (log.splitlines()[0], log.splitlines()[-1]))
    repeat = 100 * seconds // max(1, ended - started)
    training = {"models": {"tiny_reference": {"training": {"repeat": repeat}}}}
    return project.overlay("long", {**training, "compute": {"save_every_seconds": 1}})


def _seconds(line: str) -> int:
    hours, minutes, seconds = line.split()[0].split(":")
    return 3600 * int(hours) + 60 * int(minutes) + int(seconds)


@pytest.mark.parametrize("stopped", ["by its time limit", "by scancel"])
def test_a_stopped_stage_goes_on_in_the_next_job(golden: Project, tmp_path: Path, stopped: str) -> None:
    local, slurm = golden.copy(tmp_path / "local"), golden.copy(tmp_path / "slurm")
    long = (steps_for(local, 150 if stopped == "by its time limit" else 60),)
    shutil.copy(local.folder / "long.yaml", slurm.folder)
    local.run(REFERENCE, configs=long)
    log, partial = tmp_path / "log", slurm.results / "reference/.x4.partial"
    limit = "1" if stopped == "by its time limit" else "30"
    asked = ("--set-resources", f"train_reference:runtime={limit}", "train_reference:mem_mb=1000")
    with slurm.start(REFERENCE, *SLURM, *asked, configs=long, log=log) as process:
        if stopped == "by scancel":
            while not list(partial.parent.glob(".x4*.partial/state.safetensors")):
                assert process.poll() is None, log.read_text()[-3000:]
                time.sleep(0.1)
            jobs = log.read_text().split("SLURM jobid ")[1].split()[0]
            subprocess.run(["scancel", jobs], check=True)
        assert process.wait(600) == 0, log.read_text()[-3000:]
    said = log.read_text()
    assert said.count("has been submitted") >= (3 if stopped == "by its time limit" else 2), said[-3000:]
    assert "continuing at step" in (slurm.results / "logs/train_reference/x4.log").read_text()
    assert (slurm.folder / REFERENCE).read_bytes() == (local.folder / REFERENCE).read_bytes()
