"""A whole run: what it makes, and that a second run has nothing to do."""

from __future__ import annotations

import hashlib
import json
import zipfile
from importlib.metadata import version
from pathlib import Path

import h5py
import pandas as pd
import pytest
from safetensors import safe_open

from bspa.config.plan import Plan
from bspa.metrics.catalogue import lpips_available
from bspa.system.files import read_key
from tests.support.workflow import GOLDEN, Project, job_counts, planned_jobs

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def plan(golden: Project) -> Plan:
    return golden.plan(GOLDEN)


def test_provenance_names_everything_that_was_made(golden: Project, plan: Plan) -> None:
    record = json.loads((golden.results / "provenance.json").read_text())
    made = {product["file"]: product for product in record["products"]}
    assert made.keys() == plan.products().keys()
    assert record["config"]["scales"] == list(plan.config.scales)
    assert record["packages"]["torch"] == version("torch")
    weights = made["models/tiny_x4_udn_seed0.safetensors"]
    assert (weights["seed"], weights["steps"], weights["precision"]) == (0, 30, "float32")
    assert len(weights["code"]) == 16
    assert weights["sha256"] == hashlib.sha256((golden.results / weights["file"]).read_bytes()).hexdigest()
    manifest = golden.results / record["sources"]["tiny_train"]["manifest"]
    assert record["sources"]["tiny_train"]["sha256"] == hashlib.sha256(manifest.read_bytes()).hexdigest()


def test_a_second_run_does_nothing_wherever_it_computes(golden: Project) -> None:
    elsewhere = {"compute": {"device": "auto", "save_every_seconds": 5.0, "threads": 2}}
    assert golden.jobs(configs=(golden.overlay("elsewhere", elsewhere),)) == {}


def test_the_plan_and_the_rules_agree(golden: Project, plan: Plan) -> None:
    assert golden.jobs("--forceall") == planned_jobs(plan)
    assert not [path for path in plan.products() if not (golden.results / path).exists()]


def test_products_hold_their_keys(golden: Project, plan: Plan) -> None:
    held = {path: read_key(golden.results / path) for path in plan.products()}
    wrong = {path: key for path, key in held.items() if key and key != plan.products()[path].key}
    assert not wrong
    rules = {plan.products()[path].rule for path, key in held.items() if not key}
    # These are for readers, who want no column of keys.
    assert rules <= {
        "make_manifest", "check_data", "table", "table_classes", "fetch_niqe_model",
        "figure_1", "figure_3", "figure_4", "figure_5", "figure_6", "figure_training", "figure_attribution",
    }  # fmt: skip


def test_table_4_has_a_bicubic_row_and_every_run(golden: Project) -> None:
    table = pd.read_csv(golden.results / "tables/table4.csv")
    assert list(table.columns) == [
        "scale", "model", "method", "parameters", "steps", "device_seconds", "attribution_seconds",
        "tiny_test_psnr", "tiny_test_ssim",
    ]  # fmt: skip
    methods = ["baseline", "inverse", "alternating", "fig", "bspa", "bspa_literal", "bspa_kept"]
    assert list(table["method"]) == ["bicubic", *methods, "sampling_aug", "udn"]
    # 2 photographs x repeat 10 in batches of 4 are 5 steps an epoch, for 6 epochs, however they are sampled;
    # the letter of Algorithm 1 adds an inverse epoch to each of its two cycles.
    steps = dict(zip(table["method"], table["steps"], strict=True))
    assert steps.pop("bspa_literal") == 40
    assert steps.pop("bicubic") == 0
    assert set(steps.values()) == {30}
    assert table["tiny_test_psnr"].between(5, 60).all()
    for suffix in ("md", "tex", "html"):
        assert (golden.results / f"tables/table4.{suffix}").stat().st_size > 0


