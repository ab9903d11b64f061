"""Step 1 of the uncertainty-driven loss (Ning et al. 2021): the network learns with a head that estimates s.

In: packed training images. Out: a snapshot (weights of network.* and head.*, Adam's moments), and a journal
with a row for each epoch.
"""

from typing import Any

from bspa.data.packed import PackedImages
from bspa.sampling.uniform import UniformSampler
from bspa.system.log import run_job
from bspa.training.job import run_stage
from bspa.training.uncertainty import uncertainty_task


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    images = PackedImages(snakemake.input.packed)
    sampler = UniformSampler(images, patch=settings["patch"], batch=settings["batch"], seed=settings["seed"])
    name = "{model} x{scale} {method} seed {seed}, cycle {cycle}, uncertainty".format(**snakemake.wildcards)
    run_stage(snakemake, sampler, images=len(images), name=name, prepare=uncertainty_task)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
