"""Batches on the device: cut there, or on the host beforehand, they are those that the sampler cuts."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from bspa.data.packed import PackedImages
from bspa.sampling.feeds import Feed, HostFeed, PinnedFeed, ResidentFeed, open_feed, to_device
from bspa.sampling.sampler import Draw, Sampler, whole_images
from bspa.sampling.uniform import UniformSampler
from tests.support.noise import pack_noise

CPU = torch.device("cpu")
SHAPES = [(40, 64), (64, 32), (32, 32)]


def photos(folder: Path, scale: int) -> PackedImages:
    return pack_noise(folder, *((h * scale, w * scale) for h, w in SHAPES), scale=scale)


@pytest.fixture
def sampler(tmp_path: Path) -> UniformSampler:
    return UniformSampler(photos(tmp_path, 4), patch=32, batch=5, seed=3)


class EveryOrientation(Sampler):
    """The first and the last windows of every image in every orientation."""

    def draw(self, iteration: int) -> Draw:
        side = self.pool.lr_patch
        places = [
            (i, top, left, transform)
            for i, (height, width) in enumerate(SHAPES)
            for top, left in ((0, 0), (height - side, width - side), (height - side, 1))
            for transform in range(8)
        ]
        return Draw(*np.array(places).T)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_patches_cut_on_the_device_are_those_cut_on_the_host(tmp_path: Path, scale: int) -> None:
    pool, _ = whole_images(photos(tmp_path, scale), 8 * scale)
    sampler = EveryOrientation(pool, batch=0, seed=0, stream="")
    feed = ResidentFeed(sampler, CPU)
    feed.load(0)
    for ours, expected in zip(feed.batch(), sampler.batch(0), strict=True):
        assert torch.equal(ours, to_device(expected, CPU))


@pytest.mark.parametrize(
    "make",
    [
        lambda sampler, thread: HostFeed(sampler),
        lambda sampler, thread: PinnedFeed(sampler, CPU, thread),
        lambda sampler, thread: ResidentFeed(sampler, CPU),
    ],
    ids=["host", "pinned", "resident"],
)
def test_every_feed_gives_the_same_batches_in_any_order(
    sampler: UniformSampler, make: Callable[[UniformSampler, ThreadPoolExecutor], Feed]
) -> None:
    with ThreadPoolExecutor(1) as thread:
        feed = make(sampler, thread)
        for iteration in (0, 1, 2, 3, 7, 6, 6, 10**12, 0):
            feed.load(iteration)
            assert feed.samples == 5
            for ours, pixels in zip(feed.batch(), sampler.batch(iteration), strict=True):
                assert torch.equal(ours, to_device(pixels, CPU)), iteration
                assert ours.dtype == torch.float32
                assert ours.is_contiguous(memory_format=torch.channels_last)


def test_what_goes_wrong_in_the_cutting_thread_is_raised(sampler: UniformSampler) -> None:
    with ThreadPoolExecutor(1) as thread:
        feed = PinnedFeed(sampler, CPU, thread)
        sampler.pool.lr_images.clear()
        with pytest.raises(IndexError):
            feed.load(0)


def test_a_cpu_is_fed_from_the_host(sampler: UniformSampler) -> None:
    with open_feed(sampler, CPU, resident=1.0) as feed:
        assert isinstance(feed, HostFeed)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("resident", "kind"), [(0.5, ResidentFeed), (0.0, PinnedFeed)])
def test_a_gpu_is_fed_with_the_same_batches(sampler: UniformSampler, resident: float, kind: type) -> None:
    device = torch.device("cuda")
    with open_feed(sampler, device, resident=resident) as feed:
        assert isinstance(feed, kind)
        for iteration in (0, 1, 2, 9):
            feed.load(iteration)
            for ours, pixels in zip(feed.batch(), sampler.batch(iteration), strict=True):
                assert torch.equal(ours.cpu(), to_device(pixels, CPU))
