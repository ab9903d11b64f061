from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bspa.data.crops import crop_pairs
from bspa.difficulty.score_writing import write_scores
from bspa.difficulty.scores import Scores, read_scores
from bspa.difficulty.scoring import choose_batch, score_sub_images
from bspa.difficulty.windows import Windows
from bspa.metrics.luma import to_y
from bspa.models.precision import Precision
from tests.support.coordinates import CoordinateImages
from tests.support.scores import made_up_scores, windows_over

CPU = torch.device("cpu")
FLOAT32, BFLOAT16 = Precision("float32", "cpu"), Precision("bfloat16", "cpu")


class Photos(CoordinateImages):
    """Noise over a ramp, so that no two sub-images are equally hard."""

    def __init__(self, *shapes: tuple[int, int], scale: int = 2):
        super().__init__(*shapes, scale=scale)
        rng = np.random.default_rng(0)
        ramps = [np.linspace(0, 1, width)[:, None] for _, width in shapes]
        self._hr = [
            (rng.integers(0, 256, (*shape, 3)) * ramp).astype(np.uint8)
            for shape, ramp in zip(shapes, ramps, strict=True)
        ]
        self._lr = [np.ascontiguousarray(image[::scale, ::scale]) for image in self._hr]

    def hr(self, i: int) -> NDArray[np.uint8]:
        return self._hr[i]

    def lr(self, i: int) -> NDArray[np.uint8]:
        return self._lr[i]


