"""Figure 6: regions of the benchmarks as every method reconstructs them.

In: packed images of each benchmark; delivered weights of each method. Out: the figure as PDF and PNG.
Whole images are super-resolved, then cut. Regions that are not given are those of largest bicubic error.
"""

from functools import partial
from typing import Any

from bspa.data.packed import PackedImages
from bspa.data.resize import imresize
from bspa.figures.figure6 import figure_6, given_regions, hardest_regions, make_row
from bspa.figures.regions import load_upscaler, upscaled_crops
from bspa.figures.style import save_figure
from bspa.system.devices import choose_device, use_threads
from bspa.system.log import run_job


def main(snakemake: Any) -> None:
    settings, size = snakemake.params.settings, snakemake.params.settings["size"]
    benchmarks = dict(zip(settings["benchmarks"], map(PackedImages, snakemake.input.packed), strict=True))
    images = list(benchmarks.values())
    bicubic = partial(imresize, scale=settings["scale"], border=settings["border"])
    if settings["regions"]:
        regions = given_regions(benchmarks, settings["regions"], size=size)
    else:
        regions = hardest_regions(benchmarks, bicubic, size=size, count=settings["count"])

    use_threads(snakemake.threads)
    device = choose_device(snakemake.params.compute["device"])
    crops = [upscaled_crops(bicubic, images, regions)]
    for path in snakemake.input.weights:
        upscale = load_upscaler(path, device=device, tile=settings["tile"])
        crops.append(upscaled_crops(upscale, images, regions))
    rows = []
    for region, *sr in zip(regions, *crops, strict=True):
        packed = images[region.file]
        name = f"{settings['benchmarks'][region.file]}: {packed.ids[region.image]}"
        rows.append(make_row(name, packed.hr(region.image), region, sr))
    figure = figure_6(rows, ["bicubic", *settings["methods"]], label=settings["label"])
    save_figure(figure, snakemake.output.pdf, snakemake.output.png)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
