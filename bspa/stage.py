"""A training stage as a job: from settings and files to a snapshot and a journal.

The settings are one plain dict, as the rule gives it: ``arch``, ``options``, ``scale``, ``seed``, ``patch``
(HR pixels), ``batch``, ``repeat``, ``loss``, ``precision``, ``learning_rate``, ``halve_every``, ``betas``,
``epsilon``, ``first_epoch``, ``epochs``, ``counts``, ``total_epochs``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from bspa.atomic import atomic_path
from bspa.devices import choose_device, choose_precision, use_threads
from bspa.models import build
from bspa.progress import open_progress, stage_key
from bspa.snapshots import load_snapshot, save_snapshot
from bspa.training import Sampler, Stage, steps_per_epoch, train_stage
from bspa.weights import load_weights

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


def run_stage(
    name: str,
    settings: Mapping[str, Any],
    sampler: Sampler,
    *,
    images: int,
    inputs: Sequence[str],
    previous: str | None,
    mask: str | None,
    state: str,
    code: str,
    compute: Mapping[str, Any],
    threads: int,
    snapshot: str,
    journal: str,
) -> None:
    """Train one stage and write its snapshot and its journal.

    Args:
        name: for messages.
        settings: see the module's docstring.
        sampler: what to train on.
        images: number of training photographs; sets the steps of an epoch, whichever the sampler.
        inputs: every file that the stage reads, for the key of its partial state.
        previous: snapshot to go on from, or None.
        mask: attribution whose mask holds, or None.
        state: folder of the partial state.
        code: digest of the code.
        compute: ``device`` and ``save_every_seconds``.
        threads: CPU threads.
        snapshot: safetensors file to write.
        journal: CSV file to write: step, epoch, loss, learning_rate, samples_per_second, device_seconds.
    """
    use_threads(threads)
    device = choose_device(compute["device"])
    precision = choose_precision(settings["precision"], device)
    key = stage_key({"settings": {**settings, "precision": precision.name}, "code": code}, inputs)
    with open_progress(state, key) as progress:
        if Path(snapshot).exists() and Path(journal).exists() and load_snapshot(snapshot)[1]["key"] == key:
            # Outputs are deleted before a job starts: these are of an orphan that we have waited for.
            log.info("%s: finished by another process", name)
            progress.remove()
            return
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
            loss=settings["loss"],
        )
        end = train_stage(
            build_seeded(settings),
            sampler,
            stage,
            initial=load_snapshot(previous)[0] if previous else None,
            initial_path=previous or "",
            frozen=load_masks(mask) if mask else None,
            precision=precision,
            device=device,
            progress=progress,
            save_every_seconds=compute["save_every_seconds"],
        )
        metadata = {"key": key, "precision": precision.name, "device": device.type}
        with atomic_path(journal) as temporary:
            pd.DataFrame(end.rows).to_csv(temporary, index=False)
        save_snapshot(snapshot, end.snapshot, metadata)
        progress.remove()
    log.info("%s: done, %.1f s on the device", name, end.device_seconds)
