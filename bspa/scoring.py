"""How hard sub-images are to reconstruct: the error of a reference network (Section 3.2, Figure 1).

Shape legend: n sub-images, P and p pixels of an HR and an LR sub-image.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bspa.crops import check_windows, crop_pairs
from bspa.models import build
from bspa.packed import PackedImages
from bspa.reporting import Reporter
from bspa.scores import Scores
from bspa.sub_images import Windows, read_windows
from bspa.weights import load_into, load_weights

log = logging.getLogger("bspa")


def score_by_weights(
    weights: str | os.PathLike[str],
    network: Mapping[str, Any],
    *,
    packed: str | os.PathLike[str],
    windows: str | os.PathLike[str],
    scale: int,
    batch: int,
    device: torch.device,
) -> Scores:
    """Score every sub-image by the network whose weights a file holds.

    Args:
        weights: file of the network's weights.
        network: ``arch`` and ``options`` of `bspa.models.build`.
        packed: file of packed images.
        windows: file of their sub-images.
        scale: of the images and the network.
        batch: see `score_sub_images`.
        device: where to compute.

    Raises:
        ValueError: the weights are of another network, and as `score_sub_images`.
    """
    model = build(network["arch"], scale, **network["options"])
    values, metadata = load_weights(weights)
    load_into(model, values, path=str(weights), metadata=metadata)
    grid = read_windows(windows)
    mse = score_sub_images(model, PackedImages(packed), grid, batch=batch, device=device)
    log.info("MSE: mean %.3g, median %.3g, largest %.3g", mse.mean(), np.median(mse), mse.max())
    return Scores(
        mse=mse,
        image=grid.image,
        top=grid.top,
        left=grid.left,
        size=grid.size,
        step=grid.step,
        threshold=grid.threshold,
        scale=scale,
        reference_sha256=hashlib.sha256(Path(weights).read_bytes()).hexdigest(),
    )


@torch.inference_mode()
def score_sub_images(
    model: nn.Module, images: PackedImages, windows: Windows, *, batch: int, device: torch.device
) -> NDArray[np.float32]:
    """Mean square error of ``model`` on each sub-image.

    The network sees the LR sub-image alone, in float32; its output is clipped to [0, 1], not rounded, and
    compared with the HR pixels over all of RGB. Memory does not grow with the number of images.

    Args:
        model: reference network, (n, 3, p, p) -> (n, 3, P, P), RGB in [0, 1]; moved to ``device``.
        images: packed images.
        windows: sub-images of these images.
        batch: sub-images to compute at once; changes speed and memory, the scores only by rounding.
        device: where to compute.

    Returns:
        (N,) float32, RGB in [0, 1].

    Raises:
        ValueError: the windows belong to other images, or the network gives NaN.
    """
    if batch < 1:
        raise ValueError(f"batch is {batch}; it must be 1 or more")
    check_windows(images, windows.image, windows.top, windows.left, windows.size)
    model = model.to(device=device, dtype=torch.float32, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    total = len(windows.image)
    # Scores stay on the device to the end: a GPU would stop after every batch to give them.
    mse = torch.empty(total, device=device)
    reporter = Reporter("sub-images scored", total)
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        for start in range(0, total, batch):
            some = slice(start, start + batch)
            lr, hr = crop_pairs(
                images, windows.image[some], windows.top[some], windows.left[some], windows.size
            )
            error = model(_to_device(lr, device)).clamp_(0, 1) - _to_device(hr, device)
            mse[some] = error.square_().mean(dim=(1, 2, 3))
            reporter.report(start + len(lr))
    scores = mse.cpu().numpy()
    broken = np.flatnonzero(np.isnan(scores))
    if broken.size:
        name = images.ids[windows.image[broken[0]]]
        raise ValueError(
            f"the reference network gives NaN for {broken.size} of {total} sub-images, first on image "
            f"{name}; give weights that were trained to the end"
        )
    return scores


def _to_device(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Turn (n, h, w, 3) uint8 into float32 (n, 3, h, w) in [0, 1], channels last in memory."""
    pixels = torch.from_numpy(images)
    if device.type == "cuda":
        pixels = pixels.pin_memory().to(device, non_blocking=True)
    return pixels.permute(0, 3, 1, 2).to(torch.float32).div_(255)
