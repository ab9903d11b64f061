"""LPIPS: the distance of two images in the features of a network, fitted to people's judgements.

Source: R. Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018,
computed by torchmetrics with the authors' linear weights (version 0.1) on torchvision's AlexNet. Both come
with the extra ``perceptual``; AlexNet's weights are downloaded at first use.
"""

from __future__ import annotations

import functools
import pickle
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from bspa.metrics.borders import Image, cut_pair

if TYPE_CHECKING:
    import torch

SMALLEST = 31
"""Pixels along a side that give one pixel of AlexNet's last features."""


def lpips_alex(sr: Image, hr: Image, border: int, device: str) -> float:
    """Return the LPIPS distance of two images: 0 if they are equal.

    Args:
        sr: the image, RGB (h, w, 3) uint8.
        hr: the original, of the same shape.
        border: pixels to cut from each side.
        device: where to compute, by torch's name.

    Raises:
        ValueError: another type or unequal shapes; the extra ``perceptual`` is not installed or does not fit
            the installed torch; AlexNet's weights are missing and cannot be downloaded.
        UnmeasurableError: less than 31x31 pixels are left after the cut.
    """
    pair = cut_pair(sr, hr, border, smallest=SMALLEST)
    metric = load_lpips(device)
    metric.update(*(_tensor(image, device) for image in pair))
    distance = float(metric.compute())
    metric.reset()
    return distance


@functools.cache
def load_lpips(device: str) -> Any:
    """Return torchmetrics' LPIPS on ``device``, loaded once; raises as `lpips_alex` does."""
    import torch

    try:
        import torchvision
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
    except (ImportError, RuntimeError, OSError) as error:
        raise ValueError(
            f"LPIPS: torchmetrics or torchvision cannot be imported: {error}. Install both with "
            f"pip install -e '.[perceptual]', and torchvision from where torch {torch.__version__} came: a "
            "build for CUDA does not go with one for the CPU"
        ) from error
    url = torchvision.models.AlexNet_Weights.IMAGENET1K_V1.url
    file = Path(torch.hub.get_dir(), "checkpoints", PurePosixPath(urlsplit(url).path).name)
    try:
        metric = LearnedPerceptualImagePatchSimilarity(net_type="alex", reduction="mean", normalize=False)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        advice = (
            f"if {file} is damaged, delete it"
            if file.exists()
            else f"download {url} on another machine and put it at {file} (TORCH_HOME moves the folder)"
        )
        raise ValueError(f"LPIPS: cannot load the weights of AlexNet: {error}; {advice}") from error
    return metric.to(device)


def _tensor(image: Image, device: str) -> torch.Tensor:
    """(H, W, 3) uint8 to (1, 3, H, W) float32 in [-1, 1]."""
    import torch

    channels_first = np.ascontiguousarray(image.transpose(2, 0, 1)[None])
    return torch.from_numpy(channels_first).to(device).float() / 255 * 2 - 1
