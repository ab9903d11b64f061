"""A training stage: Adam on samples of one kind, for a number of epochs (Section 4.1).

For the rules train_uniform (Eq. 1), train_inverse (Eq. 4), train_informative (SamplingAug), train_uncertainty
and train_weighted (the two steps of UDN).

In: packed training images; the previous snapshot, unless the run begins here; the given weights that the run
begins with, if any; the mask that holds, if any; what is sampled (class shards, or chosen patches), unless it
is the photographs; the packed images of the validation curve, if any; with match_seconds, the other run's
summary, and the journals and summaries of what this run did before.
Out: a snapshot (weights and Adam's moments), and a journal with a row for each epoch.
"""

from typing import Any

from bspa.system.log import run_job
from bspa.training.job import run_stage
from bspa.training.stage import Stage


def main(snakemake: Any) -> None:
    spent = [snakemake.input.get(name, []) for name in ("spent_stages", "spent_masks")]
    run_stage(
        Stage(**snakemake.params.settings),
        packed=snakemake.input.packed,
        source=snakemake.input.get("source"),
        previous=snakemake.input.get("previous"),
        start=snakemake.input.get("start"),
        mask=snakemake.input.get("mask"),
        validation=snakemake.input.get("validation"),
        matched=snakemake.input.get("matched"),
        spent=[file for files in spent for file in files],
        snapshot=snakemake.output.snapshot,
        journal=snakemake.output.journal,
        key=snakemake.params.key,
        threads=snakemake.threads,
        **snakemake.params.compute,
    )


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
