"""Training curves: the loss of each method over its steps, a row for each kind of loss.

In: the journals of all stages of the runs, those of a run in its order. Out: the figure as PDF and PNG.
Settings: label (scale, seed and data, in words), journals (of each input: model and method, labels; phase).
"""

from typing import Any

from bspa.figures.style import save_figure
from bspa.figures.training_curves import Journal, figure_training, read_runs
from bspa.system.log import run_job


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    journals = [Journal(**journal) for journal in settings["journals"]]
    runs = read_runs(snakemake.input.journals, journals)
    save_figure(figure_training(runs, label=settings["label"]), snakemake.output.pdf, snakemake.output.png)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
