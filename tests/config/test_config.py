"""The settings: what is accepted, and how mistakes read."""

from __future__ import annotations

import copy
import functools
import json
import operator
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bspa.config.load import load_config, typed


def put(values: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    """Return ``values`` with ``key`` (dotted) set."""
    changed = copy.deepcopy(values)
    *path, last = key.split(".")
    functools.reduce(operator.getitem, path, changed)[last] = value
    return changed


def test_a_recipe_extends_another_section_by_section(values: dict[str, Any]) -> None:
    methods = load_config(values).methods
    fig, bspa = methods["fig"].attribution, methods["bspa"].attribution
    assert fig
    assert bspa
    assert (fig.unit, fig.beta) == ("filter", bspa.beta)


REGION = {"benchmark": "set5", "image": "a", "top": 0, "left": 0}


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("trainng", {}, ["trainng", "unknown key", "did you mean 'training'?"]),
        ("training.epoch", 3, ["training.epoch", "did you mean 'epochs'?"]),
        ("methods.bspa.atribution", {}, ["methods.bspa.atribution", "did you mean 'attribution'?"]),
        ("sources.builtin_train.phtos", [], ["sources.builtin_train.phtos", "did you mean 'photos'?"]),
        ("models.edsr_mini.options.chanels", 3, ["options.chanels", "did you mean 'channels'?"]),
        ("models.fsrcnn.training", {"batches": 3}, ["models.fsrcnn.training.batches", "'batch'?"]),
        ("training.learning_rate", "2e-4", ["'2e-4'", "text", "write 2.0e-4"]),
        ("training.learning_rate", float("inf"), ["training.learning_rate", "inf", "finite"]),
        ("models.fsrcnn.label", "a\nb", ["models.fsrcnn.label", r"'a\nb'", "one line"]),
        ("methods.bspa.label", "inverse", ["methods.bspa.label", "'inverse' is what 'inverse' is"]),
        ("methods.bspa.label", "bicubic", ["methods.bspa.label", "'bicubic'"]),
        ("methods.bspa.extends", {"a": 1}, ["methods.bspa.extends", "{'a': 1}"]),
        ("methods.a/b", {"sampling": "uniform"}, ["methods.a/b", "should match pattern"]),
        ("models.$(touch x)", {"arch": "fsrcnn"}, ["models.$(touch x)", "should match pattern"]),
        ("tables.-rf", {"models": ["fsrcnn"]}, ["tables.-rf", "should match pattern"]),
        ("training.batch", "16", ["training.batch", "'16'", "without quotes"]),
        ("scales", [5], ["scales.0", "5", "2, 3, 4 or 8"]),
        ("methods.bspa.attribution.beta", 1.5, ["beta", "1.5", "less than or equal to 1"]),
        ("sub_images.x4.size", 66, ["sub_images.x4.size", "66", "not divisible by the scale 4", "64"]),
        ("reference.border", 4, ["reference.border", "4", "0 or 'scale'"]),
        ("data.degradation", [{"blr": {}}], ["data.degradation.0.blr", "did you mean 'blur'?"]),
        ("data.degradation", [{}], ["data.degradation.0", "blur, noise and jpeg"]),
        (
            "data.degradation",
            [{"noise": {"sigma": 1}, "jpeg": {"quality": 30}}],
            ["data.degradation.0", "noise and jpeg"],
        ),
        ("data.degradation", [{"jpeg": {"quality": [95, 30]}}], ["degradation.0.jpeg.quality", "[30, 95]"]),
        (
            "data.degradation",
            [{"jpeg": {"quality": [0, 30]}}],
            ["degradation.0.jpeg.quality.0", "1"],
        ),
        ("data.degradation", [{"blur": {"sigma": "big"}}], ["degradation.0.blur.sigma", "'big'"]),
        (
            "data.degradation",
            [{"jpeg": {"quality": 9}}, {"blur": {"sigma": 1}}],
            ["data.degradation", "blur works on HR"],
        ),
        ("data.train", "builtin_tran", ["data.train", "did you mean 'builtin_train'?"]),
        ("tables.table4.methods", ["bsps"], ["tables.table4.methods.0", "did you mean 'bspa'?"]),
        ("tables.table4.benchmarks", ["set5"], ["tables.table4.benchmarks.0", "'set5'", "sources"]),
        ("tables.table4.metrics", ["psnr", "mse"], ["tables.table4.metrics.1", "'mse'", "'lpips'"]),
        ("tables.table4.methods", ["bspa", "bspa"], ["tables.table4.methods.1", "twice"]),
        ("tables.mine", {"models": ["fsrcnn"]}, ["tables.mine.methods", "required"]),
        ("figures.figure8", {}, ["figures.figure8", "did you mean 'figure"]),
        ("figures.figure3.model", "edsr", ["figures.figure3.model", "did you mean 'edsr_mini'?"]),
        ("figures.figure3.class_split", "none", ["figures.figure3.class_split", "'none'", "classes5"]),
        ("figures.attribution.method", "baseline", ["figures.attribution.method", "no attribution"]),
        ("figures.figure6.regions", [REGION], ["figure6.regions.0.benchmark", "'set5'", "builtin_test"]),
        ("patch_selections.maps", {}, ["patch_selections.maps", "taken"]),
        ("models.bicubic", {"arch": "fsrcnn"}, ["models.bicubic", "taken"]),
        ("methods.bicubic", {"sampling": "uniform"}, ["methods.bicubic", "taken"]),
        ("methods.reference", {"sampling": "uniform"}, ["methods.reference", "taken"]),
        ("tables.classes", {"models": ["fsrcnn"], "methods": ["baseline"]}, ["tables.classes", "taken"]),
        ("results", "runs/{a}", ["results", "'runs/{a}'"]),
        ("results", "~nobody_of_this_name/a", ["results", "no such home folder"]),
        ("sources", "{x: {hr: *_HR.png}}", ["sources", "section", "put quotes around"]),
        ("methods.sampling_aug.patch_selection", "x", ["methods.sampling_aug.patch_selection", "'x'"]),
        ("methods.udn.sampling", "inverse", ["methods.udn.loss", "needs sampling: uniform"]),
        ("perceptual.niqe", {"file": "none.npz"}, ["perceptual.niqe.file", "'none.npz'", "not a file"]),
        ("methods.bspa.extends", "altrnating", ["methods.bspa.extends", "'altrnating'"]),
        ("methods.alternating.extends", "bspa", ["circle"]),
        ("methods.baseline.attribution", {}, ["methods.baseline.attribution", "alternating"]),
        ("compute.tile", "big", ["compute.tile", "'big'", "auto or a whole number"]),
        ("models.fsrcnn.devices", 3, ["models.fsrcnn.devices", "3", "training.batch: 8", "1, 2, 4, 8"]),
        ("models.fsrcnn.devices", 0, ["models.fsrcnn.devices", "0", "greater than or equal to 1"]),
        ("models.rcan_mini.options.reduction", 7, ["reduction 7", "channels 16"]),
        ("models.fsrcnn.arch", "vdsr", ["models.fsrcnn", "'edsr'"]),
        ("reference.weights", {"x4": {"file": "none.pth"}}, ["reference.weights.x4.file", "'none.pth'"]),
        ("models.fsrcnn.start", {"x4": {"file": "none.pt"}}, ["models.fsrcnn.start.x4.file", "'none.pt'"]),
        ("models.fsrcnn.start", {"x5": {"file": "none.pt"}}, ["models.fsrcnn.start", "'x5'", "'x4'"]),
        ("training.steps", 5, ["training", "steps: 5", "epochs: 12"]),
        ("models.fsrcnn.training", {"steps": 11}, ["models.fsrcnn.training", "steps: 11", "epochs: 12"]),
        ("training.steps", 0, ["training.steps", "0", "greater than or equal to 1"]),
        ("training.schedule.kind", "exponential", ["training.schedule.kind", "'exponential'", "'cosine'"]),
        ("training.schedule.kind", "multistep", ["training.schedule", "milestones is []", "needs epochs"]),
        ("training.schedule.milestones", [3], ["training.schedule", "milestones is [3]", "kind is step"]),
        (
            "training.schedule",
            {"kind": "multistep", "milestones": [5, 3]},
            ["training.schedule", "[5, 3]", "do not rise"],
        ),
        ("training.schedule.warm_up", 12, ["training", "schedule.warm_up: 12", "epochs: 12"]),
        ("training.loss", "l2", ["training.loss", "'l2'", "'charbonnier'"]),
        ("methods.baseline.loss", "l2", ["methods.baseline.loss", "'l2'", "'mse'"]),
        ("training.optimiser", "sgd", ["training.optimiser", "'sgd'", "'adamw'"]),
        ("training.weight_decay", 0.1, ["training", "weight_decay: 0.1", "optimiser: adamw"]),
        ("methods.Bad", {"sampling": "uniform"}, ["methods.Bad", "should match pattern"]),
        ("data", None, ["data", "section"]),
    ],
)
def test_a_mistake_names_key_value_and_what_is_allowed(
    values: dict[str, Any], key: str, value: object, says: list[str]
) -> None:
    with pytest.raises(ValueError, match="the config has") as caught:
        load_config(put(values, key, value))
    for part in says:
        assert part in str(caught.value)


