"""Training batches: uniform sampling (Eq. 1), inverse sampling (Eq. 4) and informative patches (SamplingAug).

A batch is a pure function of seed, stream and iteration: the random numbers come from a counter-based
generator whose counter is the iteration, so a stage that resumes at step n needs nothing but n.
Shape legend: n samples, H and W pixels of an image, P and p pixels of an HR and an LR patch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bspa.difficulty import inverse_probabilities
from bspa.packed import PackedImages
from bspa.random_numbers import RandomNumbers, pick
from bspa.selections import Selection
from bspa.shards import ClassShard

Pixels = NDArray[np.uint8]
Batch = tuple[Pixels, Pixels]

TRANSFORMS = 8
HORIZONTAL_FLIP, VERTICAL_FLIP, TRANSPOSE = 1, 2, 4


def augment(patch: Pixels, transform: int, out: Pixels) -> None:
    """Copy a square ``patch`` (P, P, 3) into ``out``, in one of the 8 orientations.

    The bits of ``transform`` say: 1 horizontal flip, 2 vertical flip, then 4 transpose.
    """
    moves_along_rows = transform & (HORIZONTAL_FLIP | TRANSPOSE)
    if moves_along_rows:
        patch = np.ascontiguousarray(patch)  # read the far-apart rows of a photograph once, in order
    if transform & HORIZONTAL_FLIP:
        patch = patch[:, ::-1]
    if transform & VERTICAL_FLIP:
        patch = patch[::-1]
    if transform & TRANSPOSE:
        patch = patch.transpose(1, 0, 2)
    if moves_along_rows:
        # Numpy would copy pixel by pixel, runs of 3 bytes; channel by channel is 5 times faster.
        for channel in range(3):
            out[..., channel] = patch[..., channel]
    else:
        out[...] = patch


class _Cropper:
    """Cuts batches of patches out of whole images, LR and HR together."""

    positions: NDArray[np.int64]
    """(n, 2) how many windows fit along the height and the width of each image, in LR pixels."""

    def __init__(self, images: PackedImages, patch: int, batch: int):
        scale = images.scale
        if batch < 1:
            raise ValueError(f"batch is {batch}; it must be 1 or more")
        if patch < 1 or patch % scale:
            raise ValueError(f"patch is {patch} HR pixels; it must be a multiple of the scale, {scale}")
        if not len(images):
            raise ValueError("there is no image to sample from")
        # Views made once: slicing a memory map again and again costs more than copying a patch.
        self._hr = [np.asarray(images.hr(i)) for i in range(len(images))]
        self._lr = [np.asarray(images.lr(i)) for i in range(len(images))]
        for name, image in zip(images.ids, self._hr, strict=True):
            if min(image.shape[:2]) < patch:
                height, width = image.shape[:2]
                raise ValueError(
                    f"image {name} ({width}x{height}) is smaller than a patch of {patch} HR pixels; "
                    "take it out of the source or lower the patch size"
                )
        self._scale, self._patch, self._batch = scale, patch, batch
        self.positions = np.array([image.shape[:2] for image in self._lr], np.int64) - patch // scale + 1

    def __len__(self) -> int:
        return len(self._hr)

    def crop(
        self,
        image: NDArray[np.int64],
        corners: NDArray[np.integer],
        transforms: NDArray[np.int64],
        out: Batch | None,
    ) -> Batch:
        """Return a batch of patches: (n,) images, (n, 2) top and left in LR pixels, (n,) see `augment`."""
        size, scale = self._patch, self._scale
        side = size // scale
        lr, hr = _buffers(self._batch, side, size, out)
        samples = zip(image.tolist(), corners.tolist(), transforms.tolist(), strict=True)
        for n, (i, (top, left), transform) in enumerate(samples):
            augment(self._lr[i][top : top + side, left : left + side], transform, lr[n])
            top, left = top * scale, left * scale
            augment(self._hr[i][top : top + size, left : left + size], transform, hr[n])
        return lr, hr


class UniformSampler:
    """Patches cropped from whole images: an image uniformly, then a window uniformly (Eq. 1).

    Windows lie anywhere on the LR pixel grid; each is flipped horizontally, flipped vertically and
    transposed with probability 1/2 each.

    Args:
        images: where to crop.
        patch: side of the HR patch in pixels, a multiple of the scale.
        batch: samples in a batch.
        seed: of the random numbers, 0 or more.
        stream: name of the sequence; samplers with the same seed and other names are independent.

    Raises:
        ValueError: the patch is no multiple of the scale, or larger than an image.
    """

    def __init__(self, images: PackedImages, *, patch: int, batch: int, seed: int, stream: str = "uniform"):
        self._cropper, self._batch = _Cropper(images, patch, batch), batch
        self._random = RandomNumbers(seed, stream)

    def batch(self, iteration: int, out: Batch | None = None) -> Batch:
        """Return LR (n, p, p, 3) and HR (n, P, P, 3) uint8, C-contiguous; written into ``out`` if given."""
        numbers = self._random.table(iteration, self._batch, 4)
        image = pick(numbers[:, 0], len(self._cropper))
        corners = pick(numbers[:, 1:3], self._cropper.positions[image])
        return self._cropper.crop(image, corners, pick(numbers[:, 3], TRANSFORMS), out)


class InformativeSampler:
    """Informative patches of whole images (SamplingAug): an image uniformly, then one of its chosen offsets.

    The chosen offsets of an image are equally likely; the augmentation is that of `UniformSampler`.

    Args:
        images: where to crop.
        selection: the offsets to crop at.
        patch: side of the HR patch in pixels, that of the selection.
        batch: samples in a batch.
        seed: of the random numbers, 0 or more.
        stream: name of the sequence; samplers with the same seed and other names are independent.

    Raises:
        ValueError: the selection is for other images, another scale or another size of patch.
    """

    def __init__(
        self,
        images: PackedImages,
        selection: Selection,
        *,
        patch: int,
        batch: int,
        seed: int,
        stream: str = "informative",
    ):
        self._cropper, self._batch = _Cropper(images, patch, batch), batch
        advice = "remove its file and let select_patches make it again"
        if (selection.patch, selection.scale) != (patch, images.scale):
            raise ValueError(
                f"the selection is for patches of {selection.patch} HR pixels at scale {selection.scale}, "
                f"not {patch} at scale {images.scale}; {advice}"
            )
        if len(selection) != len(images):
            raise ValueError(f"the selection is for {len(selection)} images, not {len(images)}; {advice}")
        for i, name in enumerate(images.ids):
            corners, positions = selection.of_image(i), self._cropper.positions[i]
            if not len(corners) or corners.min() < 0 or (corners.max(axis=0) >= positions).any():
                raise ValueError(f"the selection does not fit image {name}; {advice}")
        self._offsets, self._starts = selection.offsets, selection.bounds[:-1]
        self._counts = np.diff(selection.bounds)
        self._random = RandomNumbers(seed, stream)

    def batch(self, iteration: int, out: Batch | None = None) -> Batch:
        """Return LR (n, p, p, 3) and HR (n, P, P, 3) uint8, C-contiguous; written into ``out`` if given."""
        numbers = self._random.table(iteration, self._batch, 3)
        image = pick(numbers[:, 0], len(self._cropper))
        corners = self._offsets[self._starts[image] + pick(numbers[:, 1], self._counts[image])]
        return self._cropper.crop(image, corners, pick(numbers[:, 2], TRANSFORMS), out)


class InverseSampler:
    """Sub-images from difficulty classes: a class with P_k proportional to 1 / N_k (Eq. 4), then a member.

    Members of a class are equally likely; the augmentation is that of `UniformSampler`.

    Args:
        shards: one for each class, of one scale and one size.
        batch: samples in a batch.
        seed: of the random numbers, 0 or more.
        stream: name of the sequence; samplers with the same seed and other names are independent.

    Raises:
        ValueError: there is no shard, or they are of different sizes.
    """

    def __init__(self, shards: Sequence[ClassShard], *, batch: int, seed: int, stream: str = "inverse"):
        if batch < 1:
            raise ValueError(f"batch is {batch}; it must be 1 or more")
        sides = {(shard.lr.shape[1], shard.hr.shape[1]) for shard in shards}
        if len(sides) != 1:
            raise ValueError(f"class shards of one size are needed, but LR and HR sides are {sorted(sides)}")
        (self._sides,) = sides
        self._lr = [np.asarray(shard.lr) for shard in shards]
        self._hr = [np.asarray(shard.hr) for shard in shards]
        self._members = np.array([len(shard) for shard in shards], np.int64)
        self._borders = np.cumsum(inverse_probabilities(self._members))[:-1]
        self._batch = batch
        self._random = RandomNumbers(seed, stream)

    def batch(self, iteration: int, out: Batch | None = None) -> Batch:
        """Return LR (n, p, p, 3) and HR (n, P, P, 3) uint8, C-contiguous; written into ``out`` if given."""
        numbers = self._random.table(iteration, self._batch, 3)
        k = np.searchsorted(self._borders, numbers[:, 0], side="right")
        members = pick(numbers[:, 1], self._members[k])
        transforms = pick(numbers[:, 2], TRANSFORMS)
        lr, hr = _buffers(self._batch, *self._sides, out)
        samples = zip(k.tolist(), members.tolist(), transforms.tolist(), strict=True)
        for n, (shard, member, transform) in enumerate(samples):
            augment(self._lr[shard][member], transform, lr[n])
            augment(self._hr[shard][member], transform, hr[n])
        return lr, hr


def _buffers(batch: int, lr_side: int, hr_side: int, out: Batch | None) -> Batch:
    shapes = [(batch, side, side, 3) for side in (lr_side, hr_side)]
    if out is None:
        return np.empty(shapes[0], np.uint8), np.empty(shapes[1], np.uint8)
    for buffer, shape in zip(out, shapes, strict=True):
        if buffer.shape != shape or buffer.dtype != np.uint8 or not buffer.flags.c_contiguous:
            raise ValueError(
                f"out holds {buffer.dtype} {buffer.shape}; LR and HR must be C-contiguous uint8 {shapes}"
            )
    return out
