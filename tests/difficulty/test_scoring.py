from __future__ import annotations

import logging
import time
from functools import partial

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from bspa.data.crops import crop_pairs
from bspa.data.packed import PackedImages, write_packed
from bspa.data.sources import list_files, make_manifest
from bspa.difficulty.grid import Windows, grid, read_windows, write_windows
from bspa.difficulty.score_writing import write_scores
from bspa.difficulty.scores import Scores, read_scores
from bspa.difficulty.scoring import choose_batch, score_by_weights, score_on_images, score_sub_images
from bspa.models import inference
from bspa.models.registry import build
from bspa.models.weights import save_weights
from bspa.system.progress import Reporter
from tests.support.coordinates import CoordinateImages

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


def seen_whole(model, images, windows):
    """The same definition for a network that sees the whole image."""
    model = model.double().eval()
    scores = []
    for i, top, left in zip(windows.image, windows.top, windows.left, strict=True):
        with torch.no_grad():
            sr = model(torch.from_numpy(images.lr(i).transpose(2, 0, 1)[None] / 255))[0].numpy()
        error = np.clip(sr.transpose(1, 2, 0), 0, 1) - images.hr(i) / 255
        scores.append(np.mean(error[top : top + windows.size, left : left + windows.size] ** 2))
    return np.array(scores)


def calls_of(model, look):
    """Note what ``look`` finds whenever the network is called."""
    found = []
    model.register_forward_pre_hook(lambda _, inputs: found.append(look(inputs[0])))
    return found


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


def test_cropping_ahead_changes_no_bit(network, images, windows):
    windows = Windows(
        **{name: getattr(windows, name)[:21] for name in ("image", "top", "left")},
        size=windows.size, step=windows.step, threshold=windows.threshold,
    )  # fmt: skip
    expected = []
    network.eval().to(memory_format=torch.channels_last)
    for start in range(0, 21, 7):
        some = slice(start, start + 7)
        corners = windows.image[some], windows.top[some], windows.left[some]
        lr, hr = (
            torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255)
            for pixels in crop_pairs(images, *corners, windows.size)
        )
        with torch.inference_mode():
            expected += ((network(lr).clamp(0, 1) - hr) ** 2).mean(dim=(1, 2, 3)).tolist()
    # Long enough to crop over what is being looked at, if it could be.
    calls_of(network, lambda _: time.sleep(0.05))
    scores = score_sub_images(network, images, windows, batch=7, device=CPU)
    assert scores.tolist() == expected


