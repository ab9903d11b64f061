"""The uncertainty-driven loss against its formulas, and its two steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from bspa.models.precision import Precision
from bspa.training.snapshot import load_snapshot, save_snapshot
from bspa.training.stage import Stage
from bspa.training.uncertainty import (
    UncertaintyNetwork,
    WeightedByUncertainty,
    build_uncertainty,
    convolve_upsampled,
    estimate_uncertainty,
    network_part,
)
from tests.support.networks import SMALL
from tests.support.training import Noise, assert_same, initial_weights, make_stage, make_task, train

FLOAT32 = Precision("float32", "cpu")
FIRST = make_stage("uncertainty", ema=0.9, epochs=2, total_epochs=4)
SECOND = make_stage("weighted", ema=0.9, first_epoch=2, epochs=2, total_epochs=4)


def filled(stage: Stage) -> UncertaintyNetwork:
    """A network and head in which every layer has a say."""
    model = build_uncertainty(stage)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


# ---- the network ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("arch", SMALL)
def test_network_and_head(arch: str, scale: int) -> None:
    model, x = (
        filled(make_stage("uncertainty", arch, scale=scale)).eval().double(),
        random(2, 3, 4, 5).double(),
    )
    weights = model.state_dict()
    with torch.no_grad():
        image, s = model(x)
        assert torch.equal(image, model.network(x))
        y = model.network.features(x).repeat_interleave(scale, 2).repeat_interleave(scale, 3)
        for layer in ("head.0", "head.2", "head.4"):
            y = functional.conv2d(y, weights[f"{layer}.weight"], weights[f"{layer}.bias"], padding=1)
            y = torch.where(y > 0, y, torch.exp(y) - 1)
    torch.testing.assert_close(s, y)
    assert s.shape == image.shape == (2, 3, 4 * scale, 5 * scale)
    assert float(s.std()) > 0.01, "the head says the same of every sample"


@pytest.mark.parametrize("arch", SMALL)
def test_the_initial_weights_are_those_of_the_plain_network(arch: str) -> None:
    stage = make_stage("uncertainty", arch)
    state = torch.random.get_rng_state()
    weights, plain = build_uncertainty(stage).state_dict(), initial_weights(stage)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(weights.pop(f"network.{name}"), value) for name, value in plain.items())
    channels = SMALL[arch].get("channels", SMALL[arch].get("d"))
    shapes = {name: tuple(value.shape[:2]) for name, value in weights.items() if name.endswith("weight")}
    square = (channels, channels)
    assert shapes == {"head.0.weight": square, "head.2.weight": square, "head.4.weight": (3, channels)}
    again, other = (build_uncertainty(replace(stage, seed=seed)).state_dict() for seed in (3, 4))
    assert torch.equal(again["head.0.weight"], weights["head.0.weight"])
    assert not torch.equal(other["head.0.weight"], weights["head.0.weight"])


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_convolving_what_is_upsampled_has_the_gradients_of_both_steps(scale: int) -> None:
    x, weight, bias = (
        random(*shape).double().requires_grad_() for shape in ((2, 3, 4, 5), (6, 3, 3, 3), (6,))
    )
    ours = convolve_upsampled(x, weight, bias, scale)
    plain = functional.conv2d(functional.interpolate(x, scale_factor=scale), weight, bias, padding=1)
    torch.testing.assert_close(ours, plain)
    inputs, direction = (x, weight, bias), random(*plain.shape).double()
    for a, b in zip(*(torch.autograd.grad(y, inputs, direction) for y in (ours, plain)), strict=True):
        torch.testing.assert_close(a, b)


def test_s_is_float32_under_autocast() -> None:
    model = filled(make_stage("uncertainty", "edsr"))
    with torch.autocast("cpu", torch.bfloat16):
        image, s = model(random(1, 3, 4, 4))
    assert image.dtype == s.dtype == torch.float32


# ---- the objectives ------------------------------------------------------------------------------------


def test_step_1_trains_network_and_head_on_errors_in_grey_levels() -> None:
    model = filled(make_stage("uncertainty"))
    lr, hr = random(2, 3, 4, 4), random(2, 3, 16, 16, seed=1)
    loss = estimate_uncertainty(model, lr, hr, FLOAT32)
    with torch.no_grad():
        image, s = (v.double().numpy() for v in model(lr))
    expected = np.mean(np.exp(-s) * np.abs(255 * image - 255 * hr.double().numpy())) + 2 * np.mean(s)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in model.parameters())


@pytest.mark.parametrize("arch", SMALL)
def test_step_2_trains_the_network_alone(arch: str) -> None:
    stage = make_stage("uncertainty", arch)
    model, estimator = filled(stage).network.train(), filled(replace(stage, seed=9))
    objective = WeightedByUncertainty(estimator)
    assert not any(module.training for module in estimator.modules())
    before = {name: value.clone() for name, value in estimator.state_dict().items()}
    lr, hr = random(2, 3, 4, 4), random(2, 3, 16, 16, seed=1)
    objective(model, lr, hr, FLOAT32).backward()
    assert all(p.grad is None and not p.requires_grad for p in estimator.parameters())
    assert all(torch.equal(value, before[name]) for name, value in estimator.state_dict().items())
    trainable = [p for p in model.parameters() if p.requires_grad]
    s = estimator(lr)[1]
    w = s - s.flatten(2).min(2).values[:, :, None, None] + 1
    assert float(w.max()) > 1.01, "weights that are all 1 would test nothing"
    expected = torch.autograd.grad((w * (model(lr) - hr).abs()).mean(), trainable)
    for parameter, gradient in zip(trainable, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


# ---- the two steps -------------------------------------------------------------------------------------


def first_snapshot(folder: Path) -> Path:
    """Train step 1 and save its snapshot."""
    path = folder / "uncertainty.safetensors"
    save_snapshot(path, train(folder / "first", FIRST).snapshot, {})
    return path


def test_step_2_continues_with_the_plain_network_where_step_1_ended(tmp_path: Path) -> None:
    """Weights, moments and average are carried on, and s is of step 1's whole network."""
    path, plain = first_snapshot(tmp_path), initial_weights(SECOND)
    one, task, sampler = load_snapshot(path)[0], make_task(SECOND, path), Noise()
    assert task.initial is not None
    assert_same(task.initial, network_part(one))
    assert isinstance(task.objective, WeightedByUncertainty)
    estimator = task.objective.estimator.state_dict()
    assert all(torch.equal(estimator[name], value) for name, value in one.weights.items())
    two = train(tmp_path / "second", SECOND, task=task, sampler=sampler).snapshot
    assert sampler.asked == [*range(8, 16)]
    assert two.weights.keys() == two.moments["exp_avg"].keys() == two.average.keys() == plain.keys()
    assert two.optimiser_steps == 16


@pytest.mark.parametrize("stage", [FIRST, SECOND], ids=["uncertainty", "weighted"])
def test_a_stopped_step_ends_bit_identical(tmp_path: Path, stage: Stage) -> None:
    previous = first_snapshot(tmp_path) if stage is SECOND else None
    begin = 8 if previous else 0
    whole = train(tmp_path / "whole", stage, task=make_task(stage, previous)).snapshot
    stopping = Noise(signal_at=begin + 2)
    with pytest.raises(SystemExit):
        train(tmp_path / "cut", stage, task=make_task(stage, previous), sampler=stopping)
    sampler = Noise()
    resumed = train(tmp_path / "cut", stage, task=make_task(stage, previous), sampler=sampler).snapshot
    assert sampler.asked == [*range(begin + 3, begin + 8)]
    assert_same(resumed, whole)


def test_step_2_from_another_kind_of_snapshot_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plain.safetensors"
    save_snapshot(path, train(tmp_path / "plain").snapshot, {})
    with pytest.raises(ValueError, match=r"plain.safetensors: .*UncertaintyNetwork"):
        make_task(SECOND, path)
