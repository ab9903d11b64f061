"""Uniform sampling: patches anywhere in whole images (Eq. 1)."""

from __future__ import annotations

from bspa.data.crops import TRANSFORMS
from bspa.data.packed import PackedImages
from bspa.sampling.random_numbers import pick
from bspa.sampling.sampler import Draw, Sampler, whole_images


class UniformSampler(Sampler):
    """Draws an image uniformly, then a window of it uniformly, on the LR pixel grid."""

    def __init__(self, images: PackedImages, *, patch: int, batch: int, seed: int, stream: str = "uniform"):
        pool, self._positions = whole_images(images, patch)
        super().__init__(pool, batch=batch, seed=seed, stream=stream)

    def draw(self, iteration: int) -> Draw:
        """See `bspa.sampling.sampler.Sampler`."""
        numbers = self._random.table(iteration, self._batch, 4)
        image = pick(numbers[:, 0], len(self.pool))
        top, left = pick(numbers[:, 1:3], self._positions[image]).T
        return Draw(image, top, left, pick(numbers[:, 3], TRANSFORMS))


def open_sampler(
    images: PackedImages, source: str | None, *, patch: int, batch: int, seed: int
) -> UniformSampler:
    """Open a sampler of whole images; ``source`` is not used."""
    del source
    return UniformSampler(images, patch=patch, batch=batch, seed=seed)
