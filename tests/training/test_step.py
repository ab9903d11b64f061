"""A step, taken operation by operation or recorded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bspa.models.precision import Precision
from bspa.sampling.feeds import HostFeed
from bspa.training.adam import Adam
from bspa.training.losses import l1_objective
from bspa.training.masks import FrozenWeights
from bspa.training.snapshot import Snapshot, take_snapshot
from bspa.training.step import MovingAverage, NonFiniteLossError, TrainingStep, record_step
from tests.support.training import CPU, Noise, assert_same, make_stage, make_task


class Steps:
    """A network and a step on noise, half of its weights frozen."""

    def __init__(self, *, check_loss: bool = False):
        self.model, self.feed = make_task(make_stage()).model, HostFeed(Noise())
        masks = {n: torch.arange(p.numel()).view(p.shape) % 2 == 0 for n, p in self.model.named_parameters()}
        self.adam = Adam(self.model, betas=(0.9, 0.999), epsilon=1e-8)
        self.adam.set_learning_rate(1e-3)
        self.average = MovingAverage(self.model, 0.9, {})
        self.step = TrainingStep(
            model=self.model,
            objective=l1_objective,
            feed=self.feed,
            precision=Precision("float32", "cpu"),
            adam=self.adam,
            frozen=FrozenWeights(self.model, masks),
            average=self.average,
            check_loss=check_loss,
        )
        self.feed.load(0)

    def snapshot(self) -> Snapshot:
        return take_snapshot(self.model, self.adam, 0, self.average.values)


def test_a_recorded_step_is_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def play_back(work: Callable[[], Tensor], *, warm_up: Callable[[], object], device: object) -> object:
        warm_up()
        return work

    monkeypatch.setattr("bspa.training.step.capture", play_back)
    plain, recorded = Steps(), Steps()
    start = recorded.snapshot()
    replay = record_step(recorded.step, CPU)
    assert replay is not recorded.step
    assert_same(recorded.snapshot(), start)  # recording takes no step
    for iteration in range(4):
        plain.feed.load(iteration)
        recorded.feed.load(iteration)
        assert torch.equal(plain.step(), replay())
    assert_same(recorded.snapshot(), plain.snapshot())


def test_a_step_that_cannot_be_recorded_is_taken_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr("bspa.training.step.capture", refuse)
    step = Steps().step
    assert record_step(step, CPU) is step
    assert "operation not permitted" in caplog.text


def test_a_checked_loss_stops_the_step_before_the_update() -> None:
    steps = Steps(check_loss=True)
    steps.step()
    before = steps.snapshot()
    steps.model.register_forward_hook(lambda m, i, out: out * float("inf"))
    with pytest.raises(NonFiniteLossError, match="inf"):
        steps.step()
    assert_same(steps.snapshot(), before)
