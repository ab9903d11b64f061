"""Runs that are killed, fail or are stopped: the same command ends in what an undisturbed run makes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.workflow import Project, job_counts

pytestmark = pytest.mark.workflow

RUN = "tiny_x4_bspa_seed0"
TARGET = f"results/models/{RUN}.safetensors"
SLOW = {"training": {"repeat": 800}, "compute": {"save_every_seconds": 0.1}}


def start(project: Project, *arguments: str, configs: list[str], log: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        project.command(*arguments, configs=configs),
        cwd=project.folder,
        env=project.environment,
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def wait_for(file: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    limit = time.monotonic() + 120
    while not file.exists():
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < limit
        time.sleep(0.01)


def kill_during(project: Project, stage: str, slow: str, *, orphan: bool = False) -> None:
    """Start Snakemake and kill it, and unless ``orphan`` its scripts, once ``stage`` has saved a state."""
    state = project.results / f"training/{RUN}" / Path(stage).parent / f".{Path(stage).name}.partial"
    log = project.folder / "killed.log"
    with start(project, TARGET, configs=[slow], log=log) as process:
        wait_for(state / "state.safetensors", process, log)
        if orphan:
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)


def test_killed_stages_end_bit_identical(golden: Project, tmp_path: Path) -> None:
    undisturbed = golden.copy(tmp_path / "undisturbed")
    slow = undisturbed.overlay("slow", SLOW)
    killed = undisturbed.copy(tmp_path / "killed")
    killed.overlay("slow", SLOW)
    undisturbed.run(TARGET, configs=[slow])
    for stage, orphan in (("cycle1/uniform", False), ("cycle1/inverse", True)):
        kill_during(killed, stage, slow, orphan=orphan)
    killed.run(TARGET, configs=[slow])
    assert (killed.folder / TARGET).read_bytes() == (undisturbed.folder / TARGET).read_bytes()
    log = killed.results / "logs/training" / RUN / "cycle1_uniform.log"
    assert "continuing at step" in log.read_text()
    assert not list(killed.results.rglob("state.safetensors"))


# ---- a change whose first job does not end -------------------------------------------------------------

CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "beta": ({"methods": {"bspa": {"attribution": {"beta": 0.3}}}}, "attribute_parameters"),
    "classes": ({"class_splits": {"default": {"classes": 5}}}, "compute_thresholds"),
    "grid": ({"sub_images": {"x4": {"step": 32}}}, "crop_sub_images"),
    "border": ({"data": {"border": "symmetric"}}, "pack_images"),
    "learning rate": ({"training": {"learning_rate": 0.003}}, "train_reference"),
    "photographs": ({"sources": {"tiny_train": {"photos": ["chelsea", "coins"]}}}, "make_manifest"),
}
OUTPUTS = {
    "attribute_parameters": f"training/{RUN}/cycle1/mask.*",
    "compute_thresholds": "difficulty/tiny_train/x4/default/thresholds.csv",
    "crop_sub_images": "sub_images/tiny_train/x4.h5",
    "pack_images": "data/tiny_train/x4.h5",
    "train_reference": "reference/x4*",
    "make_manifest": "data/tiny_train/manifest.csv",
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("target", [(), ("results/tables/table4.csv",)], ids=["all", "table"])
def test_a_change_is_not_forgotten_when_its_first_job_fails(
    golden: Project, tmp_path: Path, name: str, target: tuple[str, ...]
) -> None:
    """Snakemake deletes the outputs of a job before it runs: what lies behind it must not pass for new."""
    change, first = CHANGES[name]
    project = golden.copy(tmp_path / "bspa")
    changed = project.overlay("changed", change)
    whole = project.jobs(*target, configs=[changed])
    files = list(project.results.glob(OUTPUTS[first]))
    assert files
    for file in files:
        file.unlink()
    after = project.jobs(*target, configs=[changed])
    assert after == whole
    assert after[first] > 0
    assert after["table"] > 0


@pytest.mark.parametrize("way", ["killed", "terminated", "failed"])
def test_the_next_run_ends_in_the_results_of_the_new_config(
    golden: Project, tmp_path: Path, way: str
) -> None:
    undisturbed, disturbed = golden.copy(tmp_path / "undisturbed"), golden.copy(tmp_path / "disturbed")
    change, _ = CHANGES["beta"]
    changed = [project.overlay("changed", change) for project in (undisturbed, disturbed)][1]
    undisturbed.run(TARGET, configs=["changed.yaml"])
    script = disturbed.folder / "workflow_scripts/attribute_parameters.py"
    text, log = script.read_text(), disturbed.folder / "disturbed.log"
    begin = disturbed.folder / "begun"
    stop = "raise ValueError('stop')" if way == "failed" else "import time; time.sleep(600)"
    script.write_text(
        text.replace(
            "def main(snakemake: Any) -> None:\n",
            "def main(snakemake: Any) -> None:\n"
            f"    from pathlib import Path; Path({str(begin)!r}).touch(); {stop}\n",
        )
    )
    with start(disturbed, TARGET, configs=[changed], log=log) as process:
        wait_for(begin, process, log)
        if way != "failed":
            os.killpg(process.pid, signal.SIGKILL if way == "killed" else signal.SIGTERM)
    script.write_text(text)
    output = disturbed.run(TARGET, configs=[changed]).stdout
    assert job_counts(output)["attribute_parameters"] == 2
    assert (disturbed.folder / TARGET).read_bytes() == (undisturbed.folder / TARGET).read_bytes()
