"""The workflow as a workflow: real Snakemake on a tiny configuration."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import zipfile
from pathlib import Path

import h5py
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from bspa.metrics.catalogue import lpips_available
from bspa.models.registry import build
from bspa.models.weights import save_weights
from tests.support.workflow import Project, job_counts

pytestmark = pytest.mark.workflow

TINY_JOBS = {
    "make_manifest": 2, "check_data": 1, "pack_images": 2, "crop_sub_images": 1, "train_reference": 1,
    "score_difficulty": 1, "compute_thresholds": 1, "write_class_shards": 1, "train_uniform": 5,
    "train_inverse": 4, "attribute_parameters": 1, "deliver_weights": 3, "evaluate": 3, "evaluate_bicubic": 1,
    "table_classes": 1, "table": 1, "figure_1": 1,
}  # fmt: skip
MODELS = [f"tiny_x4_{method}_seed0" for method in ("baseline", "alternating", "bspa")]


@pytest.fixture(scope="session")
def finished(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which everything has been made once."""
    project = Project.copy(root, tmp_path_factory.mktemp("finished") / "bspa")
    assert project.jobs() == TINY_JOBS
    assert job_counts(project.run().stdout) == TINY_JOBS
    return project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project to edit."""
    return Project.copy(finished.folder, tmp_path / "bspa")


@pytest.fixture
def fresh(root: Path, tmp_path: Path) -> Project:
    """A project in which nothing has been made."""
    return Project.copy(root, tmp_path / "bspa")


# ---- a full run ----------------------------------------------------------------------------------------


def test_a_second_run_does_nothing(finished: Project) -> None:
    assert "Nothing to be done" in finished.run().stdout


def test_table_4_has_a_bicubic_row_and_every_run(finished: Project) -> None:
    table = pd.read_csv(finished.folder / "results/tables/table4.csv")
    assert list(table.columns) == [
        "scale", "model", "method", "parameters", "steps", "device_seconds",
        "tiny_test_psnr", "tiny_test_ssim",
    ]  # fmt: skip
    assert list(table["method"]) == ["bicubic", "baseline", "alternating", "bspa"]
    # 2 photographs x repeat 6 in batches of 4 are 3 steps an epoch, for 4 epochs, however they are sampled.
    assert list(table["steps"]) == [0, 12, 12, 12]
    assert table["tiny_test_psnr"].between(5, 60).all()
    for suffix in ("md", "tex"):
        assert (finished.folder / f"results/tables/table4.{suffix}").stat().st_size > 0


def test_classes_share_out_every_sub_image(finished: Project) -> None:
    classes = pd.read_csv(finished.folder / "results/tables/classes.csv")
    with h5py.File(finished.folder / "results/difficulty/tiny_train/x4/scores.h5") as scores:
        assert classes["N_k"].sum() == len(scores["mse"])
    assert list(classes["k"]) == [1, 2, 3, 4]
    assert classes["t_k"].is_monotonic_increasing
    assert abs(classes["P_k"].sum() - 1) < 1e-12


def test_delivered_weights_say_how_they_were_made(finished: Project) -> None:
    with safe_open(finished.folder / f"results/models/{MODELS[2]}.safetensors", "pt") as file:
        header = file.metadata()
    assert header["architecture"] == "fsrcnn"
    assert json.loads(header["options"]) == {"d": 8, "s": 4, "m": 1}
    assert (header["scale"], header["method"], header["steps"]) == ("4", "bspa", "12")


def test_a_mask_freezes_the_share_of_equation_11(finished: Project) -> None:
    summary = json.loads((finished.folder / f"results/training/{MODELS[2]}/cycle1/mask.json").read_text())
    assert summary["fraction"] == 0.5 * 2 / 4  # beta * e / T
    assert summary["frozen"] == round(0.25 * summary["units"])


def test_every_job_leaves_a_log(finished: Project) -> None:
    logs = list((finished.folder / "results/logs").rglob("*.log"))
    assert len(logs) == sum(TINY_JOBS.values())


# ---- reruns --------------------------------------------------------------------------------------------


def test_editing_beta_reruns_attribution_and_what_follows(project: Project) -> None:
    changed = project.overlay("beta", {"methods": {"bspa": {"attribution": {"beta": 0.25}}}})
    assert project.jobs(configs=[changed]) == {
        "attribute_parameters": 1, "train_uniform": 1, "train_inverse": 1, "deliver_weights": 1,
        "evaluate": 1, "table": 1,
    }  # fmt: skip


def test_another_kind_of_shards_is_written_without_scoring_again(project: Project) -> None:
    jobs = project.jobs(configs=[project.overlay("pixels", {"shards": "pixels"})])
    assert not {"score_difficulty", "compute_thresholds", "table_classes"} & set(jobs)
    assert (jobs["write_class_shards"], jobs["train_inverse"]) == (1, 4)


def test_scoring_otherwise_trains_no_reference_again(project: Project) -> None:
    for change in ({"precision": "float32"}, {"sees": "images"}):
        jobs = project.jobs(configs=[project.overlay("otherwise", {"reference": change})])
        assert "train_reference" not in jobs
        assert (jobs["score_difficulty"], jobs["write_class_shards"], jobs["train_inverse"]) == (1, 1, 4)


def test_editing_the_number_of_classes_does_not_score_again(project: Project) -> None:
    jobs = project.jobs(configs=[project.overlay("k", {"class_splits": {"default": {"classes": 5}}})])
    assert not {"train_reference", "score_difficulty", "pack_images", "crop_sub_images"} & set(jobs)
    assert {"compute_thresholds", "write_class_shards", "table_classes", "figure_1"} <= set(jobs)
    # Each alternating recipe: both inverse stages, the uniform stage after the first, nothing before it.
    assert (jobs["train_inverse"], jobs["train_uniform"], jobs["deliver_weights"]) == (4, 2, 2)


def test_editing_a_docstring_or_a_comment_reruns_nothing(project: Project) -> None:
    project.edit("bspa/losses.py", '"""Mean absolute error', '"""The mean absolute error')
    project.edit("bspa/attribution.py", "# backward() adds", "# As is known, backward() adds")
    assert project.jobs() == {}


def test_editing_the_loss_reruns_training(project: Project) -> None:
    project.edit("bspa/losses.py", "l1_loss(output.float(), target)", "mse_loss(output.float(), target)")
    jobs = project.jobs()
    assert (jobs["train_uniform"], jobs["train_inverse"], jobs["train_reference"]) == (5, 4, 1)
    assert not {"make_manifest", "pack_images", "crop_sub_images", "evaluate_bicubic"} & set(jobs)


def test_editing_the_metrics_reruns_evaluation_only(project: Project) -> None:
    project.edit("bspa/metrics/luma.py", "65.481", "65.482")
    jobs = project.jobs()
    assert set(jobs) <= {"evaluate", "evaluate_bicubic", "table"}
    assert jobs["evaluate"] == 3


def test_a_new_benchmark_is_evaluated_and_nothing_is_trained(project: Project) -> None:
    more = {"sources": {"more": {"kind": "builtin", "photos": ["camera"]}}}
    changed = project.overlay("more", {**more, "data": {"benchmarks": ["tiny_test", "more"]}})
    assert project.jobs(configs=[changed]) == {
        "make_manifest": 1, "check_data": 1, "pack_images": 1, "evaluate": 3, "evaluate_bicubic": 1,
        "table": 1,
    }  # fmt: skip


def test_a_new_benchmark_does_not_hide_another_change(project: Project) -> None:
    """Of jobs behind one that must run, Snakemake does not look for other reasons (as with ancient())."""
    values = {
        "sources": {"more": {"kind": "builtin", "photos": ["camera"]}},
        "data": {"benchmarks": ["tiny_test", "more"]},
        "training": {"learning_rate": 0.002},
    }
    jobs = project.jobs(configs=[project.overlay("more", values)])
    assert (jobs["train_reference"], jobs["train_uniform"], jobs["train_inverse"]) == (1, 5, 4)


def test_a_new_scale_leaves_the_others_alone(project: Project) -> None:
    values = {"scales": [2, 4], "sub_images": {"x2": {"size": 32, "step": 32, "threshold": 24}}}
    jobs = project.jobs(configs=[project.overlay("more", values)])
    trained = ("train_reference", "train_uniform", "train_inverse", "attribute_parameters", "deliver_weights")
    assert {name: jobs[name] for name in trained} == {name: TINY_JOBS[name] for name in trained}
    assert "make_manifest" not in jobs


def test_where_it_computes_does_not_matter(project: Project) -> None:
    changed = project.overlay("here", {"compute": {"device": "cpu", "save_every_seconds": 5.0, "threads": 2}})
    assert project.jobs(configs=[changed]) == {}


@pytest.mark.parametrize("gpus", [1, 2])
def test_jobs_on_several_gpus_leave_each_other_cores(fresh: Project, gpus: int) -> None:
    """With all cores each, only one would run at a time."""
    with (fresh.folder / "Snakefile").open("a") as file:
        file.write('\nfor r in workflow.rules:\n    print("threads", r.name, r.resources["_cores"].value)\n')
    here = fresh.overlay("here", {"compute": {"threads": "auto"}})
    output = fresh.run("--dry-run", "--resources", f"gpu={gpus}", "gate=1000", configs=[here]).stdout
    threads = dict(line.split()[1:] for line in output.splitlines() if line.startswith("threads "))
    cores = min(2, len(os.sched_getaffinity(0)))  # --cores 2
    assert threads["pack_images"] == str(cores)
    for rule in ("train_reference", "score_difficulty", "train_uniform", "train_inverse", "evaluate"):
        assert threads[rule] == str(max(1, cores // gpus)), rule


def test_given_weights_that_change_are_taken_again(fresh: Project) -> None:
    weights, reference = fresh.folder / "given.safetensors", "results/reference/x4.safetensors"
    given = fresh.overlay("given", {"reference": {"weights": {"x4": {"file": weights.name}}}})
    for seed in (0, 1):
        torch.manual_seed(seed)
        save_weights(weights, build("msrresnet", 4, blocks=1, channels=8).state_dict(), {})
        assert job_counts(fresh.run(reference, configs=[given]).stdout) == {"import_reference": 1}
    assert fresh.jobs(reference, configs=[given]) == {}


def test_one_stage_can_be_run_again_by_name(project: Project) -> None:
    stage = f"results/training/{MODELS[1]}/cycle2/inverse.safetensors"
    (project.folder / stage).unlink()
    expected = {"train_inverse": 1, "deliver_weights": 1, "evaluate": 1, "table": 1}
    assert project.jobs() == expected


# ---- every method, table and figure --------------------------------------------------------------------

EVERYTHING = "tests/configs/everything.yaml"
SHOWN = ("figure1", "figure3", "figure4", "figure5", "figure6", "training", "attribution")


@pytest.fixture(scope="session")
def everything(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with two seeds in which every kind of table and figure has been made."""
    project = Project.copy(root, tmp_path_factory.mktemp("everything") / "bspa")
    project.run(configs=[EVERYTHING])
    return project


