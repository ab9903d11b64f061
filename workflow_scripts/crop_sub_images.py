"""Lay ClassSR's grid of sub-images over the packed images of a source (Section 4.1).

In: packed images; `sub_images: xSCALE:` of the config, in HR pixels.
Out: HDF5 with the image, top and left of each window; nothing is cut yet.
"""

import logging
from typing import Any

from bspa.data.packed import PackedImages
from bspa.data.sources import refuse
from bspa.difficulty.windows import write_windows
from bspa.system.log import run_job

log = logging.getLogger("bspa")


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    images = PackedImages(snakemake.input.packed)
    size, sides = settings["size"], zip(images.ids, images.hr_shapes.min(axis=1), strict=True)
    small = [name for name, side in sides if side < size]
    refuse(f"{snakemake.input.packed}: images are smaller than sub-images of {size} pixels", small)
    count = write_windows(
        snakemake.output[0],
        images.hr_shapes,
        size=size,
        step=settings["step"],
        threshold=settings["threshold"],
        scale=images.scale,
        key=snakemake.params.key,
    )
    log.info("%d sub-images of %d images", count, len(images))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
