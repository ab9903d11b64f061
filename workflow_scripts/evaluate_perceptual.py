"""NIQE and LPIPS of a trained network on each image of a benchmark.

In: packed HR and LR images; delivered weights; NIQE's pristine model, where there is one. Out: a CSV with one
row for each image and the product's key. A score is empty without the pristine model (NIQE), where `lpips` is
false (LPIPS), and where the image is too small or too flat for the metric. The network computes in float32,
whatever precision it was trained in.
"""

from functools import partial
from typing import Any

from bspa.data.packed import PackedImages
from bspa.metrics.perceptual import evaluate_perceptual
from bspa.models.inference import super_resolve
from bspa.models.weights import load_model
from bspa.system.devices import choose_device, use_threads
from bspa.system.files import write_text
from bspa.system.log import run_job


def main(snakemake: Any) -> None:
    params = snakemake.params
    use_threads(snakemake.threads)
    model, device = load_model(snakemake.input.weights), choose_device(**params.compute)
    scores = evaluate_perceptual(
        partial(super_resolve, model, device=device, tile=params.settings["tile"]),
        PackedImages(snakemake.input.packed),
        niqe_model=snakemake.input.get("niqe"),
        lpips=str(device) if params.settings["lpips"] else None,
    )
    write_text(snakemake.output[0], scores.assign(key=params.key).to_csv(index=False))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
