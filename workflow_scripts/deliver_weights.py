"""The weights of a finished run as users load them: one safetensors file, how it was made in its header.

In: the run's last snapshot; the journals of its stages and the summaries of its attributions, for the time
they took. Out: the weights (their moving average where the run kept one), and a JSON summary (parameters,
steps, device_seconds, precision, device, ema).
"""

import csv
import json
from pathlib import Path
from typing import Any

from bspa.models.registry import build, count_parameters
from bspa.models.weights import load_into, save_network
from bspa.system.files import write_text
from bspa.system.log import run_job
from bspa.training.snapshot import load_snapshot


def main(snakemake: Any) -> None:
    settings, key = snakemake.params.settings, snakemake.params.key
    last, header = load_snapshot(snakemake.input.snapshot)
    network = build(settings["arch"], settings["scale"], **settings["options"])
    load_into(network, last.delivered, path=last.path)
    ema = float(header["ema"]) if last.average else None
    seconds = sum(seconds_of_stage(journal) for journal in snakemake.input.journals)
    seconds += sum(
        json.loads(Path(path).read_text())["device_seconds"] for path in snakemake.input.attributions
    )
    more = {
        "seed": str(settings["seed"]),
        "steps": str(last.optimiser_steps),
        "precision": header["precision"],
        "weights": "last" if ema is None else f"average, decay {ema:g}",
    }
    save_network(snakemake.output.weights, last.delivered, key=key, **{**settings, **more})
    summary = {
        "key": key,
        "parameters": count_parameters(network),
        "steps": last.optimiser_steps,
        "device_seconds": round(seconds, 3),
        "precision": header["precision"],
        "device": header["device"],
        "ema": ema,
    }
    write_text(snakemake.output.summary, json.dumps(summary, indent=1) + "\n")


def seconds_of_stage(journal: str) -> float:
    with Path(journal).open(newline="", encoding="utf-8") as file:
        *_, last = csv.DictReader(file)
    return float(last["device_seconds"])


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
