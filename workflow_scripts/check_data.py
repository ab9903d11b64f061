"""Check that the sources are fit for their use together, before anything is made of them.

In: the manifests of all sources in use; the grids of sub-images and the numbers of classes of the config.
Out: a text file that says how many photographs, megapixels and sub-images there are. An error if a split has
more classes than there are training sub-images; a warning if a training photograph is in a benchmark too.
"""

import logging
from typing import Any

from bspa.data.manifest import cut_shapes, describe, photos_in_both, read_manifest, rows_for_scale
from bspa.difficulty.grid import count_windows
from bspa.system.files import write_text
from bspa.system.log import run_job

log = logging.getLogger("bspa")


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    manifests = {
        name: read_manifest(path)
        for name, path in zip(settings["sources"], snakemake.input.manifests, strict=True)
    }
    train = manifests[settings["train"]]
    lines = [f"{name}: {describe(manifest)}" for name, manifest in manifests.items()]

    for scale, grid in settings["grids"].items():
        total = count_windows(cut_shapes(rows_for_scale(train, int(scale)), int(scale)), **grid)
        lines.append(f"{settings['train']}, x{scale}: {total} sub-images")
        for split, classes in settings["classes"].items():
            if classes > total:
                raise ValueError(
                    f"class split {split} has {classes} classes, but {settings['train']} gives only {total} "
                    f"sub-images at scale {scale} ({grid}); take fewer classes, more photographs or a "
                    "denser grid"
                )

    for name in settings["benchmarks"]:
        both = photos_in_both(train, manifests[name])
        if name != settings["train"] and both:
            log.warning(
                "benchmark %s shares photographs with %s, which is trained on (%d): %s",
                name,
                settings["train"],
                len(both),
                ", ".join(both),
            )
    write_text(snakemake.output[0], "\n".join(lines) + "\n")


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
