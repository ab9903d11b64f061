"""PSNR and SSIM of bicubic interpolation on each image of a benchmark: the reference row of the tables.

In: packed HR and LR images. Out: a CSV with one row for each image.
The 8-bit RGB image is enlarged; the published numbers come from enlarging Y alone in double precision, which
differs by up to 0.02 dB.
"""

from functools import partial
from typing import Any

from bspa.data.packed import PackedImages
from bspa.data.resize import imresize
from bspa.metrics.evaluate import evaluate
from bspa.system.files import atomic_path
from bspa.system.log import run_job


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    images = PackedImages(snakemake.input.packed)
    scores = evaluate(partial(imresize, scale=settings["scale"], border=settings["border"]), images)
    with atomic_path(snakemake.output[0]) as path:
        scores.to_csv(path, index=False)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
