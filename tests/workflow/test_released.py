"""The released recipe, equal compute, and weights chosen by validation, through Snakemake."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from safetensors import safe_open

from bspa.config.runs import Run
from tests.support.workflow import GOLDEN, Project

pytestmark = pytest.mark.workflow

METHODS = ["baseline_released_stretched", "bspa_released", "alternating_seconds"]
TRIED = {
    "sources": {"tiny_valid": {"kind": "builtin", "photos": ["coins"]}},
    "models": {
        "tried": {
            "arch": "fsrcnn",
            "options": {"d": 8, "s": 4, "m": 1},
            "training": {
                "epochs": 3, "learning_rate": 0.03, "halve_every": 4, "ema": 0.5,
                "validation": {"source": "tiny_valid", "every": 2},
            },
        }
    },
    "methods": {
        "alternating_released": {"uniform_epochs": 1, "inverse_steps": 7},
        "bspa_released": {"attribution": {"steps": 2, "batches": "epoch"}},
        "alternating_seconds": {"match_seconds": "bspa_released"},
        "idle": {"extends": "alternating", "uniform_epochs": 4},
    },
    "tables": {
        "tried": {"models": ["tried"], "methods": METHODS, "scales": [4], "weights": "best"},
        "other": {"models": ["tried"], "methods": ["idle"], "scales": [4]},
    },
    "figures": {"figure7": {"models": ["tried"], "methods": METHODS}},
}  # fmt: skip
TARGETS = ("results/tables/tried.csv", "results/figures/figure7.pdf")


def test_the_released_recipe_from_photographs_to_table_and_figure(project: Project) -> None:
    overlay = (project.overlay("tried", TRIED),)
    output = project.run(*TARGETS, configs=overlay).stdout
    assert "tried_x4_idle_seed0: no inverse phase" in output

    # 5 steps an epoch: an inverse phase of 7 steps between 2 uniform epochs.
    table = pd.read_csv(project.results / "tables/tried.csv").set_index("method")
    stretched, released, seconds = (table.loc[method] for method in METHODS)
    assert (stretched["steps"], released["steps"]) == (17, 17)
    assert seconds["steps"] >= 15
    assert seconds["steps"] % 5 == 0
    assert seconds["device_seconds"] >= released["device_seconds"] > released["attribution_seconds"] > 0

    plan = project.plan(GOLDEN, *overlay)
    for method in METHODS:
        run = Run("tried", 4, method, 0, "best")
        with safe_open(project.results / plan.deliver_weights(run).path, "pt") as file:
            step = highest([project.results / stage.path for stage in plan.stages(run.trained)])
            assert file.metadata()["weights"] == f"best average on tiny_valid, at step {step}"

    output = project.run("plan", "--quiet", "all", configs=overlay).stdout
    lines = (line.split() for line in output.splitlines())
    rows = {line[2]: line[3:7] for line in lines if line[:2] == ["tried", "x4"]}
    # One seed; gradients of a mask with 2 points on 5 batches; steps, and steps that are made.
    assert rows["bspa_released"] == ["1", "10", "17", "17"]

    assert project.jobs(*TARGETS, configs=overlay) == {}
    best = "results/models/tried_x4_bspa_released_seed0_best.safetensors"
    (project.folder / best).unlink()
    remade = {"deliver_weights": 1, "evaluate": 1, "table": 1}
    assert project.jobs(best, *TARGETS, configs=overlay) == remade


def highest(snapshots: list[Path]) -> int:
    """Return the steps of a run at the first highest point of its validation curve."""
    before, points = 0, []
    for snapshot in snapshots:
        journal = pd.read_csv(snapshot.with_suffix(".csv"))
        points.append(journal.assign(step=journal["step"] + before))
        before = points[-1]["step"].iloc[-1]
    curve = pd.concat(points).dropna().set_index("step")
    return int(curve["psnr_average"].idxmax())
