from __future__ import annotations

from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.patches import StepPatch
from PIL import Image

from bspa.difficulty.classes import split_classes
from bspa.figures.figure1 import figure_1
from bspa.figures.style import save_figure


@pytest.fixture(scope="module")
def mse():
    return np.random.default_rng(0).exponential(4e-3, 20_000).astype(np.float32)


@pytest.fixture(scope="module")
def classes(mse):
    return split_classes(mse, 10, 10)


@pytest.fixture(scope="module")
def saved(mse, classes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    save_figure(figure_1(mse, classes, label="photos, scale 4"), folder / "a.pdf", folder / "a.png")
    return SimpleNamespace(pdf=folder / "a.pdf", png=folder / "a.png")


def test_the_histogram_counts_all_but_the_longest_tail(mse, classes):
    axes, _ = figure_1(mse, classes, label="").axes
    (counts, edges, _), *_ = (p.get_data() for p in axes.patches if isinstance(p, StepPatch))
    assert counts.sum() == pytest.approx(0.99 * len(mse), abs=1)
    assert edges[[0, -1]] == pytest.approx([0, 1e3 * np.quantile(mse.astype(float), 0.99)])
    assert axes.get_ylim()[1] > counts.max()


def test_lines_stand_at_the_class_borders_and_areas_reach_from_one_to_the_next(mse, classes):
    axes, _ = figure_1(mse, classes, label="").axes
    (lines,) = (c for c in axes.collections if isinstance(c, LineCollection))
    borders = [segment[0, 0] for segment in lines.get_segments()]
    assert borders == pytest.approx(1e3 * classes.thresholds[:-1])
    areas = [p for p in axes.patches if isinstance(p, StepPatch)]
    spans = [area.clipbox or area.get_clip_path() for area in areas]
    pixels = axes.transData.inverted()
    spans = [(pixels.transform(s.p0)[0], pixels.transform(s.p1)[0]) for s in spans]
    expected = [0, *borders, axes.get_xlim()[1]]
    np.testing.assert_allclose(spans, np.stack([expected[:-1], expected[1:]], axis=1), atol=1e-9)


def test_bars_are_the_shares_of_the_classes(mse, classes):
    _, axes = figure_1(mse, classes, label="").axes
    percent = 100 * classes.sizes / len(mse)
    assert [bar.get_height() for bar in axes.patches] == pytest.approx(percent)
    assert [text.get_text() for text in axes.texts] == [f"{share:.1f}" for share in percent]


def test_the_corner_tells_what_is_shown(mse, classes):
    axes, _ = figure_1(mse, classes, label="photos, scale 4").axes
    corner = axes.texts[-1].get_text()
    assert corner == f"photos, scale 4\n20,000 sub-images\n1.0% beyond the axis, up to {1e3 * mse.max():.1f}"


def test_files_are_what_printers_want(saved):
    pdf = saved.pdf.read_bytes()
    assert b"/FontFile2" in pdf  # embedded TrueType
    assert b"/Type3" not in pdf
    with Image.open(saved.png) as image:
        assert image.size == (990, 870)  # 3.3 in at 300 dpi
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_equal_figures_make_equal_files_without_a_date(mse, classes, saved, tmp_path):
    save_figure(figure_1(mse, classes, label="photos, scale 4"), tmp_path / "b.pdf", tmp_path / "b.png")
    assert (tmp_path / "b.pdf").read_bytes() == saved.pdf.read_bytes()
    assert (tmp_path / "b.png").read_bytes() == saved.png.read_bytes()
    assert b"Date" not in saved.pdf.read_bytes()
    assert b"tIME" not in saved.png.read_bytes()


def test_figures_leave_the_users_settings_alone(mse, classes, tmp_path):
    before = dict(mpl.rcParams)
    save_figure(figure_1(mse, classes, label=""), tmp_path / "c.pdf", tmp_path / "c.png")
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    ("scores", "k", "imbalance"),
    [
        (np.zeros(30, np.float32), 3, 10),  # all alike: no axis of their own
        (np.full(1, 0.25, np.float32), 1, 1),
        (np.geomspace(1e-7, 1, 500, dtype=np.float32), 20, 200),  # borders beyond the axis
    ],
)
def test_odd_distributions_can_be_drawn(scores, k, imbalance, tmp_path):
    figure = figure_1(scores, split_classes(scores, k, imbalance), label="odd")
    save_figure(figure, tmp_path / "odd.pdf", tmp_path / "odd.png")
    labels = [text for text in figure.axes[0].texts if text.get_text().isdigit()]
    assert all(0 <= text.get_position()[0] <= figure.axes[0].get_xlim()[1] for text in labels)
    assert len(np.unique(np.asarray(Image.open(tmp_path / "odd.png").convert("L")))) > 10
