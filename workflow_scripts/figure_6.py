"""Figure 6: regions of benchmark images; HR, LR, bicubic interpolation and every method side by side.

In: the packed benchmarks; the delivered weights of each method. Out: the figure as PDF and PNG. Whole images
are super-resolved, then cut.
Settings: label (network, scale and data, in words), methods (labels), scale, border (of imresize), benchmarks
(names, in the order of the input), benchmark_labels (the same in words), size (of regions, HR pixels),
regions (named ones: source, image, top, left), count (of regions where none is named), tile.
"""

from functools import partial
from typing import Any

from bspa.data.packed import PackedImages
from bspa.data.resize import imresize
from bspa.figures.figure6 import figure_6, hardest_regions
from bspa.figures.regions import compare, locate, photos_of
from bspa.figures.style import save_figure
from bspa.models.inference import super_resolve
from bspa.models.weights import load_model
from bspa.system.devices import choose_device, use_threads
from bspa.system.log import run_job
from bspa.system.origin import origin_of

KEY = "figures.figure6.regions"


def main(snakemake: Any) -> None:
    settings, size = snakemake.params.settings, snakemake.params.settings["size"]
    packed = map(PackedImages, snakemake.input.packed)
    photos = photos_of(dict(zip(settings["benchmarks"], packed, strict=True)))
    bicubic = partial(imresize, scale=settings["scale"], border=settings["border"])
    if settings["regions"]:
        regions = [locate(photos, size=size, key=KEY, **region) for region in settings["regions"]]
    else:
        regions = hardest_regions(photos, bicubic, size=size, count=settings["count"])

    use_threads(snakemake.threads)
    device = choose_device(**snakemake.params.compute)
    upscalers = [
        partial(super_resolve, load_model(path), device=device, tile=settings["tile"])
        for path in snakemake.input.weights
    ]
    rows = compare(regions, [bicubic, *upscalers])
    figure = figure_6(
        rows,
        ["bicubic", *settings["methods"]],
        label=settings["label"],
        sources=dict(zip(settings["benchmarks"], settings["benchmark_labels"], strict=True)),
    )
    save_figure(figure, snakemake.output.pdf, snakemake.output.png, origin_of(snakemake))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
