"""How batches reach the device: cut on the host, or on the device from images that stay there."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bspa.data.crops import HORIZONTAL_FLIP, TRANSPOSE, VERTICAL_FLIP
from bspa.data.prefetch import Arrays, Prefetch, to_float
from bspa.sampling.sampler import Draw, Pixels, Sampler

log = logging.getLogger("bspa")

UPLOAD_BYTES = 64 << 20


class Feed(Protocol):
    """A sampler's batches on a device."""

    samples: int
    """Samples in a batch."""

    def load(self, iteration: int) -> None:
        """Put the batch, or its positions, into buffers on the device."""
        ...

    def batch(self) -> tuple[Tensor, Tensor]:
        """Return the loaded batch: LR (n, 3, h, w) and HR (n, 3, s*h, s*w) float32 in [0, 1], channels last.

        Runs on the device alone and always reads the same buffers, so it can be recorded and replayed.
        """
        ...


@contextlib.contextmanager
def open_feed(sampler: Sampler, device: torch.device, *, resident: float) -> Iterator[Feed]:
    """Choose how batches reach the device; every way gives the same samples, bit for bit.

    The images stay on a GPU if they take at most the share ``resident`` of its free memory; if not, patches
    are cut on the host while the GPU computes.
    """
    if device.type == "cpu":
        yield HostFeed(sampler)
        return
    free, _ = torch.cuda.mem_get_info(device)
    needed = sum(image.nbytes for image in (*sampler.pool.lr_images, *sampler.pool.hr_images))
    fits = needed <= resident * free
    log.info(
        "training images: %.1f GiB, %.1f GiB free on the device: %s",
        needed / 2**30, free / 2**30, "they stay there" if fits else "patches are cut on the host",
    )  # fmt: skip
    if fits:
        yield ResidentFeed(sampler, device)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="cut") as thread:
        yield PinnedFeed(sampler, device, thread)


def to_device(images: Pixels, device: torch.device) -> Tensor:
    """Move (n, h, w, 3) uint8 to ``device`` and apply `to_float`."""
    return to_float(torch.from_numpy(images).to(device))


class HostFeed:
    """Cuts each batch on demand; for the CPU."""

    def __init__(self, sampler: Sampler):
        self._sampler = sampler

    def load(self, iteration: int) -> None:
        """Cut the batch."""
        self._pixels = [torch.from_numpy(pixels) for pixels in self._sampler.batch(iteration)]
        self.samples = len(self._pixels[0])

    def batch(self) -> tuple[Tensor, Tensor]:
        """Return the batch; see `Feed.batch`."""
        lr, hr = map(to_float, self._pixels)
        return lr, hr


class PinnedFeed(HostFeed):
    """Cuts the next batch in ``thread``, into pinned memory, while the GPU computes."""

    def __init__(self, sampler: Sampler, device: torch.device, thread: ThreadPoolExecutor):
        batch = sampler.batch(0)
        self.samples = len(batch[0])
        self._pixels = [torch.empty(pixels.shape, dtype=torch.uint8, device=device) for pixels in batch]

        def cut(iteration: int, arrays: Arrays) -> int:
            lr, hr = arrays
            sampler.pool.crop(sampler.draw(iteration), (lr, hr))
            return len(lr)

        self._batches = Prefetch(cut, [pixels.shape for pixels in batch], device=device, thread=thread)

    def load(self, iteration: int) -> None:
        """Copy the batch to the GPU, and begin to cut the next one."""
        self._batches.load(iteration, out=self._pixels)


class ResidentFeed:
    """Cuts each batch on the device, where the sampler's images stay: all its patches at once."""

    def __init__(self, sampler: Sampler, device: torch.device):
        pool = sampler.pool
        self._sampler, self._scale = sampler, pool.scale
        self._lr = _ResidentImages(pool.lr_images, pool.lr_patch, device)
        self._hr = _ResidentImages(pool.hr_images, pool.patch, device)
        self.samples = len(sampler.draw(0).image)
        self._draw = torch.zeros((len(Draw._fields), self.samples), dtype=torch.int64, device=device)

    def load(self, iteration: int) -> None:
        """Copy the positions of the batch to the device."""
        self._draw.copy_(torch.from_numpy(np.stack(self._sampler.draw(iteration))), non_blocking=True)

    def batch(self) -> tuple[Tensor, Tensor]:
        """Return the batch; see `Feed.batch`."""
        image, top, left, transform = self._draw
        lr = self._lr.cut(image, top, left, transform)
        hr = self._hr.cut(image, self._scale * top, self._scale * left, transform)
        return to_float(lr), to_float(hr)


class _ResidentImages:
    """Images (h, w, 3), one after another in one tensor."""

    def __init__(self, images: Sequence[Pixels], side: int, device: torch.device):
        sizes = [image.size for image in images]
        self._samples = torch.empty(sum(sizes), dtype=torch.uint8, device=device)
        for image, target in zip(images, self._samples.split(sizes), strict=True):
            for start in range(0, image.size, UPLOAD_BYTES):
                some = slice(start, start + UPLOAD_BYTES)
                target[some] = torch.from_numpy(image.reshape(-1)[some].copy())  # images may be read-only
        self._first = torch.tensor(np.cumsum(sizes) - sizes, device=device)
        self._row = torch.tensor([3 * image.shape[1] for image in images], device=device)
        self._forward, self._colours = torch.arange(side, device=device), torch.arange(3, device=device)
        self._backward = self._forward.flip(0)

    def cut(self, image: Tensor, top: Tensor, left: Tensor, transform: Tensor) -> Tensor:
        """Return (n, side, side, 3), oriented as by `bspa.data.crops.orient`; all arguments are (n,)."""
        row = self._row[image]
        flags = transform[:, None]
        down = torch.where(flags & VERTICAL_FLIP > 0, self._backward, self._forward) * row[:, None]
        along = torch.where(flags & HORIZONTAL_FLIP > 0, self._backward, self._forward) * 3
        transposed = flags & TRANSPOSE > 0
        rows, columns = torch.where(transposed, along, down), torch.where(transposed, down, along)
        corner = self._first[image] + top * row + left * 3
        pixel = corner[:, None, None] + rows[:, :, None] + columns[:, None, :]
        return self._samples[pixel[..., None] + self._colours]
