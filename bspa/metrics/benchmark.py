"""What a method makes of a benchmark, image by image."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bspa.data.packed import PackedImages
from bspa.metrics.borders import Image
from bspa.system.progress import Progress

Upscale = Callable[[Image], Image]
"""LR (h, w, 3) uint8 to SR (s h, s w, 3) uint8."""


def super_resolved(upscale: Upscale, images: PackedImages) -> Iterator[tuple[str, Image, Image]]:
    """Yield each image's name, what ``upscale`` makes of its LR image, and its HR image."""
    if not len(images):
        raise ValueError("the benchmark has no images to score")
    progress = Progress("images scored", len(images))
    for index, name in enumerate(images.ids):
        yield name, upscale(images.lr(index)), images.hr(index)
        progress.report(index + 1)
