"""Split the sub-images into long-tailed classes (Eq. 2-4).

In: difficulty scores. Out: CSV with a row for each class, easiest first: k, its size N_k, its largest MSE
t_k, its probability P_k under inverse sampling.
"""

import logging
from typing import Any

from bspa.difficulty.class_table import write_classes
from bspa.difficulty.classes import split_classes
from bspa.difficulty.scores import read_scores
from bspa.system.log import run_job

log = logging.getLogger("bspa")


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    scores = read_scores(snakemake.input.scores)
    try:
        classes = split_classes(scores.mse, settings["classes"], settings["imbalance"])
    except ValueError as error:
        raise ValueError(f"class_splits: {snakemake.wildcards.split}: {error}") from None
    log.info("%d sub-images in classes of %s", len(scores), ", ".join(map(str, classes.sizes)))
    write_classes(snakemake.output[0], classes, key=snakemake.params.key)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
