"""A training stage on inversely sampled sub-images (Eq. 4; Step 2 of Section 3.1).

In: class shards; packed training images (their number sets the length of an epoch, and windows are cut out of
them); the previous snapshot, unless the run begins here; the mask that holds, if any.
Out: a snapshot (weights and Adam's moments), and a journal with a row for each epoch.
"""

from typing import Any

from bspa.data.packed import PackedImages
from bspa.difficulty.shards import open_shards
from bspa.sampling.inverse import InverseSampler
from bspa.system.log import run_job
from bspa.training.job import run_stage


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    shards, images = open_shards(snakemake.input.shards), PackedImages(snakemake.input.packed)
    sampler = InverseSampler(
        shards,
        images=images if shards[0].samples == "windows" else None,
        batch=settings["batch"],
        seed=settings["seed"],
    )
    name = "{model} x{scale} {method} seed {seed}, cycle {cycle}, inverse".format(**snakemake.wildcards)
    run_stage(snakemake, sampler, images=len(images), name=name)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
