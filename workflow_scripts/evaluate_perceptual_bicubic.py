"""NIQE and LPIPS of bicubic interpolation on each image of a benchmark: the tables' reference row.

In, out and empty scores as for a network (`evaluate_perceptual`), but for the weights.
"""

from functools import partial
from typing import Any

from bspa.data.packed import PackedImages
from bspa.data.resize import imresize
from bspa.metrics.perceptual import evaluate_perceptual
from bspa.system.files import write_text
from bspa.system.log import run_job


def main(snakemake: Any) -> None:
    params, settings = snakemake.params, snakemake.params.settings
    device = None
    if settings["lpips"]:
        from bspa.system.devices import choose_device, use_threads  # imports torch, which NIQE does without

        use_threads(snakemake.threads)
        device = str(choose_device(**params.compute))
    scores = evaluate_perceptual(
        partial(imresize, scale=settings["scale"], border=settings["border"]),
        PackedImages(snakemake.input.packed),
        niqe_model=snakemake.input.get("niqe"),
        lpips=device,
    )
    write_text(snakemake.output[0], scores.assign(key=params.key).to_csv(index=False))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
