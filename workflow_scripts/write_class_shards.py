"""Write the sub-images of each difficulty class as one file, for inverse sampling (Section 3.2).

In: packed images, difficulty scores, sizes and thresholds of the classes; `shards` of the config.
Out: a folder with class01.h5 (the easiest) to classK.h5: mse, image, top, left; for pixels also hr, lr.
"""

from typing import Any

from bspa.data.packed import PackedImages
from bspa.difficulty.class_table import read_classes
from bspa.difficulty.scores import read_scores
from bspa.difficulty.shard_writing import write_class_shards
from bspa.system.log import run_job


def main(snakemake: Any) -> None:
    classes = read_classes(snakemake.input.thresholds)
    write_class_shards(
        snakemake.output[0],
        PackedImages(snakemake.input.packed),
        read_scores(snakemake.input.scores),
        classes.sizes,
        thresholds=classes.thresholds,
        samples=snakemake.params.settings["samples"],
        key=snakemake.params.key,
    )


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
