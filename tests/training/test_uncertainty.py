"""The uncertainty-driven loss against its formulas, and its two steps as jobs."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.nn import functional

from bspa.models.precision import Precision
from bspa.models.registry import build, count_parameters
from bspa.models.weights import load_weights
from bspa.training.job import build_seeded, run_stage
from bspa.training.snapshot import Snapshot, load_snapshot
from bspa.training.uncertainty import (
    UncertaintyNetwork,
    WeightedByUncertainty,
    build_uncertainty,
    convolve_upsampled,
    estimate_uncertainty,
    network_part,
    uncertainty_loss,
    uncertainty_task,
    uncertainty_weights,
    weighted_l1,
    weighted_task,
)

SMALL: dict[str, dict[str, int]] = {
    "edsr": {"blocks": 1, "channels": 8},
    "fsrcnn": {"d": 8, "s": 4, "m": 2},
    "msrresnet": {"blocks": 1, "channels": 8},
    "rcan": {"groups": 1, "blocks": 1, "channels": 8, "reduction": 2},
}
FLOAT32 = Precision("float32", "cpu")
PREPARE = {"uncertainty": uncertainty_task, "weighted": weighted_task}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def settings_of(arch: str = "fsrcnn", scale: int = 4, **more: Any) -> dict[str, Any]:
    return {
        "arch": arch, "options": SMALL[arch], "scale": scale, "seed": 3, "batch": 2, "repeat": 1,
        "precision": "float32", "learning_rate": 1e-3, "halve_every": 2, "betas": [0.9, 0.999],
        "epsilon": 1e-8, "ema": 0.9, "first_epoch": 0, "epochs": 2, "counts": True, "total_epochs": 4,
        "loss": "uncertainty", **more,
    }  # fmt: skip


def filled(settings: dict[str, Any]) -> UncertaintyNetwork:
    """A network and head in which every layer has a say."""
    model = build_uncertainty(settings)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


# ---- the formulas --------------------------------------------------------------------------------------


def test_step_1_is_the_papers_loss() -> None:
    x, y = random(2, 3, 5, 4), random(2, 3, 5, 4, seed=1)
    s = 4 * random(2, 3, 5, 4, seed=2) - 1
    a, b, t = (v.double().numpy() for v in (x, y, s))
    expected = np.mean(np.abs(np.exp(-t) * a - np.exp(-t) * b)) + 2 * np.mean(t)
    assert float(uncertainty_loss(x, s, y)) == pytest.approx(expected, rel=1e-6)


def test_step_2_is_the_papers_loss() -> None:
    x, y = random(2, 3, 5, 4), random(2, 3, 5, 4, seed=1)
    s = 4 * random(2, 3, 5, 4, seed=2) - 1
    a, b, t = (v.double().numpy() for v in (x, y, s))
    total = 0.0
    for image in range(2):
        for colour in range(3):
            w = t[image, colour] - t[image, colour].min() + 1
            total += np.sum(w * np.abs(a[image, colour] - b[image, colour]))
    assert float(weighted_l1(x, y, uncertainty_weights(s))) == pytest.approx(total / a.size, rel=1e-6)


def test_step_2_is_l1_where_all_is_equally_uncertain() -> None:
    x, y = random(2, 3, 5, 4), random(2, 3, 5, 4, seed=1)
    loss = weighted_l1(x, y, uncertainty_weights(torch.full_like(x, 0.7)))
    torch.testing.assert_close(loss, functional.l1_loss(x, y))


@given(arrays(np.float32, (2, 3, 4, 5), elements=st.floats(-1, 1e6, width=32)))
def test_weights_are_from_1_on(s: np.ndarray) -> None:
    weights = uncertainty_weights(torch.from_numpy(s))
    assert bool((weights >= 1).all())
    assert bool((weights.amin((2, 3)) == 1).all()), "the surest sample of each image and colour weighs 1"


def test_s_has_a_minimum_where_the_paper_says() -> None:
    """With an error of e everywhere, the loss is least at s = log(e / 2)."""
    s = torch.full((1, 3, 2, 2), 0.3, requires_grad=True)
    error = 8.0
    optimiser = torch.optim.Adam([s], lr=0.05)
    for _ in range(400):
        optimiser.zero_grad()
        uncertainty_loss(torch.full_like(s, error), s, torch.zeros_like(s)).backward()
        optimiser.step()
    torch.testing.assert_close(s, torch.full_like(s, np.log(error / 2)), rtol=0, atol=1e-3)


# ---- the network ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("arch", SMALL)
def test_network_and_head(arch: str, scale: int) -> None:
    model = filled(settings_of(arch, scale)).eval().double()  # so that nothing is hidden by rounding
    network, called = model.network, []
    features = network.features
    network.features = lambda x: called.append(features(x)) or called[-1]  # type: ignore[method-assign]
    x = random(2, 3, 4, 5).double()
    with torch.no_grad():
        image, s = model(x)
        assert len(called) == 1, "the body is computed once for both"
        assert torch.equal(image, network(x))
        assert torch.equal(s, model.uncertainty(x))
        y = called[0].repeat_interleave(scale, 2).repeat_interleave(scale, 3)
        for layer in (0, 2, 4):
            weights = model.state_dict()
            y = functional.conv2d(
                y, weights[f"head.{layer}.weight"], weights[f"head.{layer}.bias"], padding=1
            )
            y = torch.where(y > 0, y, torch.exp(y) - 1)
    torch.testing.assert_close(s, y)
    assert s.shape == image.shape == (2, 3, 4 * scale, 5 * scale)
    assert bool((s >= -1).all())
    assert float(s.std()) > 0.01, "the head says the same of every sample"


@pytest.mark.parametrize("arch", SMALL)
def test_the_initial_weights_are_those_of_the_plain_network(arch: str) -> None:
    settings = settings_of(arch)
    state = torch.random.get_rng_state()
    model, plain = build_uncertainty(settings), build_seeded(settings)
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, value in plain.state_dict().items():
        assert torch.equal(model.state_dict()[f"network.{name}"], value), name
    head = {n: v for n, v in model.state_dict().items() if n.startswith("head.")}
    assert len(head) + len(plain.state_dict()) == len(model.state_dict())
    channels = SMALL[arch].get("channels", SMALL[arch].get("d"))
    assert [head[f"head.{n}.weight"].shape[:2] for n in (0, 2, 4)] == [(channels, channels)] * 2 + [
        (3, channels)
    ]
    again, other = build_uncertainty(settings), build_uncertainty({**settings, "seed": 4})
    assert torch.equal(again.state_dict()["head.0.weight"], head["head.0.weight"])
    assert not torch.equal(other.state_dict()["head.0.weight"], head["head.0.weight"])


@pytest.mark.parametrize("scale", [2, 3, 4])
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
    model = filled(settings_of("edsr"))
    with torch.autocast("cpu", torch.bfloat16):
        image, s = model(random(1, 3, 4, 4))
    assert image.dtype == s.dtype == torch.float32


# ---- the objectives ------------------------------------------------------------------------------------


def test_step_1_trains_network_and_head_on_errors_in_grey_levels() -> None:
    model = filled(settings_of())
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
    settings = settings_of(arch)
    model, estimator = filled(settings).network.train(), filled({**settings, "seed": 9})
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


# ---- the two steps as jobs -----------------------------------------------------------------------------


class Noise:
    """Batches of random patches; a pure function of the iteration, as `bspa.sampling.sampler`."""

    def __init__(self, signal_at: int | None = None):
        self.signal_at = signal_at
        self.asked: list[int] = []

    def batch(self, iteration: int) -> tuple[np.ndarray, np.ndarray]:
        self.asked.append(iteration)
        if iteration == self.signal_at:
            os.kill(os.getpid(), signal.SIGTERM)
        generator = np.random.Generator(np.random.Philox(key=7, counter=[0, 0, 0, iteration]))
        hr = generator.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
        return np.ascontiguousarray(hr[:, ::4, ::4]), hr


class Files(dict[str, str]):
    """Named files, of which iteration gives the paths, as Snakemake's."""

    def __iter__(self) -> Iterator[str]:
        return iter(self.values())


