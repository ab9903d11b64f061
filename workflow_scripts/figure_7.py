"""Figure 7: PSNR on validation photographs against optimiser steps and device seconds, with all seeds.

In: the files of each run in order, journals of stages and summaries of attributions. Out: the figure as PDF
and PNG.
Settings: label (scale, seeds and data, in words), runs (of each: model and method, labels; files, how many).
"""

from itertools import islice
from typing import Any

from bspa.figures.figure7 import figure_7, read_validation
from bspa.figures.style import save_figure
from bspa.system.log import run_job
from bspa.system.origin import origin_of


def main(snakemake: Any) -> None:
    settings, files = snakemake.params.settings, iter(snakemake.input.files)
    seeds: dict[tuple[str, str], list[list[str]]] = {}
    for run in settings["runs"]:
        seeds.setdefault((run["model"], run["method"]), []).append(list(islice(files, run["files"])))
    curves = [read_validation(runs, model=model, method=method) for (model, method), runs in seeds.items()]
    figure = figure_7(curves, label=settings["label"])
    save_figure(figure, snakemake.output.pdf, snakemake.output.png, origin_of(snakemake))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
