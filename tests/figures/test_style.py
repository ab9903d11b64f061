from __future__ import annotations

import logging
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from bspa.figures.style import STYLE, axes_at, draw_histograms, line_of, save_figure, write_centred
from bspa.figures.training_curves import Run, figure_training


def test_methods_differ_in_colour_and_without() -> None:
    lines = [line_of(method) for method in range(8)]
    assert len({line["color"] for line in lines}) == 8
    assert len({(str(line["linestyle"]), line["marker"]) for line in lines}) == 8
    assert len({str(line_of(method)) for method in range(40)}) == 40


def test_axes_are_placed_in_inches_from_the_upper_left_corner() -> None:
    axes = axes_at(Figure(figsize=(6, 4)), 1, 0.5, 2, 1.5)
    assert axes.get_position().bounds == pytest.approx((1 / 6, 0.5, 2 / 6, 1.5 / 4))


@pytest.mark.parametrize("text", ["BSPA", "a rather long name of a method", ""])
def test_a_centred_text_fits_its_space(text: str) -> None:
    figure = Figure(figsize=(4, 1), dpi=300)
    write_centred(figure, 1, 0.5, 1.2, text)
    extent = figure.texts[0].get_window_extent(FigureCanvasAgg(figure).get_renderer())
    assert not text or (extent.x0 + extent.x1) / 600 == pytest.approx(1.6, abs=0.02)
    assert figure.texts[0].get_fontsize() <= 6.5
    assert extent.width / 300 < 1.2


def test_names_with_dollars_are_shown_as_they_are(tmp_path: Path) -> None:
    name = r"costs $\frac{1$, $x_1"  # mathematics that cannot be read
    curve = pd.DataFrame({"stage": 0, "phase": "uniform", "step": [10, 20], "loss": [0.1, 0.098]})
    figure = figure_training([Run(model=name, method=f"{name}.", curve=curve)], label=name)
    with mpl.rc_context(STYLE):
        write_centred(figure, 1, 0.5, 1.2, name)
    save_figure(figure, tmp_path / "a.pdf", tmp_path / "a.png", {})
    shown = [text.get_text() for text in figure.findobj(Text) if text.get_parse_math()]
    assert not [text for text in shown if "$" in text]
    assert {name, f"{name}."} <= {text.get_text() for text in figure.findobj(Text)}


@pytest.mark.parametrize("most", [2, 30, 20_000])
def test_no_label_of_decades_is_mathematics(most: int) -> None:
    with mpl.rc_context(STYLE):
        figure = Figure()
        draw_histograms(figure.subplots(), [np.full(most, 0.5)], [{}])
        figure.draw(FigureCanvasAgg(figure).get_renderer())
        labels = [text.get_text() for text in figure.axes[0].get_yticklabels(which="both")]
    assert "1" in labels
    assert not [label for label in labels if "$" in label]


def test_a_saved_figure_has_its_fonts_and_no_date_and_leaves_settings_and_log_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    figure, before = Figure(figsize=(1, 1)), dict(mpl.rcParams)
    figure.text(0.5, 0.5, "text")
    with caplog.at_level(logging.INFO):
        save_figure(figure, tmp_path / "a.pdf", tmp_path / "a.png", {"rule": "figure"})
    assert not caplog.records
    assert dict(mpl.rcParams) == before
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert b"/FontFile2" in pdf  # embedded TrueType
    assert b"/Type3" not in pdf
    assert b"Date" not in pdf
    assert b"tIME" not in (tmp_path / "a.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
