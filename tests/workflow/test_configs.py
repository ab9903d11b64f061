"""The other configurations, and another workflow that uses this one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.workflow import GOLDEN, Project, planned_jobs

pytestmark = pytest.mark.workflow


def test_the_papers_configuration_makes_every_run(fresh: Project) -> None:
    plan = fresh.plan("configs/paper.yaml")
    jobs = planned_jobs(plan)
    assert fresh.jobs(configs=("configs/paper.yaml",), golden=False) == jobs
    compared = 3 * 3 * 4  # scales, networks, methods: Table 4, on 6 benchmarks
    ablated = 3 + 3 + 3 + 2 + 16 + 8  # what Tables 1, 2, 3, 5, 7 and 8 add at x4, on 4 benchmarks
    assert jobs["deliver_weights"] == compared + ablated
    assert jobs["evaluate"] == compared * 6 + ablated * 4
    assert (jobs["evaluate_bicubic"], jobs["evaluate_perceptual"]) == (3 * 6, 4 * 4)
    assert (jobs["train_informative"], jobs["train_uncertainty"], jobs["train_weighted"]) == (9, 10, 10)
    # 4 cycles have 3 masks that are used; Table 7's runs have other numbers of cycles.
    in_table_7 = (7, 1, 6, 3, 3, 3, 3, 3, 7, 7)
    assert jobs["attribute_parameters"] == 9 * 3 + (1 + 3 + 3 + 2 + 7) * 3 + sum(in_table_7)
    # Each scale has one class split, and x4 five more.
    assert (jobs["train_reference"], jobs["write_class_shards"]) == (3, 3 + 5)
    assert jobs["table"] == 8
    evaluations = plan.table("table4").settings["evaluations"]
    assert (len(plan.table_runs("table4")), len(evaluations)) == (compared, compared * 6 + 3 * 6)


def test_the_bsds_configuration_plans_given_pairs(fresh: Project, data: Path) -> None:
    paths = {"bsds400": data / "train/bsds400"}
    paths |= {name.lower(): data / "benchmarks" / name / "x{scale}" for name in ("Set5", "Set14")}
    here = fresh.overlay("here", {"sources": {name: {"path": str(path)} for name, path in paths.items()}})
    jobs = fresh.jobs("results/tables/table4.csv", configs=("configs/bsds.yaml", here), golden=False)
    assert jobs["evaluate"] == 2 * 6 * 2  # networks, methods, benchmarks
    assert jobs["make_manifest"] == 4  # train, validation, two benchmarks


def test_another_workflow_can_use_this_one_as_a_module(fresh: Project, tmp_path: Path) -> None:
    importer = Project(tmp_path / "importer")
    importer.folder.mkdir()
    importer.environment = fresh.environment
    golden = yaml.safe_load((fresh.folder / GOLDEN).read_text())
    (importer.folder / "Snakefile").write_text(
        f"""\
module bspa:
    snakefile: {str(fresh.folder / "Snakefile")!r}
    config: {golden!r}


use rule * from bspa as sr_*


rule mine:
    default_target: True
    input:
        "results/tables/edsr.csv",
"""
    )
    jobs = importer.jobs(golden=False)
    assert (jobs["sr_deliver_weights"], jobs["sr_table"]) == (1, 1)


def test_scripts_find_the_library_from_an_environment_of_their_own(root: Path, tmp_path: Path) -> None:
    """As with --sdm conda: Snakemake hands its search path to the other Python, not its import hooks."""
    snakefile = tmp_path / "Snakefile"
    snakefile.write_text(
        f"""\
include: {str(root / "Snakefile")!r}


import bspa
from snakemake.common import get_snakemake_searchpaths

Path("found").write_text(json.dumps([get_snakemake_searchpaths(), bspa.__file__]))
"""
    )
    hook = tmp_path / "hook" / "sitecustomize.py"  # what an editable installation does
    hook.parent.mkdir()
    checkout = str(root)
    hook.write_text(f"import sys; sys.path.append({checkout!r}); import bspa; sys.path.remove({checkout!r})")
    subprocess.run(
        [sys.executable, "-m", "snakemake", "--dry-run", "results/data/checked.txt"],
        cwd=tmp_path, check=True, env={**os.environ, "PYTHONPATH": str(hook.parent)},
    )  # fmt: skip
    paths, library = json.loads((tmp_path / "found").read_text())
    assert str(Path(library).parents[1]) in paths


def test_a_fetched_workflow_is_a_module_too(root: Path, fresh: Project, tmp_path: Path) -> None:
    """As `github(...)` of a deployed workflow: no folder of it is here."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(fresh.folder)]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "all"], ["tag", "v0"]):
        subprocess.run([*git, *command], check=True)
    deployed = Project(tmp_path / "deployed")
    shutil.copytree(root / "config", deployed.folder / "config")
    deployed.environment = fresh.environment
    (deployed.folder / "Snakefile").write_text(
        f"""\
configfile: "config/config.yaml"


module bspa:
    snakefile:
        gitfile({str(fresh.folder)!r}, path="Snakefile", tag="v0")
    config:
        config


use rule * from bspa
"""
    )
    jobs = deployed.jobs("results/tables/table4.csv", configs=(str(fresh.folder / GOLDEN),), golden=False)
    assert (jobs["train_reference"], jobs["table"]) == (1, 1)
