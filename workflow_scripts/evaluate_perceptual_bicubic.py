"""NIQE and LPIPS of bicubic interpolation on each image of a benchmark: the reference row of the tables.

In: packed HR and LR images; NIQE's pristine model, where there is one. Out: a CSV with one row for each
image, empty where a score is not computed: NIQE without its model, LPIPS where `lpips` is false, either where
the image is too small for it. LPIPS is computed on the CPU: this job is small and takes no GPU.
"""

from functools import partial
from typing import Any

import torch

from bspa.data.packed import PackedImages
from bspa.data.resize import imresize
from bspa.metrics.evaluate import evaluate_perceptual
from bspa.system.devices import use_threads
from bspa.system.files import atomic_path
from bspa.system.log import run_job


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    images = PackedImages(snakemake.input.packed)
    use_threads(snakemake.threads)
    upscale = partial(imresize, scale=settings["scale"], border=settings["border"])
    scores = evaluate_perceptual(
        upscale,
        images,
        niqe_model=snakemake.input.get("niqe"),
        lpips=torch.device("cpu") if settings["lpips"] else None,
    )
    with atomic_path(snakemake.output[0]) as path:
        scores.to_csv(path, index=False)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
