"""Figure 3: the mean PSNR of each class of sub-images, by method, and the gain over the first method.

In: scores of the training and of the validation sub-images under each method's network; the reference
network's scores of both and the classes' thresholds, by which both are classified. Out: the figure as PDF
and PNG. The PSNR of a sub-image is that of its RGB error; an exact reproduction counts as 100 dB.
Settings: label (network, scale and data, in words), methods (labels).
"""

from typing import Any

from bspa.difficulty.class_table import read_classes
from bspa.difficulty.classes import assign_classes, classify
from bspa.figures.figure3 import class_psnr, figure_3
from bspa.figures.matching import read_matching
from bspa.figures.style import save_figure
from bspa.system.log import run_job


def main(snakemake: Any) -> None:
    settings, files = snakemake.params.settings, snakemake.input
    classes = read_classes(files.thresholds)
    difficulty, *training = read_matching([files.difficulty, *files.train_scores])
    validation_difficulty, *validation = read_matching(
        [files.validation_difficulty, *files.validation_scores]
    )
    members = assign_classes(difficulty.mse, classes.sizes)
    validation_members = classify(validation_difficulty.mse, classes.thresholds)
    number = len(classes.sizes)
    panels = {
        "Training": class_psnr([scores.mse for scores in training], members, number),
        "Validation": class_psnr([scores.mse for scores in validation], validation_members, number),
    }
    figure = figure_3(panels, settings["methods"], label=settings["label"])
    save_figure(figure, snakemake.output.pdf, snakemake.output.png)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
