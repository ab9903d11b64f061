"""Degrade LR images as cameras and old files do: blur, noise and JPEG compression, drawn for each image.

A step is a mapping of one key:

| step | does |
|---|---|
| ``{"blur": {"sigma": [low, high]}}`` | Gaussian blur of HR, in HR pixels, before it is made smaller |
| ``{"noise": {"sigma": [low, high]}}`` | Gaussian noise on each sample of LR, of 255 |
| ``{"jpeg": {"quality": [low, high]}}`` | LR is saved as JPEG (4:2:0) of this quality and read again |

Steps follow each other in their order; each ends in 8-bit samples. An image's values and noise are drawn from
the seed, the scale and the digest of its file: they stay the same whatever other images there are.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter1d

Pixels = NDArray[np.uint8]
Step = Mapping[str, Mapping[str, Sequence[float]]]


def degrade(
    hr: Pixels,
    shrink: Callable[[Pixels], Pixels],
    steps: Sequence[Step],
    *,
    seed: int,
    scale: int,
    sha256: str,
) -> tuple[Pixels, list[dict[str, Any]]]:
    """Return the LR image (h, w, 3) uint8 of ``hr``, and the steps with the values that were drawn.

    Args:
        hr: (H, W, 3) uint8.
        shrink: makes LR of HR.
        steps: as described above; blurs come first.
        seed, scale, sha256: what the values are drawn from; ``sha256`` is hexadecimal, of the image's file.
    """
    draws = np.random.default_rng([seed, scale, int(sha256, 16)])
    blurs = [step for step in steps if "blur" in step]
    assert list(steps[: len(blurs)]) == blurs, "the config has checked their order"
    image, drawn = hr, []
    for step in blurs:
        image, value = _blur(image, draws, step["blur"])
        drawn.append({"blur": value})
    image = shrink(image)
    for step in steps[len(blurs) :]:
        ((name, limits),) = step.items()
        image, value = _LR_STEPS[name](image, draws, limits)
        drawn.append({name: value})
    return image, drawn


Limits = Mapping[str, Sequence[float]]


def _blur(image: Pixels, draws: np.random.Generator, limits: Limits) -> tuple[Pixels, dict[str, float]]:
    low, high = limits["sigma"]
    sigma = float(draws.uniform(low, high))
    blurred = image.astype(np.float64)
    for axis in (0, 1):
        blurred = gaussian_filter1d(blurred, sigma, axis=axis, mode="nearest") if sigma > 0 else blurred
    return _to_uint8(blurred), {"sigma": sigma}


def _noise(image: Pixels, draws: np.random.Generator, limits: Limits) -> tuple[Pixels, dict[str, float]]:
    low, high = limits["sigma"]
    sigma = float(draws.uniform(low, high))
    return _to_uint8(image + sigma * draws.standard_normal(image.shape)), {"sigma": sigma}


def _jpeg(image: Pixels, draws: np.random.Generator, limits: Limits) -> tuple[Pixels, dict[str, float]]:
    low, high = limits["quality"]
    quality, file = int(draws.integers(int(low), int(high), endpoint=True)), io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.array(Image.open(file)), {"quality": quality}


_LR_STEPS = {"noise": _noise, "jpeg": _jpeg}


def _to_uint8(image: NDArray[np.float64]) -> Pixels:
    """Round to the nearest, and clip."""
    return np.clip(np.floor(image + 0.5), 0, 255).astype(np.uint8)
