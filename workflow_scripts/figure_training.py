"""Training curves: the loss of each method over its steps, a panel for each network.

In: the journals of all stages of the runs, those of a run in its order. Out: the figure as PDF and PNG.
"""

from typing import Any

from bspa.figures.style import save_figure
from bspa.figures.training_curves import figure_training, read_runs
from bspa.system.log import run_job


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    networks = read_runs(snakemake.input.journals, settings["journals"])
    figure = figure_training(networks, label=settings["label"])
    save_figure(figure, snakemake.output.pdf, snakemake.output.png)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
