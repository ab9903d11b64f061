from __future__ import annotations

import hashlib

import numpy as np
import pytest
from scipy.stats import chisquare

from bspa.data.crops import orient
from bspa.difficulty.classes import inverse_probabilities
from bspa.sampling.random_numbers import RandomNumbers, pick
from bspa.sampling.sampler import InformativeSampler, InverseSampler, UniformSampler
from bspa.sampling.selections import Selection
from tests.support.coordinates import CoordinateImages, coordinates, same_place

# Every test has a fixed seed, so it passes always or never; a fair sampler fails one seed in 10,000.
P_VALUE = 1e-4


class FakeShard:
    """Members whose pixels tell their place, their number and (in the LR pixels' third channel) the class."""

    def __init__(self, k: int, members: int, *, size: int = 8, scale: int = 2):
        self.hr = np.stack([coordinates(size, size, member) for member in range(members)])
        self.lr = np.stack([coordinates(size // scale, size // scale, k)] * members)

    def __len__(self) -> int:
        return len(self.hr)


def uniform(images=None, *, patch=8, batch=16, seed=0, **options):
    images = images or CoordinateImages((40, 64), (64, 32), scale=2)
    return UniformSampler(images, patch=patch, batch=batch, seed=seed, **options)


def inverse(members=(60, 30, 10), *, batch=16, seed=0, **options):
    shards = [FakeShard(k, n) for k, n in enumerate(members)]
    return InverseSampler(shards, batch=batch, seed=seed, **options)


CHOSEN = [[(0, 0), (16, 28), (3, 5), (4, 5)], [(28, 12), (7, 7)]]


def select(*chosen, patch=8, scale=2):
    """Select offsets, given for each image."""
    offsets = np.concatenate([np.reshape(offsets, (-1, 2)) for offsets in chosen]).astype(np.int32)
    bounds = np.cumsum([0, *map(len, chosen)])
    how = {"share": 0.1, "selection": "greedy", "overlap": 0.5, "seed": 0}
    return Selection(offsets=offsets, bounds=bounds, patch=patch, scale=scale, **how)


def informative(images=None, selection=None, *, patch=8, batch=16, seed=0, **options):
    images = images or CoordinateImages((40, 64), (64, 32), scale=2)
    selection = selection or select(*CHOSEN)
    return InformativeSampler(images, selection, patch=patch, batch=batch, seed=seed, **options)


def drawn(sampler, iterations):
    """All LR and all HR patches of the first iterations."""
    lr, hr = zip(*(sampler.batch(iteration) for iteration in range(iterations)), strict=True)
    return np.concatenate(lr), np.concatenate(hr)


def orientation(patches):
    """Which of the 8 transforms made each patch, 0..7, from the order of its coordinates."""
    y, x = patches[..., 0].astype(int), patches[..., 1].astype(int)
    transposed = y[:, 0, 0] != y[:, 0, 1]
    right = np.where(transposed, x[:, 1, 0] > x[:, 0, 0], x[:, 0, 1] > x[:, 0, 0])
    down = np.where(transposed, y[:, 0, 1] > y[:, 0, 0], y[:, 1, 0] > y[:, 0, 0])
    return 4 * transposed + 2 * ~down + ~right


def assert_distributed(counts, expected=None):
    """Chi-square test of ``counts`` against probabilities, equal ones by default."""
    counts = np.asarray(counts)
    expected = None if expected is None else counts.sum() * np.asarray(expected)
    p = chisquare(counts, expected).pvalue
    assert p > P_VALUE, f"p = {p}: {counts.tolist()}, expected {expected}"


@pytest.mark.parametrize(("scale", "patch"), [(2, 8), (3, 12), (4, 8)])
def test_lr_patches_lie_where_their_hr_patches_do(scale, patch):
    images = CoordinateImages((48, 60), (36, 24), (patch, patch), scale=scale)
    lr, hr = drawn(uniform(images, patch=patch), 20)
    assert lr.shape == (320, patch // scale, patch // scale, 3)
    assert hr.shape == (320, patch, patch, 3)
    assert len(np.unique(orientation(hr))) == 8
    assert same_place(lr, hr, scale)


def test_patches_are_whole_windows_of_their_image():
    lr, _ = drawn(uniform(), 20)
    for patch in lr:
        rows, columns = np.unique(patch[..., 0]), np.unique(patch[..., 1])
        assert np.array_equal(rows, rows[0] + np.arange(4))
        assert np.array_equal(columns, columns[0] + np.arange(4))
        assert len(np.unique(patch[..., 2])) == 1


def test_uniform_sampling_is_uniform_over_images_then_windows_and_reaches_every_window():
    images = CoordinateImages((16, 22), (12, 10), (8, 8), scale=2)  # 5 x 8, 3 x 2 and 1 x 1 windows
    lr, _ = drawn(uniform(images, batch=64), 200)
    image, top, left = lr[:, 0, 0, 2], lr[..., 0].min(axis=(1, 2)), lr[..., 1].min(axis=(1, 2))
    assert_distributed(np.bincount(image))
    for i, (rows, columns) in enumerate([(5, 8), (3, 2), (1, 1)]):
        of_image = image == i
        counts = np.zeros((rows, columns), int)
        np.add.at(counts, (top[of_image], left[of_image]), 1)
        assert counts.min() > 0, counts
        if counts.size > 1:
            assert_distributed(counts.ravel())


def test_informative_sampling_draws_images_uniformly_and_then_chosen_offsets_alone():
    lr, _ = drawn(informative(batch=64), 100)
    image, top, left = lr[:, 0, 0, 2], lr[..., 0].min(axis=(1, 2)), lr[..., 1].min(axis=(1, 2))
    assert_distributed(np.bincount(image))
    for i, chosen in enumerate(CHOSEN):
        of_image = image == i
        places = list(zip(top[of_image].tolist(), left[of_image].tolist(), strict=True))
        assert set(places) == set(chosen)
        assert_distributed([places.count(place) for place in chosen])


@pytest.mark.parametrize(("scale", "patch"), [(2, 8), (3, 12), (4, 8)])
def test_informative_lr_patches_lie_where_their_hr_patches_do(scale, patch):
    images = CoordinateImages((48, 60), (36, 24), scale=scale)
    selection = select([(0, 0), (3, 7)], [(2, 1)], patch=patch, scale=scale)
    lr, hr = drawn(informative(images, selection, patch=patch), 10)
    assert lr.shape == (160, patch // scale, patch // scale, 3)
    assert hr.shape == (160, patch, patch, 3)
    assert same_place(lr, hr, scale)


@pytest.mark.parametrize(
    "sampler", [uniform(), inverse(), informative()], ids=["uniform", "inverse", "informative"]
)
def test_the_eight_orientations_are_equally_likely(sampler):
    lr, hr = drawn(sampler, 300)
    assert np.array_equal(orientation(lr), orientation(hr))
    assert_distributed(np.bincount(orientation(hr), minlength=8))


def test_inverse_sampling_draws_classes_by_equation_4_and_members_uniformly():
    members = (60, 30, 10)
    lr, hr = drawn(inverse(members), 600)
    k, member = lr[:, 0, 0, 2], hr[:, 0, 0, 2]
    assert_distributed(np.bincount(k), inverse_probabilities(members))
    for number, count in enumerate(members):
        counts = np.bincount(member[k == number], minlength=count)
        assert counts.min() > 0, counts
        assert_distributed(counts)


def test_inverse_patches_correspond():
    lr, hr = drawn(inverse(), 20)
    lr[..., 2] = hr[:, ::2, ::2, 2]  # the class there, the member here
    assert same_place(lr, hr, 2)


@pytest.mark.parametrize("make", [uniform, inverse, informative])
def test_a_batch_depends_on_nothing_but_seed_stream_and_iteration(make):
    first = make(seed=7)
    expected = [first.batch(iteration) for iteration in range(6)]
    other = make(seed=7)
    for iteration in (5, 0, 3, 3, 10**12, 1):
        lr, hr = other.batch(iteration)
        if iteration < 6:
            assert np.array_equal(lr, expected[iteration][0])
            assert np.array_equal(hr, expected[iteration][1])


@pytest.mark.parametrize("make", [uniform, inverse, informative])
def test_seeds_streams_and_iterations_give_other_batches(make):
    batches = [make(seed=s, stream=t).batch(i)[1] for s in (0, 1, 2**40) for t in ("a", "b") for i in (0, 1)]
    assert len({batch.tobytes() for batch in batches}) == len(batches)


def test_random_numbers_stay_the_same_from_release_to_release():
    # A resumed or repeated run must see the same batches, also under a newer numpy.
    numbers = RandomNumbers(0, "uniform").table(3, 2, 2)
    assert numbers.tolist() == [
        [0.31635107638204685, 0.5019792814628725],
        [0.6206418965924319, 0.20533347537270463],
    ]


def test_uniform_batches_stay_the_same_from_release_to_release():
    digest = hashlib.sha256()
    sampler = uniform(CoordinateImages((40, 64), (64, 32), (16, 16), scale=2), seed=5)
    for iteration in range(50):
        for array in sampler.batch(iteration):
            digest.update(array.tobytes())
    assert digest.hexdigest() == "f84733645f29e01ed16117a579374686e00e5f6680dcfe6b119930b7103e5aaa"


def test_random_numbers_of_neighbouring_iterations_do_not_overlap():
    numbers = RandomNumbers(0, "uniform")
    tables = [numbers.table(iteration, 100, 4).ravel() for iteration in range(50)]
    assert len(np.unique(np.concatenate(tables))) == 50 * 400


def test_pick_reaches_both_ends_and_nothing_beyond():
    extremes = np.array([0.0, 1 - 2.0**-53])
    for choices in (1, 2, 3, 7, 122_310, 2**31 - 1, 2**31 + 1):
        assert pick(extremes, choices).tolist() == [0, choices - 1]


@pytest.mark.parametrize("transform", range(8))
def test_orient_flips_then_transposes(transform):
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


@pytest.mark.parametrize("make", [uniform, inverse, informative])
def test_batches_are_contiguous_bytes_and_fill_the_buffers_given(make):
    sampler = make()
    lr, hr = sampler.batch(4)
    for array in (lr, hr):
        assert array.dtype == np.uint8
        assert array.flags.c_contiguous
    buffers = np.zeros_like(lr), np.zeros_like(hr)
    again = sampler.batch(4, out=buffers)
    assert again[0] is buffers[0]
    assert again[1] is buffers[1]
    assert np.array_equal(buffers[0], lr)
    assert np.array_equal(buffers[1], hr)
    with pytest.raises(ValueError, match=r"out holds uint8 \(3, 8, 8, 3\)"):
        sampler.batch(4, out=(lr, hr[:3]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: uniform(CoordinateImages((8, 8), (8, 6), scale=2)), r"image photo1 \(6x8\) is smaller than"),
        (lambda: uniform(patch=7), "patch is 7 HR pixels; it must be a multiple of the scale, 2"),
        (lambda: uniform(patch=0), "patch is 0"),
        (lambda: uniform(batch=0), "batch is 0"),
        (lambda: inverse(batch=0), "batch is 0"),
        (lambda: uniform(seed=-1), "seed is -1"),
        (lambda: informative(batch=0), "batch is 0"),
        (
            lambda: informative(patch=12),
            "selection is for patches of 8 HR pixels at scale 2, not 12 at scale 2; remove its file",
        ),
        (lambda: informative(selection=select(*CHOSEN, scale=4)), "at scale 4, not 8 at scale 2"),
        (lambda: informative(selection=select(CHOSEN[0])), "selection is for 1 images, not 2"),
        (lambda: informative(selection=select(CHOSEN[0], [(29, 0)])), "does not fit image photo1"),
        (lambda: informative(selection=select([(0, 29)], CHOSEN[1])), "does not fit image photo0"),
        (lambda: informative(selection=select([(-1, 0)], CHOSEN[1])), "does not fit image photo0"),
        (lambda: informative(selection=select([], CHOSEN[1])), "does not fit image photo0"),
        (lambda: inverse(()), "class shards of one size are needed"),
        (lambda: UniformSampler(CoordinateImages(scale=2), patch=8, batch=1, seed=0), "no image"),
        (
            lambda: InverseSampler([FakeShard(0, 2), FakeShard(1, 2, size=12)], batch=1, seed=0),
            r"\[\(4, 8\), \(6, 12\)\]",
        ),
    ],
)
def test_impossible_samplers_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
