from __future__ import annotations

import hashlib
import logging
import math
import os
import runpy
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from bspa.data.inspection import make_manifest
from bspa.data.packed import PackedImages
from bspa.data.packing import pack_images
from bspa.data.resize import imresize
from bspa.data.sources import list_files
from bspa.metrics import CONVENTION, LPIPS_CONVENTION, NIQE_CONVENTION, niqe, psnr_y, ssim_y
from bspa.metrics.evaluate import evaluate, evaluate_perceptual
from bspa.models.inference import super_resolve
from bspa.models.registry import build
from bspa.models.weights import save_weights
from tests.support.pristine import write_model

SCRIPTS = Path(__file__).parents[2] / "workflow_scripts"

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


def photo(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def enlarge(lr: np.ndarray) -> np.ndarray:
    return lr.repeat(2, axis=0).repeat(2, axis=1)


def test_one_row_of_scores_for_each_image(caplog):
    lr = photo(10, 14, 0)
    pairs = Pairs(2, {"b": (photo(20, 28, 1), lr), "a": (enlarge(lr), lr)})
    with caplog.at_level(logging.INFO, "bspa"):
        scores = evaluate(enlarge, pairs)
    assert list(scores.columns) == ["image", "width", "height", "psnr", "ssim"]
    assert scores.iloc[:, :3].values.tolist() == [["b", 28, 20], ["a", 28, 20]]
    assert scores["psnr"].tolist() == [psnr_y(enlarge(lr), pairs.hr(0), 2), math.inf]
    assert scores["ssim"].tolist() == [ssim_y(enlarge(lr), pairs.hr(0), 2), 1.0]
    assert CONVENTION in caplog.text


def test_scores_keep_every_digit_in_a_csv(tmp_path):
    lr = photo(10, 14, 0)
    scores = evaluate(enlarge, Pairs(2, {"b": (photo(20, 28, 1), lr), "a": (enlarge(lr), lr)}))
    scores.to_csv(tmp_path / "scores.csv", index=False)
    text = pd.read_csv(tmp_path / "scores.csv", dtype=str)
    for metric in ("psnr", "ssim"):
        assert text[metric].map(float).tolist() == scores[metric].tolist()


def test_an_image_that_cannot_be_scored_is_named():
    with pytest.raises(ValueError, match=r"image small: .* 11x11 must be left"):
        evaluate(enlarge, Pairs(2, {"small": (photo(12, 12, 0), photo(6, 6, 0))}))
    with pytest.raises(ValueError, match="image other: sr is 20x20, hr is 30x30"):
        evaluate(enlarge, Pairs(2, {"other": (photo(30, 30, 0), photo(10, 10, 0))}))
    with pytest.raises(ValueError, match="no images"):
        evaluate(enlarge, Pairs(2, {}))


@pytest.fixture
def pristine(tmp_path):
    return write_model(tmp_path / "pristine.npz")


@pytest.fixture
def stand_in_lpips(monkeypatch):
    """LPIPS without its network: a distance that tells the two images, the border and the device apart."""

    def distance(sr, hr, border, device):
        assert device == torch.device("cpu")
        return float(sr[border:-border].mean() - 2 * hr[border:-border].mean())

    monkeypatch.setattr("bspa.metrics.evaluate.load_lpips", lambda device: None)
    monkeypatch.setattr("bspa.metrics.evaluate.lpips_alex", distance)
    return distance


def test_perceptual_scores_of_each_image(pristine, stand_in_lpips, caplog):
    pairs = Pairs(
        2, {name: (photo(104, 200, seed), photo(52, 100, seed + 5)) for seed, name in enumerate("ba")}
    )
    with caplog.at_level(logging.INFO, "bspa"):
        scores = evaluate_perceptual(enlarge, pairs, niqe_model=pristine, lpips=torch.device("cpu"))
    expected = [
        (name, niqe(enlarge(lr), 2, pristine), stand_in_lpips(enlarge(lr), hr, 2, torch.device("cpu")))
        for name, (hr, lr) in zip(pairs.ids, pairs.pairs, strict=True)
    ]
    assert list(scores.itertuples(index=False, name=None)) == expected
    assert NIQE_CONVENTION in caplog.text
    assert LPIPS_CONVENTION in caplog.text


def test_a_score_that_is_not_asked_for_stays_empty(pristine, stand_in_lpips, caplog):
    pairs = Pairs(2, {"b": (photo(104, 200, 0), photo(52, 100, 1))})
    scores = evaluate_perceptual(enlarge, pairs, niqe_model=pristine, lpips=None)
    assert scores.notna().values.tolist() == [[True, True, False]]
    scores = evaluate_perceptual(enlarge, pairs, niqe_model=None, lpips=torch.device("cpu"))
    assert scores.notna().values.tolist() == [[True, False, True]]
    assert not caplog.records
    scores = evaluate_perceptual(lambda lr: pytest.fail("in vain"), pairs, niqe_model=None, lpips=None)
    assert scores.notna().values.tolist() == [[True, False, False]]
    assert "neither score is computed" in caplog.text


def test_an_image_without_a_score_is_warned_of_and_the_others_are_scored(pristine, caplog):
    flat = np.full((52, 100, 3), 80, np.uint8)
    pairs = Pairs(
        2,
        {
            "small": (photo(104, 194, 0), photo(52, 97, 1)),
            "flat": (enlarge(flat), flat),
            "good": (photo(104, 200, 0), photo(52, 100, 1)),
        },
    )
    scores = evaluate_perceptual(enlarge, pairs, niqe_model=pristine, lpips=None)
    assert scores["niqe"].notna().tolist() == [False, False, True]
    assert ["small" in r.message or "flat" in r.message for r in caplog.records] == [True, True]
    assert "image small has no NIQE: an image of 104x194 pixels is too small" in caplog.text


def test_what_keeps_perceptual_scores_from_being_computed_is_told_first(pristine, tmp_path):
    pairs = Pairs(2, {"b": (photo(104, 200, 0), photo(52, 100, 1))})
    wrong = write_model(tmp_path / "wrong.npz", gaussian_window=None)
    with pytest.raises(ValueError, match=r"^\S*wrong\.npz: not NIQE's pristine model"):
        evaluate_perceptual(lambda lr: pytest.fail("in vain"), pairs, niqe_model=wrong, lpips=None)
    with pytest.raises(ValueError, match="no images"):
        evaluate_perceptual(enlarge, Pairs(2, {}), niqe_model=pristine, lpips=None)


@pytest.mark.parametrize(("benchmark", "scale"), PUBLISHED)
def test_bicubic_is_within_0_02_db_of_the_papers(benchmark, scale):
    if "BSPA_DATA" not in os.environ:
        pytest.skip("BSPA_DATA is not set: the benchmarks are not at hand")
    folder = Path(os.environ["BSPA_DATA"]) / "benchmarks" / benchmark / f"x{scale}"
    pairs = {
        hr.stem: tuple(
            np.asarray(Image.open(path).convert("RGB"))
            for path in (hr, hr.with_name(hr.name.replace("HR", "LR")))
        )
        for hr in sorted(folder.glob("*_HR.png"))
    }
    scores = evaluate(partial(imresize, scale=scale), Pairs(scale, pairs))
    psnr, ssim = PUBLISHED[benchmark, scale]
    if benchmark == "Set14":  # The papers score its gray image on 256 levels.
        psnr += 20 * math.log10(255 / 219) / len(pairs)
    assert scores["psnr"].mean() == pytest.approx(psnr, abs=0.02)
    assert scores["ssim"].mean() == pytest.approx(ssim, abs=0.0025)


@pytest.fixture
def packed(tmp_path):
    """Two photographs of odd sizes, packed at x3."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, (height, width) in enumerate([(40, 32), (35, 47)]):
        Image.fromarray(photo(height, width, seed=index)).save(folder / f"photo{index}.png")
    path = tmp_path / "x3.h5"
    pack_images(make_manifest(list_files("folder", path=folder)), path, scale=3, key="test")
    return path


class Files(SimpleNamespace):
    """Named files, some of which may not be there, as Snakemake gives them."""

    def get(self, name: str) -> str | None:
        return getattr(self, name, None)


def run_script(name: str, output: Path, **values: SimpleNamespace) -> pd.DataFrame:
    job = SimpleNamespace(
        threads=1,
        config={"compute": {"device": "cpu", "precision": "bfloat16"}},
        output=[str(output)],
        **values,
    )
    runpy.run_path(str(SCRIPTS / f"{name}.py"))["main"](job)
    return pd.read_csv(output)


def test_evaluate_scores_delivered_weights_in_float32(packed, tmp_path):
    torch.manual_seed(0)
    model = build("fsrcnn", 3, d=8, s=4, m=1)
    weights = tmp_path / "fsrcnn.safetensors"
    save_weights(weights, model.state_dict(), {"scale": "3"})
    options = {"arch": "fsrcnn", "options": {"d": 8, "s": 4, "m": 1}}
    scores = run_script(
        "evaluate",
        tmp_path / "out" / "scores.csv",
        input=SimpleNamespace(packed=str(packed), weights=str(weights)),
        params=SimpleNamespace(settings={"model": options, "scale": 3, "tile": "auto"}),
    )
    upscale = partial(super_resolve, model, scale=3, device=torch.device("cpu"))
    pd.testing.assert_frame_equal(scores, evaluate(upscale, PackedImages(packed)), rtol=1e-15)
    assert scores[["image", "width", "height"]].values.tolist() == [["photo0", 30, 39], ["photo1", 45, 33]]


def test_evaluate_refuses_weights_of_another_scale(packed, tmp_path):
    weights = tmp_path / "fsrcnn.safetensors"
    save_weights(weights, build("fsrcnn", 4).state_dict(), {"scale": "4"})
    with pytest.raises(ValueError, match=r"fsrcnn\.safetensors: these are weights for scale 4"):
        run_script(
            "evaluate",
            tmp_path / "scores.csv",
            input=SimpleNamespace(packed=str(packed), weights=str(weights)),
            params=SimpleNamespace(
                settings={"model": {"arch": "fsrcnn", "options": {}}, "scale": 3, "tile": "auto"}
            ),
        )
    assert not (tmp_path / "scores.csv").exists()


def test_evaluate_bicubic_scores_interpolation(packed, tmp_path):
    scores = run_script(
        "evaluate_bicubic",
        tmp_path / "out" / "scores.csv",
        input=SimpleNamespace(packed=str(packed)),
        params=SimpleNamespace(settings={"scale": 3, "border": "symmetric"}),
    )
    upscale = partial(imresize, scale=3, border="symmetric")
    pd.testing.assert_frame_equal(scores, evaluate(upscale, PackedImages(packed)), rtol=1e-15)


@pytest.fixture
def large_and_small(tmp_path):
    """Two photographs packed at x2: one that NIQE can score, one too small for it."""
    folder = tmp_path / "large_and_small"
    folder.mkdir()
    for name, (height, width) in {"large": (101, 198), "small": (60, 80)}.items():
        Image.fromarray(photo(height, width, seed=height)).save(folder / f"{name}.png")
    path = tmp_path / "x2.h5"
    pack_images(make_manifest(list_files("folder", path=folder)), path, scale=2, key="test")
    return path


def test_evaluate_perceptual_scores_delivered_weights(large_and_small, pristine, tmp_path, stand_in_lpips):
    torch.manual_seed(0)
    model = build("fsrcnn", 2, d=8, s=4, m=1)
    weights = tmp_path / "fsrcnn.safetensors"
    save_weights(weights, model.state_dict(), {"scale": "2"})
    options = {"arch": "fsrcnn", "options": {"d": 8, "s": 4, "m": 1}}
    files = {"niqe": str(pristine), "packed": str(large_and_small), "weights": str(weights)}
    upscale = partial(super_resolve, model, scale=2, device=torch.device("cpu"))
    for lpips in (False, True):
        scores = run_script(
            "evaluate_perceptual",
            tmp_path / "out" / "scores.csv",
            input=Files(**files),
            params=SimpleNamespace(settings={"model": options, "scale": 2, "tile": "auto", "lpips": lpips}),
        )
        expected = evaluate_perceptual(
            upscale,
            PackedImages(large_and_small),
            niqe_model=pristine,
            lpips=torch.device("cpu") if lpips else None,
        )
        pd.testing.assert_frame_equal(scores, expected, rtol=1e-15)
        assert scores.notna().values.tolist() == [[True, True, lpips], [True, False, lpips]]


def test_evaluate_perceptual_bicubic_scores_interpolation(
    large_and_small, pristine, tmp_path, stand_in_lpips
):
    upscale = partial(imresize, scale=2, border="symmetric")
    for files in ({"niqe": str(pristine), "packed": str(large_and_small)}, {"packed": str(large_and_small)}):
        scores = run_script(
            "evaluate_perceptual_bicubic",
            tmp_path / "out" / "scores.csv",
            input=Files(**files),
            params=SimpleNamespace(
                settings={"scale": 2, "border": "symmetric", "lpips": "niqe" not in files}
            ),
        )
        expected = evaluate_perceptual(
            upscale,
            PackedImages(large_and_small),
            niqe_model=files.get("niqe"),
            lpips=None if "niqe" in files else torch.device("cpu"),
        )
        pd.testing.assert_frame_equal(scores, expected, rtol=1e-15)


def fetch_model(file: Path, sha256: str | None, tmp_path: Path) -> Path:
    output = tmp_path / "results" / "niqe_model.npz"
    settings = {"file": str(file), "sha256": sha256}
    job = SimpleNamespace(output=[str(output)], params=SimpleNamespace(settings=settings))
    runpy.run_path(str(SCRIPTS / "fetch_niqe_model.py"))["main"](job)
    return output


def test_fetch_niqe_model_takes_the_file_as_it_is(pristine, tmp_path, caplog):
    digest = hashlib.sha256(pristine.read_bytes()).hexdigest()
    with caplog.at_level(logging.INFO, "bspa"):
        output = fetch_model(pristine, None, tmp_path)
    assert f"perceptual: niqe: sha256: {digest}" in caplog.text
    assert fetch_model(pristine, digest, tmp_path).read_bytes() == pristine.read_bytes()
    assert list(output.parent.iterdir()) == [output]


def test_fetch_niqe_model_refuses_another_file(pristine, tmp_path):
    wrong = write_model(tmp_path / "wrong.npz", cov_pris_param=None)
    with pytest.raises(ValueError, match=r"wrong\.npz: .*expected mu_pris_param, cov_pris_param"):
        fetch_model(wrong, None, tmp_path)
    with pytest.raises(OSError, match="has sha256"):
        fetch_model(pristine, "0" * 64, tmp_path)
    assert list((tmp_path / "results").iterdir()) == []
    assert fetch_model(pristine, None, tmp_path).exists()
