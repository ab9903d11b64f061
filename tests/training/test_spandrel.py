"""Networks of spandrel: checked, trained, stopped, continued, delivered, and loaded in spandrel."""

from __future__ import annotations

import importlib
import json
import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bspa.models.inference import super_resolve
from bspa.models.network_check import check_spandrel
from bspa.models.registry import build
from bspa.models.weights import load_model, save_network
from bspa.training.attribution import attributable
from bspa.training.importance import InversePhase, measure_importance
from bspa.training.losses import l1
from tests.support.noise import noise
from tests.support.spandrel import SMALL, options, require_spandrel
from tests.support.training import Noise, assert_same, initial_weights, make_attribution, make_stage, train


@pytest.fixture(autouse=True)
def spandrel() -> Any:
    return require_spandrel()


@pytest.mark.parametrize("name", SMALL)
def test_a_stopped_stage_is_continued_delivered_and_loaded_in_spandrel(
    tmp_path: Path, name: str, spandrel: Any
) -> None:
    """20 steps, stopped in step 7; an odd image, which SwinIR's and HAT's windows do not divide."""
    stage = make_stage(arch="spandrel", options=options(name), epochs=5, total_epochs=5, ema=0.9)
    whole = train(tmp_path / "whole", stage)
    assert whole.snapshot.optimiser_steps == 20
    with pytest.raises(SystemExit):
        train(tmp_path / "cut", stage, sampler=Noise(signal_at=7))
    end = train(tmp_path / "cut", stage).snapshot
    assert_same(end, whole.snapshot)
    before = initial_weights(stage)
    assert any(not torch.equal(value, before[key]) for key, value in end.weights.items())
    for select in ("last", "average"):
        path = tmp_path / f"{select}.safetensors"
        save_network(path, end.delivered(select), arch="spandrel", scale=4, options=stage.options, key="key")
        theirs = spandrel.ModelLoader(device="cpu").load_from_file(path)
        assert (type(theirs.model).__name__, theirs.scale) == (name, 4)
        x = torch.rand(1, 3, 13, 22)
        with torch.no_grad():
            assert torch.equal(load_model(path)(x).clamp(0, 1), theirs(x.clone()))
    assert super_resolve(load_model(path), noise(13, 22)).shape == (52, 88, 3)


def test_what_drops_at_random_drops_the_same_when_it_is_continued(tmp_path: Path) -> None:
    dropping = options("SwinIR", depths=[4], drop_path_rate=0.9)
    stage = make_stage(arch="spandrel", options=dropping)
    whole = train(tmp_path / "whole", stage)
    with pytest.raises(SystemExit):
        train(tmp_path / "cut", stage, sampler=Noise(signal_at=5))
    torch.rand(7)
    assert_same(train(tmp_path / "cut", stage).snapshot, whole.snapshot)


@pytest.mark.parametrize("unit", ["weight", "filter"])
def test_linear_layers_are_ranked_and_frozen_with_convolutions(tmp_path: Path, unit: str) -> None:
    stage = make_stage(arch="spandrel", options=options("SwinIR"))
    model = build("spandrel", 4, **stage.options)
    convolutions, both = attributable(model), attributable(model, ["conv", "linear"])
    linear = set(both) - set(convolutions)
    assert {name for name in linear if ".attn.qkv." in name}
    assert set(convolutions) < set(both)
    baseline = initial_weights(stage)
    target = train(tmp_path, stage).snapshot
    attribution = make_attribution(
        arch="spandrel", scale=4, options=stage.options, unit=unit, modules=["conv", "linear"]
    )
    phase = InversePhase(model=model, baseline=baseline, target=target.weights, loss=l1)
    pairs = [(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 32, 32)) for _ in range(2)]
    units, _ = measure_importance(phase, pairs, attribution)
    assert list(units) == both
    assert all(units[name].shape == target.weights[name].shape and units[name].any() for name in linear)
    frozen = next(name for name in both if name in linear)
    mask = torch.rand(target.weights[frozen].shape) < 0.5
    again = train(tmp_path / "again", stage, initial=target, masks={frozen: mask}).snapshot
    moved = again.weights[frozen] != target.weights[frozen]
    assert not (moved & mask).any()
    assert moved[~mask].any()


