from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import Normalize

from bspa.data.packed import PackedImages
from bspa.figures.figure4 import DIFFERENCES, ERRORS, errors_of, figure_4, most_different
from bspa.figures.regions import Comparison, Photo, Region, photos_of
from tests.support.figure_files import (
    assert_nothing_is_cut_off,
    packed_photos,
    run_script,
    score_file,
    scores_of,
    weights_file,
)

PLACES: dict[str, Any] = {"image": [0, 0, 0, 1, 1], "top": [0, 0, 32, 0, 32], "left": [0, 64, 64, 0, 32]}
UNIFORM = [0.010, 0.020, 0.030, 0.001, 0.002]
INVERSE = [0.012, 0.015, 0.031, 0.002, 0.001]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed_photos(tmp_path_factory.mktemp("photos"), {"chelsea": (64, 96), "coffee": (64, 64)})


@pytest.fixture
def photos(packed: Path) -> list[Photo]:
    return photos_of({"A": PackedImages(packed)})


@pytest.fixture
def rows(photos: list[Photo]) -> list[Comparison]:
    rng = np.random.default_rng(0)
    found = []
    for photo in photos:
        region = Region(photo=photo, top=8, left=16, size=16)
        hr = region.cut(photo.hr)
        sr = [np.clip(hr + rng.normal(0, s, hr.shape), 0, 255).astype(np.uint8) for s in (9, 5)]
        found.append(Comparison(region=region, sr=sr))
    return found


def test_regions_are_where_the_two_differ_most_either_way(
    photos: list[Photo], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "bspa"):
        regions = most_different(photos, scores_of(UNIFORM, **PLACES), scores_of(INVERSE, **PLACES), count=3)
    places = [(0, 0, 64), (1, 0, 0), (0, 0, 0)]
    assert regions == [Region(photo=photos[n], top=top, left=left, size=32) for n, top, left in places]
    assert "region: chelsea of A, top 0, left 64" in caplog.text


def test_errors_are_those_of_a_plain_formula(rows: list[Comparison]) -> None:
    for sr, error in zip(rows[0].sr, errors_of(rows[0]), strict=True):
        for y, x in ((0, 0), (7, 3)):
            differences = [abs(int(a) - int(b)) for a, b in zip(sr[y, x], rows[0].hr[y, x], strict=True)]
            assert error[y, x] == pytest.approx(sum(differences) / 3)


def test_each_row_shows_hr_the_outputs_their_errors_and_the_difference(rows: list[Comparison]) -> None:
    figure = figure_4(rows, ["uniform", "inverse"], label="net, x4")
    *panels, heat, change = figure.axes
    maps = np.array([errors_of(row) for row in rows])
    differences = maps[:, 1] - maps[:, 0]
    end, most = (np.quantile(np.abs(values), 0.995) for values in (maps, differences))
    written = [text.get_text() for text in figure.texts]
    titles = ["HR", "uniform SR", "inverse SR", "uniform error", "inverse error", "difference"]
    assert written[1:8] == ["net, x4", *titles]
    for n, (row, errors, difference) in enumerate(zip(rows, maps, differences, strict=True)):
        coloured = [colormaps[ERRORS](Normalize(0, end)(error), bytes=True) for error in errors]
        coloured.append(colormaps[DIFFERENCES](Normalize(-most, most)(difference), bytes=True))
        shown = [axes.images[0].get_array() for axes in panels[6 * n : 6 * n + 6]]
        for pixels, expected in zip(shown, [row.hr, *row.sr, *coloured], strict=True):
            np.testing.assert_array_equal(pixels, expected[..., :3])
        assert {f"{psnr:.2f} dB" for psnr in row.psnr} <= set(written)
        assert {f"mean {error.mean():.2f} levels" for error in errors} <= set(written)
        assert f"mean \N{MINUS SIGN}{-difference.mean():.2f} levels" in written
    assert heat.get_xlim() == pytest.approx((0, end))
    assert change.get_xlim() == pytest.approx((-most, most))
    assert_nothing_is_cut_off(figure)


def test_exact_outputs_can_be_drawn(rows: list[Comparison]) -> None:
    figure = figure_4([replace(rows[0], sr=[rows[0].hr] * 2)], ["a", "b"], label="")
    assert_nothing_is_cut_off(figure)
    assert [text.get_text() for text in figure.texts].count("exact") == 2


def test_the_script_draws_named_regions(tmp_path: Path, packed: Path) -> None:
    settings = {
        "label": "net, x4", "methods": ["uniform", "inverse"], "source": "A", "tile": "auto",
        "regions": [{"image": "coffee", "top": 5, "left": 32}],
    }  # fmt: skip
    scores = [score_file(tmp_path / f"{n}.h5", mse, **PLACES) for n, mse in enumerate((UNIFORM, INVERSE))]
    weights = [weights_file(tmp_path / f"{seed}.safetensors", seed) for seed in (0, 1)]
    run_script("figure_4", tmp_path, settings, packed=packed, scores=scores, weights=weights)
