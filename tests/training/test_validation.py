"""The validation curve, and the weights that it chooses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bspa.metrics.psnr import psnr_y
from bspa.models.inference import super_resolve
from bspa.training.snapshot import load_snapshot, save_snapshot
from bspa.training.validation import Validation
from tests.support.training import Noise, assert_same, make_stage, make_task, partial_of, train


class Photos:
    """Two smooth images, and every fourth pixel of them."""

    scale = 4
    ids = ("a", "b")

    def __len__(self) -> int:
        return 2

    def hr(self, index: int) -> Any:
        y, x = np.mgrid[0:40, 0:48] * (0.1 + 0.1 * index)
        return np.stack([127 + 90 * np.sin(x + c) * np.cos(y) for c in range(3)], axis=-1).astype(np.uint8)

    def lr(self, index: int) -> Any:
        return np.ascontiguousarray(self.hr(index)[::4, ::4])


def score(stage: Any, weights: Any) -> float:
    model = make_task(stage).model
    model.load_state_dict(weights, strict=False)
    photos = Photos()
    return float(np.mean([psnr_y(super_resolve(model, photos.lr(i)), photos.hr(i), 4) for i in range(2)]))


def test_the_curve_has_points_where_it_should_and_training_is_the_same(tmp_path: Path) -> None:
    plain = train(tmp_path / "plain", make_stage(epochs=5))
    stage = make_stage(epochs=5, validate_every=2)
    seen = train(tmp_path / "seen", stage, validation=Validation(images=Photos()))
    assert [row["step"] for row in seen.rows if row["psnr"] is not None] == [8, 16, 20]
    assert plain.snapshot.best is None
    assert seen.rows[-1]["psnr"] == pytest.approx(score(stage, seen.snapshot.weights))
    for name, value in plain.snapshot.weights.items():
        assert torch.equal(value, seen.snapshot.weights[name])


def test_epochs_beyond_the_last_have_no_more_points(tmp_path: Path) -> None:
    seconds = train(tmp_path / "plain", make_stage(epochs=2)).device_seconds
    stage = make_stage(epochs=2, validate_every=3)
    curve = {"validation": lambda *_: ({"psnr": 1.0}, None)}
    rows = train(tmp_path / "longer", stage, least_seconds=6 * seconds, **curve).rows
    steps = [row["step"] for row in rows]
    assert len(steps) > 4, "it did not go on: the test shows nothing"
    assert [row["step"] for row in rows if row["psnr"]] == sorted({*steps[2::3], steps[-1]})


@pytest.mark.parametrize("ema", [None, 0.5])
def test_the_best_weights_are_those_of_the_highest_point(tmp_path: Path, ema: float | None) -> None:
    # A learning rate this high makes the curve go up and down.
    stage = make_stage(
        epochs=8, learning_rate=0.03, halve_every=100, total_epochs=8, ema=ema, validate_every=1
    )
    end = train(tmp_path, stage, validation=Validation(images=Photos()))
    column = "psnr_average" if ema else "psnr"
    highest = max(end.rows, key=lambda row: row[column])
    assert end.snapshot.best is not None
    assert (end.snapshot.best.step, end.snapshot.best.psnr) == (highest["step"], highest[column])
    assert score(stage, end.snapshot.delivered("best")) == pytest.approx(highest[column])
    assert highest["step"] < end.rows[-1]["step"], "the last point is the best: the test shows nothing"
    save_snapshot(tmp_path / "end.safetensors", end.snapshot, {})
    read, _ = load_snapshot(tmp_path / "end.safetensors")
    assert score(stage, read.delivered("best")) == pytest.approx(highest[column])


def test_a_stage_continues_with_the_best_of_the_one_before(tmp_path: Path) -> None:
    stage = make_stage(epochs=2, validate_every=1)
    validation = Validation(images=Photos())
    first = train(tmp_path / "a", stage, validation=validation).snapshot
    worse = make_stage(epochs=1, learning_rate=3.0, validate_every=1)
    second = train(tmp_path / "b", worse, initial=first, validation=validation).snapshot
    assert first.best is not None
    assert second.best is not None
    assert (second.best.psnr, second.best.step) == (first.best.psnr, first.best.step)


def test_a_stopped_stage_ends_with_the_same_curve(tmp_path: Path) -> None:
    stage = make_stage(epochs=4, ema=0.9, validate_every=1)
    validation = Validation(images=Photos())
    whole = train(tmp_path / "whole", stage, validation=validation)
    with pytest.raises(SystemExit):
        train(tmp_path / "stopped", stage, validation=validation, sampler=Noise(signal_at=9))
    assert partial_of(tmp_path / "stopped").exists()
    continued = train(tmp_path / "stopped", stage, validation=validation)
    assert_same(whole.snapshot, continued.snapshot)
    assert whole.snapshot.best is not None
    assert continued.snapshot.best is not None
    assert whole.snapshot.best.psnr == continued.snapshot.best.psnr
    points = [[row.get("psnr"), row.get("psnr_average")] for row in whole.rows]
    assert points == [[row.get("psnr"), row.get("psnr_average")] for row in continued.rows]


def test_udn_is_validated_without_its_head(tmp_path: Path) -> None:
    stage = make_stage("uncertainty", ema=0.9, validate_every=3)
    end = train(tmp_path, stage, validation=Validation(images=Photos()))
    assert end.snapshot.best is not None
    assert end.snapshot.best.weights.keys() == make_task(make_stage()).model.state_dict().keys()
