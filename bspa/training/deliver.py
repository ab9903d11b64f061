"""A finished run as users get it: weights with their origin in the header, and a summary."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from bspa.models.registry import build, count_parameters
from bspa.models.weights import load_into, save_network
from bspa.system.files import write_text
from bspa.training.snapshot import load_snapshot


def deliver(
    *,
    snapshot: str,
    journals: Sequence[str],
    attributions: Sequence[str],
    weights: str,
    summary: str,
    arch: str,
    scale: int,
    options: Mapping[str, int | float],
    model: str,
    method: str,
    seed: int,
    trained_on: str,
    key: str,
) -> None:
    """Write the weights of a finished run, and its summary.

    Args:
        snapshot: the last one of the run.
        journals: of the run's stages, for the time they took.
        attributions: summaries of the run's attributions, for the time they took.
        weights: to write: safetensors, the average of the weights if the run kept one, else the last.
        summary: to write: JSON with parameters, steps, device_seconds, precision, device and ema.
        arch, scale, options: of the network.
        model, method, seed, trained_on: names of network, recipe and data, and the seed, for the header.
        key: of the product, stored in both files.
    """
    last, header = load_snapshot(snapshot)
    network = build(arch, scale, **options)
    load_into(network, last.delivered, path=snapshot)
    ema = float(header["ema"]) if last.average else None
    seconds = sum(_seconds_of_stage(path) for path in journals)
    seconds += sum(float(json.loads(Path(path).read_text())["device_seconds"]) for path in attributions)
    save_network(
        weights,
        last.delivered,
        arch=arch,
        scale=scale,
        options=options,
        key=key,
        model=model,
        method=method,
        seed=str(seed),
        steps=str(last.optimiser_steps),
        precision=header["precision"],
        weights="last" if ema is None else f"average, decay {ema:g}",
        trained_on=trained_on,
    )
    content = {
        "key": key,
        "parameters": count_parameters(network),
        "steps": last.optimiser_steps,
        "device_seconds": round(seconds, 3),
        "precision": header["precision"],
        "device": header["device"],
        "ema": ema,
    }
    write_text(summary, json.dumps(content, indent=1) + "\n")


def _seconds_of_stage(journal: str) -> float:
    with Path(journal).open(newline="", encoding="utf-8") as file:
        *_, last = csv.DictReader(file)
    return float(last["device_seconds"])
