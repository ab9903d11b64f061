"""Batches of pixels on their way to a device: the host fills one while the device uses the last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Arrays = list[NDArray[np.uint8]]


def to_float(pixels: Tensor) -> Tensor:
    """Turn (n, h, w, 3) uint8 into float32 (n, 3, h, w) in [0, 1], channels last in memory."""
    return pixels.permute(0, 3, 1, 2).to(torch.float32).div_(255)


class Prefetch:
    """Fills batches in a thread, into two buffers in turn, pinned for a GPU.

    Args:
        fill: writes the batch of a number into arrays; returns how many samples it has.
        shapes: of the arrays, uint8, each with room for the largest batch.
        device: where the batches go.
        thread: runs ``fill``.
        total: number of batches; None if there is no last one.
    """

    def __init__(
        self,
        fill: Callable[[int, Arrays], int],
        shapes: Sequence[Sequence[int]],
        *,
        device: torch.device,
        thread: ThreadPoolExecutor,
        total: int | None = None,
    ):
        self._fill, self._device, self._thread, self._total = fill, device, thread, total
        self._buffers = [_Buffer(shapes, device) for _ in range(2)]
        self._next: tuple[int, Future[int]] | None = None

    def load(self, number: int, *, out: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Return batch ``number`` on the device, in ``out`` if given, and begin to fill the one after it.

        On the CPU the tensors are the buffers themselves, valid until the next call.
        """
        if self._next is None or self._next[0] != number:
            self._start(number)
        assert self._next is not None
        count = self._next[1].result()
        if number + 1 != self._total:
            self._start(number + 1)
        return self._buffers[number % 2].copy(count, self._device, out)

    def _start(self, number: int) -> None:
        if self._next is not None:
            self._next[1].result()  # two fills at a time might share a buffer
        buffer = self._buffers[number % 2]

        def fill() -> int:
            buffer.wait()
            return self._fill(number, buffer.arrays)

        self._next = number, self._thread.submit(fill)


class _Buffer:
    """Room for a batch on the host."""

    def __init__(self, shapes: Sequence[Sequence[int]], device: torch.device):
        on_gpu = device.type == "cuda"
        self._pixels = [torch.empty(*shape, dtype=torch.uint8, pin_memory=on_gpu) for shape in shapes]
        self.arrays = [pixels.numpy() for pixels in self._pixels]
        self._copied = torch.cuda.Event() if on_gpu else None

    def copy(self, count: int, device: torch.device, out: Sequence[Tensor] | None) -> list[Tensor]:
        """Start the copy of the first ``count`` samples."""
        pixels = [buffer[:count] for buffer in self._pixels]
        if out is None:
            copies = [part.to(device, non_blocking=True) for part in pixels]
        else:
            copies = [target.copy_(part, non_blocking=True) for target, part in zip(out, pixels, strict=True)]
        if self._copied:
            self._copied.record(torch.cuda.current_stream(device))
        return copies

    def wait(self) -> None:
        """Wait for the device's copy of the last batch; only then may another be filled in."""
        if self._copied:
            self._copied.synchronize()
