"""The training loop: what it computes, freezes, averages and saves, and that it resumes to the bit."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bspa.models.precision import choose_precision
from bspa.sampling.uniform import UniformSampler
from bspa.system.cuda_graphs import capture_or_run
from bspa.system.devices import choose_device
from bspa.training.checkpoint import open_checkpoints
from bspa.training.loop import STEPS_BETWEEN_READS, train_stage
from bspa.training.snapshot import Snapshot, load_snapshot, save_snapshot
from bspa.training.stage import Schedule
from bspa.training.step import TrainingStep
from tests.support.noise import pack_noise
from tests.support.training import (
    CPU,
    Noise,
    assert_same,
    initial_weights,
    make_stage,
    make_task,
    partial_of,
    random_masks,
    train,
    without_times,
)

AVERAGED = make_stage(ema=0.9)


# ---- what it computes ----------------------------------------------------------------------------------


def test_a_stage_is_plain_adam_on_l1(tmp_path: Path) -> None:
    end = train(tmp_path)
    model, sampler = make_task(make_stage()).model, Noise()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(12):
        optimiser.param_groups[0]["lr"] = 1e-3 if step < 8 else 0.5e-3
        lr, hr = (torch.from_numpy(i).permute(0, 3, 1, 2).float() / 255 for i in sampler.batch(step))
        optimiser.zero_grad()
        (model(lr) - hr).abs().mean().backward()
        optimiser.step()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(end.snapshot.weights[name], value, rtol=1e-3, atol=1e-5)
    assert [row["learning_rate"] for row in end.rows] == [1e-3, 1e-3, 0.5e-3]
    assert [row["epoch"] for row in end.rows] == [1, 2, 3]
    assert [row["step"] for row in end.rows] == [4, 8, 12]
    assert end.snapshot.optimiser_steps == 12


@pytest.mark.parametrize(
    ("phase", "losses"),
    [
        ("uniform", [0.48314690589904785, 0.42632314562797546, 0.36913100630044937]),
        ("uncertainty", [118.99484443664551, 91.9117202758789, 65.69962978363037]),
    ],
)
def test_the_losses_are_those_of_the_first_release(tmp_path: Path, phase: str, losses: list[float]) -> None:
    """Golden values; computed before the library was rearranged."""
    end = train(tmp_path, make_stage(phase))
    assert [row["loss"] for row in end.rows] == pytest.approx(losses, rel=1e-4)


def test_two_stages_equal_one_long_stage(tmp_path: Path) -> None:
    """Adam's moments and the average are carried from stage to stage, through files."""
    whole = train(tmp_path / "a", AVERAGED)
    first = train(tmp_path / "b", replace(AVERAGED, epochs=1))
    save_snapshot(tmp_path / "s.safetensors", first.snapshot, {})
    initial, _ = load_snapshot(tmp_path / "s.safetensors")
    sampler = Noise()
    rest = replace(AVERAGED, first_epoch=1, epochs=2)
    second = train(tmp_path / "c", rest, initial=initial, sampler=sampler)
    assert sampler.asked == [*range(4, 12)]
    assert_same(second.snapshot, whole.snapshot)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_frozen_weights_keep_every_bit_with_warm_momentum(tmp_path: Path, precision: str) -> None:
    stage = make_stage(precision=precision)
    warm = train(tmp_path / "a", stage).snapshot
    assert all(bool((m != 0).any()) for m in warm.moments["exp_avg"].values())
    masks = random_masks(warm)
    end = train(tmp_path / "b", stage, initial=warm, masks=masks).snapshot
    for name, mask in masks.items():
        assert torch.equal(end.weights[name][mask], warm.weights[name][mask]), name
        moved = (end.weights[name] != warm.weights[name]) | mask
        assert float(moved.float().mean()) > 0.98, f"{name}: weights that are not frozen stood still"


@pytest.mark.parametrize(("name", "shape"), [("nothing", (1,)), ("head_conv.0.bias", (3,))])
def test_a_mask_of_another_network_is_refused(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"mask is of another network: {name}"):
        train(tmp_path, masks={name: torch.ones(shape, dtype=torch.bool)})


# ---- the moving average of the weights -----------------------------------------------------------------


