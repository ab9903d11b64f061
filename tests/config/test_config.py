"""The settings: what is accepted, and how mistakes read."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bspa.config.load import load_config, typed
from bspa.config.schema import Config


@pytest.fixture
def values(root: Path) -> dict[str, Any]:
    return yaml.safe_load((root / "config.yaml").read_text())


def put(values: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    """Return ``values`` with ``key`` (dotted) set."""
    changed = copy.deepcopy(values)
    *path, last = key.split(".")
    section = changed
    for part in path:
        section = section[int(part) if isinstance(section, list) else part]
    section[last] = value
    return changed


def test_the_default_config_is_valid(values: dict[str, Any]) -> None:
    config = load_config(values)
    assert isinstance(config, Config)
    assert config.methods["fig"].attribution is not None
    assert config.methods["fig"].attribution.unit == "filter"
    assert config.methods["fig"].attribution.beta == config.methods["bspa"].attribution.beta  # type: ignore[union-attr]


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
        ("training.batch", "16", ["training.batch", "'16'", "without quotes"]),
        ("training.batch", 1.5, ["training.batch", "1.5"]),
        ("scales", [5], ["scales.0", "5", "2, 3 or 4"]),
        ("methods.bspa.attribution.beta", 1.5, ["beta", "1.5", "less than or equal to 1"]),
        ("methods.bspa.attribution.beta", -0.1, ["beta", "-0.1", "greater than or equal to 0"]),
        ("sub_images.x4.size", 66, ["sub_images.x4.size", "66", "not divisible by the scale 4", "64"]),
        ("data.train", "builtin_tran", ["data.train", "did you mean 'builtin_train'?"]),
        ("tables.table4.methods", ["bsps"], ["tables.table4.methods.0", "did you mean 'bspa'?"]),
        ("tables.table4.models", ["edsr"], ["tables.table4.models.0", "'edsr'", "did you mean 'edsr_mini'?"]),
        ("tables.table4.scales", [5], ["tables.table4.scales.0", "5"]),
        ("tables.table4.benchmarks", ["set5"], ["tables.table4.benchmarks.0", "'set5'", "sources"]),
        ("tables.table4.metrics", ["psnr", "mse"], ["tables.table4.metrics.1", "'mse'", "'lpips'"]),
        ("tables.table4.methods", ["bspa", "bspa"], ["tables.table4.methods.1", "twice"]),
        ("tables.table4.metric", ["psnr"], ["tables.table4.metric", "did you mean 'metrics'?"]),
        ("tables.mine", {"models": ["fsrcnn"]}, ["tables.mine.methods", "required"]),
        ("figures.figure8", {}, ["figures.figure8", "did you mean 'figure"]),
        ("figures.figure3.model", "edsr", ["figures.figure3.model", "did you mean 'edsr_mini'?"]),
        ("figures.figure3.class_split", "none", ["figures.figure3.class_split", "'none'", "classes5"]),
        ("figures.figure4.methods", ["bspa"], ["figures.figure4.methods"]),
        ("figures.attribution.method", "baseline", ["figures.attribution.method", "no attribution"]),
        (
            "figures.figure6.regions",
            [{"benchmark": "set5", "image": "a", "top": 0, "left": 0}],
            ["figures.figure6.regions.0.benchmark", "'set5'", "builtin_test"],
        ),
        ("patch_selections.default.share", 0.0, ["patch_selections.default.share", "greater than 0"]),
        ("patch_selections.maps", {}, ["patch_selections.maps", "taken"]),
        ("methods.sampling_aug.patch_selection", "x", ["methods.sampling_aug.patch_selection", "'x'"]),
        ("methods.udn.sampling", "inverse", ["methods.udn.loss", "needs sampling: uniform"]),
        ("training.ema", 1.0, ["training.ema", "less than 1"]),
        ("perceptual.niqe", {"file": "none.npz"}, ["perceptual.niqe.file", "'none.npz'", "not a file"]),
        ("methods.bspa.extends", "altrnating", ["methods.bspa.extends", "'altrnating'"]),
        ("methods.alternating.extends", "bspa", ["circle"]),
        ("methods.baseline.attribution", {}, ["methods.baseline.attribution", "alternating"]),
        ("compute.tile", "big", ["compute.tile", "'big'", "auto or a whole number"]),
        ("models.rcan_mini.options.reduction", 7, ["reduction 7", "channels 16"]),
        ("models.fsrcnn.arch", "vdsr", ["models.fsrcnn", "'edsr'"]),
        ("reference.weights", {"x4": {"file": "none.pth"}}, ["reference.weights.x4.file", "'none.pth'"]),
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


def test_all_mistakes_come_at_once_with_their_file(values: dict[str, Any], tmp_path: Path) -> None:
    first, second = tmp_path / "config.yaml", tmp_path / "overlay.yaml"
    first.write_text("training: {epochs: x}\n")
    second.write_text("scales: [5]\n")
    broken = put(put(values, "training.epochs", "x"), "scales", [5])
    with pytest.raises(ValueError, match="2 mistakes") as caught:
        load_config(broken, [str(first), str(second)])
    assert f"{first}: training.epochs" in str(caught.value)
    assert f"{second}: scales.0" in str(caught.value)


def test_a_mistake_that_recipes_inherit_is_told_once(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one mistake") as caught:
        load_config(put(values, "methods.bspa.attribution.beta", 1.5))
    assert "methods.bspa.attribution.beta: 1.5" in str(caught.value)
    broken = put(values, "methods.bspa.attribution.beta", 1.5)
    with pytest.raises(ValueError, match="2 mistakes") as caught:
        load_config(put(broken, "methods.fig.attribution.beta", 2.5))
    assert "methods.fig.attribution.beta: 2.5" in str(caught.value)


def test_a_mistake_on_the_command_line_is_not_blamed_on_a_file(
    values: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("training: {epochs: 3}\n")
    with pytest.raises(ValueError, match=r"--config: training.epochs: 'x'"):
        load_config(put(values, "training.epochs", "x"), [str(file)])


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
