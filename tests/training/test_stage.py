"""How stages count their steps and epochs, and the learning rate that follows."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bspa.training.stage import Schedule
from tests.support.training import IMAGES, make_attribution, make_stage


def test_the_papers_run_is_20000_steps_of_which_the_second_half_has_half_the_rate() -> None:
    stage = make_stage(batch=16, epochs=400, total_epochs=400, learning_rate=2e-4, halve_every=200)
    schedule = Schedule(stage=stage, images=800)
    assert schedule.steps_per_epoch == 50
    assert Schedule(stage=stage, images=801).steps_per_epoch == 51
    assert schedule.steps == 20_000
    rates = [schedule.learning_rate_at(step) for step in (0, 9_999, 10_000, 19_999)]
    assert rates == [2e-4, 2e-4, 1e-4, 1e-4]


@pytest.mark.parametrize(("first_epoch", "rate"), [(1, 1e-3), (2, 1e-3), (3, 0.5e-3)])
def test_epochs_that_do_not_count_have_the_rate_of_the_last_that_did(first_epoch: int, rate: float) -> None:
    schedule = Schedule(stage=make_stage(first_epoch=first_epoch, epochs=10, counts=False), images=8)
    assert {schedule.learning_rate_at(step) for step in range(schedule.steps)} == {rate}
    assert {schedule.epoch(step) for step in range(schedule.steps)} == {first_epoch - 1}


def test_a_run_made_longer_is_not_halved_again() -> None:
    schedule = Schedule(stage=make_stage(epochs=8, total_epochs=4), images=8)
    assert [schedule.learning_rate_at(4 * epoch) for epoch in range(8)] == [1e-3] * 2 + [0.5e-3] * 6


def test_extra_steps_follow_the_epochs_and_end_a_row() -> None:
    schedule = Schedule(
        stage=make_stage(epochs=2, extra_steps=3, total_epochs=2, halve_every=1), images=IMAGES
    )
    assert schedule.steps == 2 * 4 + 3
    assert [step for step in range(1, 16) if schedule.ends_row(step)] == [4, 8, 11, 15]
    assert schedule.learning_rate_at(10) == schedule.learning_rate_at(4) == 0.5 * schedule.learning_rate_at(0)


def test_a_stretched_schedule_has_the_rates_of_t_epochs_in_equal_shares() -> None:
    values = {"epochs": 5, "extra_steps": 2, "total_epochs": 2, "halve_every": 1}
    schedule = Schedule(stage=make_stage(**values, stretch_schedule=True), images=IMAGES)
    rates = [schedule.learning_rate_at(step) for step in range(schedule.steps)]
    assert rates == [1e-3] * 11 + [5e-4] * 11


def test_steps_of_an_epoch_may_be_given_whatever_the_images() -> None:
    stage = make_stage(repeat=None, epoch_steps=7, epochs=3, extra_steps=2)
    for images in (1, 1000):
        schedule = Schedule(stage=stage, images=images)
        assert (schedule.steps_per_epoch, schedule.steps) == (7, 23)
    attribution = make_attribution(repeat=None, epoch_steps=7, batches="epoch")
    assert attribution.batch_count(1000) == 7


# ---- other learning rates ------------------------------------------------------------------------------

COSINE: dict[str, Any] = {"decay": "cosine", "halve_every": None, "final_rate": 1e-5}
MULTISTEP: dict[str, Any] = {"decay": "multistep", "halve_every": None, "milestones": [3, 5], "gamma": 0.1}


def rates_of(**values: Any) -> list[float]:
    schedule = Schedule(stage=make_stage(**values), images=IMAGES)
    return [schedule.learning_rate_at(step) for step in range(schedule.steps)]


def test_multistep_is_torchs() -> None:
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=1e-3)
    torchs = torch.optim.lr_scheduler.MultiStepLR(optimiser, [3, 5], gamma=0.1)
    expected = []
    for _ in range(6):
        expected += 4 * torchs.get_last_lr()
        optimiser.step()
        torchs.step()
    assert rates_of(epochs=6, total_epochs=6, **MULTISTEP) == pytest.approx(expected)


def test_cosine_is_torchs_step_by_step() -> None:
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=1e-3)
    torchs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=24, eta_min=1e-5)
    expected = []
    for _ in range(24):
        expected += torchs.get_last_lr()
        optimiser.step()
        torchs.step()
    assert rates_of(epochs=6, total_epochs=6, **COSINE) == pytest.approx(expected)


def test_warm_up_rises_by_steps_to_the_full_rate() -> None:
    for values in ({}, COSINE, MULTISTEP):
        rates = rates_of(epochs=6, total_epochs=6, warm_up=2, **values)
        assert rates[:8] == pytest.approx([1e-3 * (step + 1) / 8 for step in range(8)])
    # The fall of cosine begins there; halving is counted from the beginning.
    assert rates_of(epochs=6, total_epochs=6, warm_up=2, **COSINE)[16] == pytest.approx((1e-3 + 1e-5) / 2)
    assert rates_of(epochs=6, total_epochs=6, warm_up=1)[8] == 0.5e-3


@pytest.mark.parametrize(
    "values", [{"halve_every": 2}, COSINE, MULTISTEP], ids=["step", "cosine", "multistep"]
)
@pytest.mark.parametrize("warm_up", [0, 2])
def test_every_kind_of_rates_suits_every_kind_of_run(values: dict[str, Any], warm_up: int) -> None:
    values = {**values, "warm_up": warm_up, "total_epochs": 6}
    whole = rates_of(epochs=6, **values)
    # In parts, as in an alternation.
    assert rates_of(epochs=2, **values) + rates_of(first_epoch=2, epochs=4, **values) == whole
    # Epochs that do not count have one rate: cosine's goes on from there.
    apart = set(rates_of(first_epoch=4, epochs=3, counts=False, **values))
    assert apart == {whole[16 if values.get("decay") == "cosine" else 15]}
    # Beyond T, the last rate holds; cosine has then come to its end.
    longer = rates_of(epochs=6, extra_steps=7, **values)
    assert longer[:24] == whole
    last = 1e-5 if values.get("decay") == "cosine" else whole[-1]
    assert longer[24:] == pytest.approx([last] * 7)
    # Stretched over twice as many steps, each rate comes at twice the step.
    stretched = rates_of(epochs=12, stretch_schedule=True, **values)
    assert stretched[::2][warm_up * 4 :] == pytest.approx(whole[warm_up * 4 :])
    if warm_up:
        assert stretched[:16] == pytest.approx([1e-3 * (step + 1) / 16 for step in range(16)])
