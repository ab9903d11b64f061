"""What a method makes of a benchmark, image by image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from bspa.metrics.borders import Image
from bspa.system.progress import Progress

Upscale = Callable[[Image], Image]
"""LR (h, w, 3) uint8 to SR (s h, s w, 3) uint8."""


class Benchmark(Protocol):
    """HR images and their LR images; `bspa.data.packed.PackedImages` is one."""

    @property
    def scale(self) -> int:
        """How many times larger than the LR image each HR image is along each side."""

    @property
    def ids(self) -> Sequence[str]:
        """The images' names."""

    def __len__(self) -> int: ...

    def hr(self, index: int) -> Image:
        """Return (s h, s w, 3) uint8."""

    def lr(self, index: int) -> Image:
        """Return (h, w, 3) uint8."""


def super_resolved(upscale: Upscale, images: Benchmark) -> Iterator[tuple[str, Image, Image]]:
    """Yield each image's name, what ``upscale`` makes of its LR image, and its HR image."""
    if not len(images):
        raise ValueError("the benchmark has no images to score")
    progress = Progress("images scored", len(images))
    for index in range(len(images)):
        yield images.ids[index], upscale(images.lr(index)), images.hr(index)
        progress.report(index + 1)
