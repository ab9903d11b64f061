"""Informative sampling: the chosen patches of whole images (SamplingAug)."""

from __future__ import annotations

import numpy as np

from bspa.data.crops import TRANSFORMS
from bspa.data.packed import PackedImages
from bspa.sampling.patches import Draw
from bspa.sampling.random_numbers import pick
from bspa.sampling.sampler import PoolSampler, whole_images
from bspa.sampling.selections import Selection, read_selection


class InformativeSampler(PoolSampler):
    """Draws an image uniformly, then one of its chosen offsets uniformly.

    Raises:
        ValueError: the selection is for other images, another scale or another patch size.
    """

    def __init__(
        self,
        images: PackedImages,
        selection: Selection,
        *,
        patch: int,
        batch: int,
        seed: int,
        shuffle_from: int | None = None,
    ):
        pool, positions = whole_images(images, patch)
        super().__init__(pool, batch=batch, seed=seed, stream="informative", shuffle_from=shuffle_from)
        advice = "remove its file and let select_patches make it again"
        if (selection.patch, selection.scale) != (patch, images.scale):
            raise ValueError(
                f"the selection is for patches of {selection.patch} HR pixels at scale {selection.scale}, "
                f"not {patch} at scale {images.scale}; {advice}"
            )
        if len(selection) != len(images):
            raise ValueError(f"the selection is for {len(selection)} images, not {len(images)}; {advice}")
        for i, name in enumerate(images.ids):
            corners = selection.of_image(i)
            if not len(corners) or corners.min() < 0 or (corners.max(axis=0) >= positions[i]).any():
                raise ValueError(f"the selection does not fit image {name}; {advice}")
        self._offsets, self._starts = selection.offsets, selection.bounds[:-1]
        self._counts = np.diff(selection.bounds)

    def draw(self, iteration: int) -> Draw:
        """See `bspa.sampling.sampler.Sampler`."""
        numbers = self._random.table(iteration, self._batch, 3)
        image = self.images(iteration, numbers[:, 0])
        chosen = self._starts[image] + pick(numbers[:, 1], self._counts[image])
        top, left = self._offsets[chosen].T.astype(np.int64)
        return Draw(image, top, left, pick(numbers[:, 2], TRANSFORMS))


def open_sampler(
    images: PackedImages, source: str | None, *, patch: int, batch: int, seed: int, shuffle_from: int | None
) -> InformativeSampler:
    """Open a sampler of the patches in the selection file ``source``."""
    assert source is not None
    selection = read_selection(source)
    return InformativeSampler(
        images, selection, patch=patch, batch=batch, seed=seed, shuffle_from=shuffle_from
    )
