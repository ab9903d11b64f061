"""Scores of each image of a benchmark: PSNR and SSIM (Section 4.1), NIQE and LPIPS (Table 6).

Every image is RGB here. Papers score an image that is stored gray (Set14's third) on its own 256 levels
instead of the 220 of Y, which gives 20 log10(255 / 219) = 1.32 dB less: 0.09 dB in the mean of Set14.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import pandas as pd

from bspa.metrics import CONVENTION, LPIPS_CONVENTION, NIQE_CONVENTION, lpips_alex, niqe, psnr_y, ssim_y
from bspa.metrics.borders import Image, UnmeasurableError
from bspa.metrics.lpips import load_lpips
from bspa.metrics.niqe import read_pristine_model
from bspa.system.progress import Reporter

if TYPE_CHECKING:
    import torch

log = logging.getLogger("bspa")

PERCEPTUAL = {"niqe": NIQE_CONVENTION, "lpips": LPIPS_CONVENTION}


class Benchmark(Protocol):
    """HR images and their LR images; `bspa.data.packed.PackedImages` is one."""

    @property
    def scale(self) -> int:
        """How many times larger than the LR image each HR image is along each side."""

    @property
    def ids(self) -> Sequence[str]:
        """The images' names."""

    def __len__(self) -> int: ...

    def hr(self, index: int) -> Image:
        """Return (s h, s w, 3) uint8."""

    def lr(self, index: int) -> Image:
        """Return (h, w, 3) uint8."""


def evaluate(upscale: Callable[[Image], Image], images: Benchmark) -> pd.DataFrame:
    """Score what ``upscale`` makes of each LR image against its HR image, by `bspa.metrics.CONVENTION`.

    Args:
        upscale: LR (h, w, 3) uint8 to SR (s h, s w, 3) uint8.
        images: the benchmark; its scale s is also the number of pixels that is cut from each border.

    Returns:
        One row for each image: image (its id), width, height (of HR, in pixels), psnr (dB; ``inf`` where SR
        is HR), ssim.

    Raises:
        ValueError: there is no image, or one that cannot be scored; its id is named.
    """
    rows = []
    for name, sr, hr in _super_resolved(upscale, images):
        try:
            psnr, ssim = psnr_y(sr, hr, images.scale), ssim_y(sr, hr, images.scale)
        except ValueError as error:
            raise ValueError(f"image {name}: {error}") from error
        rows.append((name, hr.shape[1], hr.shape[0], psnr, ssim))
    scores = pd.DataFrame(rows, columns=["image", "width", "height", "psnr", "ssim"])
    log.info(
        "mean of %d images: %.2f dB / %.4f; %s",
        len(scores),
        scores["psnr"].mean(),
        scores["ssim"].mean(),
        CONVENTION,
    )
    return scores


def evaluate_perceptual(
    upscale: Callable[[Image], Image],
    images: Benchmark,
    *,
    niqe_model: str | os.PathLike[str] | None,
    lpips: torch.device | None,
) -> pd.DataFrame:
    """Score how natural what ``upscale`` makes of each LR image is, and how far it looks from its HR image.

    Args:
        upscale: LR (h, w, 3) uint8 to SR (s h, s w, 3) uint8.
        images: the benchmark; its scale s is also the number of pixels that is cut from each border.
        niqe_model: path of the pristine model, or None: no NIQE.
        lpips: the device that computes LPIPS, or None: no LPIPS.

    Returns:
        One row for each image: image (its id), niqe and lpips by `bspa.metrics.NIQE_CONVENTION` and
        `LPIPS_CONVENTION`; NaN where a score is not asked for, or has no value for that image, which is
        warned of.

    Raises:
        ValueError: there is no image, or one that does not fit its HR image; the pristine model or LPIPS
            cannot be used.
    """
    measures: dict[str, Callable[[Image, Image], float]] = {}
    if niqe_model is not None:
        read_pristine_model(niqe_model)  # so that a wrong file is told before the images are enlarged
        measures["niqe"] = lambda sr, _: niqe(sr, images.scale, niqe_model)
    if lpips is not None:
        load_lpips(lpips)
        measures["lpips"] = lambda sr, hr: lpips_alex(sr, hr, images.scale, lpips)
    scores = pd.DataFrame({"image": list(images.ids), **dict.fromkeys(PERCEPTUAL, math.nan)})
    if not measures:
        log.warning(
            "neither score is computed: NIQE needs its pristine model (`perceptual: niqe:` of the config), "
            "LPIPS the extra `perceptual`"
        )
        return scores

    for index, (name, sr, hr) in enumerate(_super_resolved(upscale, images)):
        for score, measure in measures.items():
            try:
                scores.loc[index, score] = measure(sr, hr)
            except UnmeasurableError as error:
                log.warning("image %s has no %s: %s", name, score.upper(), error)
            except ValueError as error:
                raise ValueError(f"image {name}: {error}") from error
    for score in measures:
        log.info(
            "mean of %d images: %.4f; %s", scores[score].count(), scores[score].mean(), PERCEPTUAL[score]
        )
    return scores


def _super_resolved(
    upscale: Callable[[Image], Image], images: Benchmark
) -> Iterator[tuple[str, Image, Image]]:
    """Yield the name of each image, what ``upscale`` makes of its LR image, and its HR image."""
    if not len(images):
        raise ValueError("the benchmark has no images; nothing can be scored")
    reporter = Reporter("images", len(images))
    for index in range(len(images)):
        yield images.ids[index], upscale(images.lr(index)), images.hr(index)
        reporter.report(index + 1)
