"""Figure 4: SR of uniform and of inverse sampling, and where their errors lie.

In: packed images; scores of their sub-images under both networks, by which the regions are chosen unless they
are given; both delivered weights. Out: the figure as PDF and PNG.
Whole images are super-resolved, then cut.
"""

from typing import Any

from bspa.data.packed import PackedImages
from bspa.figures.figure4 import Comparison, figure_4, most_different
from bspa.figures.matching import read_matching
from bspa.figures.regions import load_upscaler, locate, upscaled_crops
from bspa.figures.style import save_figure
from bspa.system.devices import choose_device, use_threads
from bspa.system.log import run_job


def main(snakemake: Any) -> None:
    settings, size = snakemake.params.settings, snakemake.params.settings["size"]
    images = PackedImages(snakemake.input.packed)
    if settings["regions"]:
        key = "figures.figure4.regions"
        regions = [locate(images, region, size=size, key=key) for region in settings["regions"]]
    else:
        uniform, inverse = read_matching(snakemake.input.scores)
        regions = most_different(images, uniform, inverse, size=size, count=settings["count"])

    use_threads(snakemake.threads)
    device = choose_device(snakemake.params.compute["device"])
    crops = []
    for path in snakemake.input.weights:
        upscale = load_upscaler(path, device=device, tile=settings["tile"])
        crops.append(upscaled_crops(upscale, [images], regions))
    rows = [
        Comparison(name=images.ids[region.image], hr=region.cut(images.hr(region.image)), sr=sr)
        for region, *sr in zip(regions, *crops, strict=True)
    ]
    figure = figure_4(rows, settings["methods"], label=settings["label"])
    save_figure(figure, snakemake.output.pdf, snakemake.output.png)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
