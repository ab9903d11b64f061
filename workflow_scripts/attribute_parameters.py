"""Integrated gradients between the uniform and the inverse snapshot, and the mask they give (Eqs. 9 to 11).

In: the cycle's two snapshots; packed training images, for uniformly sampled batches; with
`update: cumulative`, the last mask.
Out: a safetensors file with importance.NAME (float32) and mask.NAME (bool) for each convolution's weight; a
JSON summary with the share of frozen weights of each layer.
"""

from typing import Any

from bspa.system.log import run_job
from bspa.training.attribution_job import run_attribution
from bspa.training.stage import Attribution


def main(snakemake: Any) -> None:
    run_attribution(
        Attribution(**snakemake.params.settings),
        baseline=snakemake.input.baseline,
        target=snakemake.input.target,
        packed=snakemake.input.packed,
        keep=snakemake.input.get("keep"),
        mask=snakemake.output.mask,
        summary=snakemake.output.summary,
        key=snakemake.params.key,
        device=snakemake.params.compute["device"],
        threads=snakemake.threads,
    )


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
