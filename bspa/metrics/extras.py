"""What the extras of this project install, looked for without importing any of it. Standard library only."""

from __future__ import annotations

from importlib.util import find_spec

LPIPS_PACKAGES = ("torchmetrics", "torchvision")
"""The extra ``perceptual``."""


def lpips_available() -> bool:
    """Tell whether the packages that compute LPIPS are installed."""
    return all(find_spec(package) is not None for package in LPIPS_PACKAGES)
