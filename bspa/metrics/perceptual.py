"""NIQE and LPIPS of each image of a benchmark (Table 6)."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from functools import partial

import pandas as pd

from bspa.data.packed import PackedImages
from bspa.metrics.benchmark import Upscale, super_resolved
from bspa.metrics.borders import Image, UnmeasurableError
from bspa.metrics.lpips import load_lpips, lpips_alex
from bspa.metrics.niqe import niqe, read_pristine_model

log = logging.getLogger("bspa")


def evaluate_perceptual(
    upscale: Upscale, images: PackedImages, *, niqe_model: str | os.PathLike[str] | None, lpips: str | None
) -> pd.DataFrame:
    """Score how natural each super-resolved image is, and its perceptual distance from its HR image.

    Args:
        upscale: LR (h, w, 3) uint8 to SR (s h, s w, 3) uint8.
        images: the benchmark; as many pixels as its scale s are cut from each border.
        niqe_model: path of the pristine model; None: no NIQE.
        lpips: the device that computes LPIPS, by torch's name; None: no LPIPS.

    Returns:
        One row for each image: image (its id), niqe, lpips. NaN where a metric is not computed, and, with a
        warning, where the image is too small or too flat for it.

    Raises:
        ValueError: there are no images; one does not fit its HR image; the pristine model or LPIPS cannot be
            used.
    """
    measures: dict[str, Callable[[Image, Image, int], float]] = {}
    if niqe_model is not None:
        read_pristine_model(niqe_model)  # refuses a wrong file before images are enlarged
        measures["niqe"] = lambda sr, _, border: niqe(sr, border, niqe_model)
    if lpips is not None:
        load_lpips(lpips)
        measures["lpips"] = partial(lpips_alex, device=lpips)
    scores = pd.DataFrame({"image": images.ids, "niqe": math.nan, "lpips": math.nan})
    if not measures:
        log.warning(
            "nothing to compute: NIQE needs its pristine model (`perceptual: niqe:` in the config), LPIPS "
            "needs the extra `perceptual`"
        )
        return scores
    for index, (name, sr, hr) in enumerate(super_resolved(upscale, images)):
        for metric, measure in measures.items():
            try:
                scores.loc[index, metric] = measure(sr, hr, images.scale)
            except UnmeasurableError as error:
                log.warning(
                    "image %s: too small or too flat for %s; scored as NaN: %s", name, metric.upper(), error
                )
            except ValueError as error:
                raise ValueError(f"image {name}: {error}") from error
    means = scores[[*measures]].mean().round(4).to_dict()
    log.info("means of %d images, %d pixels cut from each border: %s", len(scores), images.scale, means)
    return scores
