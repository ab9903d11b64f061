"""Choose the patches of informative sampling: some of the hardest of every photograph (SamplingAug).

In: the map of every image; a section of `patch_selections` of the config.
Out: HDF5 with the offsets of the chosen patches, in LR pixels, image after image.
"""

from typing import Any

from bspa.sampling.maps import ErrorMaps
from bspa.sampling.patch_selection import select_patches
from bspa.sampling.selections import write_selection
from bspa.system.log import run_job


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    selection = select_patches(ErrorMaps(snakemake.input.maps), **settings)
    write_selection(snakemake.output[0], selection, key=snakemake.params.key, **settings)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
