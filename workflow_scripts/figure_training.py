"""Training curves: the loss of each method over its steps, a row for each kind of loss.

In: the journals of all stages of the runs, those of a run in its order. Out: the figure as PDF and PNG.
Settings: label (scale, seed and data, in words), runs (of each: model and method, labels; phases, one
for each of its journals, with the loss after it where that is not the phase's own).
"""

from itertools import islice
from typing import Any

from bspa.figures.style import save_figure
from bspa.figures.training_curves import Run, figure_training, read_curve
from bspa.system.log import run_job
from bspa.system.origin import origin_of


def main(snakemake: Any) -> None:
    settings, journals = snakemake.params.settings, iter(snakemake.input.journals)
    runs = []
    for run in settings["runs"]:
        files = list(islice(journals, len(run["phases"])))
        curve = read_curve(files, run["phases"])
        runs.append(Run(model=run["model"], method=run["method"], curve=curve))
    figure = figure_training(runs, label=settings["label"])
    save_figure(figure, snakemake.output.pdf, snakemake.output.png, origin_of(snakemake))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
