"""The metrics: titles, number formats, directions, and conventions. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """How a metric is printed and read."""

    title: str
    form: str
    """Format of a number, as `format` takes it."""
    kind: str
    """``quality`` or ``perceptual``: which evaluation computes it."""
    convention: str
    """How it is computed, in one line."""
    lower_is_better: bool = False
    needs: str = ""
    """What a user must provide; empty where nothing is needed."""


PSNR_SSIM_CONVENTION = (
    "PSNR (dB, peak 255) and SSIM (11x11 Gaussian window, sigma 1.5, K = 0.01 and 0.03, valid region) on the "
    "unrounded Y of BT.601 (16 to 235) of 8-bit RGB images, as many pixels as the scale cut from each border"
)
NIQE_CONVENTION = (
    "NIQE (96x96 blocks, two scales; lower is more natural) on the Y of BT.601 (16 to 235) of 8-bit RGB "
    "images, rounded to whole numbers, as many pixels as the scale cut from each border"
)
LPIPS_CONVENTION = (
    "LPIPS (version 0.1, AlexNet; lower is closer to the original) on 8-bit RGB images scaled to -1 to 1, "
    "as many pixels as the scale cut from each border"
)

METRICS = {
    "psnr": Metric(title="PSNR", form=".2f", kind="quality", convention=PSNR_SSIM_CONVENTION),
    "ssim": Metric(title="SSIM", form=".4f", kind="quality", convention=PSNR_SSIM_CONVENTION),
    "niqe": Metric(
        title="NIQE",
        form=".2f",
        kind="perceptual",
        convention=NIQE_CONVENTION,
        lower_is_better=True,
        needs="a pristine model (perceptual.niqe in the config) and images of at least 192x96 pixels",
    ),
    "lpips": Metric(
        title="LPIPS",
        form=".4f",
        kind="perceptual",
        convention=LPIPS_CONVENTION,
        lower_is_better=True,
        needs='the extra "perceptual" (pip install -e ".[perceptual]")',
    ),
}

LPIPS_PACKAGES = ("torchmetrics", "torchvision")
"""The extra ``perceptual``."""


def lpips_available() -> bool:
    """Tell whether the packages that compute LPIPS are installed, without importing them."""
    return all(find_spec(package) is not None for package in LPIPS_PACKAGES)
