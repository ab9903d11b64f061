"""Batches on the device: cut there, or on the host beforehand, they are those that the sampler cuts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from bspa.sampling.feeds import HostFeed, PinnedFeed, ResidentFeed, ResidentPool, open_feed, to_device
from bspa.sampling.patches import Draw, PatchPool
from bspa.sampling.uniform import UniformSampler

CPU = torch.device("cpu")
SHAPES = [(40, 64), (64, 32), (32, 32)]


class Photos:
    """Photographs of noise."""

    def __init__(self, scale: int):
        random = np.random.default_rng(scale)
        self.scale = scale
        self.ids = ["noise"] * len(SHAPES)
        self._hr = [random.integers(0, 256, (h * scale, w * scale, 3), np.uint8) for h, w in SHAPES]
        self._lr = [random.integers(0, 256, (h, w, 3), np.uint8) for h, w in SHAPES]

    def __len__(self) -> int:
        return len(self.ids)

    def hr(self, index: int) -> np.ndarray:
        return self._hr[index]

    def lr(self, index: int) -> np.ndarray:
        return self._lr[index]


def sampler(scale: int = 4, batch: int = 5) -> UniformSampler:
    return UniformSampler(Photos(scale), patch=8 * scale, batch=batch, seed=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_patches_cut_on_the_device_are_those_cut_on_the_host(scale: int) -> None:
    photos = Photos(scale)
    numbers = range(len(photos))
    pool = PatchPool(
        [photos.lr(i) for i in numbers], [photos.hr(i) for i in numbers], scale=scale, patch=8 * scale
    )
    # Every orientation in the first and the last window of every image.
    places = [
        (i, top, left, transform)
        for i, (height, width) in enumerate(SHAPES)
        for top, left in ((0, 0), (height - 8, width - 8), (height - 8, 1))
        for transform in range(8)
    ]
    draw = Draw(*np.array(places).T)
    resident = ResidentPool(pool, CPU)
    found = resident.crop(torch.from_numpy(np.stack(draw)))
    for ours, expected in zip(found, pool.crop(draw), strict=True):
        assert ours.dtype == torch.uint8
        assert np.array_equal(ours.numpy(), expected)


def feeds(thread: ThreadPoolExecutor) -> dict[str, object]:
    return {
        "host": HostFeed(sampler()),
        "pinned": PinnedFeed(sampler(), CPU, thread),
        "resident": ResidentFeed(sampler(), CPU),
    }


def test_every_feed_gives_the_same_batches_in_any_order() -> None:
    with ThreadPoolExecutor(1) as thread:
        for name, feed in feeds(thread).items():
            for iteration in (0, 1, 2, 3, 7, 6, 6, 10**12, 0):
                feed.load(iteration)  # type: ignore[attr-defined]
                found = feed.batch()  # type: ignore[attr-defined]
                assert feed.samples == 5  # type: ignore[attr-defined]
                for ours, pixels in zip(found, sampler().batch(iteration), strict=True):
                    assert torch.equal(ours, to_device(pixels, CPU)), (name, iteration)
                    assert ours.dtype == torch.float32
                    assert ours.is_contiguous(memory_format=torch.channels_last), name


def test_what_goes_wrong_in_the_cutting_thread_is_raised() -> None:
    broken = sampler()
    with ThreadPoolExecutor(1) as thread:
        feed = PinnedFeed(broken, CPU, thread)
        broken.pool.lr_images.clear()
        with pytest.raises(IndexError):
            feed.load(0)


def test_a_cpu_is_fed_from_the_host() -> None:
    with open_feed(sampler(), CPU, resident=1.0) as feed:
        assert isinstance(feed, HostFeed)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("resident", "kind"), [(0.5, ResidentFeed), (0.0, PinnedFeed)])
def test_a_gpu_is_fed_with_the_same_batches(resident: float, kind: type) -> None:
    device = torch.device("cuda")
    with open_feed(sampler(), device, resident=resident) as feed:
        assert isinstance(feed, kind)
        for iteration in (0, 1, 2, 9):
            feed.load(iteration)
            for ours, pixels in zip(feed.batch(), sampler().batch(iteration), strict=True):
                assert torch.equal(ours.cpu(), to_device(pixels, CPU))
