"""PSNR and SSIM of a trained network on each image of a benchmark.

In: packed HR and LR images; delivered weights. Out: a CSV with one row for each image and the product's key.
The network computes in float32, whatever precision it was trained in.
"""

from functools import partial
from typing import Any

from bspa.data.packed import PackedImages
from bspa.metrics.evaluate import evaluate
from bspa.models.inference import super_resolve
from bspa.models.weights import load_model
from bspa.system.devices import choose_device, use_threads
from bspa.system.files import write_text
from bspa.system.log import run_job


def main(snakemake: Any) -> None:
    params = snakemake.params
    use_threads(snakemake.threads)
    model, device = load_model(snakemake.input.weights), choose_device(**params.compute)
    upscale = partial(super_resolve, model, device=device, tile=params.settings["tile"])
    scores = evaluate(upscale, PackedImages(snakemake.input.packed))
    write_text(snakemake.output[0], scores.assign(key=params.key).to_csv(index=False))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
