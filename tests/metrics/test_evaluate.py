"""Scores of a benchmark's images, and the scripts that write them."""

from __future__ import annotations

import hashlib
import logging
import math
import runpy
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bspa.data.resize import imresize
from bspa.metrics.evaluate import evaluate
from bspa.metrics.niqe import niqe
from bspa.metrics.perceptual import evaluate_perceptual
from bspa.metrics.psnr import psnr_y
from bspa.metrics.ssim import ssim_y
from bspa.models.inference import super_resolve
from bspa.models.weights import load_model
from tests.support.networks import deliver
from tests.support.noise import noise, pack_noise
from tests.support.pristine import write_model

SCRIPTS = Path(__file__).parents[2] / "workflow_scripts"
Distance = Callable[..., float]

# Bicubic interpolation in the papers' tables (RCAN's and before): Y alone, in double precision.
PUBLISHED = {
    ("Set5", 2): (33.66, 0.9299),
    ("Set5", 3): (30.39, 0.8682),
    ("Set5", 4): (28.42, 0.8104),
    ("Set14", 2): (30.24, 0.8688),
    ("Set14", 3): (27.55, 0.7742),
    ("Set14", 4): (26.00, 0.7027),
}


class Pairs:
    """HR and LR images in memory."""

    def __init__(self, scale: int, pairs: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
        self.scale, self.ids, self.pairs = scale, list(pairs), list(pairs.values())

    def __len__(self) -> int:
        return len(self.pairs)

    def hr(self, index: int) -> np.ndarray:
        return self.pairs[index][0]

    def lr(self, index: int) -> np.ndarray:
        return self.pairs[index][1]


def enlarge(lr: np.ndarray) -> np.ndarray:
    return lr.repeat(2, axis=0).repeat(2, axis=1)


def in_vain(lr: np.ndarray) -> np.ndarray:
    raise AssertionError("an image is enlarged in vain")


@pytest.fixture
def large() -> Pairs:
    pairs = {
        "b": (noise(104, 200, 0), noise(52, 100, 5)),
        "a": (noise(104, 200, 1), noise(52, 100, 6)),
    }
    return Pairs(2, pairs)


@pytest.fixture
def pristine(tmp_path: Path) -> Path:
    return write_model(tmp_path / "pristine.npz")


@pytest.fixture
def stand_in_lpips(monkeypatch: pytest.MonkeyPatch) -> Distance:
    """LPIPS without its network: a distance that tells the two images and the border apart."""

    def distance(sr: np.ndarray, hr: np.ndarray, border: int, device: str) -> float:
        assert device == "cpu"
        return float(sr[border:-border].mean() - 2 * hr[border:-border].mean())

    monkeypatch.setattr("bspa.metrics.perceptual.load_lpips", lambda device: None)
    monkeypatch.setattr("bspa.metrics.perceptual.lpips_alex", distance)
    return distance


def test_one_row_of_scores_for_each_image(caplog: pytest.LogCaptureFixture) -> None:
    lr, hr = noise(10, 14, 0), noise(20, 28, 1)
    sr = enlarge(lr)
    with caplog.at_level(logging.INFO, "bspa"):
        scores = evaluate(enlarge, Pairs(2, {"b": (hr, lr), "a": (sr, lr)}))
    assert list(scores.columns) == ["image", "width", "height", "psnr", "ssim"]
    expected = [["b", 28, 20, psnr_y(sr, hr, 2), ssim_y(sr, hr, 2)], ["a", 28, 20, math.inf, 1.0]]
    assert scores.values.tolist() == expected
    assert "2 pixels cut from each border" in caplog.text


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ({"small": (noise(12, 12), noise(6, 6))}, "image small: .* 11x11"),
        ({"other": (noise(30, 30), noise(10, 10))}, "image other: sr is 20x20, hr is 30x30"),
        ({}, "no images"),
    ],
)
def test_an_image_that_cannot_be_scored_is_named(pairs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(enlarge, Pairs(2, pairs))


def test_perceptual_scores_of_each_image(large: Pairs, pristine: Path, stand_in_lpips: Distance) -> None:
    scores = evaluate_perceptual(enlarge, large, niqe_model=pristine, lpips="cpu")
    expected = [
        (name, niqe(enlarge(lr), 2, pristine), stand_in_lpips(enlarge(lr), hr, 2, "cpu"))
        for name, (hr, lr) in zip(large.ids, large.pairs, strict=True)
    ]
    assert list(scores.itertuples(index=False, name=None)) == expected


@pytest.mark.usefixtures("stand_in_lpips")
@pytest.mark.parametrize(("with_niqe", "lpips"), [(True, None), (False, "cpu"), (False, None)])
def test_a_score_that_is_not_asked_for_stays_empty(
    large: Pairs, pristine: Path, with_niqe: bool, lpips: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    nothing = not with_niqe and lpips is None
    upscale = in_vain if nothing else enlarge
    scores = evaluate_perceptual(upscale, large, niqe_model=pristine if with_niqe else None, lpips=lpips)
    assert scores.notna().values.tolist() == [[True, with_niqe, lpips is not None]] * 2
    assert ("perceptual: niqe:" in caplog.text) == nothing == bool(caplog.records)


def test_an_image_too_small_or_too_flat_is_nan_with_a_warning(
    pristine: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flat = np.full((52, 100, 3), 80, np.uint8)
    pairs = {
        "small": (noise(104, 194), noise(52, 97, 1)),
        "flat": (enlarge(flat), flat),
        "good": (noise(104, 200), noise(52, 100, 1)),
    }
    scores = evaluate_perceptual(enlarge, Pairs(2, pairs), niqe_model=pristine, lpips=None)
    assert scores["niqe"].notna().tolist() == [False, False, True]
    for record, name in zip(caplog.records, ("small", "flat"), strict=True):
        assert f"image {name}: too small or too flat for NIQE; scored as NaN" in record.getMessage()


def test_a_wrong_pristine_model_is_refused_first(large: Pairs, tmp_path: Path) -> None:
    wrong = write_model(tmp_path / "wrong.npz", gaussian_window=None)
    with pytest.raises(ValueError, match=r"wrong\.npz: .*gaussian_window"):
        evaluate_perceptual(in_vain, large, niqe_model=wrong, lpips=None)


@pytest.mark.parametrize(("benchmark", "scale"), PUBLISHED)
def test_bicubic_is_within_0_02_db_of_the_papers(data: Path, benchmark: str, scale: int) -> None:
    def read(path: Path) -> np.ndarray:
        return np.asarray(Image.open(path).convert("RGB"))

    pairs = {
        hr.stem: (read(hr), read(hr.with_name(hr.name.replace("HR", "LR"))))
        for hr in sorted((data / "benchmarks" / benchmark / f"x{scale}").glob("*_HR.png"))
    }
    scores = evaluate(partial(imresize, scale=scale), Pairs(scale, pairs))
    psnr, ssim = PUBLISHED[benchmark, scale]
    if benchmark == "Set14":  # The papers score its gray image on 256 levels.
        psnr += 20 * math.log10(255 / 219) / len(pairs)
    assert scores["psnr"].mean() == pytest.approx(psnr, abs=0.02)
    assert scores["ssim"].mean() == pytest.approx(ssim, abs=0.0025)


# ---- scripts; the golden run proves those of PSNR and SSIM ---------------------------------------------


class Files(SimpleNamespace):
    """Named files, some of which may be missing, as Snakemake gives them."""

    def get(self, name: str) -> str | None:
        return getattr(self, name, None)


@pytest.mark.usefixtures("stand_in_lpips")
@pytest.mark.parametrize("lpips", [False, True])
@pytest.mark.parametrize("name", ["evaluate_perceptual", "evaluate_perceptual_bicubic"])
def test_perceptual_scripts(
    pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, lpips: bool
) -> None:
    packed = pack_noise(tmp_path, (101, 198), (60, 80), scale=2)
    weights = deliver(tmp_path / "fsrcnn.safetensors", "fsrcnn", 2)
    asked: list[str] = []
    monkeypatch.setattr("bspa.system.devices.choose_device", lambda device: asked.append(device) or "cpu")
    settings = {"lpips": lpips, "tile": "auto", "scale": 2, "border": "symmetric"}
    job = SimpleNamespace(
        threads=1,
        input=Files(packed=tmp_path / "x2.h5", weights=weights, niqe=pristine),
        output=[str(tmp_path / "out" / "a.csv")],
        params=SimpleNamespace(settings=settings, key="0a1b", compute={"device": "configured"}),
    )
    runpy.run_path(str(SCRIPTS / f"{name}.py"))["main"](job)
    bicubic = name.endswith("bicubic")
    network = partial(super_resolve, load_model(weights))
    upscale = partial(imresize, scale=2, border="symmetric") if bicubic else network
    expected = evaluate_perceptual(upscale, packed, niqe_model=pristine, lpips="cpu" if lpips else None)
    assert expected.notna().values.tolist() == [[True, True, lpips], [True, False, lpips]]
    pd.testing.assert_frame_equal(pd.read_csv(job.output[0]), expected.assign(key="0a1b"), rtol=1e-15)
    assert asked == (["configured"] if lpips or not bicubic else [])


def test_bicubic_needs_no_torch() -> None:
    code = (
        "import runpy, sys; [runpy.run_path(path) for path in sys.argv[1:]]; sys.exit('torch' in sys.modules)"
    )
    paths = [SCRIPTS / f"{name}.py" for name in ("evaluate_bicubic", "evaluate_perceptual_bicubic", "table")]
    subprocess.run([sys.executable, "-c", code, *paths], check=True, timeout=120)


def fetch_model(file: Path, sha256: str | None, tmp_path: Path) -> Path:
    output = tmp_path / "results" / "niqe_model.npz"
    settings = {"file": str(file), "sha256": sha256}
    job = SimpleNamespace(output=[str(output)], params=SimpleNamespace(settings=settings))
    runpy.run_path(str(SCRIPTS / "fetch_niqe_model.py"))["main"](job)
    return output


def test_fetch_niqe_model(pristine: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    digest = hashlib.sha256(pristine.read_bytes()).hexdigest()
    with caplog.at_level(logging.INFO, "bspa"):
        output = fetch_model(pristine, None, tmp_path)
    assert output.read_bytes() == pristine.read_bytes()
    assert digest in caplog.text
    output.unlink()
    wrong = write_model(tmp_path / "wrong.npz", cov_pris_param=None)
    with pytest.raises(ValueError, match=r"wrong\.npz: .*cov_pris_param"):
        fetch_model(wrong, None, tmp_path)
    with pytest.raises((ValueError, OSError), match="sha256"):
        fetch_model(pristine, "0" * 64, tmp_path)
    assert not output.exists()
