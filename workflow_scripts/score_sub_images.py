"""The error of a trained network on every sub-image, measured as the reference network's (Figures 3 to 5).

In: packed images, their sub-images, delivered weights.
Out: HDF5 with the mean square error (RGB in [0, 1]) and the position of each sub-image.
"""

from typing import Any

from bspa.difficulty.scores import write_scores
from bspa.difficulty.scoring import score_by_weights
from bspa.system.devices import choose_device, use_threads
from bspa.system.log import run_job


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    use_threads(snakemake.threads)
    scores = score_by_weights(
        snakemake.input.weights,
        settings["model"],
        packed=snakemake.input.packed,
        windows=snakemake.input.windows,
        scale=settings["scale"],
        batch=settings["batch"],
        device=choose_device(snakemake.config["compute"]["device"]),
    )
    write_scores(snakemake.output[0], scores)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
