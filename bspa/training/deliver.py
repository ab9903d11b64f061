"""A finished run as users get it: weights with their origin in the header, and a summary."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from bspa.models.registry import build, count_parameters
from bspa.models.weights import load_into, save_network
from bspa.system.files import write_text
from bspa.training.costs import device_seconds
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
    options: Mapping[str, int | float | str],
    select: str,
    validated_on: str | None,
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
        weights: to write: safetensors.
        summary: to write: JSON with parameters, steps, device_seconds, attribution_seconds (part of them),
            precision, device, ema (with ``average``), and weights (in words).
        arch, scale, options: of the network.
        select: the weights to deliver: ``last``, their moving ``average``, or the ``best`` in validation.
        validated_on: name of the validation photographs.
        model, method, seed, trained_on: names of network, recipe and data, and the seed, for the header.
        key: of the product, stored in both files.
    """
    last, header = load_snapshot(snapshot)
    network = build(arch, scale, **options)
    state = last.delivered(select)
    load_into(network, state, path=snapshot)
    chosen = {"last": "last", "average": f"average, decay {header.get('ema')}"}
    if last.best:
        chosen["best"] = f"best on {validated_on}, step {last.best.step}"
    attribution_seconds = device_seconds(attributions)
    seconds = device_seconds(journals) + attribution_seconds
    save_network(
        weights,
        state,
        arch=arch,
        scale=scale,
        options=options,
        key=key,
        model=model,
        method=method,
        seed=str(seed),
        steps=str(last.optimiser_steps),
        precision=header["precision"],
        weights=chosen[select],
        trained_on=trained_on,
    )
    content = {
        "key": key,
        "parameters": count_parameters(network),
        "steps": last.optimiser_steps,
        "device_seconds": round(seconds, 3),
        "attribution_seconds": round(attribution_seconds, 3),
        "precision": header["precision"],
        "device": header["device"],
        "ema": float(header["ema"]) if select == "average" else None,
        "weights": chosen[select],
    }
    write_text(summary, json.dumps(content, indent=1) + "\n")
