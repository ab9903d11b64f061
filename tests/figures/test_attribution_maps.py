from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from bspa.figures.attribution_maps import figure_attribution, group, layer_names, read_attributions
from bspa.models.registry import build
from bspa.models.weights import save_weights
from bspa.training.attribution import attributable, top_fraction_mask
from tests.support.figure_files import FSRCNN, assert_nothing_is_cut_off

LAYERS = ["feature extraction", "shrinking", "mapping 1", "expanding", "deconvolution"]


@pytest.mark.parametrize("unit", ["weight", "filter", "nothing"])
def test_means_over_layers_are_those_of_plain_sums(tmp_path: Path, unit: str) -> None:
    model = build("fsrcnn", 4, **FSRCNN["options"])
    shapes = {name: tuple(dict(model.named_parameters())[name].shape) for name in attributable(model)}
    cycles, paths = [], [tmp_path / f"{c}.safetensors" for c in range(3)]
    for path in paths:
        units = {n: torch.rand((*s[:2], 1, 1) if unit == "filter" else s) ** 3 for n, s in shapes.items()}
        masks = {n: mask.expand(shapes[n]) for n, mask in top_fraction_mask(units, 0.2).items()}
        units = {n: 0 * value if unit == "nothing" else value for n, value in units.items()}
        importance = {f"importance.{n}": value for n, value in units.items()}
        save_weights(path, {**importance, **{f"mask.{n}": mask for n, mask in masks.items()}}, {})
        cycles.append((units, masks))
    found, frozen = read_attributions(paths, list(shapes), arch="fsrcnn")
    assert list(found.index) == LAYERS
    for cycle, (units, masks) in enumerate(cycles):
        weights = sum(mask.numel() for mask in masks.values())
        mean = sum(float(value.double().sum()) for value in units.values()) / weights
        for row, name in enumerate(shapes):
            of_weight = float(units[name].double().sum()) / masks[name].numel()
            assert found.iloc[row, cycle] == pytest.approx(of_weight / (mean or 1))
            assert frozen.iloc[row, cycle] == pytest.approx(float(masks[name].float().mean()))


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


@pytest.mark.parametrize("factor", [1, 0])
def test_maps_show_importance_and_shares(factor: int) -> None:
    rng = np.random.default_rng(0)
    importance, frozen = (pd.DataFrame(factor * rng.random((5, 3)), LAYERS) for _ in range(2))
    figure = figure_attribution(importance, frozen, label="net, x4")
    left, right = figure.axes[:2]
    np.testing.assert_allclose(left.images[0].get_array(), importance)
    np.testing.assert_allclose(right.images[0].get_array(), 100 * frozen)
    assert [tick.get_text() for tick in left.get_yticklabels()] == LAYERS
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["1", "2", "3"]
    shares = [f"{100 * share:.1f}" for share in frozen.to_numpy().ravel()]
    assert [text.get_text() for text in right.texts] == shares
    assert_nothing_is_cut_off(figure)