def test_several_devices_are_not_one_gpu(values: dict[str, Any]) -> None:
    values = put(put(values, "models.fsrcnn.devices", 2), "compute.device", "cuda")
    assert load_config(values).models["fsrcnn"].devices == 2
    with pytest.raises(ValueError, match=r"models\.fsrcnn\.devices: 2, .*compute\.device: cuda:1.*use cuda"):
        load_config(put(values, "compute.device", "cuda:1"))


@pytest.mark.parametrize(("size", "allowed"), [(8, False), (12, True)])
def test_a_border_must_leave_pixels_to_score(values: dict[str, Any], size: int, allowed: bool) -> None:
    values = put(put(values, "sub_images.x4.size", size), "reference.border", "scale")
    if allowed:
        assert load_config(values).reference.border == "scale"
        return
    with pytest.raises(ValueError, match=r"sub_images\.x4\.size: 8 leaves .*reference\.border.* more than 8"):
        load_config(values)


def test_every_scale_has_a_grid(values: dict[str, Any]) -> None:
    config = load_config(put(values, "scales", [2, 3, 4, 8]))
    assert all(grid.size % int(scale[1:]) == 0 for scale, grid in config.sub_images.items())


def test_all_mistakes_come_at_once_with_their_file(values: dict[str, Any], tmp_path: Path) -> None:
    first, second = tmp_path / "config.yaml", tmp_path / "overlay.yaml"
    first.write_text("training: {epochs: x}\n")
    second.write_text("scales: [5]\nmodels: {fsrcnn: {arch: vdsr}}\n")
    wrong = {"training.epochs": "x", "scales": [5], "models.fsrcnn.arch": "vdsr", "seeds": ["x"]}
    for key, value in wrong.items():
        values = put(values, key, value)
    with pytest.raises(ValueError, match="4 mistakes") as caught:
        load_config(values, [str(first), str(second)])
    begun = {": ".join(line.split(": ")[:2]) for line in str(caught.value).splitlines()[1:]}
    assert begun == {
        f"  {first}: training.epochs", f"  {second}: scales.0", f"  {second}: models.fsrcnn",
        "  --config: seeds.0",
    }  # fmt: skip


