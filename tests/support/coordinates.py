"""Photographs whose pixels tell where they lie, with the interface of `bspa.data.packed.PackedImages`."""

from __future__ import annotations

import numpy as np


def coordinates(height: int, width: int, number: int) -> np.ndarray:
    """(height, width, 3) uint8 whose pixel at row y and column x is (y, x, number)."""
    assert max(height, width) <= 256
    y, x = np.mgrid[:height, :width]
    return np.stack([y, x, np.full_like(y, number)], axis=-1).astype(np.uint8)


class CoordinateImages:
    """Image i is `coordinates` of the given HR shape; so is its LR image, in LR pixels."""

    def __init__(self, *shapes: tuple[int, int], scale: int):
        self.scale = scale
        self.hr_shapes = np.array(shapes, np.int64)
        self.ids = [f"photo{i}" for i in range(len(shapes))]

    def __len__(self) -> int:
        return len(self.ids)

    def hr(self, i: int) -> np.ndarray:
        return coordinates(*self.hr_shapes[i], i)

    def lr(self, i: int) -> np.ndarray:
        return coordinates(*self.hr_shapes[i] // self.scale, i)


def same_place(lr: np.ndarray, hr: np.ndarray, scale: int) -> bool:
    """Whether every HR pixel of a batch (n, h, w, 3) lies within the LR pixel at its place."""
    enlarged = lr.repeat(scale, axis=1).repeat(scale, axis=2)
    return np.array_equal(hr[..., :2] // scale, enlarged[..., :2]) and np.array_equal(
        hr[..., 2], enlarged[..., 2]
    )
