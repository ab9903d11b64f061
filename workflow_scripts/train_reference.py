"""Train the MSRResNet whose error is the difficulty of a sub-image (Section 3.2), on uniform samples.

In: packed training images; the given weights that it starts from, if any.
Out: its weights, the snapshot they come from, and a journal with a row for each epoch.
"""

from typing import Any

from bspa.models.weights import save_network
from bspa.system.log import run_job
from bspa.training.job import run_stage
from bspa.training.snapshot import load_snapshot
from bspa.training.stage import Stage


def main(snakemake: Any) -> None:
    stage, key = Stage(**snakemake.params.settings), snakemake.params.key
    run_stage(
        stage,
        packed=snakemake.input.packed,
        start=snakemake.input.get("start"),
        snapshot=snakemake.output.snapshot,
        journal=snakemake.output.journal,
        key=key,
        threads=snakemake.threads,
        **snakemake.params.compute,
    )
    weights = load_snapshot(snakemake.output.snapshot)[0].delivered(
        "last" if stage.ema is None else "average"
    )
    save_network(
        snakemake.output.weights, weights, arch=stage.arch, scale=stage.scale, options=stage.options, key=key
    )


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
