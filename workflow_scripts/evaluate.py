"""PSNR and SSIM of a trained network on each image of a benchmark.

In: packed HR and LR images; delivered weights. Out: a CSV with one row for each image.
The network computes in float32 whatever it was trained in.
"""

from functools import partial
from typing import Any

from bspa.atomic import atomic_path
from bspa.devices import choose_device, use_threads
from bspa.evaluation import evaluate
from bspa.inference import super_resolve
from bspa.jobs import run_job
from bspa.models import build
from bspa.packed import PackedImages
from bspa.weights import load_into, load_weights


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    images = PackedImages(snakemake.input.packed)
    model = build(settings["model"]["arch"], settings["scale"], **settings["model"]["options"])
    weights, metadata = load_weights(snakemake.input.weights)
    load_into(model, weights, path=snakemake.input.weights, metadata=metadata)

    use_threads(snakemake.threads)
    device = choose_device(snakemake.config["compute"]["device"])
    upscale = partial(super_resolve, model, scale=settings["scale"], device=device, tile=settings["tile"])
    scores = evaluate(upscale, images)
    with atomic_path(snakemake.output[0]) as path:
        scores.to_csv(path, index=False)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