class Network(nn.Module):
    """Small, with an output well beyond [0, 1] on both sides, and other in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3, padding=1)
        self.drop = nn.Dropout(0.5)
        self.tail = nn.Conv2d(8, 12, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 + 3 * self.shuffle(self.tail(self.drop(torch.relu(self.body(x)))))


def score_both(network: nn.Module, images: Any, windows: Windows, **changes: Any) -> Any:
    options = {"border": 0, "batch": 7, "device": CPU, "precision": FLOAT32, **changes}
    return score_sub_images(network, images, windows, **options)


def score(network: nn.Module, images: Any, windows: Windows, **changes: Any) -> NDArray[np.float32]:
    return score_both(network, images, windows, **changes)[0]


def one_by_one(model: nn.Module, images: Any, windows: Windows, border: int = 0) -> NDArray[np.float64]:
    """The definition, (2, N) on RGB and on Y, in float64 and with no batches."""
    model = model.double().eval()
    scores = []
    for n in range(len(windows)):
        some = slice(n, n + 1)
        corners = windows.image[some], windows.top[some], windows.left[some]
        lr, hr = (pixels / 255 for pixels in crop_pairs(images, *corners, windows.size))
        with torch.no_grad():
            sr = model(torch.from_numpy(lr).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
        inner = slice(border, windows.size - border)
        sr, hr = (pixels[0, inner, inner] for pixels in (np.clip(sr, 0, 1), hr))
        luma = (to_y(sr * 255) - to_y(hr * 255)) / 255
        scores.append([np.mean((sr - hr) ** 2), np.mean(luma**2)])
    return np.array(scores).T


def calls_of(model: nn.Module, look: Callable[[Tensor], Any]) -> list[Any]:
    """Note what ``look`` finds whenever the network is called."""
    found: list[Any] = []
    model.register_forward_pre_hook(lambda _, inputs: found.append(look(inputs[0])))
    return found


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return Network()


@pytest.fixture
def images() -> Photos:
    return Photos((40, 28), (12, 12), (20, 34))


@pytest.fixture
def windows(images: Photos) -> Windows:
    return windows_over(images, size=12, step=8, threshold=2)


@pytest.mark.parametrize("border", [0, 2])
def test_scores_are_the_mean_square_errors_of_the_clipped_output(
    network: Network, images: Photos, windows: Windows, border: int
) -> None:
    outputs: list[Tensor] = []
    hook = network.register_forward_hook(lambda *call: outputs.append(call[2].clone()))
    scores = np.array(score_both(network, images, windows, border=border))
    hook.remove()
    assert torch.cat(outputs).min() < 0
    assert torch.cat(outputs).max() > 1
    expected = one_by_one(network, images, windows, border)
    assert scores.dtype == np.float32
    errors = np.abs(scores - expected) / expected
    # Rounding the output to 255 levels would change them by some 1e-5.
    assert errors.max() < 2e-6, f"relative errors: {np.quantile(errors, [0, 0.5, 0.9, 1])}"
    assert len(np.unique(scores)) == scores.size > 40


@pytest.mark.parametrize("batch", [1, 20, 10_000, "auto"])
def test_batches_are_even_and_do_not_change_the_scores(
    network: Network, images: Photos, windows: Windows, batch: Any
) -> None:
    expected = score(network, images, windows)
    sizes = calls_of(network, len)
    np.testing.assert_allclose(score(network, images, windows, batch=batch), expected, rtol=2e-6)
    assert sum(sizes) == len(windows)
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == -(-len(windows) // choose_batch(batch, windows.size, CPU))


def test_cropping_ahead_changes_no_bit(network: Network, images: Photos, windows: Windows) -> None:
    columns = {name: getattr(windows, name)[:21] for name in ("image", "top", "left")}
    windows = replace(windows, **columns)
    expected: list[float] = []
    network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for start in range(0, 21, 7):
        some = slice(start, start + 7)
        corners = windows.image[some], windows.top[some], windows.left[some]
        lr, hr = (
            torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255)
            for pixels in crop_pairs(images, *corners, windows.size)
        )
        with torch.inference_mode():
            expected += ((network(lr).clamp(0, 1) - hr) ** 2).mean(dim=(1, 2, 3)).tolist()
    # Slow enough for the next batch to be cropped over this one, were there a fault.
    calls_of(network, lambda _: time.sleep(0.05))
    assert score(network, images, windows).tolist() == expected


def test_an_automatic_batch_has_as_many_pixels_whatever_the_size() -> None:
    assert [choose_batch("auto", size, CPU) for size in (64, 128, 129, 500)] == [32, 8, 7, 1]
    assert [choose_batch("auto", size, torch.device("cuda", 0)) for size in (64, 128)] == [1024, 256]
    assert choose_batch(7, 128, CPU) == 7


def test_the_precision_is_that_of_the_network_alone(
    network: Network, images: Photos, windows: Windows
) -> None:
    def arithmetic(_: object) -> tuple[bool, bool]:
        return torch.backends.cudnn.allow_tf32, torch.is_autocast_enabled("cpu")

    before = arithmetic(None)
    found = calls_of(network, arithmetic)
    exact = score(network, images, windows)
    assert set(found) == {(False, False)}
    found.clear()
    reduced = score(network, images, windows, precision=BFLOAT16)
    assert set(found) == {(False, True)}
    errors = np.abs(reduced - exact) / exact
    assert 1e-5 < errors.max() < 0.05, f"relative errors: {np.quantile(errors, [0, 0.5, 0.9, 1])}"
    assert arithmetic(None) == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_computes_the_same(network: Network, images: Photos, windows: Windows) -> None:
    gpu = torch.device("cuda")
    scores = score_both(network, images, windows, device=gpu, precision=Precision("float32", "cuda"))
    np.testing.assert_allclose(scores, one_by_one(network.cpu(), images, windows), rtol=1e-5)


def test_windows_of_another_source_are_refused(network: Network, images: Photos, windows: Windows) -> None:
    with pytest.raises(ValueError, match=r"window 0 \(12x12 .* top 30, .* photo0 .* crop_sub_images"):
        score(network, images, replace(windows, top=windows.top + np.int32(30)))


def test_a_network_that_gives_nan_is_refused(network: Network, images: Photos, windows: Windows) -> None:
    with torch.no_grad():
        network.tail.bias[0] = torch.nan  # type: ignore[index]
    with pytest.raises(ValueError, match=rf"NaN for {len(windows)} of {len(windows)} .* photo0"):
        score(network, images, windows)


def test_scores_read_back_as_written(tmp_path: Path) -> None:
    path = tmp_path / "scores.h5"
    scores = made_up_scores(CoordinateImages((60, 48), (36, 99), scale=3), size=12, step=6)
    scores = replace(scores, precision="bfloat16")
    network: Any = {name: getattr(scores, name) for name in ("scale", "reference_sha256", "precision")}
    write_scores(path, scores.mse, scores.mse_y, scores, **network, key="k")
    again = read_scores(path)
    for name in Scores.__dataclass_fields__:
        written, read = getattr(scores, name), getattr(again, name)
        assert np.array_equal(written, read), name
        assert np.asarray(written).dtype == np.asarray(read).dtype, name
    with h5py.File(path, "r+") as file:
        assert file.attrs["key"] == "k"
        del file["top"]
    with pytest.raises(ValueError, match=r"scores\.h5.*score_difficulty"):
        read_scores(path)
