"""LPIPS: the distance of two images in the features of a network, fitted to people's judgements.

Source: R. Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018,
computed by torchmetrics with the authors' linear weights (version 0.1) on torchvision's AlexNet. Both come
with the extra ``perceptual``; AlexNet's weights are downloaded at first use.
"""

from __future__ import annotations

import functools
import pickle
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from bspa.metrics.borders import Image, cut

SMALLEST = 31
"""Pixels along a side that give one pixel of AlexNet's last features."""


def lpips_alex(sr: Image, hr: Image, border: int, device: str) -> float:
    """Return the LPIPS distance of two images, RGB (h, w, 3) uint8, without their borders; 0 if equal.

    ``device`` says where to compute, by torch's name.

    Raises:
        ValueError: another type or unequal shapes; LPIPS cannot be loaded.
        UnmeasurableError: less than 31x31 pixels are left after the cut.
    """
    import torch

    pair = cut(border, smallest=SMALLEST, sr=sr, hr=hr)
    metric = load_lpips(device)
    pixels = torch.from_numpy(np.stack(pair)).to(device).permute(0, 3, 1, 2).contiguous()
    metric.update(*(pixels.float() / 255 * 2 - 1).split(1))
    distance = float(metric.compute())
    metric.reset()
    return distance


@functools.cache
def load_lpips(device: str) -> Any:
    """Return torchmetrics' LPIPS on ``device``.

    Raises:
        ValueError: the extra ``perceptual`` is not installed or does not fit the installed torch; AlexNet's
            weights are missing and cannot be downloaded.
    """
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
