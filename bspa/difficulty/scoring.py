"""How hard sub-images are to reconstruct: the error of a reference network (Section 3.2, Figure 1).

Shape legend: n sub-images, P and p pixels of an HR and an LR sub-image.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bspa.data.crops import check_windows, crop_pairs
from bspa.data.packed import PackedImages
from bspa.difficulty.grid import Windows, read_windows
from bspa.difficulty.scores import Scores
from bspa.models.inference import upscaled_tiles
from bspa.models.registry import build
from bspa.models.weights import load_into, load_weights
from bspa.system.devices import choose_precision
from bspa.system.progress import Reporter

log = logging.getLogger("bspa")

PRECISIONS = ("float32", "tf32", "bfloat16")
SEEN = ("sub_images", "images")

AUTOMATIC_PIXELS = {"cpu": 8 * 128 * 128, "cuda": 256 * 128 * 128}
"""HR pixels of an automatic batch: as many as a CPU's caches favour, and as many as keep a GPU busy, whose
features of 64 channels take some 2.5 GB."""


def score_by_weights(
    weights: str | os.PathLike[str],
    network: Mapping[str, Any],
    *,
    packed: str | os.PathLike[str],
    windows: str | os.PathLike[str],
    scale: int,
    batch: int | Literal["auto"],
    device: torch.device,
    precision: str = "float32",
    sees: str = "sub_images",
) -> Scores:
    """Score every sub-image by the network whose weights a file holds.

    Args:
        weights: file of the network's weights.
        network: ``arch`` and ``options`` of `bspa.models.build`.
        packed: file of packed images.
        windows: file of their sub-images.
        scale: of the images and the network.
        batch: see `choose_batch`.
        device: where to compute.
        precision: of the network; see `choose_arithmetic`.
        sees: what the network sees: ``sub_images`` alone, or whole ``images``.

    Raises:
        ValueError: the weights are of another network, ``sees`` is none of these, and as `score_sub_images`.
    """
    if sees not in SEEN:
        raise ValueError(f"sees is {sees!r}; allowed are {', '.join(SEEN)}")
    precision = choose_arithmetic(precision, device)
    model = build(network["arch"], scale, **network["options"])
    values, metadata = load_weights(weights)
    load_into(model, values, path=str(weights), metadata=metadata)
    grid = read_windows(windows)
    images = PackedImages(packed)
    if sees == "images":
        mse = score_on_images(model, images, grid, device=device, precision=precision)
    else:
        batch = choose_batch(batch, grid.size, device)
        mse = score_sub_images(model, images, grid, batch=batch, device=device, precision=precision)
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
        precision=precision,
        sees=sees,
    )


def choose_batch(batch: int | Literal["auto"], size: int, device: torch.device) -> int:
    """Return how many sub-images of ``size`` HR pixels to score at once; "auto": see `AUTOMATIC_PIXELS`."""
    return max(1, AUTOMATIC_PIXELS[device.type] // size**2) if batch == "auto" else batch


def choose_arithmetic(precision: str, device: torch.device) -> str:
    """Return a precision for `arithmetic`; "auto" is bfloat16 where the hardware has it, else float32."""
    return choose_precision("auto", device).name if precision == "auto" else precision


@torch.inference_mode()
def score_sub_images(
    model: nn.Module,
    images: PackedImages,
    windows: Windows,
    *,
    batch: int,
    device: torch.device,
    precision: str = "float32",
) -> NDArray[np.float32]:
    """Mean square error of ``model`` on each sub-image.

    The network sees the LR sub-image alone; its output is clipped to [0, 1], not rounded, and compared with
    the HR pixels over all of RGB, in float32. Memory does not grow with the number of images.

    Args:
        model: reference network, (n, 3, p, p) -> (n, 3, P, P), RGB in [0, 1]; moved to ``device``.
        images: packed images.
        windows: sub-images of these images.
        batch: sub-images to compute at once; changes speed and memory, the scores only by rounding.
        device: where to compute.
        precision: of the network; see `arithmetic`.

    Returns:
        (N,) float32, RGB in [0, 1].

    Raises:
        ValueError: the windows belong to other images, or the network gives NaN.
    """
    if batch < 1:
        raise ValueError(f"batch is {batch}; it must be 1 or more")
    check_windows(images, windows.image, windows.top, windows.left, windows.size)
    compute = arithmetic(precision, device, few_shapes=True)
    model = _on_device(model, device)
    total = len(windows)
    # Scores stay on the device to the end: a GPU would stop after every batch to give them.
    mse = torch.empty(total, device=device)
    reporter = Reporter("sub-images scored", total)
    for place, lr, hr in _batches(images, windows, batch, device):
        with compute():
            sr = model(_to_float(lr))
        error = sr.float().clamp_(0, 1) - _to_float(hr)
        mse[place] = error.square_().mean(dim=(1, 2, 3))
        reporter.report(place.stop)
    scores = mse.cpu().numpy()
    broken = np.flatnonzero(np.isnan(scores))
    if broken.size:
        name = images.ids[windows.image[broken[0]]]
        raise ValueError(
            f"the reference network gives NaN for {broken.size} of {total} sub-images, first on image "
            f"{name}; give weights that were trained to the end"
        )
    return scores


@torch.inference_mode()
def score_on_images(
    model: nn.Module,
    images: PackedImages,
    windows: Windows,
    *,
    device: torch.device,
    precision: str = "float32",
) -> NDArray[np.float32]:
    """Mean square error of ``model`` on each sub-image, where the network sees the whole image.

    A pixel is computed once, however many sub-images it lies in. So the scores differ from those of
    `score_sub_images` by what the network sees beyond the border of a sub-image.

    Args:
        model: reference network, (n, 3, h, w) -> (n, 3, s h, s w), RGB in [0, 1]; moved to ``device``. It
            computes large images in tiles; see `bspa.models.inference.upscaled_tiles`.
        images: packed images.
        windows: sub-images of these images.
        device: where to compute.
        precision: of the network; see `arithmetic`.

    Returns:
        (N,) float32, RGB in [0, 1].

    Raises:
        ValueError: the windows belong to other images, or the network gives values that are not finite.
    """
    check_windows(images, windows.image, windows.top, windows.left, windows.size)
    compute = arithmetic(precision, device)
    model = _on_device(model, device)
    mse = np.empty(len(windows), np.float32)
    reporter = Reporter("sub-images scored", len(windows))
    borders = [0, *(np.flatnonzero(np.diff(windows.image)) + 1).tolist(), len(windows)]
    for start, stop in itertools.pairwise(borders):
        i, top, left = int(windows.image[start]), windows.top[start:stop], windows.left[start:stop]
        lr, hr = images.lr(i), images.hr(i)
        # Sums of the squared error over all that lies above and to the left.
        sums = torch.zeros(hr.shape[0] + 1, hr.shape[1] + 1, dtype=torch.float64, device=device)
        tiles = upscaled_tiles(model, lr, scale=images.scale, device=device, autocast=compute, tile="auto")
        for rows, columns, sr in tiles:
            target = _to_float(torch.from_numpy(hr[rows, columns][None].copy()).to(device))[0]
            sums[1:, 1:][rows, columns] = (sr.clamp(0, 1) - target).square_().sum(dim=0)
        s = sums.cumsum_(0).cumsum_(1).cpu().numpy()
        bottom, right = top + windows.size, left + windows.size
        total = s[bottom, right] - s[top, right] - s[bottom, left] + s[top, left]
        mse[start:stop] = total.clip(min=0) / (3 * windows.size**2)
        reporter.report(stop)
    return mse


def arithmetic(
    precision: str, device: torch.device, *, few_shapes: bool = False
) -> Callable[[], contextlib.AbstractContextManager[None]]:
    """Return what makes the context to run a network in, in the given precision.

    Args:
        precision: ``float32``; ``tf32``, which only a GPU has: elsewhere it is float32; ``bfloat16``, but
            for the networks' last convolution.
        device: where to compute.
        few_shapes: let cuDNN try its kernels for every new shape, and keep the fastest.

    Raises:
        ValueError: there is no such precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; allowed are {', '.join(PRECISIONS)}")

    @contextlib.contextmanager
    def compute() -> Iterator[None]:
        kernels = torch.backends.cudnn.flags(
            enabled=True, benchmark=few_shapes, deterministic=True, allow_tf32=precision == "tf32"
        )
        with kernels, torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            yield

    return compute