class Watched(Noise):
    """Keeps the weights as they are when each batch is asked for."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self.weights: list[dict[str, Tensor]] = []

    def batch(self, iteration: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        self.weights.append({n: p.detach().double().clone() for n, p in self.model.named_parameters()})
        return super().batch(iteration)


def test_the_average_is_that_of_a_plain_loop(tmp_path: Path) -> None:
    task = make_task(AVERAGED)
    watched = Watched(task.model)
    end = train(tmp_path, AVERAGED, task=task, sampler=watched).snapshot
    seen = [*watched.weights, {name: value.double() for name, value in end.weights.items()}]
    assert end.average.keys() == seen[0].keys()
    for name, averaged in end.average.items():
        expected = seen[0][name]
        for weights in seen[1:]:
            expected = 0.9 * expected + 0.1 * weights[name]
        assert averaged.dtype == torch.float32
        torch.testing.assert_close(averaged.double(), expected, rtol=1e-5, atol=1e-7)
        assert not torch.equal(averaged, end.weights[name]), name


def test_averaging_changes_no_weight_and_is_absent_when_off(tmp_path: Path) -> None:
    plain, averaged = train(tmp_path / "a").snapshot, train(tmp_path / "b", AVERAGED).snapshot
    assert plain.average == {}
    assert_same(plain, replace(averaged, average={}))
    assert all(torch.equal(averaged.delivered("last")[n], plain.weights[n]) for n in plain.weights)


def test_fixed_weights_are_delivered_with_the_averaged_ones(tmp_path: Path) -> None:
    end = train(tmp_path, make_stage(arch="edsr", ema=0.9)).snapshot
    fixed = {f"{part}_mean.{name}" for part in ("sub", "add") for name in ("weight", "bias")}
    assert end.weights.keys() - end.average.keys() == fixed
    delivered = end.delivered("average")
    assert all(
        delivered[name] is (end.weights if name in fixed else end.average)[name] for name in end.weights
    )


# ---- stopping and continuing ---------------------------------------------------------------------------


@pytest.mark.parametrize("stop_at", [0, 5, 7, 11])
def test_a_stopped_stage_ends_bit_identical(tmp_path: Path, stop_at: int) -> None:
    """Stopped in the first step, within an epoch, at the end of one, and in the last step."""
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    whole = train(tmp_path / "whole", AVERAGED)
    with pytest.raises(SystemExit) as stopped:
        train(tmp_path / "cut", AVERAGED, sampler=Noise(signal_at=stop_at))
    assert stopped.value.code == 128 + signal.SIGTERM
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    sampler = Noise()
    resumed = train(tmp_path / "cut", AVERAGED, sampler=sampler)
    assert sampler.asked == [*range(stop_at + 1, 12)]
    assert_same(resumed.snapshot, whole.snapshot)
    assert without_times(resumed.rows) == without_times(whole.rows)


@pytest.mark.parametrize("stop_at", [12, 19])
def test_a_frozen_stage_continues_with_the_values_it_began_with(tmp_path: Path, stop_at: int) -> None:
    warm = train(tmp_path / "warm").snapshot
    masks = random_masks(warm)
    whole = train(tmp_path / "whole", initial=warm, masks=masks)
    with pytest.raises(SystemExit):
        train(tmp_path / "cut", initial=warm, masks=masks, sampler=Noise(signal_at=stop_at))
    assert_same(train(tmp_path / "cut", initial=warm, masks=masks).snapshot, whole.snapshot)


# ---- losses and weights that are not finite ------------------------------------------------------------


def break_output(model: nn.Module, *, at: int, factor: float) -> None:
    """Multiply the output by ``factor`` from the forward pass number ``at`` on."""
    passes = iter(range(1000))
    model.register_forward_hook(lambda m, i, out: out * (factor if next(passes) >= at else 1.0))


@pytest.mark.parametrize(("read_every", "saved"), [(1, "5"), (50, "4")])
def test_the_first_loss_that_is_not_finite_is_named_and_its_step_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_every: int, saved: str
) -> None:
    monkeypatch.setitem(STEPS_BETWEEN_READS, "cpu", read_every)
    task = make_task(make_stage())
    break_output(task.model, at=5, factor=float("inf"))
    with pytest.raises(ValueError, match=r"the loss is inf at step 5 \(epoch 1\), learning rate 0.001"):
        train(tmp_path / "cut", task=task, save_every_seconds=0.0)
    assert load_snapshot(partial_of(tmp_path / "cut"))[1]["step"] == saved
    assert_same(train(tmp_path / "cut").snapshot, train(tmp_path / "whole").snapshot)


def test_weights_that_are_not_finite_are_neither_saved_nor_delivered(tmp_path: Path) -> None:
    """The last step's gradient is infinite, though its loss is finite."""
    task = make_task(make_stage())
    steps = iter(range(100))
    weight = next(task.model.parameters())
    weight.register_hook(lambda gradient: gradient * (float("inf") if next(steps) == 11 else 1.0))
    with pytest.raises(ValueError, match="the weights are no longer finite at step 11"):
        train(tmp_path, task=task)
    assert not partial_of(tmp_path).exists()


# ---- steps recorded on a GPU ---------------------------------------------------------------------------


def test_losses_read_late_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = train(tmp_path / "plain", AVERAGED)
    monkeypatch.setitem(STEPS_BETWEEN_READS, "cpu", 3)
    late = train(tmp_path / "late", AVERAGED)
    assert_same(late.snapshot, plain.snapshot)
    assert without_times(late.rows) == without_times(plain.rows)


