"""Figure 5: how the errors of the training sub-images are distributed, without and with a method.

In: scores of the training sub-images under each network. Out: the figure as PDF and PNG.
Settings: label (network, scale and data, in words), methods (labels).
"""

from typing import Any

from bspa.difficulty.scores import read_scores
from bspa.figures.figure5 import figure_5
from bspa.figures.style import save_figure
from bspa.system.log import run_job
from bspa.system.origin import origin_of


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    mse = [read_scores(path).mse for path in snakemake.input.scores]
    figure = figure_5(mse, settings["methods"], label=settings["label"])
    save_figure(figure, snakemake.output.pdf, snakemake.output.png, origin_of(snakemake))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
