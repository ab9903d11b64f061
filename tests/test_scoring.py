from __future__ import annotations

import logging

import h5py
import numpy as np
import pytest
import torch
from coordinates import CoordinateImages
from torch import nn

from bspa.reporting import Reporter
from bspa.scores import Scores, read_scores, write_scores
from bspa.scoring import score_sub_images
from bspa.sub_images import Windows, grid

CPU = torch.device("cpu")


class Photos(CoordinateImages):
    """Noise over a ramp, so that no two sub-images are equally hard."""

    def __init__(self, *shapes, scale=2):
        super().__init__(*shapes, scale=scale)
        rng = np.random.default_rng(0)
        self._hr = [
            (rng.integers(0, 256, (h, w, 3)) * np.linspace(0, 1, w)[:, None]).astype(np.uint8)
            for h, w in shapes
        ]
        self._lr = [np.ascontiguousarray(image[::scale, ::scale]) for image in self._hr]

    def hr(self, i):
        return self._hr[i]

    def lr(self, i):
        return self._lr[i]


class Network(nn.Module):
    """Small, with an output well beyond [0, 1] on both sides, and other in training mode."""

    def __init__(self, scale=2):
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3, padding=1)
        self.drop = nn.Dropout(0.5)
        self.tail = nn.Conv2d(8, 3 * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x):
        return 0.5 + 3 * self.shuffle(self.tail(self.drop(torch.relu(self.body(x)))))


def windows_over(images, *, size=12, step=8, threshold=2):
    grids = [grid(h, w, size=size, step=step, threshold=threshold) for h, w in images.hr_shapes]
    top, left = np.concatenate(grids).T.astype(np.int32)
    image = np.repeat(np.arange(len(grids)), [len(g) for g in grids]).astype(np.int32)
    return Windows(image=image, top=top, left=left, size=size, step=step, threshold=threshold)


def one_by_one(model, images, windows):
    """The definition, in float64 and with no batches."""
    model = model.double().eval()
    size, scale = windows.size, images.scale
    scores = []
    for i, top, left in zip(windows.image, windows.top, windows.left, strict=True):
        y, x, p = top // scale, left // scale, size // scale
        lr = images.lr(i)[y : y + p, x : x + p] / 255
        hr = images.hr(i)[top : top + size, left : left + size] / 255
        with torch.no_grad():
            sr = model(torch.from_numpy(lr.transpose(2, 0, 1))[None])[0].numpy().transpose(1, 2, 0)
        scores.append(np.mean((np.clip(sr, 0, 1) - hr) ** 2))
    return np.array(scores)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Network()


@pytest.fixture(scope="module")
def images():
    return Photos((40, 28), (12, 12), (20, 34), scale=2)


@pytest.fixture(scope="module")
def windows(images):
    return windows_over(images)


def test_scores_are_the_mean_square_errors_of_the_clipped_output(network, images, windows):
    scores = score_sub_images(network, images, windows, batch=7, device=CPU)
    expected = one_by_one(network, images, windows)
    assert scores.dtype == np.float32
    errors = np.abs(scores - expected) / expected
    # Rounding the output to 255 levels would change them by some 1e-5.
    assert errors.max() < 2e-6, f"relative errors: {np.quantile(errors, [0, 0.5, 0.9, 1])}"
    assert len(np.unique(scores)) == len(scores) > 20


def test_the_network_clips(network, images, windows):
    lr = torch.from_numpy(images.lr(0)).permute(2, 0, 1)[None] / 255
    output = network.eval()(lr)
    assert output.min() < 0
    assert output.max() > 1


@pytest.mark.parametrize("batch", [1, 3, 10_000])
def test_scores_do_not_depend_on_the_batch(network, images, windows, batch):
    expected = score_sub_images(network, images, windows, batch=7, device=CPU)
    scores = score_sub_images(network, images, windows, batch=batch, device=CPU)
    np.testing.assert_allclose(scores, expected, rtol=2e-6)


