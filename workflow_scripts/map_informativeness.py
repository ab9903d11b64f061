"""Measure how informative every patch of the training photographs is (SamplingAug).

In: packed images; the patch size in HR pixels (`sub_images: xSCALE: size`).
Out: HDF5 with a map for each image: the mean square error (RGB in [0, 1]) of the bilinear enlargement over
the inner part of the patch at every LR offset.
"""

from typing import Any

from bspa.data.packed import PackedImages
from bspa.sampling.error_maps import write_maps
from bspa.system.log import run_job


def main(snakemake: Any) -> None:
    write_maps(
        snakemake.output[0],
        PackedImages(snakemake.input.packed),
        patch=snakemake.params.settings["patch"],
        threads=snakemake.threads,
        key=snakemake.params.key,
    )


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