def test_a_mistake_that_recipes_inherit_is_told_once(values: dict[str, Any]) -> None:
    broken = put(values, "methods.bspa.attribution.beta", 1.5)
    with pytest.raises(ValueError, match=r"one mistake:\n.*methods\.bspa\.attribution\.beta: 1\.5"):
        load_config(broken)
    with pytest.raises(ValueError, match=r"2 mistakes:(.*\n)*.*methods\.fig\.attribution\.beta: 2\.5"):
        load_config(put(broken, "methods.fig.attribution.beta", 2.5))


def test_numbers_inside_config_on_the_command_line_are_numbers(values: dict[str, Any]) -> None:
    given = {"epochs": "3", "learning_rate": "2.0e-4", "betas": ["0.9", "0.99"]}
    read = typed({"training": given, "seeds": ["0", "1"], "name": "null"})
    assert read["training"] == {"epochs": 3, "learning_rate": 2e-4, "betas": [0.9, 0.99]}
    assert (read["seeds"], read["name"]) == ([0, 1], None)
    assert typed(3) == 3


def test_an_empty_config_lists_what_is_missing() -> None:
    with pytest.raises(ValueError, match="the config has") as caught:
        load_config({})
    for key in ("scales", "sources", "data", "models", "methods", "tables"):
        assert f"{key}: this key is required" in str(caught.value)


