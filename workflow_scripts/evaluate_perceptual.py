"""NIQE and LPIPS of a trained network on each image of a benchmark.

In: packed HR and LR images; delivered weights; NIQE's pristine model, where there is one. Out: a CSV with one
row for each image, empty where a score is not computed: NIQE without its model, LPIPS where `lpips` is false,
either where the image is too small for it. The network computes in float32 whatever it was trained in.
"""

from functools import partial
from typing import Any

from bspa.data.packed import PackedImages
from bspa.metrics.evaluate import evaluate_perceptual
from bspa.models.inference import super_resolve
from bspa.models.registry import build
from bspa.models.weights import load_into, load_weights
from bspa.system.devices import choose_device, use_threads
from bspa.system.files import atomic_path
from bspa.system.log import run_job


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    images = PackedImages(snakemake.input.packed)
    model = build(settings["model"]["arch"], settings["scale"], **settings["model"]["options"])
    weights, metadata = load_weights(snakemake.input.weights)
    load_into(model, weights, path=snakemake.input.weights, metadata=metadata)

    use_threads(snakemake.threads)
    device = choose_device(snakemake.config["compute"]["device"])
    upscale = partial(super_resolve, model, scale=settings["scale"], device=device, tile=settings["tile"])
    scores = evaluate_perceptual(
        upscale,
        images,
        niqe_model=snakemake.input.get("niqe"),
        lpips=device if settings["lpips"] else None,
    )
    with atomic_path(snakemake.output[0]) as path:
        scores.to_csv(path, index=False)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
