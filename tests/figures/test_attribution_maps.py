from __future__ import annotations

import numpy as np
import pytest
import torch

from bspa.figures.attribution_maps import decades, figure_attribution, group, read_attributions
from bspa.models.registry import build
from bspa.models.weights import save_weights
from bspa.training.attribution import attributable
from bspa.training.masks import top_fraction_mask
from tests.support.figure_files import FSRCNN, assert_drawn_twice_alike, assert_nothing_is_cut_off

LAYERS = ["head_conv.0", "body_conv.0.0", "body_conv.1.0", "body_conv.2.0", "tail_conv"]


@pytest.fixture(scope="module")
def model():
    return build("fsrcnn", 4, **FSRCNN["options"])


def attribution_file(path, model, seed, *, unit="weight", fraction=0.2):
    torch.manual_seed(seed)
    parameters = dict(model.named_parameters())
    units = {}
    for name in attributable(model):
        a, b, h, w = parameters[name].shape
        units[name] = torch.rand((a, b, h, w) if unit == "weight" else (a, b, 1, 1)) ** 3
    masks = {
        name: mask.expand_as(parameters[name]) for name, mask in top_fraction_mask(units, fraction).items()
    }
    tensors = {f"importance.{n}": v for n, v in units.items()} | {f"mask.{n}": m for n, m in masks.items()}
    save_weights(path, tensors, {"unit": unit})
    return path, units, masks


@pytest.mark.parametrize("unit", ["weight", "filter"])
def test_means_over_layers_are_those_of_plain_sums(tmp_path, model, unit):
    files = [attribution_file(tmp_path / f"{c}.safetensors", model, c, unit=unit) for c in range(3)]
    found = read_attributions([path for path, *_ in files], attributable(model))
    assert found.layers == LAYERS
    for cycle, (_, units, masks) in enumerate(files):
        weights = sum(mask.numel() for mask in masks.values())
        mean = sum(float(v.double().sum()) for v in units.values()) / weights
        for row, name in enumerate(attributable(model)):
            of_weight = float(units[name].double().sum()) / masks[name].numel()
            assert found.importance[row, cycle] == pytest.approx(of_weight / mean)
            assert found.frozen[row, cycle] == pytest.approx(float(masks[name].float().mean()))


def test_a_cycle_in_which_nothing_matters_is_all_zero(tmp_path, model):
    _, units, masks = attribution_file(tmp_path / "a.safetensors", model, 0)
    nothing = {f"importance.{n}": torch.zeros_like(v) for n, v in units.items()}
    save_weights(tmp_path / "a.safetensors", nothing | {f"mask.{n}": m for n, m in masks.items()}, {})
    found = read_attributions([tmp_path / "a.safetensors"], attributable(model))
    assert (found.importance == 0).all()
    assert_nothing_is_cut_off(figure_attribution(found, label=""))


def test_the_attribution_of_another_network_is_refused(tmp_path, model):
    path, *_ = attribution_file(tmp_path / "mask.safetensors", model, 0)
    other = attributable(build("fsrcnn", 4, d=4, s=2, m=2))
    with pytest.raises(ValueError, match=r"mask\.safetensors is no attribution of this network: 2 tensors"):
        read_attributions([path], other)


@pytest.mark.parametrize(
    ("arch", "options", "rows", "first"),
    [
        ("fsrcnn", {}, 8, "head_conv.0"),
        ("edsr", {}, 37, "head.0"),  # each convolution of EDSR_baseline
        ("rcan", {"channels": 16}, 15, "head.0"),  # the residual groups of RCAN
    ],
)
def test_deep_networks_are_grouped_by_blocks(arch, options, rows, first):
    weights = attributable(build(arch, 4, **options))
    groups = group(weights)
    assert len(groups) == rows
    assert next(iter(groups)) == first
    assert [name for names in groups.values() for name in names] == weights
    assert all(name.startswith(f"{label}.") for label, names in groups.items() for name in names)


def test_the_scale_of_importance_spans_whole_decades():
    assert decades(np.array([[0.5, 2.0]])) == (0.1, 10)
    assert decades(np.array([[0.04, 0.0, 130.0]])) == (0.01, 1000)
    assert decades(np.zeros((2, 2))) == (0.1, 10)


def test_maps_show_importance_and_shares(tmp_path, model):
    files = [attribution_file(tmp_path / f"{c}.safetensors", model, c)[0] for c in range(2)]
    found = read_attributions(files, attributable(model))
    figure = figure_attribution(found, label="net, x4")
    left, right = figure.axes[:2]
    np.testing.assert_allclose(left.images[0].get_array(), found.importance)
    np.testing.assert_allclose(right.images[0].get_array(), 100 * found.frozen)
    assert [tick.get_text() for tick in left.get_yticklabels()] == LAYERS
    assert [text.get_text() for text in right.texts] == [
        f"{100 * share:.1f}" for share in found.frozen.ravel()
    ]


def test_the_script_draws_the_figure(tmp_path, model):
    files = [attribution_file(tmp_path / f"{c}.safetensors", model, c)[0] for c in range(3)]
    settings = {"model": FSRCNN, "scale": 4, "label": "net, x4"}
    assert_drawn_twice_alike("figure_attribution", tmp_path, settings, masks=files)
