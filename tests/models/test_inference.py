from __future__ import annotations

import contextlib
import logging

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from bspa.models import inference
from bspa.models.inference import TILE_BUDGET, spans, super_resolve, upscaled_tiles
from bspa.models.registry import build

CPU = torch.device("cpu")


class Local(nn.Module):
    """Convolutions of 5 and 3 LR pixels and one of 3 HR pixels: 2 + 1 + 1 LR pixels around each pixel."""

    receptive_radius: int | None = 4

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        torch.manual_seed(scale)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 5, padding=2),
            nn.PReLU(),
            nn.Conv2d(8, 8 * scale**2, 3, padding=1),
            nn.PixelShuffle(scale),
            nn.Conv2d(8, 3, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + 0.5


class Exact(Local):
    """Whole numbers throughout, far below 2^24: float32 sums them exactly in any order, on any machine."""

    def __init__(self, scale: int) -> None:
        super().__init__(scale)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randint(-1, 2, parameter.shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers((255 * x).round()) / 2**18 + 0.5


class Global(Local):
    receptive_radius = None

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * (0.5 + x.mean(dim=(2, 3), keepdim=True)))


class Constant(nn.Module):
    """Gives one value everywhere, whatever the image."""

    receptive_radius = 0

    def __init__(self, value: float, scale: int = 2) -> None:
        super().__init__()
        self.value, self.scale = value, scale

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return torch.full((n, c, self.scale * h, self.scale * w), self.value)


def image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def floats(model: nn.Module, lr: np.ndarray, scale: int, **options: object) -> np.ndarray:
    sr = np.full((3, lr.shape[0] * scale, lr.shape[1] * scale), np.nan, np.float32)
    for rows, columns, values in upscaled_tiles(model, lr, device=CPU, **options):
        assert np.isnan(sr[:, rows, columns]).all(), "a pixel was delivered twice"
        sr[:, rows, columns] = values
    return sr


def assert_close(actual: np.ndarray, wanted: np.ndarray, tolerance: float = 1e-6) -> None:
    error = np.abs(actual - wanted)
    percentiles = np.percentile(error, [50, 90, 99, 100])
    assert percentiles[-1] < tolerance, (
        f"error at 50, 90, 99, 100 %: {percentiles}; {np.isnan(error).sum()} missing"
    )


@given(length=st.integers(1, 300), tile=st.integers(1, 320), overlap=st.integers(0, 50))
def test_spans_cover_each_pixel_once_and_see_the_overlap(length, tile, overlap):
    parts = spans(length, tile, overlap)
    assert [pixel for part in parts for pixel in range(part.start, part.stop)] == list(range(length))
    assert len(parts) == -(-length // tile)
    for part in parts:
        assert part.stop - part.start <= tile
        assert part.first == max(0, part.start - overlap)
        assert part.last == min(length, part.stop + overlap)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(
    ("height", "width", "tile"), [(23, 31, 8), (17, 40, 16), (9, 7, 1), (5, 90, 30), (11, 12, 64)]
)
def test_tiles_give_what_the_whole_image_gives(scale, height, width, tile):
    model, lr = Local(scale), image(height, width)
    assert_close(floats(model, lr, scale, tile=tile), floats(model, lr, scale))
    model = Exact(scale)
    whole = super_resolve(model, lr, device=CPU)
    assert len(np.unique(whole)) > 50, "a test on a nearly constant image would tell little"
    np.testing.assert_array_equal(super_resolve(model, lr, device=CPU, tile=tile), whole)


def test_one_pixel_of_overlap_less_does_not(caplog):
    model, lr = Local(2), image(40, 40)
    with caplog.at_level(logging.WARNING, "bspa"):
        error = np.abs(floats(model, lr, 2, tile=10, overlap=3) - floats(model, lr, 2))
    assert error.max() > 1e-4
    assert "only approximate" in caplog.text
    assert "4 LR pixels" in caplog.text


@pytest.mark.parametrize(
    ("arch", "options"),
    [("fsrcnn", {}), ("edsr", {"blocks": 2, "channels": 16}), ("msrresnet", {"blocks": 2})],
)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_paper_s_local_networks_tile_exactly(arch, options, scale):
    torch.manual_seed(0)
    model, lr = build(arch, scale, **options), image(37, 26)
    whole = floats(model, lr, scale)
    # More last bits than a small network's, over 64 channels; one level of 8 bits is 4e-3.
    assert_close(floats(model, lr, scale, tile=9), whole, tolerance=5e-6)


def test_tiles_of_a_global_network_are_an_approximation_said_once(caplog):
    inference._warn_once.cache_clear()
    model, lr = Global(2), image(40, 40)
    lr[:20] //= 8
    with caplog.at_level(logging.WARNING, "bspa"):
        super_resolve(model, lr, device=CPU)
        assert not caplog.records, "the whole image is no approximation"
        super_resolve(model, lr, device=CPU, tile=4, overlap=2)
        super_resolve(model, lr, device=CPU, tile=4, overlap=2)
    assert len(caplog.records) == 1
    assert "depends on the whole image" in caplog.text


def test_automatic_tiles_bound_what_the_network_sees_and_change_nothing(monkeypatch):
    seen = []

    class Watched(Exact):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.shape[2] * x.shape[3] * 4)
            return super().forward(x)

    model, lr = Watched(2), image(50, 70)
    whole = super_resolve(model, lr, device=CPU, tile="auto")
    assert seen == [50 * 70 * 4], "an image within the budget is done whole"
    monkeypatch.setattr(inference, "TILE_BUDGET", 48 * 48)
    seen.clear()
    np.testing.assert_array_equal(super_resolve(model, lr, device=CPU, tile="auto"), whole)
    assert len(seen) > 1
    assert max(seen) <= 48 * 48
    monkeypatch.setattr(inference, "TILE_BUDGET", 16 * 16)
    with pytest.raises(
        ValueError, match="auto gives tiles of 8 LR pixels a side, less than two overlaps of 4"
    ):
        super_resolve(model, lr, device=CPU, tile="auto")


def test_no_image_of_div2k_is_tiled_automatically():
    assert TILE_BUDGET >= 2040 * 2040


@pytest.mark.parametrize(
    ("value", "level"),
    [(-3.0, 0), (7.0, 255), (0.5, 128), (1.49 / 255, 1), (1.51 / 255, 2), (0.0, 0), (1.0, 255)],
)
def test_values_are_clipped_and_rounded(value, level):
    sr = super_resolve(Constant(value), image(3, 4), device=CPU)
    assert sr.dtype == np.uint8
    assert sr.shape == (6, 8, 3)
    assert (sr == level).all()


def test_the_network_sees_the_image_in_its_order_of_channels_and_pixels():
    lr = image(5, 6)
    nearest = nn.Upsample(scale_factor=2)
    nearest.scale = 2  # type: ignore[assignment]
    sr = super_resolve(nearest, lr, device=CPU)
    np.testing.assert_array_equal(sr, lr.repeat(2, axis=0).repeat(2, axis=1))


def test_it_reads_read_only_pixels_and_leaves_them_and_the_settings_alone(recwarn):
    lr = image(8, 8)
    lr.flags.writeable = False
    before = lr.copy()
    flags = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic, torch.is_grad_enabled()
    model = Local(2).train()
    super_resolve(model, lr, device=CPU)
    np.testing.assert_array_equal(lr, before)
    assert not model.training
    assert (
        torch.backends.cudnn.allow_tf32,
        torch.backends.cudnn.deterministic,
        torch.is_grad_enabled(),
    ) == flags
    assert not recwarn.list


def test_convolutions_are_full_float32_unless_asked_otherwise():
    seen = []

    class Watched(Local):
        def forward(self, x: Tensor) -> Tensor:
            seen.append((torch.backends.cudnn.allow_tf32, torch.is_autocast_enabled("cpu")))
            return super().forward(x)

    super_resolve(Watched(2), image(8, 8), device=CPU)
    super_resolve(
        Watched(2),
        image(8, 8),
        device=CPU,
        autocast=lambda: torch.autocast("cpu", torch.bfloat16),
    )
    assert seen == [(False, False), (False, True)]


def test_the_autocast_context_is_entered_for_each_tile():
    entered = []

    @contextlib.contextmanager
    def autocast():
        entered.append(1)
        yield

    super_resolve(Local(2), image(8, 8), device=CPU, tile=4, autocast=autocast)
    assert len(entered) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 0}, "tile: 0; allowed are auto"),
        ({"tile": 2.5}, "tile: 2.5"),
        ({"tile": True}, "tile: True"),
        ({"tile": "large"}, "tile: 'large'"),
        ({"tile": 4, "overlap": -1}, "overlap: -1"),
    ],
)
def test_unusable_tiles_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        super_resolve(Local(2), image(8, 8), device=CPU, **options)


@pytest.mark.parametrize("lr", [image(8, 8) / 255.0, image(8, 8)[..., 0], image(8, 8)[:0]])
def test_what_is_no_image_is_refused(lr):
    with pytest.raises(ValueError, match=r"image: .*allowed: \(h, w, 3\) of uint8"):
        super_resolve(Local(2), lr, device=CPU)


def test_a_network_of_another_scale_is_named():
    model = Local(3)
    model.scale = 2
    with pytest.raises(ValueError, match=r"Local gives \(1, 3, 12, 15\) for an image of 4x5.*for x2"):
        super_resolve(model, image(4, 5), device=CPU)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match="not finite"):
        super_resolve(Constant(value), image(4, 5), device=CPU)
