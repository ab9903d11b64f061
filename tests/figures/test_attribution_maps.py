from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bspa.figures.attribution_maps import figure_attribution, group, layer_names, read_attributions
from bspa.models.registry import build
from bspa.models.weights import save_weights
from bspa.training.attribution import attributable
from bspa.training.masks import top_fraction_mask
from tests.support.figure_files import FSRCNN, assert_nothing_is_cut_off

LAYERS = ["feature extraction", "shrinking", "mapping 1", "expanding", "deconvolution"]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return build("fsrcnn", 4, **FSRCNN["options"])


def write_attribution(path: Path, units: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Path:
    importance = {f"importance.{name}": value for name, value in units.items()}
    save_weights(path, {**importance, **{f"mask.{name}": mask for name, mask in masks.items()}}, {})
    return path


def attribution(
    model: nn.Module, seed: int, *, unit: str = "weight"
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    torch.manual_seed(seed)
    shapes = {name: tuple(dict(model.named_parameters())[name].shape) for name in attributable(model)}
    units = {
        name: torch.rand(shape if unit == "weight" else (*shape[:2], 1, 1)) ** 3
        for name, shape in shapes.items()
    }
    masks = {name: mask.expand(shapes[name]) for name, mask in top_fraction_mask(units, 0.2).items()}
    return units, masks


@pytest.fixture
def files(tmp_path: Path, model: nn.Module) -> list[Path]:
    return [write_attribution(tmp_path / f"{c}.safetensors", *attribution(model, c)) for c in range(3)]


@pytest.mark.parametrize("unit", ["weight", "filter"])
def test_means_over_layers_are_those_of_plain_sums(tmp_path: Path, model: nn.Module, unit: str) -> None:
    cycles = [attribution(model, c, unit=unit) for c in range(3)]
    paths = [write_attribution(tmp_path / f"{c}.safetensors", *both) for c, both in enumerate(cycles)]
    importance, frozen = read_attributions(paths, attributable(model), arch="fsrcnn")
    assert list(importance.index) == LAYERS
    for cycle, (units, masks) in enumerate(cycles):
        weights = sum(mask.numel() for mask in masks.values())
        mean = sum(float(v.double().sum()) for v in units.values()) / weights
        for row, name in enumerate(attributable(model)):
            of_weight = float(units[name].double().sum()) / masks[name].numel()
            assert importance.iloc[row, cycle] == pytest.approx(of_weight / mean)
            assert frozen.iloc[row, cycle] == pytest.approx(float(masks[name].float().mean()))


def test_a_cycle_in_which_nothing_matters_is_all_zero(tmp_path: Path, model: nn.Module) -> None:
    units, masks = attribution(model, 0)
    nothing = {name: torch.zeros_like(value) for name, value in units.items()}
    path = write_attribution(tmp_path / "a.safetensors", nothing, masks)
    importance, frozen = read_attributions([path], attributable(model), arch="fsrcnn")
    assert not importance.to_numpy().any()
    assert_nothing_is_cut_off(figure_attribution(importance, frozen, label=""))


@pytest.mark.parametrize(
    ("arch", "options", "rows", "some"),
    [
        ("fsrcnn", {}, 8, ["feature extraction", "shrinking", "mapping 4", "expanding", "deconvolution"]),
        ("edsr", {}, 37, ["head", "block 16, conv 2", "end of body", "upsampling 2", "output"]),
        ("msrresnet", {}, 37, ["head", "block 1, conv 1", "upsampling 2", "last but one", "output"]),
        ("rcan", {"channels": 16}, 15, ["head", "group 1", "group 10", "end of body", "output"]),
        ("rcan", {"channels": 16, "groups": 1, "blocks": 8}, 38, ["group 1, block 8, attention 2"]),
        ("rcan", {"channels": 16, "groups": 1, "blocks": 12}, 18, ["group 1, block 12", "group 1, end"]),
    ],
)
def test_layers_have_names_and_deep_networks_are_grouped_by_blocks(
    arch: str, options: dict[str, Any], rows: int, some: list[str]
) -> None:
    weights = attributable(build(arch, 4, **options))
    names = layer_names(arch, weights)
    assert len(set(names)) == len(weights)
    labels = group(names)
    assert all(name.startswith(label) for name, label in zip(names, labels, strict=True))
    assert len(set(labels)) == rows
    assert [label for label in dict.fromkeys(labels) if label in some] == some


def test_layers_of_a_network_without_names_have_the_parts_of_their_own() -> None:
    assert layer_names("mine", ["a.0.weight", "b.weight"]) == ["a, 0", "b"]


def test_maps_show_importance_and_shares(files: list[Path], model: nn.Module) -> None:
    importance, frozen = read_attributions(files, attributable(model), arch="fsrcnn")
    figure = figure_attribution(importance, frozen, label="net, x4")
    left, right = figure.axes[:2]
    np.testing.assert_allclose(left.images[0].get_array(), importance)
    np.testing.assert_allclose(right.images[0].get_array(), 100 * frozen)
    assert [tick.get_text() for tick in left.get_yticklabels()] == LAYERS
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["1", "2", "3"]
    shares = [f"{100 * share:.1f}" for share in frozen.to_numpy().ravel()]
    assert [text.get_text() for text in right.texts] == shares
    assert_nothing_is_cut_off(figure)
