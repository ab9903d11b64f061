"""A training stage as a job: from settings and files to a snapshot and a journal.

The settings are one plain dict, as the rule gives it: ``arch``, ``options``, ``scale``, ``seed``, ``patch``
(HR pixels), ``batch``, ``repeat``, ``loss``, ``precision``, ``learning_rate``, ``halve_every``, ``betas``,
``epsilon``, ``ema`` (decay of the weights' moving average, or None), ``first_epoch``, ``epochs``, ``counts``,
``total_epochs``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bspa.models.registry import build
from bspa.models.weights import load_weights
from bspa.sampling.sampler import Sampler
from bspa.system.devices import choose_device, choose_precision, use_threads
from bspa.training.checkpoint import open_progress, stage_key
from bspa.training.compiling import has_compiler, is_worth_it
from bspa.training.journal import write_journal
from bspa.training.loop import train_stage
from bspa.training.losses import LOSSES, Objective, image_objective
from bspa.training.old_stage import Stage, steps_per_epoch
from bspa.training.snapshot import Snapshot, load_snapshot, save_snapshot

log = logging.getLogger("bspa")


def build_seeded(settings: Mapping[str, Any]) -> nn.Module:
    """Build the network of ``settings`` with the initial weights of its seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings["seed"])
        return build(settings["arch"], settings["scale"], **settings["options"])


def load_masks(path: str | Path) -> dict[str, Tensor]:
    """Read the masks of an attribution: parameter name -> bool, True where the weight is frozen."""
    tensors, _ = load_weights(path)
    return {name.removeprefix("mask."): t for name, t in tensors.items() if name.startswith("mask.")}


class Inputs(Protocol):
    """A job's input files."""

    def __iter__(self) -> Iterator[str]:
        """Give them all; their content is in the key of the partial state."""
        ...

    def get(self, name: str, /) -> str | None:
        """Return a file or None: ``previous``, the snapshot to go on from; ``mask``, the one that holds."""
        ...


class Outputs(Protocol):
    """What a training job writes."""

    snapshot: str
    journal: str
    """CSV: step, epoch, loss, learning_rate, samples_per_second, device_seconds."""


class Params(Protocol):
    """What decides a training job's result, besides its inputs."""

    settings: Mapping[str, Any]
    """See the module's docstring."""
    state: str
    """Folder of the partial state."""
    code: str
    """Digest of the code."""


class Job(Protocol):
    """The part of Snakemake's job object that a training stage uses."""

    input: Inputs
    output: Outputs
    params: Params
    threads: int
    config: Mapping[str, Any]
    """``compute`` holds ``device`` and ``save_every_seconds``, and ``compile``, ``record`` and ``resident``
    where they are not the config's defaults."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What a stage trains, from where, and what it minimises."""

    model: nn.Module
    objective: Objective
    initial: Snapshot | None
    """None at the start of a run."""


PrepareTask = Callable[[Mapping[str, Any], str | None, torch.device], Task]


def plain_task(settings: Mapping[str, Any], previous: str | None, device: torch.device) -> Task:
    """Train the network itself, on the loss of ``settings`` between its image and HR."""
    del device
    return Task(
        model=build_seeded(settings),
        objective=image_objective(LOSSES[settings["loss"]]),
        initial=load_snapshot(previous)[0] if previous else None,
    )


def compiling_pays(settings: Mapping[str, Any], stage: Stage, device: torch.device) -> bool:
    """Tell whether the network is compiled, by the length of the whole stage, resumed or not."""
    pixels = stage.steps * settings["batch"] * settings.get("patch", 0) ** 2
    # UDN's first step trains more than the network.
    if settings["loss"] == "uncertainty" or not is_worth_it(settings["arch"], pixels=pixels, device=device):
        return False
    if not has_compiler():
        log.warning(
            "compiling would make this stage faster, but needs a C++ compiler (g++, or what CXX names) and "
            "Python's headers; compute.compile: never silences this"
        )
        return False
    return True


def run_stage(
    job: Job, sampler: Sampler, *, images: int, name: str, prepare: PrepareTask = plain_task
) -> None:
    """Train one stage and write its snapshot and its journal.

    Args:
        job: files, settings and threads, as Snakemake gives them to a script.
        sampler: what to train on.
        images: number of training photographs; sets the steps of an epoch, whichever the sampler.
        name: for messages.
        prepare: makes the stage's task from its settings, the file of the previous snapshot and the device.
    """
    settings, compute = job.params.settings, job.config["compute"]
    snapshot, journal = job.output.snapshot, job.output.journal
    previous, mask = job.input.get("previous"), job.input.get("mask")
    use_threads(job.threads)
    device = choose_device(compute["device"])
    precision = choose_precision(settings["precision"], device, arch=settings["arch"])
    stage = Stage(
        name=name,
        first_epoch=settings["first_epoch"],
        epochs=settings["epochs"],
        counts=settings["counts"],
        total_epochs=settings["total_epochs"],
        steps_per_epoch=steps_per_epoch(images, settings["repeat"], settings["batch"]),
        learning_rate=settings["learning_rate"],
        halve_every=settings["halve_every"],
        betas=tuple(settings["betas"]),
        epsilon=settings["epsilon"],
        ema=settings["ema"],
    )
    compiled = compute.get("compile", "auto") == "auto" and compiling_pays(settings, stage, device)
    how = {"precision": precision.name, "compiled": compiled}
    key = stage_key({"settings": {**settings, **how}, "code": job.params.code}, list(job.input))
    with open_progress(job.params.state, key) as progress:
        if Path(snapshot).exists() and Path(journal).exists() and load_snapshot(snapshot)[1]["key"] == key:
            # Outputs are deleted before a job starts: these are of an orphan that we have waited for.
            log.info("%s: finished by another process", name)
            progress.remove()
            return
        task = prepare(settings, previous, device)
        end = train_stage(
            task.model,
            sampler,
            stage,
            objective=task.objective,
            initial=task.initial,
            initial_path=previous or "",
            frozen=load_masks(mask) if mask else None,
            precision=precision,
            device=device,
            progress=progress,
            save_every_seconds=compute["save_every_seconds"],
            compiled=compiled,
            recorded=compute.get("record", True),
            resident=compute.get("resident", 0.5),
        )
        metadata = {"key": key, "precision": precision.name, "device": device.type}
        if stage.ema is not None:
            metadata["ema"] = repr(stage.ema)
        write_journal(end.rows, journal)
        save_snapshot(snapshot, end.snapshot, metadata)
        progress.remove()
    log.info("%s: done, %.1f s on the device", name, end.device_seconds)
