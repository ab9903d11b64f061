"""Super-resolving an image: tiles equal the whole image, values are rounded, mistakes are named."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from bspa.models import inference
from bspa.models.inference import spans, super_resolve
from tests.support.noise import noise


class Local(nn.Module):
    """Convolutions of 5 and 3 LR pixels and one of 3 HR pixels: 2 + 1 + 1 LR pixels around each pixel.

    Its values are whole numbers far below 2^24, which float32 sums exactly in any order, on any machine.
    """

    receptive_radius: int | None = 4

    def __init__(self, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale
        self.seen: list[tuple[int, int]] = []
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(8, 8 * scale**2, 3, padding=1),
            nn.PixelShuffle(scale),
            nn.Conv2d(8, 3, 3, padding=1),
        )
        generator = torch.Generator().manual_seed(scale)
        for parameter in self.parameters():
            parameter.data = torch.randint(-1, 2, parameter.shape, generator=generator).float()

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append((x.shape[2], x.shape[3]))
        return self.layers((255 * x).round()) / 2**18 + 0.5


class Global(Local):
    receptive_radius = None

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * (0.5 + x.mean(dim=(2, 3), keepdim=True)))


class Constant(nn.Module):
    """Gives one value everywhere."""

    scale = 2

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return self.value.expand(n, c, 2 * h, 2 * w)


@given(length=st.integers(1, 300), tile=st.integers(1, 320), overlap=st.integers(0, 50))
@settings(max_examples=30)
def test_spans_cover_each_pixel_once_and_see_the_overlap(length: int, tile: int, overlap: int) -> None:
    parts = spans(length, tile, overlap)
    assert [pixel for part, _ in parts for pixel in range(part.start, part.stop)] == list(range(length))
    assert len(parts) == -(-length // tile)
    for part, seen in parts:
        assert part.stop - part.start <= tile
        assert seen == slice(max(0, part.start - overlap), min(length, part.stop + overlap))


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("height", "width", "tile"), [(23, 31, 8), (9, 7, 1), (5, 90, 30), (11, 12, 64)])
def test_tiles_give_what_the_whole_image_gives(scale: int, height: int, width: int, tile: int) -> None:
    model, image = Local(scale), noise(height, width)
    whole = super_resolve(model, image, tile=None)
    assert len(np.unique(whole)) > 50, "a nearly constant image would prove little"
    np.testing.assert_array_equal(super_resolve(model, image, tile=tile), whole)


@pytest.mark.parametrize(
    ("model", "overlap", "reach"),
    [(Local(), 3, "4 LR pixels around it"), (Global(), 2, "the whole image")],
    ids=["one pixel less", "a global network"],
)
def test_an_overlap_that_does_not_suffice_is_said_once(
    model: Local, overlap: int, reach: str, caplog: pytest.LogCaptureFixture
) -> None:
    inference._warn_once.cache_clear()
    image = noise(40, 40)
    whole = super_resolve(model, image)
    assert not caplog.records
    for _ in range(2):
        assert (super_resolve(model, image, tile=10, overlap=overlap) != whole).any()
    (record,) = caplog.records
    assert record.args == (type(model).__name__, overlap, reach)


def test_automatic_tiles_bound_what_the_network_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    model, image = Local(), noise(50, 70)
    whole = super_resolve(model, image)
    assert model.seen == [(50, 70)], "an image within the budget is done whole"
    monkeypatch.setattr(inference, "TILE_BUDGET", 48 * 48)
    model.seen.clear()
    np.testing.assert_array_equal(super_resolve(model, image), whole)
    assert len(model.seen) > 1
    # No layer of it holds as many values for an output pixel as 64 channels, so its tiles are larger.
    assert 48 * 48 < max(4 * height * width for height, width in model.seen) <= 4 * 48 * 48
    monkeypatch.setattr(inference, "TILE_BUDGET", 8 * 8)
    with pytest.raises(ValueError, match=r"overlap: 4 .* 8"):
        super_resolve(model, image)


@pytest.mark.parametrize(
    ("value", "level"), [(-3.0, 0), (7.0, 255), (0.5, 128), (1.49 / 255, 1), (1.51 / 255, 2), (1.0, 255)]
)
def test_values_are_clipped_and_rounded(value: float, level: int) -> None:
    sr = super_resolve(Constant(value), noise(3, 4))
    assert sr.dtype == np.uint8
    assert sr.shape == (6, 8, 3)
    assert (sr == level).all()


def test_the_network_sees_the_image_in_its_order_of_channels_and_pixels() -> None:
    nearest, image = nn.Upsample(scale_factor=2), noise(5, 6)
    nearest.scale = 2  # type: ignore[assignment]
    sr = super_resolve(nearest, image, device="cpu")
    np.testing.assert_array_equal(sr, image.repeat(2, axis=0).repeat(2, axis=1))


def test_read_only_pixels_and_torchs_settings_stay_as_they_are(recwarn: pytest.WarningsRecorder) -> None:
    def flags() -> tuple[bool, ...]:
        cudnn = torch.backends.cudnn
        return cudnn.allow_tf32, cudnn.deterministic, torch.is_grad_enabled()

    image = noise(8, 8)
    image.flags.writeable = False
    model, before = Local().train(), flags()
    super_resolve(model, image)
    np.testing.assert_array_equal(image, noise(8, 8))
    assert not model.training
    assert flags() == before
    assert not recwarn.list


def test_float32_unless_autocast_is_given_for_each_tile() -> None:
    seen, entered = [], []

    class Watched(Local):
        def forward(self, x: Tensor) -> Tensor:
            seen.append((torch.backends.cudnn.allow_tf32, torch.is_autocast_enabled("cpu")))
            return super().forward(x)

    @contextlib.contextmanager
    def autocast() -> Iterator[None]:
        entered.append(1)
        with torch.autocast("cpu", torch.bfloat16):
            yield

    super_resolve(Watched(), noise(8, 8))
    super_resolve(Watched(), noise(8, 8), tile=4, autocast=autocast)
    assert seen == [(False, False)] + [(False, True)] * 4
    assert len(entered) == 4


@pytest.mark.parametrize(
    ("key", "value"),
    [("tile", 0), ("tile", 2.5), ("tile", True), ("tile", "large"), ("overlap", -1), ("overlap", 1.0)],
)
def test_unusable_tiles_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{key}: {value!r}; allowed: ")):
        super_resolve(Local(), noise(8, 8), **{key: value})


@pytest.mark.parametrize("image", [noise(8, 8) / 255.0, noise(8, 8)[..., 0], noise(8, 8)[:0]])
def test_what_is_no_image_is_refused(image: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match=re.escape(f"image: {image.dtype} of shape {image.shape}; allowed")):
        super_resolve(Local(), image)


def test_a_wrong_output_is_refused() -> None:
    model = Local(3)
    model.scale = 2
    with pytest.raises(ValueError, match=r"Local.*\(1, 3, 12, 15\).*x2.*\(1, 3, 8, 10\)"):
        super_resolve(model, noise(4, 5))
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match=r"Constant.*not finite"):
            super_resolve(Constant(value), noise(4, 5))
