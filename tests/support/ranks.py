"""Stages of every objective, trained alone or by several processes together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from bspa.data.packed import PackedImages
from bspa.models.precision import choose_precision
from bspa.sampling.uniform import UniformSampler
from bspa.training.checkpoint import CheckpointFolder
from bspa.training.job import run_stage
from bspa.training.journal import write_journal
from bspa.training.loop import train_stage
from bspa.training.ranks import Ranks
from bspa.training.snapshot import save_snapshot
from bspa.training.stage import Schedule, Stage
from tests.support.training import initial_weights, make_stage, make_task

EACH_STEP = {"batch": 4, "epoch_steps": 1, "repeat": None, "epochs": 8, "total_epochs": 8, "ema": 0.9}
"""A row of the journal for each of 8 steps."""

STAGES: dict[str, Stage] = {
    **{
        loss: make_stage(objective=loss, **EACH_STEP) for loss in ("l1", "charbonnier", "mse", "l1_frequency")
    },
    "uncertainty": make_stage("uncertainty", **EACH_STEP),
    "weighted": make_stage("weighted", **EACH_STEP),
    "masked": make_stage(arch="edsr", **EACH_STEP),
    "bfloat16": make_stage(arch="edsr", precision="bfloat16", **EACH_STEP),
    "longer": make_stage(**EACH_STEP),
}
PREVIOUS = {"weighted": "uncertainty"}
LEAST_SECONDS = {"longer": 0.3}
"""Device seconds to train at least, of which each process counts its own."""


def make_masks(stage: Stage) -> dict[str, Tensor]:
    """Mask two fifths of each convolution's weights."""
    generator = torch.Generator().manual_seed(3)
    shapes = {name: value.shape for name, value in initial_weights(stage).items() if value.ndim == 4}
    return {
        name: torch.rand(shape, generator=generator) < 0.4
        for name, shape in shapes.items()
        if "mean" not in name
    }


def train_all(number: int, devices: Sequence[torch.device], *, packed: str, folder: str) -> None:
    """Train `STAGES` as process ``number``; write NAME_NUMBER.safetensors and .csv into ``folder``."""
    images = PackedImages(packed)
    ranks = Ranks(number=number, count=len(devices))
    for name, stage in STAGES.items():
        end = Path(folder, f"{name}_{number}.safetensors")
        previous = Path(folder, f"{PREVIOUS[name]}_{number}.safetensors") if name in PREVIOUS else None
        device = devices[number]
        checkpoint = train_stage(
            make_task(stage, previous),
            UniformSampler(images, patch=stage.patch, batch=stage.batch, seed=stage.seed),
            Schedule(stage=stage, images=len(images)),
            masks=make_masks(stage) if name == "masked" else {},
            precision=choose_precision(stage.precision, device),
            device=device,
            checkpoints=CheckpointFolder(Path(folder, f".{name}"), "identity"),
            save_every_seconds=1e9,
            least_seconds=LEAST_SECONDS.get(name, 0.0),
            ranks=ranks,
        )
        save_snapshot(end, checkpoint.snapshot, {})
        write_journal(checkpoint.rows, end.with_suffix(".csv"))


def run_together(folder: str, packed: str) -> None:
    """Run a stage of 150 steps with two processes, as a job does."""
    run_stage(
        make_stage(batch=4, epoch_steps=50, ema=0.9, validate_every=1), packed=packed, key="key",
        validation=packed, snapshot=f"{folder}/end.safetensors", journal=f"{folder}/end.csv",
        device="cpu", devices=2, threads=2, save_every_seconds=0.05,
    )  # fmt: skip


def fail(number: int, devices: Sequence[torch.device]) -> None:
    """Do nothing as the first process, and fail as another."""
    del devices
    if number:
        raise ValueError("no such luck")