def test_gradients_alone_take_no_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They warm a step up before it is recorded."""
    plain, take_step = train(tmp_path / "plain", AVERAGED), TrainingStep.__call__

    def warmed(step: TrainingStep) -> Tensor:
        step.compute_gradients()
        return take_step(step)

    monkeypatch.setattr(TrainingStep, "__call__", warmed)
    assert_same(train(tmp_path / "warmed", AVERAGED).snapshot, plain.snapshot)


def test_work_that_cannot_be_recorded_is_done_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr("bspa.system.cuda_graphs.capture", refuse)
    assert capture_or_run(torch.rand, warm_up=torch.rand, device=CPU) is torch.rand
    assert "operation not permitted" in caplog.text


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    "values",
    [
        {"arch": "fsrcnn"},
        {"arch": "edsr"},
        {"arch": "rcan"},
        {"arch": "edsr", "objective": "l1_frequency", "weight_decay": 0.1},
        {"arch": "edsr", "objective": "charbonnier", "decay": "cosine", "final_rate": 1e-5, "warm_up": 2},
    ],
    ids=lambda values: "_".join(map(str, values.values())),
)
def test_a_recorded_step_is_the_step(
    tmp_path: Path, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    device, stage = choose_device("cuda"), make_stage(ema=0.9, batch=4, epochs=20, total_epochs=20, **values)
    images = pack_noise(tmp_path, *[(64, 64)] * 3, scale=4)

    def trained(name: str, *, recorded: bool, resident: float, initial: Snapshot | None) -> Snapshot:
        monkeypatch.setattr("bspa.training.loop.RESIDENT_SHARE", resident)
        with monkeypatch.context() as patch, open_checkpoints(tmp_path / name, "identity") as checkpoints:
            if not recorded:
                patch.setattr("bspa.training.loop.capture_or_run", lambda work, **_: work)
            return train_stage(
                replace(make_task(stage), initial=initial),
                UniformSampler(images, patch=32, batch=4, seed=0),
                Schedule(stage=stage, images=16),
                masks=random_masks(initial) if initial else {},
                precision=choose_precision("float32", device),
                device=device,
                checkpoints=checkpoints,
                save_every_seconds=1e9,
            ).snapshot

    first = trained("first", recorded=False, resident=0.5, initial=None)
    for initial in (None, first):
        eager = trained("a", recorded=False, resident=0.5, initial=initial)
        start = initial.weights if initial else initial_weights(stage)
        for name, resident in (("b", 0.0), ("c", 0.5)):
            other = trained(name, recorded=True, resident=resident, initial=initial)
            assert other.optimiser_steps == eager.optimiser_steps
            for weight, value in eager.weights.items():
                apart, moved = (other.weights[weight] - value).norm(), (value - start[weight]).norm()
                assert apart <= 0.05 * moved, f"{weight}: moved by {moved}, {apart} apart"
            for weight, mask in random_masks(initial).items() if initial else ():
                assert torch.equal(other.weights[weight][mask], start[weight][mask]), weight


def test_a_fresh_optimiser_starts_as_for_a_new_run(tmp_path: Path) -> None:
    before = train(tmp_path / "before").snapshot
    stage = make_stage(epochs=1, fresh_optimiser=True)
    fresh = train(tmp_path / "fresh", stage, initial=before).snapshot
    zero = {moment: {n: torch.zeros_like(v) for n, v in of.items()} for moment, of in before.moments.items()}
    reset = replace(before, moments=zero, adam_steps=0)
    assert_same(fresh, train(tmp_path / "reset", make_stage(epochs=1), initial=reset).snapshot)
    assert (fresh.optimiser_steps, fresh.adam_steps) == (16, 4)
    with pytest.raises(SystemExit):
        train(tmp_path / "stopped", stage, initial=before, sampler=Noise(signal_at=13))
    assert_same(fresh, train(tmp_path / "stopped", stage, initial=before).snapshot)


@pytest.mark.parametrize("moments", ["fade", "keep"])
def test_moments_of_frozen_weights_fade_or_go_on(tmp_path: Path, moments: str) -> None:
    before = train(tmp_path / "before").snapshot
    name = "head_conv.0.weight"
    masks = {name: torch.ones_like(before.weights[name], dtype=torch.bool)}
    stage = make_stage(epochs=3, frozen_moments=moments)
    after = train(tmp_path / "after", stage, initial=before, masks=masks).snapshot
    assert torch.equal(after.weights[name], before.weights[name])
    first, last = (of.moments["exp_avg_sq"][name] for of in (before, after))
    if moments == "fade":
        torch.testing.assert_close(last, first * 0.999**12)
    else:
        assert (last > first * 0.999**12).any()


def test_a_stage_goes_on_until_it_took_the_device_seconds(tmp_path: Path) -> None:
    plain = train(tmp_path / "plain", make_stage(epochs=2))
    least = 3 * plain.device_seconds
    longer = train(tmp_path / "longer", make_stage(epochs=2), least_seconds=least)
    assert longer.device_seconds >= least
    assert longer.step > plain.step
    assert longer.step % 4 == 0
    assert longer.rows[-2]["device_seconds"] < least
    assert longer.rows[: len(plain.rows)][-1]["loss"] == plain.rows[-1]["loss"]
