"""NIQE and LPIPS of bicubic interpolation on each image of a benchmark: the tables' reference row.

In: packed HR and LR images; NIQE's pristine model, where there is one. Out: a CSV with one row for each image
and the product's key. A score is empty without the pristine model (NIQE), where `lpips` is false (LPIPS), and
where the image is too small or too flat for the metric. LPIPS is computed on the CPU: the job is small.
"""

from functools import partial
from typing import Any

from bspa.data.packed import PackedImages
from bspa.data.resize import imresize
from bspa.metrics.perceptual import evaluate_perceptual
from bspa.system.files import write_text
from bspa.system.log import run_job


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    if settings["lpips"]:
        from bspa.system.devices import use_threads  # imports torch, which NIQE does without

        use_threads(snakemake.threads)
    scores = evaluate_perceptual(
        partial(imresize, scale=settings["scale"], border=settings["border"]),
        PackedImages(snakemake.input.packed),
        niqe_model=snakemake.input.get("niqe"),
        lpips="cpu" if settings["lpips"] else None,
    )
    write_text(snakemake.output[0], scores.assign(key=snakemake.params.key).to_csv(index=False))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