def test_tiles_equal_the_whole_image_where_the_reach_is_measured() -> None:
    torch.manual_seed(0)
    model = build("spandrel", 4, **options("SPAN")).eval()
    radius = model.receptive_radius
    assert radius is not None
    assert 3 <= radius <= 22  # 22 layers reach one pixel each; what the outermost add may round to nothing
    whole, tiled = (super_resolve(model, noise(60, 50), tile=tile).astype(int) for tile in (None, 20))
    assert abs(whole - tiled).max() <= 1  # halves may round the other way
    for name in ("SwinIR", "HAT", "RealPLKSR"):  # windows; and a normalisation over the whole image
        assert build("spandrel", 4, **options(name)).receptive_radius is None


@pytest.mark.parametrize("name", SMALL)
def test_the_check_tells_what_is_trained(tmp_path: Path, name: str) -> None:
    script = Path(__file__).parents[2] / "workflow_scripts" / "check_network.py"
    settings = {"arch": "spandrel", "scale": 4, "options": options(name), "batch": 2, "side": 9}
    output = tmp_path / "network.json"
    job = SimpleNamespace(
        output=[str(output)], params=SimpleNamespace(settings=settings, key="key"), threads=1
    )
    runpy.run_path(str(script))["main"](job)
    found = json.loads(output.read_text())
    assert found["key"] == "key"
    assert found["parameters"] > 0
    assert bool(found["untrained"]) == (name == "SPAN")  # what SPAN computes from others for evaluation
    assert all(".eval_conv." in parameter for parameter in found["untrained"])


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ({"name": "SwinR"}, ["name is 'SwinR'", "'SwinIR'?", "HAT"]),
        ({"name": "SPAN", "feature_chanels": 8}, ["SPAN", "'feature_chanels'", "'feature_channels'?"]),
        ({"name": "SPAN", "upscale": 4}, ["SPAN", "upscale is given", "`scales`"]),
        ({"name": "SPAN", "feature_channels": "many"}, ["SPAN", "make no network"]),
        (options("SwinIR", upsampler=""), ["SwinIR", "x1 instead of", "x4"]),
        ({"name": "DnCNN"}, ["DnCNN"]),
    ],
)
def test_what_makes_no_upscaler_is_refused(given: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(ValueError, match=".*".join(map(re.escape, parts))):
        build("spandrel", 4, **given)


def test_a_batch_of_one_that_cannot_be_normalised_is_refused() -> None:
    """DAT normalises a batch's pooled values, one for each patch."""
    dat = options("DAT", embed_dim=32, depth=[2], num_heads=[2], split_size=[8, 8])
    with pytest.raises(ValueError, match=r"DAT.*batch of 1.*training\.batch"):
        check_spandrel(build("spandrel", 4, **dat), arch="spandrel", batch=1, side=8)


def test_options_that_spandrel_cannot_tell_from_the_weights_are_refused() -> None:
    network = build("spandrel", 4, **options("SwinIR", img_range=255.0))
    with pytest.raises(ValueError, match=r"SwinIR.*another image.*img_range"):
        check_spandrel(network, arch="spandrel", batch=2, side=8)


def test_the_scale_has_many_names() -> None:
    small: dict[str, dict[str, Any]] = {
        "Compact": {"num_feat": 8, "num_conv": 2},
        "SRVGGNetCompact": {"num_feat": 8, "num_conv": 2},
        "RRDBNet": {"num_filters": 8, "num_blocks": 1},
        "RCAN": {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 16},
        "SAFMN": {"dim": 8, "n_blocks": 2},
    }
    for name, values in small.items():
        x = torch.rand(1, 3, 16, 16)
        kept = x.clone()
        assert build("spandrel", 2, name=name, **values)(x).shape == (1, 3, 32, 32), name
        assert torch.equal(x, kept), name  # RCAN changes its input


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_spandrel_loads_our_rcan(tmp_path: Path, scale: int, spandrel: Any) -> None:
    network = build("rcan", scale, groups=2, blocks=2, channels=16, reduction=4).eval()
    path = tmp_path / "rcan.safetensors"
    save_network(path, network.state_dict(), arch="rcan", scale=scale, options=network.options, key="key")
    theirs = spandrel.ModelLoader(device="cpu").load_from_file(path)
    x = torch.rand(1, 3, 13, 22)
    with torch.no_grad():
        assert torch.equal(network(x).clamp(0, 1), theirs(x.clone()))
    assert (theirs.architecture.id, theirs.scale) == ("RCAN", scale)


def test_a_failed_import_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("spandrel", "torchvision")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    importlib.invalidate_caches()
    with pytest.raises(ValueError, match=r"(?s)spandrel.*torchvision.*docs/extend\.md"):
        build("spandrel", 4, name="SPAN")
