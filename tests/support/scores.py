"""Sub-images over images, and made-up scores of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from bspa.difficulty.grid import grid
from bspa.difficulty.scores import Scores
from bspa.difficulty.windows import Windows


def windows_over(images: Any, *, size: int, step: int, threshold: int) -> Windows:
    """Lay windows over images in memory."""
    grids = [grid(h, w, size=size, step=step, threshold=threshold) for h, w in images.hr_shapes]
    top, left = np.concatenate(grids).T.astype(np.int32)
    image = np.repeat(np.arange(len(grids)), [len(g) for g in grids]).astype(np.int32)
    return Windows(image=image, top=top, left=left, size=size, step=step, threshold=threshold)


def made_up_scores(images: Any, *, size: int, step: int, distinct: int = 1000) -> Scores:
    """Score every window at random; few ``distinct`` values make ties."""
    windows = windows_over(images, size=size, step=step, threshold=3)
    scores = np.random.default_rng(0).integers(0, distinct, len(windows)) / np.float32(distinct)
    mse = scores.astype(np.float32)
    return Scores(
        mse=mse, mse_y=mse / 2, image=windows.image, top=windows.top, left=windows.left,
        size=size, step=step, threshold=3, scale=images.scale, reference_sha256="0123456789abcdef" * 4,
    )  # fmt: skip
