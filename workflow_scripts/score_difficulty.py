"""The difficulty of every sub-image: the error of the reference network on it (Section 3.2).

In: packed images, their sub-images, the reference network's weights.
Out: HDF5 with the mean square error (RGB in [0, 1]) and the position of each sub-image.
"""

import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np

from bspa.devices import choose_device, use_threads
from bspa.jobs import run_job
from bspa.models import build
from bspa.packed import PackedImages
from bspa.scores import Scores, write_scores
from bspa.scoring import score_sub_images
from bspa.sub_images import read_windows
from bspa.weights import load_into, load_weights

log = logging.getLogger("bspa")


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    network, scale = settings["model"], settings["scale"]
    use_threads(snakemake.threads)
    device = choose_device(snakemake.config["compute"]["device"])
    model = build(network["arch"], scale, **network["options"])
    weights, metadata = load_weights(snakemake.input.reference)
    load_into(model, weights, path=snakemake.input.reference, metadata=metadata)

    windows = read_windows(snakemake.input.windows)
    images = PackedImages(snakemake.input.packed)
    mse = score_sub_images(model, images, windows, batch=settings["batch"], device=device)
    log.info("MSE: mean %.3g, median %.3g, largest %.3g", mse.mean(), np.median(mse), mse.max())
    scores = Scores(
        mse=mse,
        image=windows.image,
        top=windows.top,
        left=windows.left,
        size=windows.size,
        step=windows.step,
        threshold=windows.threshold,
        scale=scale,
        reference_sha256=hashlib.sha256(Path(snakemake.input.reference).read_bytes()).hexdigest(),
    )
    write_scores(snakemake.output[0], scores)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
