"""A training stage on uniformly sampled patches (Eq. 1; Step 1 of Section 3.1).

In: packed training images; the previous snapshot, unless the run begins here; the mask that holds, if any.
Out: a snapshot (weights and Adam's moments), and a journal with a row for each epoch.
"""

from typing import Any

from bspa.data.packed import PackedImages
from bspa.sampling.uniform import UniformSampler
from bspa.system.log import run_job
from bspa.training.job import run_stage


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    images = PackedImages(snakemake.input.packed)
    sampler = UniformSampler(images, patch=settings["patch"], batch=settings["batch"], seed=settings["seed"])
    name = "{model} x{scale} {method} seed {seed}, cycle {cycle}, uniform".format(**snakemake.wildcards)
    run_stage(snakemake, sampler, images=len(images), name=name)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
