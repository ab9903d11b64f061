"""The groups and the profiles of clusters, by a command that submits to this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.workflow import Project

pytestmark = pytest.mark.workflow
RUN = "tiny_x4_bspa_seed0"


def test_a_run_is_few_submissions_and_makes_what_a_local_run_makes(fresh: Project, tmp_path: Path) -> None:
    local = fresh.copy(tmp_path / "local")
    target, asked = f"results/evaluation/{RUN}/tiny_test.csv", tmp_path / "asked"
    submit = tmp_path / "submit"
    submit.write_text(
        f'#!/bin/sh\necho "$1 $2 $3 $4" >> {asked}\nsetsid sh "$5" > "$5.log" 2>&1 &\necho $!\n'
    )
    submit.chmod(0o755)
    log = tmp_path / "log"
    command = f"{submit} {{threads}} {{resources.mem_mb}} {{resources.runtime}} {{resources.gpu}}"
    profile = ("--workflow-profile", "profiles/cluster-generic", "--cluster-generic-submit-cmd", command)
    with fresh.start(target, *profile, "--cluster-generic-cancel-cmd", "kill", log=log) as process:
        assert process.wait(600) == 0, log.read_text()[-6000:]
    submissions = [tuple(map(int, line.split())) for line in asked.read_text().splitlines()]
    # The two sources, which only the check of the data joins, the difficulty, and the run.
    assert len(submissions) == 4, submissions
    assert {submission[0] for submission in submissions} <= {1, 2}  # --cores 2
    # The golden configuration computes on the CPU: no GPU is asked for.
    assert {submission[3] for submission in submissions} == {0}
    assert {minutes for _, _, minutes, _ in submissions[2:]}.isdisjoint({120, 240, 360})  # from the work
    local.run(target)
    for file in (target, f"results/models/{RUN}.safetensors"):
        assert (fresh.folder / file).read_bytes() == (local.folder / file).read_bytes()
