"""How hard sub-images are to reconstruct: the error of a reference network (Section 3.2, Figure 1)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bspa.data.crops import check_windows, crop_pairs
from bspa.data.packed import PackedImages
from bspa.data.prefetch import Arrays, Prefetch, to_float
from bspa.difficulty.windows import Windows
from bspa.models.layers import place_model
from bspa.models.precision import Precision
from bspa.system.progress import Progress

AUTOMATIC_PIXELS = {"cpu": 8 * 128 * 128, "cuda": 256 * 128 * 128}
"""HR pixels of an automatic batch: what fits a CPU's caches, and what keeps a GPU busy (64 channels of
features take about 2.5 GB)."""

LUMA = (65.481, 128.553, 24.966)
"""What R, G and B from 0 to 1 add to Y of BT.601 from 16 to 235, as `bspa.metrics.luma` takes it."""


def choose_batch(batch: int | Literal["auto"], size: int, device: torch.device) -> int:
    """Return how many sub-images of ``size`` HR pixels to score at once; "auto": see `AUTOMATIC_PIXELS`."""
    return max(1, AUTOMATIC_PIXELS[device.type] // size**2) if batch == "auto" else batch


@torch.inference_mode()
def score_sub_images(
    model: nn.Module,
    images: PackedImages,
    windows: Windows,
    *,
    border: int,
    batch: int | Literal["auto"],
    device: torch.device,
    precision: Precision,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mean square errors of ``model`` on sub-images of ``images``: (N,) of RGB, (N,) of Y / 255.

    The network sees the LR sub-image alone. Its output is clipped to [0, 1], not rounded, and compared with
    the HR pixels in float32, but for ``border`` HR pixels on each side. Memory does not grow with the number
    of sub-images. ``batch`` of them are computed at once, which changes the scores only by rounding.

    Raises:
        ValueError: the windows belong to other images, or the network gives NaN.
    """
    batch = choose_batch(batch, windows.size, device)
    check_windows(images, windows.image, windows.top, windows.left, windows.size)
    model = place_model(model.float(), device).eval()
    kernels = torch.backends.cudnn.flags
    total, size = len(windows), windows.size
    # Sizes of batches differ by one at most: cuDNN would search its kernels again for a small last one.
    number = -(-total // batch)
    edges = [index * total // number for index in range(number + 1)]

    def cut(index: int, arrays: Arrays) -> int:
        some = slice(edges[index], edges[index + 1])
        count = some.stop - some.start
        lr, hr = (array[:count] for array in arrays)
        crop_pairs(images, windows.image[some], windows.top[some], windows.left[some], size, out=(lr, hr))
        return count

    # Scores stay on the device to the end: reading each batch's would make a GPU wait.
    scores = torch.empty(2, total, device=device)
    luma = torch.tensor(LUMA, device=device) / 255
    inner = slice(border, size - border)
    progress = Progress("sub-images scored", total)
    shapes = [(batch, side, side, 3) for side in (size // images.scale, size)]
    with ThreadPoolExecutor(1) as thread:
        batches = Prefetch(cut, shapes, device=device, thread=thread, total=number)
        for index in range(number):
            lr, hr = batches.load(index)
            with (
                kernels(enabled=True, benchmark=True, deterministic=True, allow_tf32=False),
                precision.autocast(),
            ):
                sr = model(to_float(lr))
            error = (sr.float().clamp_(0, 1) - to_float(hr))[..., inner, inner]
            some = slice(edges[index], edges[index + 1])
            scores[1, some] = (error.permute(0, 2, 3, 1) @ luma).square_().mean(dim=(1, 2))
            scores[0, some] = error.square_().mean(dim=(1, 2, 3))
            progress.report(some.stop)
    mse, mse_y = scores.cpu().numpy()
    broken = np.flatnonzero(np.isnan(mse))
    if broken.size:
        name = images.ids[windows.image[broken[0]]]
        raise ValueError(
            f"the network gives NaN for {broken.size} of {total} sub-images, first on image {name}; "
            "use weights whose training did not diverge"
        )
    return mse, mse_y
