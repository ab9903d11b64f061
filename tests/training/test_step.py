"""A step, taken operation by operation or recorded; a mask that does not fit."""

from __future__ import annotations

import pytest
import torch

from bspa.models.precision import Precision
from bspa.sampling.feeds import HostFeed
from bspa.system.cuda_graphs import capture_or_run
from bspa.training.adam import Adam
from bspa.training.losses import l1_objective
from bspa.training.masks import FrozenWeights
from bspa.training.snapshot import Snapshot, take_snapshot
from bspa.training.step import MovingAverage, TrainingStep
from tests.support.training import CPU, Noise, assert_same, make_stage, make_task


class Steps:
    """A network and a step on noise, half of its weights frozen."""

    def __init__(self) -> None:
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
        )
        self.feed.load(0)

    def snapshot(self) -> Snapshot:
        return take_snapshot(self.model, self.adam, 0, self.average.values)


def test_gradients_alone_take_no_step() -> None:
    """They warm a step up before it is recorded."""
    plain, warmed = Steps(), Steps()
    for _ in range(3):
        warmed.step.compute_gradients()
    for iteration in range(4):
        plain.feed.load(iteration)
        warmed.feed.load(iteration)
        assert torch.equal(plain.step(), warmed.step())
    assert_same(warmed.snapshot(), plain.snapshot())


def test_a_step_that_cannot_be_recorded_is_taken_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr("bspa.system.cuda_graphs.capture", refuse)
    step = Steps().step
    assert capture_or_run(step, warm_up=step.compute_gradients, device=CPU) is step
    assert "operation not permitted" in caplog.text


@pytest.mark.parametrize(("name", "shape"), [("nothing", (1,)), ("head_conv.0.bias", (3,))])
def test_a_mask_of_another_network_is_refused(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"mask is of another network: {name}"):
        FrozenWeights(make_task(make_stage()).model, {name: torch.ones(shape, dtype=torch.bool)})
