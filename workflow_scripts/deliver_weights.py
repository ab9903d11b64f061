"""The weights of a finished run as users load them: one safetensors file, how it was made in its header.

In: the run's last snapshot; the journals of its stages and the summaries of its attributions, for the time
they took. Out: the weights (their moving average where the run kept one), and a JSON summary (parameters,
steps, device_seconds, precision, device, ema).
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from bspa.models.registry import build, count_parameters
from bspa.models.weights import load_into, save_weights
from bspa.system.files import write_text
from bspa.system.log import run_job
from bspa.training.snapshot import load_snapshot


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    snapshot, stage = load_snapshot(snakemake.input.snapshot)
    model = build(settings["arch"], settings["scale"], **settings["options"])
    load_into(model, snapshot.delivered, path=snakemake.input.snapshot)
    ema = float(stage["ema"]) if snapshot.average else None

    stages = [pd.read_csv(journal)["device_seconds"].iloc[-1] for journal in snakemake.input.journals]
    attributions = [json.loads(Path(f).read_text())["device_seconds"] for f in snakemake.input.attributions]
    summary = {
        "parameters": count_parameters(model),
        "steps": snapshot.optimiser_steps,
        "device_seconds": round(float(sum(stages) + sum(attributions)), 3),
        "precision": stage["precision"],
        "device": stage["device"],
        "ema": ema,
    }
    header = {
        "format": "bspa-weights-1",
        "architecture": settings["arch"],
        "options": json.dumps(settings["options"], sort_keys=True),
        "scale": str(settings["scale"]),
        "model": settings["model"],
        "method": settings["method"],
        "seed": str(settings["seed"]),
        "steps": str(snapshot.optimiser_steps),
        "precision": stage["precision"],
        "weights": "last" if ema is None else f"average, decay {ema:g}",
        "trained_on": settings["trained_on"],
        "input": "RGB in [0, 1], (n, 3, h, w)",
    }
    save_weights(snakemake.output.weights, snapshot.delivered, header)
    write_text(snakemake.output.summary, json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
