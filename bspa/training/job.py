"""A training stage as a job: from input files to a snapshot and a journal."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from bspa.data.packed import PackedImages
from bspa.models.precision import Precision, choose_precision
from bspa.models.registry import LEAST_STEPS
from bspa.models.weights import load_into, load_weights
from bspa.system.devices import choose_devices, use_threads
from bspa.system.processes import start_followers
from bspa.system.progress import duration
from bspa.training.checkpoint import Checkpoint, CheckpointFolder, identify, open_checkpoints
from bspa.training.costs import device_seconds
from bspa.training.journal import write_journal
from bspa.training.loop import train_stage
from bspa.training.masks import load_masks
from bspa.training.ranks import Ranks
from bspa.training.registry import OBJECTIVES, SAMPLERS, Previews, open_validation
from bspa.training.snapshot import load_snapshot, save_snapshot
from bspa.training.stage import Schedule, Stage
from bspa.training.task import Validate

log = logging.getLogger("bspa")


def run_stage(
    stage: Stage,
    *,
    packed: str,
    source: str | None = None,
    previous: str | None = None,
    start: str | None = None,
    mask: str | None = None,
    snapshot: str,
    journal: str,
    key: str,
    device: str,
    jobs_per_gpu: int = 1,
    devices: int = 1,
    threads: int,
    save_every_seconds: float,
    validation: str | None = None,
    previews: int = 0,
    matched: str | None = None,
    spent: Sequence[str] = (),
) -> None:
    """Train one stage, and write its snapshot and its journal; see `bspa.training.loop.train_stage`.

    Args:
        stage: what to compute.
        packed: the training images; their number sets the steps of an epoch, whatever the sampling.
        source: class shards for inverse sampling, a selection for informative sampling; else None.
        previous: the snapshot that the stage starts from; None at the start of a run.
        start: given weights that the run starts from; None: those of the seed.
        mask: the attribution whose mask holds; None to freeze nothing.
        snapshot, journal: to write.
        key: of the product, stored in the snapshot.
        device, jobs_per_gpu, threads, save_every_seconds: as in the section ``compute`` of the config.
        devices: how many share the batch, each with its share of the threads.
        validation: the packed images of the validation curve, or None.
        previews: pictures at each of its points, in the folder ``previews`` of the run.
        matched: summary of the run whose device seconds this run is to take at least; None: no such run.
        spent: journals and summaries of what this run did before, for the device seconds already taken.
    """
    use_threads(threads // devices)
    torch_devices = choose_devices(device, jobs_per_gpu, devices)
    torch_device = torch_devices[0]
    precision = choose_precision(stage.precision, torch_device, arch=stage.arch)
    inputs = [file for file in (packed, source, previous, start, mask, validation, matched) if file]
    identity = identify(key, precision.name, inputs)
    with open_checkpoints(snapshot, identity) as checkpoints:
        train = partial(
            _train,
            stage=stage,
            packed=packed,
            source=source,
            previous=previous,
            start=start,
            mask=mask,
            precision=precision,
            checkpoints=checkpoints,
            save_every_seconds=save_every_seconds,
            least_seconds=device_seconds([matched]) - device_seconds(spent) if matched else 0.0,
        )
        with start_followers(train, torch_devices):
            measure: Validate | None = None
            if validation:
                measure = opened = open_validation(validation, stage.validate_images)
                if previews:
                    folder = Path(snapshot).parents[1] / "previews"
                    measure = Previews(validate=opened, images=opened.images, count=previews, folder=folder)
            end = train(0, torch_devices, validation=measure)
        checkpoints.save(end)
        where = torch_device.type if devices == 1 else f"{devices} x {torch_device.type}"
        header = {"key": key, "identity": identity, "precision": precision.name, "device": where}
        if stage.ema is not None:
            header["ema"] = repr(stage.ema)
        write_journal(end.rows, journal)
        save_snapshot(snapshot, end.snapshot, header)
    log.info("done in %s on the device", duration(end.device_seconds))


def _train(
    number: int,
    devices: Sequence[torch.device],
    *,
    stage: Stage,
    packed: str,
    source: str | None,
    previous: str | None,
    start: str | None,
    mask: str | None,
    precision: Precision,
    checkpoints: CheckpointFolder,
    save_every_seconds: float,
    least_seconds: float,
    validation: Validate | None = None,
) -> Checkpoint:
    """Train as process ``number`` of those on ``devices``; see `run_stage`."""
    device = devices[number]
    images = PackedImages(packed)
    initial = load_snapshot(previous)[0] if previous else None
    first_step = initial.optimiser_steps if initial else 0
    schedule = Schedule(stage=stage, images=len(images))
    if not previous and not start:
        _warn_if_brief(schedule)
    task = OBJECTIVES[stage.objective](stage, initial, device)
    if start:
        load_into(task.model.get_submodule(task.delivered), load_weights(start)[0], path=start)
    return train_stage(
        task,
        SAMPLERS[stage.sampling](
            images,
            source,
            patch=stage.patch,
            batch=stage.batch,
            seed=stage.seed,
            shuffle_from=first_step if stage.image_order == "shuffled" else None,
        ),
        schedule,
        masks=load_masks(mask) if mask else {},
        precision=precision,
        device=device,
        checkpoints=checkpoints,
        save_every_seconds=save_every_seconds,
        validation=validation,
        least_seconds=least_seconds,
        ranks=Ranks(number=number, count=len(devices), device=str(device)),
    )


def _warn_if_brief(schedule: Schedule) -> None:
    """Say in the log of a run's first stage that the run is too short to learn much."""
    stage = schedule.stage
    steps = max(schedule.steps, stage.total_epochs * schedule.steps_per_epoch)
    least = LEAST_STEPS.get(stage.arch, 0)
    if steps < least:
        log.warning(
            "a run of %d steps is brief: below some %d, %s seldom beats bicubic interpolation, and colours "
            "are wrong; raise training.steps, or start from given weights (models.NAME.start)",
            *(steps, least, stage.arch),
        )
