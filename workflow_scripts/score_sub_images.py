"""Score a trained network on every sub-image, in the same way as the reference network (Figures 3 to 5).

In: packed images, their sub-images, delivered weights.
Out: HDF5 with the mean square errors (RGB in [0, 1]; Y / 255) and the position of each sub-image.
Settings: batch (sub-images at a time), border (HR pixels cut from each side), precision.
"""

import hashlib
from pathlib import Path
from typing import Any

from bspa.data.packed import PackedImages
from bspa.difficulty.score_writing import write_scores
from bspa.difficulty.scoring import score_sub_images
from bspa.difficulty.windows import read_windows
from bspa.models.precision import choose_precision
from bspa.models.weights import load_model
from bspa.system.devices import choose_device, use_threads
from bspa.system.log import run_job


def main(snakemake: Any) -> None:
    settings, weights = snakemake.params.settings, snakemake.input.weights
    use_threads(snakemake.threads)
    device = choose_device(**snakemake.params.compute)
    precision = choose_precision(settings["precision"], device)
    images, windows = PackedImages(snakemake.input.packed), read_windows(snakemake.input.windows)
    model = load_model(weights)
    border, batch = settings["border"], settings["batch"]
    mse, mse_y = score_sub_images(
        model, images, windows, border=border, batch=batch, device=device, precision=precision
    )
    write_scores(
        snakemake.output[0],
        mse,
        mse_y,
        windows,
        scale=images.scale,
        reference_sha256=hashlib.sha256(Path(weights).read_bytes()).hexdigest(),
        precision=precision.name,
        key=snakemake.params.key,
    )


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