@pytest.mark.parametrize("batch", [1, 7, 20, 1000])
def test_no_batch_is_much_smaller_than_the_others(network, images, windows, batch):
    sizes = calls_of(network, len)
    score_sub_images(network, images, windows, batch=batch, device=CPU)
    assert sum(sizes) == len(windows)
    assert len(sizes) == -(-len(windows) // batch)
    assert max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1


def test_an_automatic_batch_has_as_many_pixels_whatever_the_size():
    assert [choose_batch("auto", size, CPU) for size in (64, 128, 129, 500)] == [32, 8, 7, 1]
    assert [choose_batch("auto", size, torch.device("cuda", 0)) for size in (64, 128)] == [1024, 256]
    assert choose_batch(7, 128, CPU) == 7


def test_a_network_that_sees_whole_images(network, images, windows):
    scores = score_on_images(network, images, windows, device=CPU)
    alone = score_sub_images(network, images, windows, batch=7, device=CPU)
    expected = seen_whole(network, images, windows)
    assert scores.dtype == np.float32
    errors = np.abs(scores - expected) / expected
    assert errors.max() < 2e-6, f"relative errors: {np.quantile(errors, [0, 0.5, 0.9, 1])}"
    # Where the sub-image is the image it makes no difference.
    same = np.abs(scores - alone) / alone < 1e-5
    assert same[windows.image == 1].all()
    assert not same.all()


def test_every_image_is_computed_once(network, images, windows):
    shapes = calls_of(network, lambda x: tuple(x.shape[2:]))
    score_on_images(network, images, windows, device=CPU)
    assert shapes == [lr.shape[:2] for lr in map(images.lr, range(3))]


def test_tiles_give_the_scores_of_whole_images(images, windows, monkeypatch):
    torch.manual_seed(0)
    model = build("msrresnet", 2, blocks=1, channels=4)
    whole = score_on_images(model, images, windows, device=CPU)
    areas = calls_of(model, lambda x: x.shape[2] * x.shape[3])
    monkeypatch.setattr(inference, "TILE_BUDGET", 26**2)
    scores = score_on_images(model, images, windows, device=CPU)
    assert len(areas) > 3
    np.testing.assert_allclose(scores, whole, rtol=2e-6)


@pytest.mark.parametrize("score", [partial(score_sub_images, batch=7), score_on_images])
def test_the_precision_is_that_of_the_network_alone(network, images, windows, score):
    def arithmetic(_):
        return torch.backends.cudnn.allow_tf32, torch.is_autocast_enabled("cpu")

    before = arithmetic(None)
    found = calls_of(network, arithmetic)
    exact = score(network, images, windows, device=CPU)
    assert set(found) == {(False, False)}
    found.clear()
    tf32 = score(network, images, windows, device=CPU, precision="tf32")
    assert set(found) == {(True, False)}
    assert np.array_equal(tf32, exact)  # a CPU has none
    found.clear()
    reduced = score(network, images, windows, device=CPU, precision="bfloat16")
    assert set(found) == {(False, True)}
    errors = np.abs(reduced - exact) / exact
    assert 1e-5 < errors.max() < 0.05, f"relative errors: {np.quantile(errors, [0, 0.5, 0.9, 1])}"
    assert arithmetic(None) == before


@pytest.mark.parametrize("score", [partial(score_sub_images, batch=7), score_on_images])
def test_an_unknown_precision_is_refused(network, images, windows, score):
    with pytest.raises(ValueError, match="precision is 'float16'; allowed are float32, tf32, bfloat16"):
        score(network, images, windows, device=CPU, precision="float16")


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


@pytest.fixture
def files(tmp_path):
    """What `score_by_weights` reads, and the network and images in it."""
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for name, (width, height) in {"a": (40, 32), "b": (32, 32)}.items():
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(
            tmp_path / f"photos/{name}.png"
        )
    write_packed(make_manifest(list_files("folder", path=tmp_path / "photos")), tmp_path / "x2.h5", scale=2)
    images = PackedImages(tmp_path / "x2.h5")
    write_windows(tmp_path / "windows.h5", images.hr_shapes, size=16, step=8, threshold=2, scale=2)
    torch.manual_seed(0)
    model = build("msrresnet", 2, blocks=1, channels=4)
    save_weights(tmp_path / "weights.safetensors", model.state_dict(), {})
    arguments = {
        "weights": tmp_path / "weights.safetensors",
        "network": {"arch": "msrresnet", "options": {"blocks": 1, "channels": 4}},
        "packed": tmp_path / "x2.h5", "windows": tmp_path / "windows.h5",
        "scale": 2, "batch": "auto", "device": CPU,
    }  # fmt: skip
    return arguments, model, images, read_windows(tmp_path / "windows.h5")


def test_scores_are_exact_unless_asked_otherwise_and_say_what_they_are(files):
    arguments, model, images, grid = files
    exact = score_by_weights(**arguments)
    assert (exact.precision, exact.sees) == ("float32", "sub_images")
    np.testing.assert_allclose(exact.mse, one_by_one(model, images, grid), rtol=2e-6)
    quick = score_by_weights(**arguments, sees="images", precision="bfloat16")
    assert (quick.precision, quick.sees) == ("bfloat16", "images")
    expected = score_on_images(model, images, grid, device=CPU, precision="bfloat16")
    assert quick.mse.tolist() == expected.tolist()


def test_an_unknown_sight_is_refused(files):
    with pytest.raises(ValueError, match="sees is 'photos'; allowed are sub_images, images"):
        score_by_weights(**files[0], sees="photos")


def test_progress_tells_rate_and_time_left(caplog, monkeypatch):
    clock = iter([0.0, 2.0, 10.0, 12.0, 40.0])
    monkeypatch.setattr("bspa.system.progress.time.monotonic", lambda: next(clock))
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
        precision="bfloat16",
        sees="images",
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
                file.attrs["format_version"] = 1
            else:
                del file["top"]
    with pytest.raises(ValueError, match=r"cannot use .*scores\.h5 \(.*let score_difficulty make it again"):
        read_scores(path)


def test_missing_scores_are_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_scores(tmp_path / "scores.h5")
