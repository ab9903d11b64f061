"""PSNR and SSIM of each image of a benchmark (Section 4.1).

Every image is RGB here. Papers score an image that is stored gray (Set14's third) on its own 256 levels
instead of Y's 220, which gives 20 log10(255 / 219) = 1.32 dB less: 0.09 dB in the mean of Set14.
"""

from __future__ import annotations

import logging

import pandas as pd

from bspa.data.packed import PackedImages
from bspa.metrics.benchmark import Upscale, super_resolved
from bspa.metrics.psnr_ssim import psnr_y, ssim_y

log = logging.getLogger("bspa")


def evaluate(upscale: Upscale, images: PackedImages) -> pd.DataFrame:
    """Score what ``upscale`` makes of each LR image; as many pixels as the scale are cut from each border.

    Returns:
        One row for each image: image (its id), width, height (of HR, in pixels), psnr (dB; ``inf`` where SR
        equals HR), ssim.

    Raises:
        ValueError: there are no images, or one cannot be scored; its id is named.
    """
    rows = []
    for name, sr, hr in super_resolved(upscale, images):
        try:
            psnr, ssim = psnr_y(sr, hr, images.scale), ssim_y(sr, hr, images.scale)
        except ValueError as error:
            raise ValueError(f"image {name}: {error}") from error
        rows.append((name, hr.shape[1], hr.shape[0], psnr, ssim))
    scores = pd.DataFrame(rows, columns=["image", "width", "height", "psnr", "ssim"])
    log.info(
        "mean of %d images: PSNR %.2f dB, SSIM %.4f, on Y with %d pixels cut from each border",
        *(len(scores), scores["psnr"].mean(), scores["ssim"].mean(), images.scale),
    )
    return scores