def test_every_table_and_figure_is_made_once(everything: Project) -> None:
    results = everything.folder / "results"
    for name in SHOWN:
        assert (results / f"figures/{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (results / f"figures/{name}.png").read_bytes().startswith(b"\x89PNG")
    for name in ("table1", "table4", "table6", "mine"):
        assert {len((results / f"tables/{name}.{suffix}").read_text()) > 100 for suffix in ("md", "tex")} == {
            True
        }
    assert "Nothing to be done" in everything.run(configs=[EVERYTHING]).stdout


def test_compared_methods_take_equal_steps_and_deliver_the_plain_network(everything: Project) -> None:
    table = pd.read_csv(everything.folder / "results/tables/table4.csv").set_index("method").drop("bicubic")
    assert list(table.index) == ["baseline", "sampling_aug", "udn", "bspa"]
    assert set(table["steps"]) == {12}
    assert table["parameters"].nunique() == 1
    for method in table.index:
        with safe_open(
            everything.folder / f"results/models/tiny_x4_{method}_seed1.safetensors", "pt"
        ) as file:
            assert not any("head." in name and "head_conv" not in name for name in file.keys())  # noqa: SIM118


def test_a_table_of_ones_own_has_the_metrics_that_it_asks_for(everything: Project) -> None:
    table = pd.read_csv(everything.folder / "results/tables/mine.csv")
    scores = [name for name in table.columns if name.startswith("tiny_test")]
    assert scores[:2] == ["tiny_test_ssim", "tiny_test_psnr"]
    assert "A table of one's own" in (everything.folder / "results/tables/mine.md").read_text()


def test_several_seeds_give_intervals_of_the_gain(everything: Project) -> None:
    table = pd.read_csv(everything.folder / "results/tables/table1.csv").set_index("method")
    assert {"tiny_test_psnr_std", "tiny_test_psnr_sem", "tiny_test_psnr_gain"} <= set(table.columns)
    gain = table["tiny_test_psnr_gain"]
    difference = table["tiny_test_psnr"] - table.loc["baseline", "tiny_test_psnr"]
    assert gain.drop(["bicubic", "baseline"]).to_numpy() == pytest.approx(
        difference.drop(["bicubic", "baseline"]).to_numpy()
    )


def test_perceptual_scores_that_cannot_be_computed_are_said_to_be_missing(everything: Project) -> None:
    table = pd.read_csv(everything.folder / "results/tables/table6.csv")
    assert table["tiny_test_niqe"].isna().all()
    text = (everything.folder / "results/tables/table6.md").read_text()
    assert "perceptual.niqe" in text
    if not lpips_available():
        assert table["tiny_test_lpips"].isna().all()
        assert 'pip install -e ".[perceptual]"' in text


def test_niqe_is_computed_with_a_pristine_model(everything: Project, data: Path, tmp_path: Path) -> None:
    project = Project.copy(everything.folder, tmp_path / "bspa")
    model = {"file": str(data / "metrics/niqe_pris_params.npz")}
    niqe = project.overlay("niqe", {"perceptual": {"niqe": model}})
    output = project.run("results/tables/table6.csv", configs=[EVERYTHING, niqe]).stdout
    expected = {"fetch_niqe_model": 1, "evaluate_perceptual": 4, "evaluate_perceptual_bicubic": 1, "table": 1}
    assert job_counts(output) == expected
    table = pd.read_csv(project.folder / "results/tables/table6.csv")
    assert table["tiny_test_niqe"].between(1, 60).all()


def test_the_report_holds_every_table_and_figure(everything: Project) -> None:
    everything.run("--report", "report.zip", configs=[EVERYTHING])
    with zipfile.ZipFile(everything.folder / "report.zip") as archive:
        names = {Path(name).name for name in archive.namelist()}
    assert {f"{name}.png" for name in SHOWN} <= names
    assert {"classes.csv", "table1.csv", "table4.csv", "table6.csv", "mine.csv"} <= names


def test_the_plan_tells_steps_and_times(fresh: Project) -> None:
    plan = fresh.run("plan", "--quiet", configs=[EVERYTHING]).stdout
    assert not (fresh.folder / "results/data").exists()
    (line,) = [line for line in plan.splitlines() if re.match(r"tiny +x4 +udn +0 ", line)]
    assert "3" in line.split()
    assert "9" in line.split()


def test_selecting_other_patches_does_not_map_again(everything: Project) -> None:
    changed = everything.overlay("share", {"patch_selections": {"default": {"share": 0.2}}})
    jobs = everything.jobs(configs=[EVERYTHING, changed])
    assert jobs["select_patches"] == 1
    assert jobs["train_informative"] == 2
    assert not {"map_informativeness", "train_uniform", "train_uncertainty"} & set(jobs)


# ---- being killed --------------------------------------------------------------------------------------

SLOW = {"training": {"repeat": 800}, "compute": {"save_every_seconds": 0.1}}
TARGET = f"results/models/{MODELS[2]}.safetensors"


def kill_during(project: Project, stage: str, slow: str, *, orphan: bool = False) -> None:
    """Start Snakemake and kill it, and unless ``orphan`` its scripts, once ``stage`` has saved a state."""
    state = project.folder / "results/.state/training" / MODELS[2] / stage / "state.safetensors"
    state.unlink(missing_ok=True)
    output = project.folder / "killed.log"
    with (
        output.open("w") as file,
        subprocess.Popen(
            project.command(TARGET, configs=[slow]),
            cwd=project.folder,
            env=project.environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        limit = time.monotonic() + 120
        while not state.exists():
            assert process.poll() is None, output.read_text()[-3000:]
            assert time.monotonic() < limit
            time.sleep(0.01)
        if orphan:
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)


def test_killed_stages_end_bit_identical(finished: Project, tmp_path: Path) -> None:
    undisturbed = Project.copy(finished.folder, tmp_path / "undisturbed")
    slow = undisturbed.overlay("slow", SLOW)
    undisturbed.run("results/shards/tiny_train/x4/default", configs=[slow])
    killed = Project.copy(undisturbed.folder, tmp_path / "killed")
    undisturbed.run(TARGET, configs=[slow])
    for stage, orphan in (("cycle1/uniform", False), ("cycle1/inverse", True), ("cycle2/inverse", False)):
        kill_during(killed, stage, slow, orphan=orphan)
    # The default profile has rerun-incomplete; an orphan still at work is waited for.
    output = killed.run(TARGET, "--rerun-incomplete", configs=[slow]).stdout
    assert job_counts(output) == {"train_inverse": 1, "deliver_weights": 1}
    assert (killed.folder / TARGET).read_bytes() == (undisturbed.folder / TARGET).read_bytes()
    log = killed.folder / "results/logs/training" / MODELS[2] / "cycle2_inverse.log"
    assert "continuing at step" in log.read_text()
    assert not list((killed.folder / "results/.state").rglob("*.safetensors"))


# ---- bad input -----------------------------------------------------------------------------------------


def fails(project: Project, values: dict[str, object]) -> str:
    """Run with an overlay that must fail before anything is made but manifests; return the output."""
    done = project.run(configs=[project.overlay("bad", values)], check=False)
    assert done.returncode == 1, done.stdout[-3000:]
    made = [p for p in (project.folder / "results").rglob("*") if p.suffix in (".h5", ".safetensors")]
    assert not made
    assert "Traceback" not in done.stdout
    return done.stdout


def test_an_unknown_key_is_one_clear_error(fresh: Project) -> None:
    output = fails(fresh, {"trainig": {"epochs": 3}})
    assert "trainig: unknown key; did you mean 'training'?" in output
    assert not (fresh.folder / "results").exists()


def test_a_broken_benchmark_photograph_stops_before_any_training(fresh: Project) -> None:
    folder = fresh.folder / "photos"
    folder.mkdir()
    Image.effect_mandelbrot((200, 160), (-3, -2.5, 2, 2.5), 100).convert("RGB").save(folder / "good.png")
    (folder / "cut.png").write_bytes((folder / "good.png").read_bytes()[:-3000])
    source = {"kind": "folder", "path": "photos"}
    output = fails(fresh, {"sources": {"bad": source}, "data": {"benchmarks": ["bad"]}})
    assert "photos/cut.png" in output
    assert "truncated" in output


def test_a_pair_whose_sizes_do_not_match_stops_before_any_training(fresh: Project) -> None:
    folder = fresh.folder / "pairs"
    folder.mkdir()
    Image.new("RGB", (120, 80), "red").save(folder / "1_HR.png")
    Image.new("RGB", (30, 21), "red").save(folder / "1_LR.png")
    source = {"kind": "folder", "path": "pairs", "hr": "*_HR.png", "lr": "*_LR.png"}
    output = fails(fresh, {"sources": {"bad": source}, "data": {"benchmarks": ["bad"]}})
    assert "1_LR.png" in output
    assert "30x21" in output


def test_a_benchmark_too_small_to_be_scored_stops_before_any_training(fresh: Project) -> None:
    folder = fresh.folder / "photos"
    folder.mkdir()
    Image.new("RGB", (19, 40), "red").save(folder / "small.png")  # cut to 16 pixels, 8 inside the border
    source = {"kind": "folder", "path": "photos"}
    output = fails(fresh, {"sources": {"bad": source}, "data": {"benchmarks": ["bad"]}})
    assert "small.png" in output
    assert "19x40" in output


def test_more_classes_than_sub_images_stop_before_any_training(fresh: Project) -> None:
    output = fails(fresh, {"class_splits": {"default": {"classes": 100000}}})
    assert "100000" in output
    assert "sub-images" in output


# ---- the other configurations --------------------------------------------------------------------------


def test_the_papers_configuration_plans_every_run(root: Path, tmp_path: Path) -> None:
    project = Project.copy(root, tmp_path / "bspa")
    jobs = project.jobs(configs=["configs/paper.yaml"], tiny=False)
    compared = 3 * 3 * 4  # scales, networks, methods: Table 4, on 6 benchmarks
    ablated = 3 + 3 + 3 + 2 + 8  # what Tables 1, 2, 3, 5 and 7 add at x4, on 4 benchmarks
    assert jobs["deliver_weights"] == compared + ablated
    assert jobs["evaluate"] == compared * 6 + ablated * 4
    assert (jobs["evaluate_bicubic"], jobs["evaluate_perceptual"]) == (3 * 6, 4 * 4)
    assert (jobs["train_informative"], jobs["train_uncertainty"], jobs["train_weighted"]) == (9, 9, 9)
    # 4 cycles have 3 masks that hold; Table 7's have 7, 1, 6, 3, 3, 3 and 7; a figure shows one more.
    assert jobs["attribute_parameters"] == 9 * 3 + 9 * 3 + (7 + 1 + 6 + 3 + 3 + 3 + 7) + 1
    # Each scale has one class split, and x4 five more.
    assert (jobs["train_reference"], jobs["write_class_shards"]) == (3, 3 + 5)
    assert jobs["table"] == 7


def test_the_papers_table_4_trains_what_it_shows_and_no_more(root: Path, tmp_path: Path) -> None:
    project = Project.copy(root, tmp_path / "bspa")
    jobs = project.jobs("results/tables/table4.csv", configs=["configs/paper.yaml"], tiny=False)
    assert (jobs["deliver_weights"], jobs["evaluate"]) == (36, 36 * 6)
    assert jobs["train_uniform"] == 9 + 9 * 4  # baseline; BSPA's four cycles
    assert (jobs["train_inverse"], jobs["attribute_parameters"]) == (9 * 4, 9 * 3)
    assert jobs["write_class_shards"] == 3


def test_the_bsds_configuration_plans_given_pairs(root: Path, data: Path, tmp_path: Path) -> None:
    project = Project.copy(root, tmp_path / "bspa")
    paths = {"bsds400": data / "train/bsds400"}
    paths |= {name.lower(): data / "benchmarks" / name / "x{scale}" for name in ("Set5", "Set14")}
    here = project.overlay("here", {"sources": {name: {"path": str(path)} for name, path in paths.items()}})
    jobs = project.jobs("results/tables/table4.csv", configs=["configs/bsds.yaml", here], tiny=False)
    assert jobs["evaluate"] == 2 * 6 * 2  # networks, methods, benchmarks
    assert jobs["make_manifest"] == 3
