"""What parameter attribution finds: importance and frozen share of each layer over the cycles of a run.

In: the masks that a later cycle of the run uses. Out: the figure as PDF and PNG.
Settings: label (network, method, scale and data, in words), arch, scale and options (of the network), modules
(whose weights are ranked).
"""

from typing import Any

from bspa.figures.attribution_maps import figure_attribution, read_attributions
from bspa.figures.style import save_figure
from bspa.models.registry import build
from bspa.system.log import run_job
from bspa.system.origin import origin_of
from bspa.training.attribution import attributable


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    # The files name the layers, but only the network knows their order.
    weights = attributable(
        build(settings["arch"], settings["scale"], **settings["options"]), settings["modules"]
    )
    importance, frozen = read_attributions(snakemake.input.masks, weights, arch=settings["arch"])
    figure = figure_attribution(importance, frozen, label=settings["label"])
    save_figure(figure, snakemake.output.pdf, snakemake.output.png, origin_of(snakemake))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
