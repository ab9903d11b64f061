"""Train the MSRResNet whose error is the difficulty of a sub-image (Section 3.2), on uniform samples.

In: packed training images.
Out: its weights, the snapshot they come from, and a journal with a row for each epoch.
"""

from typing import Any

from bspa.data.packed import PackedImages
from bspa.models.weights import save_weights
from bspa.sampling.uniform import UniformSampler
from bspa.system.log import run_job
from bspa.training.job import run_stage
from bspa.training.snapshot import load_snapshot


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    images = PackedImages(snakemake.input.packed)
    sampler = UniformSampler(images, patch=settings["patch"], batch=settings["batch"], seed=settings["seed"])
    name = f"reference {settings['arch']} x{settings['scale']}"
    run_stage(snakemake, sampler, images=len(images), name=name)
    snapshot, _ = load_snapshot(snakemake.output.snapshot)
    save_weights(
        snakemake.output.weights,
        snapshot.delivered,
        {"architecture": settings["arch"], "scale": str(settings["scale"])},
    )


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
