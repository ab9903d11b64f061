"""The losses of output and HR, against plain formulas, and stages and attributions on each."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bspa.models.precision import choose_precision
from bspa.training.registry import LOSSES, OBJECTIVES
from tests.support.training import (
    CPU,
    Noise,
    assert_same,
    make_stage,
    make_task,
    random_masks,
    train,
    without_times,
)

Images = NDArray[np.float64]


def images() -> tuple[Images, Images]:
    random = np.random.default_rng(0)
    return random.random((2, 3, 8, 6)), random.random((2, 3, 8, 6))


def dft(x: Images) -> NDArray[np.complex128]:
    """The 2-D discrete Fourier transform as its definition has it."""
    rows, columns = (np.exp(-2j * math.pi * np.outer(np.arange(n), np.arange(n)) / n) for n in x.shape[-2:])
    return np.einsum("ab,ncbd,de->ncae", rows, x, columns)


def l1_frequency(x: Images, y: Images) -> float:
    spectrum = dft(x - y)
    both = np.stack([spectrum.real, spectrum.imag])
    return float(np.abs(x - y).mean() + 0.05 * np.abs(both).mean())


FORMULAS = {
    "l1": lambda x, y: np.abs(x - y).mean(),
    "charbonnier": lambda x, y: np.sqrt((x - y) ** 2 + 1e-6).mean(),
    "mse": lambda x, y: ((x - y) ** 2).mean(),
    "l1_frequency": l1_frequency,
}


def test_every_loss_has_its_formula() -> None:
    assert FORMULAS.keys() == LOSSES.keys()


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_its_formula_in_float32(name: str) -> None:
    x, y = images()
    output, target = torch.from_numpy(x).float(), torch.from_numpy(y).float()
    assert LOSSES[name](output, target).item() == pytest.approx(FORMULAS[name](x, y), rel=1e-5)
    half = LOSSES[name](output.bfloat16(), target)
    assert half.dtype == torch.float32
    output.requires_grad_()
    LOSSES[name](output, output.detach()).backward()
    assert output.grad is not None
    assert torch.isfinite(output.grad).all(), "where nothing is wrong, too"


@pytest.mark.parametrize("name", LOSSES)
def test_the_objective_is_the_loss_of_the_networks_output(name: str) -> None:
    task = OBJECTIVES[name](make_stage(), None, CPU)
    lr, hr = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 16, 16)
    found = task.objective(task.model, lr, hr, choose_precision("float32", CPU))
    assert torch.equal(found, LOSSES[name](task.model(lr), hr))


RUNS: dict[str, dict[str, Any]] = {
    "charbonnier, cosine": {
        "objective": "charbonnier", "decay": "cosine", "halve_every": None, "final_rate": 1e-6, "warm_up": 1,
    },
    "mse, multistep": {
        "objective": "mse", "decay": "multistep", "halve_every": None, "milestones": [1, 2], "gamma": 0.3,
    },
    "l1 and frequency, adamw": {"objective": "l1_frequency", "weight_decay": 0.05, "ema": 0.9},
}  # fmt: skip


@pytest.mark.parametrize("values", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("stop_at", [2, 6, 11])
def test_a_stopped_stage_of_each_kind_ends_bit_identical(
    tmp_path: Path, values: dict[str, Any], stop_at: int
) -> None:
    stage = make_stage(**values)
    whole = train(tmp_path / "whole", stage)
    assert whole.rows[-1]["loss"] < whole.rows[0]["loss"]  # type: ignore[operator]
    with pytest.raises(SystemExit):
        train(tmp_path / "cut", stage, sampler=Noise(signal_at=stop_at))
    resumed = train(tmp_path / "cut", stage)
    assert_same(resumed.snapshot, whole.snapshot)
    assert without_times(resumed.rows) == without_times(whole.rows)


@pytest.mark.parametrize("moments", ["fade", "keep"])
def test_frozen_weights_keep_every_bit_under_weight_decay(tmp_path: Path, moments: str) -> None:
    stage = make_stage(weight_decay=0.5, frozen_moments=moments)
    warm = train(tmp_path / "warm", stage).snapshot
    masks = random_masks(warm)
    end = train(tmp_path / "end", stage, initial=warm, masks=masks).snapshot
    for name, mask in masks.items():
        assert torch.equal(end.weights[name][mask], warm.weights[name][mask]), name
        assert float((end.weights[name] != warm.weights[name])[~mask].float().mean()) > 0.98, name


def test_weight_decay_makes_weights_smaller(tmp_path: Path) -> None:
    sizes = []
    for decay in (0.0, 20.0):
        end = train(tmp_path / f"{decay}", make_stage(weight_decay=decay)).snapshot
        sizes.append(sum(float(w.square().sum()) for w in end.weights.values()))
    assert sizes[1] < 0.9 * sizes[0]


def test_the_learning_rates_are_those_of_the_journal(tmp_path: Path) -> None:
    """The optimiser gets a rate of its own in each step: those of a plain loop."""
    stage = make_stage(**RUNS["charbonnier, cosine"])
    end, model = train(tmp_path, stage), make_task(stage).model
    optimiser = torch.optim.Adam(model.parameters())
    for step in range(12):
        share = (step / 4 - 1) / 2
        fall = 1e-6 + (1e-3 - 1e-6) * (1 + math.cos(math.pi * min(max(share, 0), 1))) / 2
        optimiser.param_groups[0]["lr"] = fall * min(1, (step + 1) / 4)
        lr, hr = (torch.from_numpy(i).permute(0, 3, 1, 2).float() / 255 for i in Noise().batch(step))
        optimiser.zero_grad()
        ((model(lr) - hr) ** 2 + 1e-6).sqrt().mean().backward()
        optimiser.step()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(end.snapshot.weights[name], value, rtol=1e-3, atol=1e-5)
    assert end.rows[0]["learning_rate"] == pytest.approx(1e-3)