def test_a_gpu_computes_the_same(network, images, windows):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    scores = score_sub_images(network, images, windows, batch=7, device=torch.device("cuda"))
    expected = one_by_one(network.cpu(), images, windows)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_the_images_are_read_once_and_in_order(network, windows):
    images = Photos((40, 28), (12, 12), (20, 34), scale=2)
    read = []
    hr = images.hr
    images.hr = lambda i: read.append(i) or hr(i)
    score_sub_images(network, images, windows, batch=1000, device=CPU)
    assert read == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": [0, 3]}, "a window is on image 3 of 3 images"),
        ({"image": [-1, 0]}, "a window is on image -1 of 3 images"),
        (
            {"top": [0, 30]},
            r"window 1 \(12x12 HR pixels at top 30, left 0\) does not fit image photo0 \(28x40",
        ),
        ({"left": [18, 0]}, "window 0 .* does not fit"),
        ({"left": [0, -2]}, "window 1 .* does not fit"),
        ({"left": [0, 3]}, "window 1 .* does not fit"),
        ({"size": 11}, "windows of 11 HR pixels do not divide by the scale, 2"),
    ],
)
def test_windows_of_another_source_are_refused(network, images, change, message):
    fields = {"image": [0, 0], "top": [0, 0], "left": [0, 0], "size": 12} | change
    arrays = {name: np.array(fields.pop(name), np.int32) for name in ("image", "top", "left")}
    with pytest.raises(ValueError, match=message):
        score_sub_images(
            network, images, Windows(**arrays, **fields, step=8, threshold=2), batch=4, device=CPU
        )


def test_a_network_that_gives_nan_is_refused(network, images, windows):
    with torch.no_grad():
        network.tail.bias[0] = torch.nan
    with pytest.raises(ValueError, match=r"NaN for \d+ of \d+ sub-images, first on image photo0"):
        score_sub_images(network, images, windows, batch=4, device=CPU)


def test_no_batch_is_refused(network, images, windows):
    with pytest.raises(ValueError, match="batch is 0"):
        score_sub_images(network, images, windows, batch=0, device=CPU)


def test_progress_tells_rate_and_time_left(caplog, monkeypatch):
    clock = iter([0.0, 2.0, 10.0, 12.0, 40.0])
    monkeypatch.setattr("bspa.reporting.time.monotonic", lambda: next(clock))
    caplog.set_level(logging.INFO, "bspa")
    reporter = Reporter("sub-images scored", 4000)
    for done in (200, 1000, 1200, 4000):
        reporter.report(done)
    assert caplog.messages == [
        "1000 of 4000 sub-images scored, 100.0/s, 0:00:30 left",
        "4000 of 4000 sub-images scored, 100.0/s",
    ]


def make_scores():
    rng = np.random.default_rng(0)
    image, top, left = rng.integers(0, 1000, (3, 50)).astype(np.int32)
    return Scores(
        mse=rng.random(50, np.float32),
        image=image,
        top=top,
        left=left,
        size=128,
        step=64,
        threshold=48,
        scale=4,
        reference_sha256="f" * 64,
    )


def test_scores_read_back_as_written(tmp_path):
    scores = make_scores()
    write_scores(tmp_path / "scores.h5", scores)
    again = read_scores(tmp_path / "scores.h5")
    assert len(again) == 50
    for name in Scores.__slots__:
        written, read = getattr(scores, name), getattr(again, name)
        assert np.array_equal(written, read), name
        assert np.asarray(written).dtype == np.asarray(read).dtype, name


def test_equal_scores_make_equal_files(tmp_path):
    write_scores(tmp_path / "a.h5", make_scores())
    write_scores(tmp_path / "b.h5", make_scores())
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.parametrize("damage", ["truncated", "text", "version", "column"])
def test_damaged_scores_are_refused(tmp_path, damage):
    path = tmp_path / "scores.h5"
    write_scores(path, make_scores())
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "text":
        path.write_text("k,N_k,t_k,P_k\n")
    else:
        with h5py.File(path, "r+") as file:
            if damage == "version":
                file.attrs["format_version"] = 2
            else:
                del file["top"]
    with pytest.raises(ValueError, match=r"cannot use .*scores\.h5 \(.*let score_difficulty make it again"):
        read_scores(path)


def test_missing_scores_are_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_scores(tmp_path / "scores.h5")
