"""How stages count their steps and epochs, and the learning rate that follows."""

from __future__ import annotations

import pytest

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