def _batches(
    images: PackedImages, windows: Windows, batch: int, device: torch.device
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield which windows a batch holds, and their LR and HR, (n, h, w, 3) uint8 on ``device``.

    A thread crops the next batch while the device computes. The sizes of batches differ by one at most: a
    small last one would be a new shape, for which cuDNN looks for its kernels again.
    """
    total = len(windows)
    number = -(-total // batch)
    edges = [index * total // number for index in range(number + 1)]
    places = [slice(*pair) for pair in itertools.pairwise(edges)]
    # One is filled while the device takes the other.
    buffers = itertools.cycle([_Buffer(images, windows, batch, device) for _ in range(2)])
    with ThreadPoolExecutor(1) as thread:
        filled = [thread.submit(next(buffers).fill, place) for place in places[:1]]
        for index, place in enumerate(places):
            buffer = filled.pop().result()
            filled += [thread.submit(next(buffers).fill, place) for place in places[index + 1 : index + 2]]
            lr, hr = buffer.on_device(place)
            yield place, lr, hr


class _Buffer:
    """Room for a batch of windows in the host's memory, pinned where a GPU copies it."""

    def __init__(self, images: PackedImages, windows: Windows, batch: int, device: torch.device):
        self._images, self._windows, self._device = images, windows, device
        self._copied = torch.cuda.Event() if device.type == "cuda" else None
        self._pixels = [
            torch.empty(batch, side, side, 3, dtype=torch.uint8, pin_memory=self._copied is not None)
            for side in (windows.size // images.scale, windows.size)
        ]

    def fill(self, place: slice) -> _Buffer:
        """Crop these windows, once the device has the last ones."""
        if self._copied:
            self._copied.synchronize()
        w, count = self._windows, place.stop - place.start
        lr, hr = (buffer.numpy()[:count] for buffer in self._pixels)
        crop_pairs(self._images, w.image[place], w.top[place], w.left[place], w.size, out=(lr, hr))
        return self

    def on_device(self, place: slice) -> list[Tensor]:
        """Start the copy of LR and HR to the device."""
        count = place.stop - place.start
        pixels = [buffer[:count].to(self._device, non_blocking=True) for buffer in self._pixels]
        if self._copied:
            self._copied.record(torch.cuda.current_stream(self._device))
        return pixels


def _on_device(model: nn.Module, device: torch.device) -> nn.Module:
    return model.to(device=device, dtype=torch.float32, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def _to_float(pixels: Tensor) -> Tensor:
    """Turn (n, h, w, 3) uint8 into float32 (n, 3, h, w) in [0, 1], channels last in memory."""
    return pixels.permute(0, 3, 1, 2).to(torch.float32).div_(255)
