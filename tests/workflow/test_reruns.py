"""What Snakemake runs again after a change: what depends on it, and nothing else."""

from __future__ import annotations

import hashlib
import os

import pytest
import torch

from bspa.models.registry import build
from bspa.models.weights import load_weights, save_weights
from tests.support.workflow import GOLDEN, Project, job_counts, planned_jobs

pytestmark = pytest.mark.workflow


def test_editing_beta_reruns_attribution_and_what_follows(golden: Project) -> None:
    changed = golden.overlay("beta", {"methods": {"bspa_kept": {"attribution": {"beta": 0.25}}}})
    # Three cycles of 1 + 1 epochs; the mask of the last would hold for nothing, and the last inverse phase
    # comes after it.
    assert golden.jobs("results/models/tiny_x4_bspa_kept_seed0.safetensors", configs=(changed,)) == {
        "attribute_parameters": 2, "train_uniform": 2, "train_inverse": 2, "deliver_weights": 1,
    }  # fmt: skip


def test_editing_a_docstring_or_a_comment_reruns_nothing(project: Project) -> None:
    for file in ("bspa/training/losses.py", "workflow_scripts/evaluate.py"):
        path = project.folder / file
        path.write_text(path.read_text() + "\n# a comment\n")
    assert project.jobs() == {}


def test_editing_the_metrics_reruns_evaluation_only(project: Project) -> None:
    project.edit("bspa/metrics/luma.py", "65.481", "65.482")
    jobs = project.jobs()
    assert {"evaluate", "evaluate_bicubic", "table"} <= set(jobs)
    assert not any(name.startswith(("train", "score", "make", "pack", "attribute")) for name in jobs)


@pytest.mark.parametrize("learning_rate", [1e-3, 2e-3])
def test_a_new_benchmark_trains_nothing_and_hides_no_other_change(
    project: Project, learning_rate: float
) -> None:
    values = {
        "sources": {"more": {"kind": "builtin", "photos": ["camera"]}},
        "data": {"benchmarks": ["tiny_test", "more"]},
        "training": {"learning_rate": learning_rate},
    }
    jobs = project.jobs(configs=(project.overlay("more", values),))
    assert (jobs["make_manifest"], jobs["check_data"]) == (1, 1)
    trained = [name for name in planned_jobs(project.plan(GOLDEN)) if name.startswith(("train", "deliver"))]
    expected = planned_jobs(project.plan(GOLDEN)) if learning_rate == 2e-3 else {}
    assert {name: jobs.get(name, 0) for name in trained} == {name: expected.get(name, 0) for name in trained}


def test_given_weights_that_change_are_taken_again(fresh: Project) -> None:
    weights, reference = fresh.folder / "given.safetensors", "results/reference/x4.safetensors"
    given = fresh.overlay("given", {"reference": {"weights": {"x4": {"file": weights.name}}}})
    for seed in (0, 1):
        torch.manual_seed(seed)
        save_weights(weights, build("msrresnet", 4, blocks=1, channels=8).state_dict(), {})
        assert job_counts(fresh.run(reference, configs=(given,)).stdout) == {"import_reference": 1}
    assert fresh.jobs(reference, configs=(given,)) == {}


def test_runs_start_from_given_weights_and_again_from_others(fresh: Project) -> None:
    weights, name = fresh.folder / "given.safetensors", "results/models/tiny_x4_baseline_seed0.safetensors"
    given = fresh.overlay("given", {"models": {"tiny": {"start": {"x4": {"file": weights.name}}}}})
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        save_weights(weights, build("fsrcnn", 4, d=8, s=4, m=1).state_dict(), {})
        jobs = job_counts(fresh.run(name, configs=(given,)).stdout)
        rules = ("import_start", "train_uniform", "deliver_weights")
        assert [jobs[rule] for rule in rules] == [1, 1, 1]
        metadata = load_weights(fresh.folder / name)[1]
        assert metadata["started_from_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
        found.append(load_weights(fresh.folder / name)[0]["head_conv.0.weight"])
    assert not torch.equal(*found)
    assert fresh.jobs(name, configs=(given,)) == {}


def test_one_stage_can_be_run_again_by_name(project: Project) -> None:
    (project.results / "training/tiny_x4_alternating_seed0/cycle2/inverse.safetensors").unlink()
    jobs = project.jobs()
    assert (jobs["train_inverse"], jobs["deliver_weights"], jobs["evaluate"]) == (1, 1, 1)
    assert not {"train_uniform", "train_reference", "attribute_parameters"} & set(jobs)


@pytest.mark.parametrize("gpus", [1, 2])
def test_jobs_on_several_gpus_leave_each_other_cores(fresh: Project, gpus: int) -> None:
    """With all cores each, only one would run at a time."""
    with (fresh.folder / "Snakefile").open("a") as file:
        file.write(
            "\nfor r in workflow.rules:\n"
            '    cores = stage_threads({}) if r.name.startswith("train_") else r.resources["_cores"].value\n'
            '    print("threads", r.name, cores)\n'
        )
    here = fresh.overlay("here", {"compute": {"threads": "auto"}})
    target = "results/data/checked.txt"
    output = fresh.run(target, "--dry-run", "--resources", f"gpu={gpus}", configs=(here,)).stdout
    threads = dict(line.split()[1:] for line in output.splitlines() if line.startswith("threads "))
    cores = min(2, len(os.sched_getaffinity(0)))  # --cores 2
    assert threads["pack_images"] == str(cores)
    for rule in ("train_reference", "score_difficulty", "train_uniform", "train_inverse", "evaluate"):
        assert threads[rule] == str(max(1, cores // gpus)), rule
