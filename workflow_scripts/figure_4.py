"""Figure 4: SR of uniform and of inverse sampling, and where their errors lie.

In: packed images; scores of their sub-images under both networks, by which the regions are chosen unless they
are named; both delivered weights. Out: the figure as PDF and PNG. Whole images are super-resolved, then cut.
Settings: label (network, scale and data, in words), methods (two labels), source (name of the images),
regions (named ones: image, top, left; of a sub-image's size), count (of regions where none is named), tile.
"""

from functools import partial
from typing import Any

from bspa.data.packed import PackedImages
from bspa.difficulty.scores import read_scores
from bspa.figures.figure4 import figure_4, most_different
from bspa.figures.regions import compare, locate, photos_of
from bspa.figures.style import save_figure
from bspa.models.inference import super_resolve
from bspa.models.weights import load_model
from bspa.system.devices import choose_device, use_threads
from bspa.system.log import run_job
from bspa.system.origin import origin_of

KEY = "figures.figure4.regions"


def main(snakemake: Any) -> None:
    settings, source = snakemake.params.settings, snakemake.params.settings["source"]
    photos = photos_of({source: PackedImages(snakemake.input.packed)})
    first, second = map(read_scores, snakemake.input.scores)
    if settings["regions"]:
        named = settings["regions"]
        regions = [locate(photos, source=source, size=first.size, key=KEY, **region) for region in named]
    else:
        regions = most_different(photos, first, second, count=settings["count"])

    use_threads(snakemake.threads)
    device = choose_device(**snakemake.params.compute)
    upscalers = [
        partial(super_resolve, load_model(path), device=device, tile=settings["tile"])
        for path in snakemake.input.weights
    ]
    rows = compare(regions, upscalers)
    figure = figure_4(rows, settings["methods"], label=settings["label"])
    save_figure(figure, snakemake.output.pdf, snakemake.output.png, origin_of(snakemake))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
