"""Runs that are killed, fail or are stopped: the same command ends in what an undisturbed run makes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from bspa.system.locks import exclusive
from tests.support.workflow import Project

pytestmark = pytest.mark.workflow

RUN = "tiny_x4_bspa_seed0"
CYCLE = f"results/training/{RUN}/cycle1"
SLOW = {"models": {"tiny": {"training": {"repeat": 800}}}, "compute": {"save_every_seconds": 0.1}}
CHANGES: dict[str, tuple[dict[str, Any], str, str]] = {
    "beta": (
        {"methods": {"bspa": {"attribution": {"beta": 0.3}}}},
        "attribute_parameters",
        f"training/{RUN}/cycle1/mask.*",
    ),
    "classes": (
        {"class_splits": {"default": {"classes": 5}}},
        "compute_thresholds",
        "difficulty/tiny_train/x4/default/thresholds.csv",
    ),
    "grid": ({"sub_images": {"x4": {"step": 32}}}, "crop_sub_images", "sub_images/tiny_train/x4.h5"),
    "border": ({"data": {"border": "symmetric"}}, "pack_images", "data/tiny_train/x4.h5"),
    "learning rate": ({"training": {"learning_rate": 0.003}}, "train_reference", "reference/x4*"),
    "photographs": (
        {"sources": {"tiny_train": {"photos": ["chelsea", "coins"]}}},
        "make_manifest",
        "data/tiny_train/manifest.csv",
    ),
}
"""What is changed, the first job that runs again, and its outputs."""


def wait_for(file: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    limit = time.monotonic() + 120
    while not file.exists():
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_not_forgotten_when_its_first_job_fails(project: Project, name: str) -> None:
    """Snakemake deletes the outputs of a job before it runs: what lies behind it must not pass for new."""
    change, first, outputs = CHANGES[name]
    target, changed = "results/tables/table4.csv", (project.overlay("changed", change),)
    whole = project.jobs(target, configs=changed)
    files = list(project.results.glob(outputs))
    assert files
    for file in files:
        file.unlink()
    after = project.jobs(target, configs=changed)
    assert after == whole
    assert after[first] > 0
    assert after["table"] == 1


def test_killed_stages_end_bit_identical(golden: Project, tmp_path: Path) -> None:
    undisturbed, killed = golden.copy(tmp_path / "undisturbed"), golden.copy(tmp_path / "killed")
    slow = undisturbed.overlay("slow", SLOW)
    mask = f"{CYCLE}/mask.safetensors"
    undisturbed.run(mask, configs=(slow,))
    log = killed.folder / "killed.log"
    for stage, kill in (("uniform", os.killpg), ("inverse", os.kill)):  # the latter leaves the script alone
        with killed.start(mask, configs=(slow,), log=log) as process:
            wait_for(killed.folder / CYCLE / f".{stage}.partial/state.safetensors", process, log)
            kill(process.pid, signal.SIGKILL)
    killed.run(mask, configs=(slow,))
    for name in ("uniform", "inverse", "mask"):
        file = f"{CYCLE}/{name}.safetensors"
        assert (killed.folder / file).read_bytes() == (undisturbed.folder / file).read_bytes()
    stage_log = killed.results / "logs/training" / RUN / "cycle1_uniform.log"
    assert "continuing at step" in stage_log.read_text()
    assert not list(killed.results.rglob("state.safetensors"))


def test_runs_that_fail_or_are_stopped_end_in_the_results_of_the_new_config(
    golden: Project, tmp_path: Path
) -> None:
    undisturbed, disturbed = golden.copy(tmp_path / "undisturbed"), golden.copy(tmp_path / "disturbed")
    changed = undisturbed.overlay("changed", CHANGES["beta"][0])
    weights = f"results/models/{RUN}.safetensors"
    undisturbed.run(weights, configs=(changed,))
    script = disturbed.folder / "workflow_scripts/attribute_parameters.py"
    text, log = script.read_text(), disturbed.folder / "disturbed.log"
    for way in ("failed", "terminated", "killed"):
        begun = disturbed.folder / way
        stop = "raise ValueError('stop')" if way == "failed" else "import time; time.sleep(600)"
        main = "def main(snakemake: Any) -> None:\n"
        body = f"    from pathlib import Path; Path({str(begun)!r}).touch(); {stop}\n"
        script.write_text(text.replace(main, main + body))
        with disturbed.start(weights, configs=(changed,), log=log) as process:
            wait_for(begun, process, log)
            if way != "failed":
                os.killpg(process.pid, signal.SIGKILL if way == "killed" else signal.SIGTERM)
    script.write_text(text)
    disturbed.run(weights, configs=(changed,))
    assert (disturbed.folder / weights).read_bytes() == (undisturbed.folder / weights).read_bytes()


def test_one_run_at_a_time_in_a_results_folder_and_plan_beside_it(fresh: Project, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    elsewhere = (fresh.overlay("elsewhere", {"results": str(shared)}),)
    target = f"{shared}/data/tiny_train/manifest.csv"
    with exclusive(shared / ".lock"):  # as a run of another clone
        refused = fresh.run(target, configs=elsewhere, check=False)
        assert refused.returncode
        assert f"is running this workflow here ({shared}/.lock)" in refused.stdout
        assert "time left" in fresh.run("plan", configs=elsewhere).stdout
    assert not (shared / "data").exists()
