"""Informative sampling: the chosen patches of whole images (SamplingAug)."""

from __future__ import annotations

import numpy as np

from bspa.data.crops import TRANSFORMS
from bspa.data.packed import PackedImages
from bspa.sampling.random_numbers import pick
from bspa.sampling.sampler import Draw, Sampler, whole_images
from bspa.sampling.selections import Selection, read_selection


class InformativeSampler(Sampler):
    """Draws an image uniformly, then one of its chosen offsets uniformly."""

    def __init__(self, images: PackedImages, selection: Selection, *, patch: int, batch: int, seed: int):
        pool, positions = whole_images(images, patch)
        super().__init__(pool, batch=batch, seed=seed, stream="informative")
        self._offsets, self._starts = selection.offsets, selection.bounds[:-1]
        self._counts = np.diff(selection.bounds)
        if (
            (selection.patch, selection.scale, len(self._counts)) != (patch, images.scale, len(images))
            or self._counts.min() < 1
            or self._offsets.min() < 0
            or (np.maximum.reduceat(self._offsets, self._starts) >= positions).any()
        ):
            raise ValueError(
                f"the selection of patches ({selection.patch} HR pixels, scale {selection.scale}, "
                f"{len(self._counts)} images) does not fit {len(images)} images at scale {images.scale} and "
                f"patches of {patch}; remove its file and let select_patches make it again"
            )

    def draw(self, iteration: int) -> Draw:
        """See `bspa.sampling.sampler.Sampler`."""
        numbers = self._random.table(iteration, self._batch, 3)
        image = pick(numbers[:, 0], len(self.pool))
        chosen = self._starts[image] + pick(numbers[:, 1], self._counts[image])
        top, left = self._offsets[chosen].T.astype(np.int64)
        return Draw(image, top, left, pick(numbers[:, 2], TRANSFORMS))


def open_sampler(
    images: PackedImages, source: str | None, *, patch: int, batch: int, seed: int
) -> InformativeSampler:
    """Open a sampler of the patches in the selection file ``source``."""
    assert source is not None
    return InformativeSampler(images, read_selection(source), patch=patch, batch=batch, seed=seed)
