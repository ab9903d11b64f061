from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chisquare

from bspa.data.crops import orient
from bspa.difficulty.classes import class_sizes, inverse_probabilities, thresholds
from bspa.difficulty.shard_writing import write_class_shards
from bspa.sampling import informative as informative_module
from bspa.sampling import inverse as inverse_module
from bspa.sampling.informative import InformativeSampler
from bspa.sampling.inverse import InverseSampler
from bspa.sampling.random_numbers import RandomNumbers, pick
from bspa.sampling.selections import Selection, write_selection
from bspa.sampling.uniform import UniformSampler
from tests.support.coordinates import CoordinateImages, coordinates, same_place
from tests.support.noise import pack_noise
from tests.support.scores import made_up_scores

# Every test has a fixed seed, so it passes always or never; a fair sampler fails one seed in 10,000.
P_VALUE = 1e-4
CHOSEN = [[(0, 0), (16, 28), (3, 5), (4, 5)], [(28, 12), (7, 7)]]


class FakeShard:
    """Members whose pixels tell their place, their number and (in the LR pixels' third channel) the class."""

    samples, size = "pixels", 8

    def __init__(self, k: int, members: int):
        self.hr = np.stack([coordinates(8, 8, member) for member in range(members)])
        self.lr = np.stack([coordinates(4, 4, k)] * members)

    def __len__(self) -> int:
        return len(self.hr)


def photos(*shapes: tuple[int, int], scale: int = 2) -> Any:
    return CoordinateImages(*(shapes or ((40, 64), (64, 32))), scale=scale)


def select(*chosen: Sequence[tuple[int, int]], patch: int = 8, scale: int = 2) -> Selection:
    """Select offsets, given for each image."""
    offsets = np.concatenate([np.reshape(places, (-1, 2)) for places in chosen]).astype(np.int32)
    bounds = np.cumsum([0, *map(len, chosen)])
    return Selection(offsets, bounds, patch, scale)


def uniform(images: Any = None, **options: Any) -> UniformSampler:
    return UniformSampler(images or photos(), **{"patch": 8, "batch": 16, "seed": 0, **options})


def inverse(members: Sequence[int] = (60, 30, 10), **options: Any) -> InverseSampler:
    shards: Any = [FakeShard(k, n) for k, n in enumerate(members)]
    return InverseSampler(shards, photos(), **{"batch": 16, "seed": 0, **options})


def informative(images: Any = None, selection: Any = None, **options: Any) -> InformativeSampler:
    options = {"patch": 8, "batch": 16, "seed": 0, **options}
    return InformativeSampler(images or photos(), selection or select(*CHOSEN), **options)


MAKERS = [uniform, inverse, informative]
Make = Callable[..., Any]


