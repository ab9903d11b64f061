"""What the runs of the config will take: optimiser steps, gradients of attributions, device time.

In: nothing. Training photographs are counted where they are there, else the config may say their number;
sub-images are counted where there are manifests. Out: tables on the terminal, from steps that are measured on
the device at hand, some seconds for each kind.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bspa.data.manifest import cut_shapes, read_manifest, rows_for_scale
from bspa.data.sources import list_files
from bspa.difficulty.grid import count_windows
from bspa.difficulty.scoring import choose_batch
from bspa.forecast.estimate import distinct_works, estimate_run, estimate_scoring, plan_text, runs_table
from bspa.forecast.step_times import describe_device, measure_step
from bspa.models.precision import choose_precision
from bspa.system.devices import choose_device, use_threads
from bspa.system.log import run_job

log = logging.getLogger("bspa")

UNKNOWN = """\
It is not known how many photographs {train} has, so here are epochs, and no times. For these, either
- set the number in the config: sources: {{{train}: {{images: NUMBER}}}}, or
- download the photographs: snakemake {manifest}
"""


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    train, runs = settings["train"], settings["runs"]
    manifests = {
        name: read_manifest(path) for name, path in settings["manifests"].items() if Path(path).exists()
    }
    images = count_photographs(settings)
    if images is None:
        print(UNKNOWN.format(train=train, manifest=settings["manifests"][train]))
        print(runs_table([estimate_run(run, None, {}) for run in runs]))
        return
    use_threads(snakemake.threads)
    device = choose_device(snakemake.config["compute"]["device"])
    scorings = [
        {
            **s,
            "batch": choose_batch(s["batch"], s["grid"]["size"], device),
            "precision": choose_precision(s["precision"], device).name,
            "sub_images": count_sub_images(s, manifests),
        }
        for s in settings["scorings"]
    ]
    precisions = {
        arch: choose_precision(settings["precision"], device, arch=arch)
        for arch in sorted({run["arch"] for run in runs} | {scoring["arch"] for scoring in scorings})
    }
    works = distinct_works(runs, scorings)
    times = {}
    for number, work in enumerate(works, start=1):
        log.info("measuring %d of %d: %s x%d, %s", number, len(works), work.model, work.scale, work.task)
        times[work] = measure_step(work, device=device, precision=precisions[work.arch])
    print(
        plan_text(
            [estimate_run(run, images, times) for run in runs],
            [estimate_scoring(scoring, times) for scoring in scorings],
            times,
            photographs=f"{images} photographs ({train})",
            device=describe_device(device),
            precision=in_words({arch: precisions[arch].name for arch in {run["arch"] for run in runs}}),
            missing=[
                settings["manifests"][name]
                for name in sorted({s["source"] for s in scorings} - set(manifests))
            ],
        )
    )


def in_words(precisions: Mapping[str, str]) -> str:
    """Say which networks are trained in which precision; the name alone, where it is the same for all."""
    archs: dict[str, list[str]] = {}
    for arch, name in sorted(precisions.items()):
        archs.setdefault(name, []).append(arch)
    if len(archs) < 2:
        return "".join(archs)
    return " and ".join(f"{name} ({', '.join(of)})" for name, of in archs.items())


def count_photographs(settings: Mapping[str, Any]) -> int | None:
    """Count the training photographs; None where they are not downloaded and the config does not say."""
    if settings["source"] is None:
        return settings["images"]
    return len({file.id for file in list_files(**settings["source"], scales=settings["scales"])})


def count_sub_images(scoring: Mapping[str, Any], manifests: Mapping[str, pd.DataFrame]) -> int | None:
    """Count the sub-images of a source; None where its manifest is not made."""
    if scoring["source"] not in manifests:
        return None
    rows = rows_for_scale(manifests[scoring["source"]], scoring["scale"])
    return count_windows(cut_shapes(rows, scoring["scale"]), **scoring["grid"])


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
