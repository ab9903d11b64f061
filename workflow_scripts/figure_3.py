"""Figure 3: the mean PSNR on Y of each class of sub-images, by method, and the gain over the first method.

In: scores of the training and of the validation sub-images under each method's network; the reference
network's scores of both and the classes' thresholds, by which both are classified. Out: the figure as PDF
and PNG. An exact reproduction counts as 100 dB.
Settings: label (network, scale and data, in words), methods (labels).
"""

from typing import Any

from bspa.difficulty.class_table import read_classes
from bspa.difficulty.classes import assign_classes, classify
from bspa.difficulty.scores import read_scores
from bspa.figures.figure3 import class_psnr, figure_3
from bspa.figures.style import save_figure
from bspa.system.log import run_job
from bspa.system.origin import origin_of


def main(snakemake: Any) -> None:
    settings, files = snakemake.params.settings, snakemake.input
    classes = read_classes(files.thresholds)
    training = [read_scores(path).mse_y for path in files.train_scores]
    validation = [read_scores(path).mse_y for path in files.validation_scores]
    members = assign_classes(read_scores(files.difficulty).mse, classes.sizes)
    validation_members = classify(read_scores(files.validation_difficulty).mse, classes.thresholds)
    panels = {
        "Training": class_psnr(training, members, len(classes.sizes)),
        "Validation": class_psnr(validation, validation_members, len(classes.sizes)),
    }
    figure = figure_3(panels, settings["methods"], label=settings["label"])
    save_figure(figure, snakemake.output.pdf, snakemake.output.png, origin_of(snakemake))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