def drawn(sampler: Any, iterations: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """All LR and all HR patches of the first iterations."""
    lr, hr = zip(*(sampler.batch(iteration) for iteration in range(iterations)), strict=True)
    return np.concatenate(lr), np.concatenate(hr)


def places_of(lr: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Image, top and left of LR patches."""
    return lr[:, 0, 0, 2], lr[..., 0].min(axis=(1, 2)), lr[..., 1].min(axis=(1, 2))


def orientation(patches: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Which of the 8 transforms made each patch, 0..7, from the order of its coordinates."""
    y, x = patches[..., 0].astype(int), patches[..., 1].astype(int)
    transposed = y[:, 0, 0] != y[:, 0, 1]
    right = np.where(transposed, x[:, 1, 0] > x[:, 0, 0], x[:, 0, 1] > x[:, 0, 0])
    down = np.where(transposed, y[:, 0, 1] > y[:, 0, 0], y[:, 1, 0] > y[:, 0, 0])
    return 4 * transposed + 2 * ~down + ~right


def assert_distributed(counts: ArrayLike, expected: Any = None) -> None:
    """Chi-square test of ``counts`` against probabilities, equal ones by default."""
    counts = np.asarray(counts)
    expected = None if expected is None else counts.sum() * np.asarray(expected)
    p = chisquare(counts, expected).pvalue
    assert p > P_VALUE, f"p = {p}: {counts.tolist()}, expected {expected}"


@pytest.mark.parametrize(("scale", "patch"), [(2, 8), (3, 12), (4, 8)])
def test_lr_patches_lie_where_their_hr_patches_do(scale: int, patch: int) -> None:
    images = photos((48, 60), (36, 24), (patch, patch), scale=scale)
    selection = select([(0, 0), (3, 7)], [(2, 1)], [(0, 0)], patch=patch, scale=scale)
    for sampler in (uniform(images, patch=patch), informative(images, selection, patch=patch)):
        lr, hr = drawn(sampler, 20)
        assert lr.shape == (320, patch // scale, patch // scale, 3)
        assert hr.shape == (320, patch, patch, 3)
        assert same_place(lr, hr, scale)
        assert all(len(np.unique(pixels[..., axis])) == patch // scale for pixels in lr for axis in (0, 1))
    lr, hr = drawn(inverse(), 20)
    lr[..., 2] = hr[:, ::2, ::2, 2]  # the class there, the member here
    assert same_place(lr, hr, 2)


def test_uniform_sampling_is_uniform_over_images_then_windows_and_reaches_every_window() -> None:
    images = photos((16, 22), (12, 10), (8, 8))  # 5 x 8, 3 x 2 and 1 x 1 windows
    image, top, left = places_of(drawn(uniform(images, batch=64), 200)[0])
    assert_distributed(np.bincount(image))
    for i, shape in enumerate([(5, 8), (3, 2), (1, 1)]):
        counts = np.zeros(shape, int)
        np.add.at(counts, (top[image == i], left[image == i]), 1)
        assert counts.min() > 0, counts
        if counts.size > 1:
            assert_distributed(counts.ravel())


def test_informative_sampling_draws_images_uniformly_and_then_chosen_offsets_alone() -> None:
    image, top, left = places_of(drawn(informative(batch=64), 100)[0])
    assert_distributed(np.bincount(image))
    for i, chosen in enumerate(CHOSEN):
        places = list(zip(top[image == i].tolist(), left[image == i].tolist(), strict=True))
        assert set(places) == set(chosen)
        assert_distributed([places.count(place) for place in chosen])


def test_inverse_sampling_draws_classes_by_equation_4_and_members_uniformly() -> None:
    members = (60, 30, 10)
    lr, hr = drawn(inverse(members), 600)
    k, member = lr[:, 0, 0, 2], hr[:, 0, 0, 2]
    assert_distributed(np.bincount(k), inverse_probabilities(members))
    for number, count in enumerate(members):
        counts = np.bincount(member[k == number], minlength=count)
        assert counts.min() > 0, counts
        assert_distributed(counts)


@pytest.mark.parametrize("make", MAKERS)
def test_the_eight_orientations_are_equally_likely(make: Make) -> None:
    lr, hr = drawn(make(), 300)
    assert np.array_equal(orientation(lr), orientation(hr))
    assert_distributed(np.bincount(orientation(hr), minlength=8))


@pytest.mark.parametrize("make", MAKERS)
def test_a_batch_depends_on_nothing_but_seed_stream_and_iteration(make: Make) -> None:
    first = make(seed=7)
    expected = [first.batch(iteration) for iteration in range(6)]
    other = make(seed=7)
    for iteration in (5, 0, 3, 3, 10**12, 1):
        lr, hr = other.batch(iteration)
        if iteration < 6:
            assert np.array_equal(lr, expected[iteration][0])
            assert np.array_equal(hr, expected[iteration][1])


@pytest.mark.parametrize(
    ("make", "streams"), [(uniform, ({"stream": "a"}, {"stream": "b"})), (inverse, [{}]), (informative, [{}])]
)
def test_seeds_streams_and_iterations_give_other_batches(make: Make, streams: Any) -> None:
    batches = [make(seed=s, **t).batch(i)[1] for s in (0, 1, 2**40) for t in streams for i in (0, 1)]
    assert len({batch.tobytes() for batch in batches}) == len(batches)


def test_random_numbers_and_batches_stay_the_same_from_release_to_release() -> None:
    # A resumed or repeated run must see the same batches, also under a newer numpy.
    assert RandomNumbers(0, "uniform").table(3, 2, 2).tolist() == [
        [0.31635107638204685, 0.5019792814628725],
        [0.6206418965924319, 0.20533347537270463],
    ]
    sampler = uniform(photos((40, 64), (64, 32), (16, 16)), seed=5)
    digest = hashlib.sha256()
    for iteration in range(50):
        for array in sampler.batch(iteration):
            digest.update(array.tobytes())
    assert digest.hexdigest() == "f84733645f29e01ed16117a579374686e00e5f6680dcfe6b119930b7103e5aaa"


def test_pick_reaches_both_ends_and_nothing_beyond() -> None:
    extremes = np.array([0.0, 1 - 2.0**-53])
    for choices in (1, 2, 3, 7, 122_310, 2**31 - 1, 2**31 + 1):
        assert pick(extremes, choices).tolist() == [0, choices - 1]


@pytest.mark.parametrize("transform", range(8))
def test_orient_flips_then_transposes(transform: int) -> None:
    patch = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)[3:10, 5:12]
    expected = patch
    if transform & 1:
        expected = np.flip(expected, axis=1)
    if transform & 2:
        expected = np.flip(expected, axis=0)
    if transform & 4:
        expected = np.swapaxes(expected, 0, 1)
    out = np.zeros((7, 7, 3), np.uint8)
    orient(patch, transform, out)
    assert np.array_equal(out, expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: uniform(photos((8, 8), (8, 6))), r"image photo1 \(6x8\)"),
        (lambda: informative(patch=12), r"8 HR pixels.* patches of 12; .* select_patches"),
        (lambda: informative(selection=select(*CHOSEN, scale=4)), "scale 4, .* scale 2"),
        (lambda: informative(selection=select(CHOSEN[0])), "1 images.* 2 images"),
        (lambda: informative(selection=select(CHOSEN[0], [(29, 0)])), "does not fit"),
        (lambda: informative(selection=select([(0, 29)], CHOSEN[1])), "does not fit"),
        (lambda: informative(selection=select([(-1, 0)], CHOSEN[1])), "does not fit"),
        (lambda: informative(selection=select([], CHOSEN[1])), "does not fit"),
    ],
)
def test_impossible_samplers_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_samplers_open_from_their_sources(tmp_path: Path) -> None:
    """Pixels and windows of the same shards give the same samples."""
    images = pack_noise(tmp_path, (130, 97), (64, 200), scale=4)
    scores = made_up_scores(images, size=64, step=32)
    sizes = class_sizes(len(scores), 3, 4)
    limits = thresholds(scores.mse, sizes)
    kinds: Any = ("pixels", "windows")
    for samples in kinds:
        folder = tmp_path / samples
        write_class_shards(folder, images, scores, sizes, thresholds=limits, samples=samples, key="")
    selection = select([(0, 0)], [(0, 3), (0, 9)], patch=64, scale=4)
    write_selection(tmp_path / "chosen.h5", selection, key="")
    options: Any = {"patch": 64, "batch": 16, "seed": 3}
    pixels, windows = (
        inverse_module.open_sampler(images, str(tmp_path / samples), **options) for samples in kinds
    )
    chosen = informative_module.open_sampler(images, str(tmp_path / "chosen.h5"), **options)
    for sampler, other in ((pixels, windows), (chosen, InformativeSampler(images, selection, **options))):
        for iteration in range(20):
            for ours, expected in zip(sampler.batch(iteration), other.batch(iteration), strict=True):
                assert np.array_equal(ours, expected)
    with pytest.raises(ValueError, match=r"windows .* 64 HR pixels, not 48"):
        inverse_module.open_sampler(images, str(tmp_path / "windows"), patch=48, batch=1, seed=0)
