"""Training steps and attribution: batches of 16 patches of 128 pixels."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

import torch
from measuring import Contestant, Item, Measured, Record, measure_once, repeated
from setting import Bench, pack, training_files
from torch import nn

from bspa.data.sources import list_files
from bspa.models.precision import Precision, choose_precision
from bspa.sampling.feeds import to_device
from bspa.sampling.sampler import Sampler
from bspa.sampling.uniform import UniformSampler
from bspa.system.cuda_graphs import capture
from bspa.training.adam import Adam
from bspa.training.attribution import attributable, integrated_gradients
from bspa.training.checkpoint import Checkpoint, open_checkpoints
from bspa.training.loop import train_stage
from bspa.training.losses import l1, l1_objective
from bspa.training.stage import Schedule, Stage
from bspa.training.task import Task, Validate
from bspa.training.validation import Validation

STAGE = Stage(
    phase="uniform", sampling="uniform", objective="l1", arch="", scale=1, options={}, seed=0, patch=1,
    batch=1, repeat=1, epoch_steps=None, learning_rate=2e-4, decay="step", halve_every=200,
    milestones=(), gamma=None, final_rate=None, warm_up=0, weight_decay=0.0, betas=(0.9, 0.999),
    epsilon=1e-8, ema=None, precision="auto", first_epoch=0, epochs=2, extra_steps=0, counts=True,
    total_epochs=400, image_order="independent", stretch_schedule=False, fresh_optimiser=False,
    frozen_moments="fade", validate_every=1, validate_images=None,
)  # fmt: skip
"""Two epochs; its steps in an epoch are the images of its `Schedule`."""
VALIDATED, STEPS_BETWEEN = ["astronaut", "chelsea", "coffee", "rocket"], 20 * 50
"""The photographs and the steps between two points of the validation curve in configs/bsds.yaml."""


def train(
    model: nn.Module, sampler: Sampler, schedule: Schedule,
    *, precision: Precision, device: torch.device, folder: Path, at_epochs: Validate | None = None,
) -> Checkpoint:  # fmt: skip
    """Train ``model`` on L1 from its current weights; the checkpoint lies in ``folder`` meanwhile."""
    with open_checkpoints(str(folder / "bench.safetensors"), identity="") as checkpoints:
        task = Task(model=model, objective=l1_objective, initial=None)
        return train_stage(
            task, sampler, schedule, masks={}, precision=precision, device=device, checkpoints=checkpoints,
            save_every_seconds=1e9, validation=at_epochs,
        )  # fmt: skip


def measure_train_step(arch: str, bench: Bench) -> Item:
    """Steps of a stage, against bare steps on a resident batch."""
    images = pack(training_files(tiny=bench.tiny), bench.folder / "photographs.h5")
    sampler = UniformSampler(images, patch=bench.patch, batch=bench.batch, seed=0)
    precision = choose_precision("auto", bench.device, arch=arch)

    def ours(number: int) -> Measured:
        """Measure the second of two epochs: a stage's first step is not like the others."""
        model, schedule = bench.build(arch), Schedule(stage=STAGE, images=number)
        ends: list[float] = []

        def note_time(*_: object) -> tuple[dict[str, float], None]:
            ends.append(time.perf_counter())
            return {}, None

        where: dict[str, Any] = {"precision": precision, "device": bench.device, "folder": bench.folder}
        work = functools.partial(train, model, sampler, schedule, **where, at_epochs=note_time)
        measured = measure_once(work, bench.device, units=number)
        return measured._replace(seconds=ends[1] - ends[0])

    limits = bare_steps(bench.build(arch), sampler, precision, bench.device)
    return Item(unit="step", limits=limits, ours=ours)


def bare_steps(
    model: nn.Module, sampler: Sampler, precision: Precision, device: torch.device
) -> dict[str, Contestant]:
    """Return steps on one resident batch: operation by operation, and on a GPU replayed as one graph."""
    lr, hr = (to_device(pixels, device) for pixels in sampler.batch(0))
    model = model.to(memory_format=torch.channels_last).train()
    adam = Adam(model, betas=(0.9, 0.999), epsilon=1e-8)
    adam.set_learning_rate(2e-4)

    def step() -> torch.Tensor:
        loss = l1_objective(model, lr, hr, precision)
        adam.zero_grad()
        loss.backward()
        adam.step()
        return loss.detach()

    limits = {f"resident batch, {precision.name}": repeated(step, device)}
    if device.type == "cuda":
        replay = capture(step, warm_up=step, device=device)
        limits[f"resident batch, {precision.name}, graph"] = repeated(replay, device)
    return limits


measure_train_step_fsrcnn_x4 = functools.partial(measure_train_step, "fsrcnn")
measure_train_step_edsr_x4 = functools.partial(measure_train_step, "edsr")
measure_train_step_rcan_x4 = functools.partial(measure_train_step, "rcan")


def measure_validation(bench: Bench) -> Item:
    """A point of FSRCNN's validation curve, against the bare forward; and its share of the training time."""
    photos = VALIDATED[2:3] if bench.tiny else VALIDATED
    images = pack(list_files("builtin", photos=photos), bench.folder / "validation.h5")
    train = pack(training_files(tiny=bench.tiny), bench.folder / "photographs.h5")
    sampler = UniformSampler(train, patch=bench.patch, batch=bench.batch, seed=0)
    bare, model = bench.build("fsrcnn").to(memory_format=torch.channels_last).eval(), bench.build("fsrcnn")
    inputs = [to_device(images.lr(i)[None].copy(), bench.device) for i in range(len(images))]

    @torch.inference_mode()
    def forward() -> None:
        for lr in inputs:
            bare(lr)

    precision = choose_precision("auto", bench.device, arch="fsrcnn")
    *_, step = bare_steps(bench.build("fsrcnn"), sampler, precision, bench.device).values()

    def share(result: Record) -> Record:
        point = result["ours"]
        return {"share_of_stage": point / (point + STEPS_BETWEEN * result["medians"]["step"])}

    return Item(
        unit="point", limits={"bare forward, float32": repeated(forward, bench.device)},
        ours=repeated(lambda: Validation(images=images).psnr(model), bench.device), also={"step": step},
        facts=share,
    )  # fmt: skip


def measure_attribute(bench: Bench) -> Item:
    """Gradients along the path, against forward and backward alone, in float32."""
    images = pack(training_files(tiny=bench.tiny), bench.folder / "photographs.h5")
    sampler = UniformSampler(images, patch=bench.patch, batch=bench.batch, seed=0, stream="attribution")
    lr, hr = (to_device(pixels, bench.device) for pixels in sampler.batch(0))
    bare = bench.build("edsr").to(memory_format=torch.channels_last).train()
    model = bench.build("edsr")
    baseline = {name: value.clone() for name, value in model.state_dict().items()}
    target = baseline | {name: 1.01 * baseline[name] for name in attributable(model)}

    def ours(number: int) -> Measured:
        attribute = functools.partial(integrated_gradients, model, baseline, target, [(lr, hr)], l1)
        return measure_once(lambda: attribute(steps=number), bench.device, units=number)

    limit = repeated(lambda: l1(bare(lr), hr).backward(), bench.device)
    return Item(unit="gradient of a batch", limits={"forward and backward, float32": limit}, ours=ours)