def train(
    folder: Path, phase: str, *, previous: Path | None = None, sampler: Noise | None = None, **changed: Any
) -> tuple[Path, Noise]:
    """Run a stage of 3 + 3 steps; return its snapshot, and its sampler."""
    folder.mkdir(exist_ok=True)
    sampler = sampler or Noise()
    snapshot = folder / f"{phase}.safetensors"
    first = 0 if phase == "uncertainty" else 2
    job = SimpleNamespace(
        input=Files({"previous": str(previous)} if previous else {}),
        output=SimpleNamespace(snapshot=str(snapshot), journal=str(snapshot.with_suffix(".csv"))),
        params=SimpleNamespace(
            settings=settings_of(loss=phase, first_epoch=first, **changed),
            state=str(folder / "state"),
            code="c",
        ),
        threads=1,
        config={"compute": {"device": "cpu", "save_every_seconds": 1e9}},
    )
    run_stage(job, sampler, images=6, name=phase, prepare=PREPARE[phase])
    return snapshot, sampler


def assert_same(a: Snapshot, b: Snapshot) -> None:
    assert a.optimiser_steps == b.optimiser_steps
    for one, other in [(a.weights, b.weights), (a.average, b.average)] + [
        (a.moments[m], b.moments[m]) for m in a.moments
    ]:
        assert one
        assert one.keys() == other.keys()
        assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_two_steps_give_a_plain_network(tmp_path: Path) -> None:
    first, sampler = train(tmp_path, "uncertainty")
    assert sampler.asked == [*range(6)]
    one, _ = load_snapshot(first)
    assert {name.split(".")[0] for name in one.weights} == {"network", "head"}
    second, sampler = train(tmp_path, "weighted", previous=first)
    assert sampler.asked == [*range(6, 12)]
    two, metadata = load_snapshot(second)
    plain = build("fsrcnn", 4, **SMALL["fsrcnn"])
    assert list(two.weights) == sorted(plain.state_dict())
    assert two.moments["exp_avg"].keys() == two.average.keys() == dict(plain.named_parameters()).keys()
    assert two.optimiser_steps == 12
    assert metadata["ema"] == "0.9"


