"""Step 2 of the uncertainty-driven loss (Ning et al. 2021): the network goes on, L1 weighted by step 1's s.

In: packed training images; step 1's snapshot. Out: a snapshot of the network alone (weights and Adam's
moments), and a journal with a row for each epoch.
"""

from typing import Any

from bspa.data.packed import PackedImages
from bspa.sampling.uniform import UniformSampler
from bspa.system.log import run_job
from bspa.training.job import run_stage
from bspa.training.uncertainty import weighted_task


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    images = PackedImages(snakemake.input.packed)
    sampler = UniformSampler(images, patch=settings["patch"], batch=settings["batch"], seed=settings["seed"])
    name = "{model} x{scale} {method} seed {seed}, cycle {cycle}, weighted".format(**snakemake.wildcards)
    run_stage(snakemake, sampler, images=len(images), name=name, prepare=weighted_task)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
