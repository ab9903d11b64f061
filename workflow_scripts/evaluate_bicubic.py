"""PSNR and SSIM of bicubic interpolation on each image of a benchmark: the tables' reference row.

In: packed HR and LR images. Out: a CSV with one row for each image and the product's key.
The 8-bit RGB image is enlarged; the published numbers come from enlarging Y alone in double precision, which
differs by up to 0.02 dB.
"""

from functools import partial
from typing import Any

from bspa.data.packed import PackedImages
from bspa.data.resize import imresize
from bspa.metrics.evaluate import evaluate
from bspa.system.files import write_text
from bspa.system.log import run_job


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    upscale = partial(imresize, scale=settings["scale"], border=settings["border"])
    scores = evaluate(upscale, PackedImages(snakemake.input.packed))
    write_text(snakemake.output[0], scores.assign(key=snakemake.params.key).to_csv(index=False))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
