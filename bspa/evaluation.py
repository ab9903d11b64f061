"""PSNR and SSIM of each image of a benchmark (Section 4.1).

Every image is RGB here. Papers score an image that is stored gray (Set14's third) on its own 256 levels
instead of the 220 of Y, which gives 20 log10(255 / 219) = 1.32 dB less: 0.09 dB in the mean of Set14.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bspa.metrics import CONVENTION, psnr_y, ssim_y
from bspa.reporting import Reporter

log = logging.getLogger("bspa")

Image = NDArray[np.uint8]


class Benchmark(Protocol):
    """HR images and their LR images; `bspa.packed.PackedImages` is one."""

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
    if not len(images):
        raise ValueError("the benchmark has no images; nothing can be scored")
    reporter = Reporter("images", len(images))
    rows = []
    for index in range(len(images)):
        name, hr = images.ids[index], images.hr(index)
        sr = upscale(images.lr(index))
        try:
            psnr, ssim = psnr_y(sr, hr, images.scale), ssim_y(sr, hr, images.scale)
        except ValueError as error:
            raise ValueError(f"image {name}: {error}") from error
        rows.append((name, hr.shape[1], hr.shape[0], psnr, ssim))
        reporter.report(index + 1)
    scores = pd.DataFrame(rows, columns=["image", "width", "height", "psnr", "ssim"])
    log.info(
        "mean of %d images: %.2f dB / %.4f; %s",
        len(scores),
        scores["psnr"].mean(),
        scores["ssim"].mean(),
        CONVENTION,
    )
    return scores
