"""A training stage as the bench runs it: a number of steps with L1 on one sampler."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from bspa.models.precision import Precision
from bspa.sampling.sampler import Sampler
from bspa.training.checkpoint import Checkpoint, open_checkpoints
from bspa.training.loop import train_stage
from bspa.training.losses import l1_objective
from bspa.training.stage import Schedule, Stage
from bspa.training.task import Task


def schedule(
    steps: int,
    *,
    epochs: int = 1,
    learning_rate: float = 2e-4,
    halve_every: int = 1,
    ema: float | None = None,
) -> Schedule:
    """Return a stage of ``steps`` steps in ``epochs`` equal epochs."""
    stage = Stage(
        phase="uniform", sampling="uniform", objective="l1", arch="", scale=1, options={}, seed=0, patch=1,
        batch=1, repeat=1, learning_rate=learning_rate, halve_every=halve_every, betas=(0.9, 0.999),
        epsilon=1e-8, ema=ema, precision="auto", first_epoch=0, epochs=epochs, counts=True,
        total_epochs=epochs,
    )  # fmt: skip
    return Schedule(stage=stage, images=-(-steps // epochs))


def train(
    model: nn.Module,
    sampler: Sampler,
    stage: Schedule,
    *,
    precision: Precision,
    device: torch.device,
    folder: Path,
    save_every_seconds: float = 1e9,
) -> Checkpoint:
    """Train ``model`` from its weights as they are; the partial state lies in ``folder`` meanwhile."""
    with open_checkpoints(folder / "bench.safetensors", "bench") as checkpoints:
        try:
            return train_stage(
                Task(model=model, objective=l1_objective, initial=None),
                sampler,
                stage,
                masks={},
                precision=precision,
                device=device,
                checkpoints=checkpoints,
                save_every_seconds=save_every_seconds,
            )
        finally:
            checkpoints.remove()
