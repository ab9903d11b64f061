"""Small training stages: noise to train on, networks, and comparisons to the last bit."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bspa.models.precision import choose_precision
from bspa.training.checkpoint import Checkpoint, open_checkpoints
from bspa.training.loop import train_stage
from bspa.training.registry import OBJECTIVES
from bspa.training.snapshot import Snapshot, load_snapshot
from bspa.training.stage import PHASES, Attribution, Schedule, Stage
from bspa.training.task import Task, Validate, build_seeded
from tests.support.networks import SMALL

CPU = torch.device("cpu")
IMAGES = 8
"""Training images that give `make_stage` 4 steps an epoch."""


def make_stage(phase: str = "uniform", arch: str = "fsrcnn", **changed: Any) -> Stage:
    """Return a stage of 3 epochs, whose learning rate is halved after 2."""
    sampling, objective = PHASES[phase]
    values: dict[str, Any] = {
        "phase": phase, "sampling": sampling, "objective": objective, "arch": arch, "scale": 4,
        "options": SMALL.get(arch, {}), "seed": 3, "patch": 32, "batch": 2, "repeat": 1, "epoch_steps": None,
        "learning_rate": 1e-3, "decay": "step", "halve_every": 2, "milestones": [], "gamma": None,
        "final_rate": None, "warm_up": 0, "weight_decay": 0.0, "betas": [0.9, 0.999], "epsilon": 1e-8,
        "ema": None, "precision": "float32", "first_epoch": 0, "epochs": 3, "counts": True, "total_epochs": 3,
        "extra_steps": 0, "image_order": "independent", "stretch_schedule": False, "fresh_optimiser": False,
        "validate_every": None, "validate_images": None, "frozen_moments": "fade",
    }  # fmt: skip
    return Stage(**{**values, **changed})


def make_attribution(**changed: Any) -> Attribution:
    """Return an attribution that freezes a fifth of the units, by integrated gradients on 3 batches."""
    values: dict[str, Any] = {
        "arch": "fsrcnn", "scale": 2, "options": {}, "seed": 5, "objective": "l1", "patch": 16, "batch": 2,
        "repeat": 1, "epoch_steps": None, "image_order": "independent", "criterion": "ig", "unit": "weight",
        "modules": ["conv"], "beta": 0.4, "steps": 4, "riemann": "left", "batches": 3,
        "aggregate": "mean_loss", "freeze": "most",
        "update": "replace", "cycle": 1, "epoch": 1, "total_epochs": 2,
    }  # fmt: skip
    return Attribution(**{**values, **changed})


class Noise:
    """Batches of 2 random patches of 32 pixels; a pure function of the iteration, as the samplers of bspa."""

    pool: Any = None

    def __init__(self, signal_at: int | None = None):
        """Send this process SIGTERM when the batch of ``signal_at`` is asked for."""
        self.signal_at = signal_at
        self.asked: list[int] = []

    def draw(self, iteration: int) -> Any:
        raise NotImplementedError

    def batch(self, iteration: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        self.asked.append(iteration)
        if iteration == self.signal_at:
            os.kill(os.getpid(), signal.SIGTERM)
        generator = np.random.Generator(np.random.Philox(key=7, counter=[0, 0, 0, iteration]))
        hr = generator.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
        return np.ascontiguousarray(hr[:, ::4, ::4]), hr


def plain_network() -> nn.Module:
    """Return a network to x2 of torch's own layers."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.PReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.PReLU(),
        nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1),
    )  # fmt: skip


def make_task(stage: Stage, previous: Path | None = None) -> Task:
    return OBJECTIVES[stage.objective](stage, load_snapshot(previous)[0] if previous else None, CPU)


def train(
    folder: Path,
    stage: Stage | None = None,
    *,
    task: Task | None = None,
    initial: Snapshot | None = None,
    sampler: Noise | None = None,
    masks: Mapping[str, Tensor] | None = None,
    save_every_seconds: float = 1e9,
    validation: Validate | None = None,
    least_seconds: float = 0.0,
) -> Checkpoint:
    """Run a stage on the CPU, from ``initial`` if given; its partial state lies in `partial_of(folder)`."""
    stage = stage or make_stage()
    task = task or make_task(stage)
    if initial:
        task = replace(task, initial=initial)
    with open_checkpoints(folder / "end.safetensors", "identity") as checkpoints:
        return train_stage(
            task,
            sampler or Noise(),
            Schedule(stage=stage, images=IMAGES),
            masks=masks or {},
            precision=choose_precision(stage.precision, CPU),
            device=CPU,
            checkpoints=checkpoints,
            save_every_seconds=save_every_seconds,
            validation=validation,
            least_seconds=least_seconds,
        )


def partial_of(folder: Path) -> Path:
    """Return the partial state of a stage that `train` ran in ``folder``."""
    return folder / ".end.partial" / "state.safetensors"


def initial_weights(stage: Stage) -> dict[str, Tensor]:
    return build_seeded(stage.arch, stage.scale, stage.options, stage.seed).state_dict()


def random_masks(snapshot: Snapshot) -> dict[str, Tensor]:
    """Mark two in five of the convolutions' weights."""
    generator = torch.Generator().manual_seed(3)
    return {
        name: torch.rand(value.shape, generator=generator) < 0.4
        for name, value in snapshot.weights.items()
        if value.ndim == 4
    }


def assert_same(a: Snapshot, b: Snapshot) -> None:
    """Check that two snapshots are equal to the last bit."""
    assert (a.optimiser_steps, a.adam_steps) == (b.optimiser_steps, b.adam_steps)
    parts = [("weights", a.weights, b.weights), ("average", a.average, b.average)]
    parts += [(moment, a.moments[moment], b.moments[moment]) for moment in a.moments]
    for part, values, others in parts:
        assert values.keys() == others.keys(), part
        for name, value in values.items():
            assert torch.equal(value, others[name]), (part, name)


def without_times(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    """Return the rows of a journal without the columns that differ from run to run."""
    return [{k: v for k, v in row.items() if "second" not in k} for row in rows]