def test_classes_share_out_every_sub_image(golden: Project) -> None:
    classes = pd.read_csv(golden.results / "tables/classes.csv").query("scale == 4")
    with h5py.File(golden.results / "difficulty/tiny_train/x4/scores.h5") as scores:
        assert classes["N_k"].sum() == len(scores["mse"])
    assert list(classes["k"]) == [1, 2, 3, 4]
    assert classes["t_k"].is_monotonic_increasing
    assert abs(classes["P_k"].sum() - 1) < 1e-12


def test_delivered_weights_say_how_they_were_made(golden: Project) -> None:
    with safe_open(golden.results / "models/tiny_x4_udn_seed0.safetensors", "pt") as file:
        header = file.metadata()
        assert not any("head." in name and "head_conv" not in name for name in file.keys())  # noqa: SIM118
    assert header["architecture"] == "fsrcnn"
    assert json.loads(header["options"]) == {"d": 8, "s": 4, "m": 1, "initial": "he", "value_range": 1}
    assert (header["scale"], header["method"], header["steps"]) == ("4", "udn", "30")


def test_a_mask_freezes_the_share_of_equation_11(golden: Project) -> None:
    summary = json.loads((golden.results / "training/tiny_x4_bspa_seed0/cycle1/mask.json").read_text())
    assert summary["fraction"] == 0.5 * 2 / 6  # beta * e / T
    assert summary["frozen"] == round(summary["fraction"] * summary["units"])


def test_every_job_leaves_a_log_and_every_figure_is_made(golden: Project, plan: Plan) -> None:
    assert len(list((golden.results / "logs").rglob("*.log"))) == len(plan.products())
    for name in plan.figures:
        assert (golden.results / f"figures/{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (golden.results / f"figures/{name}.png").read_bytes().startswith(b"\x89PNG")


def test_perceptual_scores_that_cannot_be_computed_are_said_to_be_missing(golden: Project) -> None:
    table = pd.read_csv(golden.results / "tables/table6.csv")
    assert table["tiny_test_niqe"].isna().all()
    text = (golden.results / "tables/table6.md").read_text()
    assert "perceptual.niqe" in text
    if not lpips_available():
        assert table["tiny_test_lpips"].isna().all()
        assert "[perceptual]" in text


def test_niqe_is_computed_with_a_pristine_model_and_another_runs_attribution_drawn(
    project: Project, data: Path
) -> None:
    niqe = {"perceptual": {"niqe": {"file": str(data / "metrics/niqe_pris_params.npz")}}}
    shown = {"figures": {"attribution": {"model": "tiny", "method": "bspa"}}}
    targets = ("results/tables/table6.csv", "results/figures/attribution.png")
    output = project.run(*targets, configs=(project.overlay("more", niqe | shown),)).stdout
    assert job_counts(output) == {
        "fetch_niqe_model": 1, "evaluate_perceptual": 2, "evaluate_perceptual_bicubic": 1, "table": 1,
        "figure_attribution": 1,
    }  # fmt: skip
    table = pd.read_csv(project.results / "tables/table6.csv")
    assert table["tiny_test_niqe"].gt(1).all()
    assert table.loc[table["method"] == "bicubic", "tiny_test_niqe"].between(1, 60).all()


def test_the_report_holds_the_tables_and_figures_that_there_are(project: Project) -> None:
    for file in project.results.glob("tables/rcan.*"):
        file.unlink()
    project.run("--report", "report.zip")
    with zipfile.ZipFile(project.folder / "report.zip") as archive:
        names = {Path(name).name for name in archive.namelist()}
    assert {"figure1.png", "figure6.png", "classes.html", "table4.html", "table6.html"} <= names
    assert "rcan.html" not in names


def test_the_plan_tells_steps_and_what_is_made(project: Project) -> None:
    output = project.run("plan", "--quiet", "all").stdout
    (line,) = [line for line in output.splitlines() if line.split()[:3] == ["tiny", "x4", "udn"]]
    assert "30" in line.split()
