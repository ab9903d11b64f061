"""Pictures of a network in training: at each validation, a few regions as LR, SR and HR side by side.

They lie in the run's folder and are no product: the plan does not know them, and nothing depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from bspa.data.packed import PackedImages
from bspa.data.resize import imresize
from bspa.models.inference import super_resolve
from bspa.system.files import atomic_path
from bspa.training.snapshot import Best
from bspa.training.task import Validate

SIDE = 128
"""Largest side of a region in HR pixels."""
SURROUNDINGS = 16
"""LR pixels around a region that the network sees, too."""
GAP = 4
"""White pixels between two pictures."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Previews:
    """Measures as ``validate`` does, and then writes pictures; see `bspa.training.task.Validate`."""

    validate: Validate
    images: PackedImages
    count: int
    """A region of each of the first so many photographs."""
    folder: Path
    """Gets ``crop{number}_step{steps of the run}.png``, each LR by bicubic interpolation, SR and HR."""

    def __call__(
        self, network: nn.Module, average: Mapping[str, Tensor], step: int, best: Best | None
    ) -> tuple[dict[str, float], Best | None]:
        """Return what ``validate`` returns. The pictures are those of the weights, not of their average."""
        measured = self.validate(network, average, step, best)
        training = network.training
        try:
            self._remove_later(step)
            for index in range(min(self.count, len(self.images))):
                with atomic_path(self.folder / f"crop{index + 1}_step{step:08}.png") as path:
                    Image.fromarray(self.picture(network, index)).save(path)
        finally:
            network.train(training)
        return measured

    def picture(self, network: nn.Module, index: int) -> Pixels:
        """Return the region of a photograph that bicubic interpolation does worst: LR, SR and HR."""
        scale, lr, hr = self.images.scale, self.images.lr(index), self.images.hr(index)
        bicubic = imresize(np.asarray(lr), scale)
        rows, columns = worst_region(np.abs(bicubic.astype(np.float32) - hr).mean(2), scale)
        top, left = (max(0, part.start // scale - SURROUNDINGS) for part in (rows, columns))
        bottom, right = (part.stop // scale + SURROUNDINGS for part in (rows, columns))
        sr = super_resolve(network, lr[top:bottom, left:right])
        sr = sr[rows.start - top * scale :, columns.start - left * scale :]
        height, width = rows.stop - rows.start, columns.stop - columns.start
        gap = np.full((height, GAP, 3), 255, np.uint8)
        parts = [bicubic[rows, columns], gap, sr[:height, :width], gap, hr[rows, columns]]
        return np.concatenate(parts, axis=1)

    def _remove_later(self, step: int) -> None:
        """Remove the pictures of an earlier run of other settings."""
        for file in self.folder.glob("crop*_step*.png"):
            if int(file.stem.rpartition("step")[2]) > step:
                file.unlink(missing_ok=True)


def worst_region(errors: NDArray[np.float32], scale: int) -> tuple[slice, slice]:
    """Return rows and columns of the region with the largest sum of ``errors`` (H, W).

    Regions lie on a grid of half their side. Their sides are multiples of ``scale``, at most `SIDE` and at
    most those of the image.
    """
    height, width = (min(SIDE, length) // scale * scale for length in errors.shape)
    sums = {
        (top, left): float(errors[top : top + height, left : left + width].sum())
        for top in range(0, errors.shape[0] - height + 1, max(scale, height // 2 // scale * scale))
        for left in range(0, errors.shape[1] - width + 1, max(scale, width // 2 // scale * scale))
    }
    top, left = max(sums, key=lambda place: sums[place])
    return slice(top, top + height), slice(left, left + width)
