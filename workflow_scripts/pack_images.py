"""Pack a source's HR and LR images at one scale into one file that can be memory-mapped.

In: the source's manifest, and where its photographs lie now; a file that has changed since is an error.
Out: HDF5 with HR cut to a multiple of the scale, and LR: the given files, or MATLAB's imresize of HR with
`data: border:`, degraded where `data: degradation:` has steps for the source; see `bspa.data.packing`.
"""

import os
from typing import Any

# Images are resized side by side in threads of our own; BLAS must not start more for each of them.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

from bspa.data.manifest import locate, read_manifest
from bspa.data.packing import pack_images
from bspa.data.sources import list_files
from bspa.system.log import run_job


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    files = list_files(**settings["source"], scales=settings["scales"])
    pack_images(
        locate(read_manifest(snakemake.input.manifest), files),
        snakemake.output[0],
        scale=settings["scale"],
        border=settings["border"],
        **settings["degraded"],
        threads=snakemake.threads,
        key=snakemake.params.key,
    )


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
