"""How stages count their steps and epochs, and the learning rate that follows."""

from __future__ import annotations

import pytest

from bspa.training.stage import Schedule
from tests.support.training import make_stage


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
