"""Training steps and attribution: batches of 16 patches of 128 pixels."""

from __future__ import annotations

import functools
from pathlib import Path

import torch
from measuring import Contestant, Item, Measured, measure_once, repeated
from setting import Bench, pack, training_files
from torch import nn

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
from bspa.training.task import Task

STAGE = Stage(
    phase="uniform", sampling="uniform", objective="l1", arch="", scale=1, options={}, seed=0, patch=1,
    batch=1, repeat=1, learning_rate=2e-4, halve_every=200, betas=(0.9, 0.999), epsilon=1e-8, ema=None,
    precision="auto", first_epoch=0, epochs=2, counts=True, total_epochs=400,
)  # fmt: skip
"""Two epochs; its steps in an epoch are the images of its `Schedule`."""


def train(
    model: nn.Module, sampler: Sampler, schedule: Schedule,
    *, precision: Precision, device: torch.device, folder: Path,
) -> Checkpoint:  # fmt: skip
    """Train ``model`` on L1 from its current weights; the checkpoint lies in ``folder`` meanwhile."""
    with open_checkpoints(str(folder / "bench.safetensors"), identity="") as checkpoints:
        task = Task(model=model, objective=l1_objective, initial=None)
        end = train_stage(
            task, sampler, schedule, masks={}, precision=precision, device=device, checkpoints=checkpoints,
            save_every_seconds=1e9,
        )  # fmt: skip
        checkpoints.remove()
    return end


def measure_train_step(arch: str, bench: Bench) -> Item:
    """Steps of a stage, against bare steps on a resident batch."""
    images = pack(training_files(tiny=bench.tiny), bench.folder / "photographs.h5")
    sampler = UniformSampler(images, patch=bench.patch, batch=bench.batch, seed=0)
    precision = choose_precision("auto", bench.device, arch=arch)

    def ours(number: int) -> Measured:
        """Measure the second of two epochs: a stage's first step is not like the others."""
        model, schedule = bench.build(arch), Schedule(stage=STAGE, images=number)
        rows: list[dict[str, float]] = []

        def train_stage() -> None:
            where = {"device": bench.device, "folder": bench.folder}
            rows.extend(train(model, sampler, schedule, precision=precision, **where).rows)

        measured = measure_once(train_stage, bench.device, units=number)
        return measured._replace(seconds=rows[1]["device_seconds"] - rows[0]["device_seconds"] + 1e-6)

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