def test_step_2_starts_where_step_1_ended(tmp_path: Path) -> None:
    """Weights, Adam's moments and average are carried on, and s is of step 1's whole network."""
    first, _ = train(tmp_path, "uncertainty")
    one = network_part(load_snapshot(first)[0])
    task = weighted_task(settings_of(), str(first), torch.device("cpu"))
    assert task.initial is not None
    assert_same(task.initial, one)
    assert one.weights.keys() == build_seeded(settings_of()).state_dict().keys()
    assert isinstance(task.objective, WeightedByUncertainty)
    for name, value in load_snapshot(first)[0].weights.items():
        assert torch.equal(task.objective.estimator.state_dict()[name], value)


@pytest.mark.parametrize("phase", ["uncertainty", "weighted"])
def test_a_stopped_step_ends_bit_identical(tmp_path: Path, phase: str) -> None:
    previous = train(tmp_path / "first", "uncertainty")[0] if phase == "weighted" else None
    begin = 6 if previous else 0
    whole, _ = train(tmp_path / "whole", phase, previous=previous)
    with pytest.raises(SystemExit):
        train(tmp_path / "cut", phase, previous=previous, sampler=Noise(signal_at=begin + 2))
    resumed, sampler = train(tmp_path / "cut", phase, previous=previous)
    assert sampler.asked == [*range(begin + 3, begin + 6)]
    assert_same(load_snapshot(resumed)[0], load_snapshot(whole)[0])
    assert resumed.read_bytes() == whole.read_bytes()


def test_step_2_from_another_kind_of_snapshot_is_refused(tmp_path: Path) -> None:
    first, _ = train(tmp_path, "uncertainty")
    second, _ = train(tmp_path, "weighted", previous=first)
    with pytest.raises(
        ValueError, match=r"weighted.safetensors: these weights are not of UncertaintyNetwork"
    ):
        train(tmp_path / "again", "weighted", previous=second)


def test_a_loss_that_is_not_finite_is_caught(tmp_path: Path) -> None:
    """As s can sink to -1 only, it is the image that overflows."""
    with pytest.raises(ValueError, match=r"uncertainty: the loss is (nan|inf) at step"):
        train(tmp_path, "uncertainty", learning_rate=1e30)


@pytest.mark.parametrize("ema", [None, 0.9])
def test_what_is_delivered_is_the_plain_network(root: Path, tmp_path: Path, ema: float | None) -> None:
    first, _ = train(tmp_path, "uncertainty", ema=ema)
    second, _ = train(tmp_path, "weighted", previous=first, ema=ema)
    spec = importlib.util.spec_from_file_location("deliver", root / "workflow_scripts/deliver_weights.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    output = SimpleNamespace(weights=str(tmp_path / "w.safetensors"), summary=str(tmp_path / "w.json"))
    journals = [str(path.with_suffix(".csv")) for path in (first, second)]
    more = {"model": "m", "method": "udn", "trained_on": "t"}
    script.main(
        SimpleNamespace(
            input=SimpleNamespace(snapshot=str(second), journals=journals, attributions=[]),
            params=SimpleNamespace(settings={**settings_of(), **more}),
            output=output,
        )
    )
    weights, header = load_weights(output.weights)
    snapshot, _ = load_snapshot(second)
    expected = snapshot.average if ema else snapshot.weights
    assert all(torch.equal(weights[name], value) for name, value in expected.items())
    assert header["weights"] == ("average, decay 0.9" if ema else "last")
    summary = json.loads(Path(output.summary).read_text())
    assert summary["parameters"] == count_parameters(build("fsrcnn", 4, **SMALL["fsrcnn"]))
    assert summary["parameters"] == sum(value.numel() for value in weights.values())
    assert (summary["steps"], summary["ema"]) == (12, ema)