def test_the_json_schema_is_up_to_date_and_accepts_the_config(root: Path, values: dict[str, Any]) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "bspa.config.json_schema"], capture_output=True, text=True, check=True
    )
    file = root / "schemas" / "config.schema.json"
    assert file.read_text() == made.stdout, (
        f"run: python -m bspa.config.json_schema > {file.relative_to(root)}"
    )
    schema = json.loads(made.stdout)
    jsonschema.validate(values, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(put(values, "training.epoch", 3), schema)


def test_degradation_needs_lr_that_is_made_and_benchmarks_of_their_own(values: dict[str, Any]) -> None:
    values["data"]["degradation"] = [{"noise": {"sigma": 3}}]
    assert load_config(values).data.degradation[0].noise.sigma == [3, 3]
    values["sources"]["pairs"] = {"kind": "folder", "path": "x", "hr": "*_HR.png", "lr": "*_LR.png"}
    with pytest.raises(ValueError, match=r"sources\.pairs\.lr: .*leave lr out"):
        load_config(put(values, "data.train", "pairs"))
    load_config(put(values, "data.benchmarks", ["pairs"]))
    values["data"]["benchmarks"] = ["builtin_test", "builtin_train"]
    with pytest.raises(ValueError, match=r"data\.benchmarks\.1: 'builtin_train' is data\.train too"):
        load_config(values)
    load_config(put(values, "data.degrade_benchmarks", True))


def test_names_under_which_two_runs_would_have_the_same_files(values: dict[str, Any]) -> None:
    values["models"] |= {"a": {"arch": "fsrcnn"}, "a_x4_b": {"arch": "fsrcnn"}}
    values["methods"]["c"] = {"sampling": "uniform"}
    load_config(values)
    values["methods"]["b_x4_c"] = {"sampling": "uniform"}
    with pytest.raises(
        ValueError, match=r"models\.a_x4_b: .*a_x4_b_x4_c_seed.* model 'a' with method 'b_x4_c'"
    ):
        load_config(values)


def test_a_key_that_stands_twice_is_refused_with_both_lines(values: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(
        "training:\n  epochs: 3\n  batch: 4\n  epochs: 5\n"
        "methods:\n  a: &a {sampling: uniform}\n  b: *a\n"
        "tables: {t: {models: [a], models: [b]}}\ntraining: {}\n"
    )
    with pytest.raises(ValueError, match="twice") as caught:
        load_config(values, [str(file)])
    for part in (
        "training.epochs stands in lines 2 and 4",
        "training stands in lines 1 and 9",
        "tables.t.models",
    ):
        assert part in str(caught.value)
    assert str(caught.value).count(str(file)) == 3
    file.write_text('{\n\t"training": {\n\t\t"epochs": 3,\n\t\t"epochs": "x"\n\t}\n}')  # JSON
    with pytest.raises(ValueError, match=r"training\.epochs stands in lines 3 and 4"):
        load_config(values, [str(file)])
    file.write_text(file.read_text().replace('"epochs": 3,', ""))
    with pytest.raises(ValueError, match=re.escape(f"{file}: training.epochs: 'x'")):
        load_config(put(values, "training.epochs", "x"), [str(file)])
    file.write_text("a: &a {b: 1}\nc: {<<: *a, b: 2}\n[]: broken: yaml\n")
    load_config(values, [str(file)])


@pytest.mark.parametrize("key", ["results", "sources", "training.epochs", "nonsense"])
def test_anchors_within_anchors_do_not_hang(values: dict[str, Any], key: str) -> None:
    bomb: Any = "x"
    for _ in range(60):
        bomb = [bomb, bomb]
    with pytest.raises(ValueError, match="more than 100,000 values"):
        load_config(put(values, key, bomb))
