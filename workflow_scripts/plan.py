"""How long the runs of the config take: steps, what is made already, and the time left.

In: nothing; products that are there count as made. Out: tables on the terminal. The steps are measured on the
device at hand, whatever else it does: a run that is going on is not disturbed, and makes the times longer.
"""

import logging
from pathlib import Path
from typing import Any

import torch

from bspa.data.manifest import read_manifest
from bspa.forecast import Job, add_matched_steps, measure_steps, runs_table, shown_table
from bspa.system.devices import describe_device, use_threads
from bspa.system.files import read_key
from bspa.system.log import run_job
from bspa.training.stage import Attribution, Stage

UNKNOWN = """
{train} is not downloaded, so its number of images is not known: epochs are counted, no steps of
inverse_steps, no gradients of batches: epoch, and no time. Either set sources.{train}.images in the config,
or download the images: snakemake {manifest}"""

NOTES = """
{images} training images. Steps are measured now on {device}, in a second or less for each kind: times are
estimates, for one job at a time on one device. Gradients are those of a batch, for attributions. A run that
several tables show counts in each. Steps that match_seconds adds are estimated, for stages that are left to
do. Downloads, the preparation of images, scoring, validation and evaluation are left out."""


def main(snakemake: Any) -> None:
    logging.getLogger("bspa").setLevel(logging.WARNING)
    settings = snakemake.params.settings
    results, train = Path(settings["results"]), settings["train"]
    jobs = [
        Job(
            **job["run"],
            shown_in=job["shown_in"],
            work=(Stage if "phase" in job["settings"] else Attribution)(**job["settings"]),
            matched=job["matched"],
            made=read_key(results / job["path"]) == job["key"],
        )
        for job in settings["jobs"]
    ]
    manifest = results / "data" / train / "manifest.csv"
    images = read_manifest(manifest)["id"].nunique() if manifest.exists() else settings["images"]
    if images is None:
        print(runs_table(jobs, None, {}))
        print(UNKNOWN.format(train=train, manifest=manifest))
        return
    use_threads(snakemake.threads)
    device = device_to_measure(snakemake.params.compute["device"])
    seconds = measure_steps(jobs, device)
    jobs = add_matched_steps(jobs, images, seconds)
    print(runs_table(jobs, images, seconds), shown_table(jobs, images, seconds), sep="\n\n")
    print(NOTES.format(images=images, device=describe_device(device)))


def device_to_measure(name: str) -> torch.device:
    """Return the device of `compute.device` without waiting for it to be free, as jobs do."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
