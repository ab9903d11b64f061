"""Check the sources against each other, before training.

In: the manifests of all sources in use; the smallest side that the photographs of each may have, in pixels,
and why; the grids of sub-images and the numbers of classes of the config.
Out: a text file with the numbers of photographs, megapixels and sub-images. An error if photographs are too
small, or if every class split in use has more classes than there are training sub-images; a warning if some
have: what is asked for may do without these. Warnings if training, the validation curve and the benchmarks
share photographs.
"""

import logging
from typing import Any

from bspa.data.manifest import cut_shapes, describe, photos_in_both, read_manifest, rows_for_scale, smaller
from bspa.data.sources import refuse
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
    sides = zip(manifests.values(), settings["minimum_sides"], strict=True)
    refuse(
        "photographs are too small",
        [
            f"{photo}, {side} are needed ({reason})"
            for manifest, (side, reason) in sides
            for photo in smaller(manifest, side)
        ],
    )
    train = manifests[settings["train"]]
    lines = [f"{name}: {describe(manifest)}" for name, manifest in manifests.items()]

    for scale, grid in settings["grids"].items():
        total = count_windows(cut_shapes(rows_for_scale(train, int(scale)), int(scale)), **grid)
        lines.append(f"{settings['train']}, x{scale}: {total} sub-images")
        problems = [
            f"class_splits: {split}: classes is {classes}, but {settings['train']} has only {total} "
            f"sub-images at x{scale} ({grid}); take fewer classes, more photographs or a smaller step"
            for split, classes in settings["classes"].items()
            if classes > total
        ]
        if problems and len(problems) == len(settings["classes"]):
            raise ValueError(problems[0])
        for problem in problems:
            log.warning("what uses this cannot be made: %s", problem)

    trained = [("training", settings["train"])]
    curves = [("validation", name) for name in settings["validations"]]
    checked = [("benchmark", name, [*trained, *curves]) for name in settings["benchmarks"]]
    checked += [("validation source", name, trained) for _, name in curves]
    for kind, name, others in checked:
        for role, other in others:
            both = photos_in_both(manifests[other], manifests[name])
            if name != other and both:
                where = f"{len(both)} of its photographs are in the {role} source {other}"
                log.warning("%s %s: %s: %s", kind, name, where, ", ".join(both))
    write_text(snakemake.output[0], "\n".join(lines) + "\n")


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
