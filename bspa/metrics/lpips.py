"""LPIPS: how far apart two images are for a network that was fitted to the judgements of people.

Source: R. Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018;
computed by torchmetrics, which carries on the authors' implementation (their linear weights, version 0.1) on
torchvision's AlexNet. Both come with the extra ``perceptual``; AlexNet's weights are downloaded at first use.
"""

from __future__ import annotations

import functools
import pickle
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from bspa.metrics.borders import Image, cut_pair
from bspa.metrics.extras import LPIPS_PACKAGES, lpips_available

if TYPE_CHECKING:
    import torch

LPIPS_CONVENTION = (
    "LPIPS (version 0.1, AlexNet; lower is closer to the original) on 8-bit RGB images scaled to -1 to 1, "
    "as many pixels as the scale cut from each border"
)

SMALLEST = 31
"""Pixels along a side of which AlexNet's last features are one pixel."""


def lpips_alex(sr: Image, hr: Image, border: int, device: torch.device) -> float:
    """Return the LPIPS distance of ``sr`` from ``hr``, ``border`` pixels cut from each side: 0 if they agree.

    Both are RGB (h, w, 3) uint8.

    Raises:
        ValueError: another type or unequal shapes; the extra ``perceptual`` is not installed or does not fit
            the installed torch; AlexNet's weights are not there and cannot be downloaded.
        UnmeasurableError: less than 31x31 pixels are left after the cut.
    """
    pair = cut_pair(sr, hr, border, smallest=SMALLEST)
    metric = load_lpips(device)
    metric.update(*(_tensor(image, device) for image in pair))
    distance = float(metric.compute())
    metric.reset()
    return distance


@functools.cache
def load_lpips(device: torch.device) -> Any:
    """Return torchmetrics' LPIPS on ``device``, loaded once; errors as of `lpips_alex`."""
    if not lpips_available():
        raise ValueError(
            f"LPIPS needs {' and '.join(LPIPS_PACKAGES)}, which are not both installed: "
            "pip install -e '.[perceptual]'"
        )
    import torch

    try:
        import torchvision
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
    except (ImportError, RuntimeError, OSError) as error:
        raise ValueError(
            f"LPIPS: torchvision or torchmetrics cannot be imported: {error}. The torchvision that was made "
            f"for torch {torch.__version__} is needed, and from where that torch came: a build for CUDA does "
            "not go with one for the CPU"
        ) from error
    url = torchvision.models.AlexNet_Weights.IMAGENET1K_V1.url
    file = Path(torch.hub.get_dir(), "checkpoints", PurePosixPath(urlsplit(url).path).name)
    try:
        metric = LearnedPerceptualImagePatchSimilarity(net_type="alex", reduction="mean", normalize=False)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        advice = (
            f"if {file} is damaged, delete it"
            if file.exists()
            else f"download {url} where there is a network and put it at {file} (TORCH_HOME moves the folder)"
        )
        raise ValueError(f"LPIPS: the weights of AlexNet cannot be loaded: {error}; {advice}") from error
    return metric.to(device)


def _tensor(image: Image, device: torch.device) -> torch.Tensor:
    """(H, W, 3) uint8 to (1, 3, H, W) float32 in [-1, 1]."""
    import torch

    channels_first = np.ascontiguousarray(image.transpose(2, 0, 1)[None])
    return torch.from_numpy(channels_first).to(device).float() / 255 * 2 - 1
