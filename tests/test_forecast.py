"""How long a config takes: what is counted, what is made, what is measured."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from bspa.forecast import (
    Job,
    add_matched_steps,
    measure_step,
    measure_steps,
    runs_table,
    shown_table,
    step_kind,
)
from bspa.training.stage import Attribution, Stage
from tests.support.training import make_attribution, make_stage

TINY: dict[str, Any] = {
    "scale": 2,
    "options": {"d": 4, "s": 2, "m": 1},
    "seed": 0,
    "patch": 16,
    "batch": 4,
    "repeat": 2,
}
STAGE = make_stage(**TINY, epochs=5, total_epochs=5)
ATTRIBUTION = make_attribution(**TINY, steps=3, batches=2)


def job(work: Stage | Attribution = STAGE, made: bool = False, **run: Any) -> Job:
    values = {"model": "tiny", "scale": 2, "method": "bspa", "seed": 0, "shown_in": ["table1"], **run}
    return Job(work=work, made=made, **values)


def test_steps_follow_the_number_of_images() -> None:
    assert job().steps(10) == 5 * 5  # 10 images x 2 in batches of 4: 5 steps an epoch
    assert job().steps(None) == 5  # epochs
    assert job(ATTRIBUTION).steps(10) == 6  # gradients


def test_the_tables_count_what_is_made_and_the_time_left() -> None:
    jobs = [job(made=True), job(), job(ATTRIBUTION), job(method="udn", shown_in=["figure5"])]
    seconds = {step_kind(work): value for work, value in ((STAGE, 2.0), (ATTRIBUTION, 1.0))}
    bspa, udn = (line.split() for line in runs_table(jobs, 10, seconds).splitlines()[2:])
    assert bspa == ["tiny", "x2", "bspa", "1", "6", "50", "25", "2,000.0", "0:00:56"]
    assert udn == ["tiny", "x2", "udn", "1", "0", "25", "0", "2,000.0", "0:00:50"]
    shown = dict(line.split() for line in shown_table(jobs, 10, seconds).splitlines()[2:])
    assert shown == {"table1": "0:00:56", "figure5": "0:00:50", "all": "0:01:46"}


def test_a_run_that_matches_seconds_takes_the_time_of_the_other() -> None:
    seconds = {step_kind(work): value for work, value in ((STAGE, 2.0), (ATTRIBUTION, 1.0))}
    other = [job(made=True), job(ATTRIBUTION, made=True), job(seed=1), job(ATTRIBUTION, seed=1)]
    short = dataclasses.replace(STAGE, epochs=2)
    first, last = job(short, method="long"), job(short, method="long", matched="bspa")
    *_, longer = add_matched_steps([*other, first, last], 10, seconds)
    assert longer.steps(10) == 10 + 8  # 56 s for 25 steps and 6 gradients; both stages as they are take 40 s
    assert measure_steps([*other, last], torch.device("cpu")).keys() == seconds.keys()
    made = dataclasses.replace(last, made=True)
    assert add_matched_steps([*other, first, made], 10, seconds)[-1] == made


def test_without_the_number_of_images_epochs_are_counted() -> None:
    line = runs_table([job()], None, {}).splitlines()[2]
    assert line.split() == ["tiny", "x2", "bspa", "1", "0", "5", "0"]


@pytest.mark.parametrize(
    "work",
    [
        STAGE,
        dataclasses.replace(STAGE, phase="uncertainty", objective="uncertainty"),
        dataclasses.replace(STAGE, phase="weighted", objective="weighted", ema=0.9),
        ATTRIBUTION,
    ],
    ids=["uniform", "uncertainty", "weighted", "attribution"],
)
def test_every_kind_of_step_is_measured(work: Stage | Attribution) -> None:
    assert measure_step(work, torch.device("cpu"), limit=0.01) > 0
