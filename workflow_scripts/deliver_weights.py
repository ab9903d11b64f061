"""The weights of a finished run as users load them: one safetensors file, how it was made in its header.

In: the run's last snapshot; the journals of its stages and the summaries of its attributions, for the time
they took; the given weights that it started from, if any.
Out: the weights (the last, their average, or the best in validation, as `select` says), and a JSON
summary (parameters, steps, device_seconds, attribution_seconds, which are part of them, precision,
device, weights in words).
"""

import json
from typing import Any

from bspa.models.registry import build, count_parameters
from bspa.models.weights import load_into, load_weights, save_network
from bspa.system.files import write_text
from bspa.system.log import run_job
from bspa.system.origin import origin_of
from bspa.training.costs import device_seconds
from bspa.training.snapshot import load_snapshot


def main(snakemake: Any) -> None:
    settings, key = dict(snakemake.params.settings), snakemake.params.key
    last, header = load_snapshot(snakemake.input.snapshot)
    network = build(settings["arch"], settings["scale"], **settings["options"])
    select, validated_on = settings.pop("select"), settings.pop("validated_on")
    weights = last.delivered(select)
    load_into(network, weights, path=last.path)
    chosen = {"last": "last", "average": f"average, decay {header.get('ema')}"}
    if last.best:
        best = "best average" if header.get("ema") else "best"
        chosen["best"] = f"{best} on {validated_on}, at step {last.best.step}"
    attribution_seconds = device_seconds(snakemake.input.attributions)
    seconds = device_seconds(snakemake.input.journals) + attribution_seconds
    more = {
        "seed": str(settings["seed"]),
        "steps": str(last.optimiser_steps),
        "precision": header["precision"],
        "device": header["device"],
        "weights": chosen[select],
        "origin": json.dumps(origin_of(snakemake)),
    }
    for file in snakemake.input.get("start", []):
        more["started_from_sha256"] = load_weights(file)[1]["sha256_of_source"]
    save_network(snakemake.output.weights, weights, key=key, **{**settings, **more})
    summary = {
        "key": key,
        "parameters": count_parameters(network),
        "steps": last.optimiser_steps,
        "device_seconds": round(seconds, 3),
        "attribution_seconds": round(attribution_seconds, 3),
        "precision": header["precision"],
        "device": header["device"],
        "weights": chosen[select],
    }
    write_text(snakemake.output.summary, json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
