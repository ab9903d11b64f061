"""Figure 1: the long tail of difficulty, and the classes that it is split into.

In: the difficulty scores; the classes' sizes and thresholds. Out: the figure as PDF and PNG.
Settings: label (what the sub-images are, in words).
"""

from typing import Any

from bspa.difficulty.class_table import read_classes
from bspa.difficulty.scores import read_scores
from bspa.figures.figure1 import figure_1
from bspa.figures.style import save_figure
from bspa.system.log import run_job
from bspa.system.origin import origin_of


def main(snakemake: Any) -> None:
    figure = figure_1(
        read_scores(snakemake.input.scores).mse,
        read_classes(snakemake.input.thresholds),
        label=snakemake.params.settings["label"],
    )
    save_figure(figure, snakemake.output.pdf, snakemake.output.png, origin_of(snakemake))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
