"""Check, before it is trained, that a network of spandrel enlarges, learns, and loads again in spandrel.

In: nothing. Out: a JSON with its trained parameters, the names of those that get no gradient, and its
receptive radius. Settings: arch, scale and options (of the network), batch, side (of an LR patch).
"""

import json
import logging
from typing import Any

import torch

from bspa.models.network_check import check_spandrel
from bspa.models.registry import build
from bspa.system.devices import use_threads
from bspa.system.files import write_text
from bspa.system.log import run_job

log = logging.getLogger("bspa")


def main(snakemake: Any) -> None:
    use_threads(snakemake.threads)
    settings, key = snakemake.params.settings, snakemake.params.key
    torch.manual_seed(0)
    network = build(settings["arch"], settings["scale"], **settings["options"])
    found = check_spandrel(network, arch=settings["arch"], batch=settings["batch"], side=settings["side"])
    if found["untrained"]:
        log.info("%d parameters get no gradient and are not trained", len(found["untrained"]))
    write_text(snakemake.output[0], json.dumps({"key": key, **found}, indent=1) + "\n")


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
