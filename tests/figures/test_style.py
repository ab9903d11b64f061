from __future__ import annotations

import logging

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bspa.figures.style import axes_at, compact, font_size, line_of, save_figure, write_centred


def test_methods_differ_in_colour_and_without():
    lines = [line_of(method) for method in range(8)]
    assert len({line["color"] for line in lines}) == 8
    assert len({(str(line["linestyle"]), line["marker"]) for line in lines}) == 8
    assert len({str(line_of(method)) for method in range(40)}) == 40


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"), (999, "999"), (1000, "1.0k"), (9949, "9.9k"), (9950, "10k"), (110_543, "111k"),
        (999_499, "999k"), (999_500, "1.0M"), (12_345_678, "12M"), (4_000_000_000, "4.0G"),
    ],
)  # fmt: skip
def test_counts_are_written_in_few_characters(count, text):
    assert compact(count) == text


def test_axes_are_placed_in_inches_from_the_upper_left_corner():
    figure = Figure(figsize=(6, 4))
    axes = axes_at(figure, 1, 0.5, 2, 1.5)
    assert axes.get_position().bounds == pytest.approx((1 / 6, 0.5, 2 / 6, 1.5 / 4))


@pytest.mark.parametrize("text", ["BSPA", "a rather long name of a method", "WWWWWWWWWWWW"])
def test_a_centred_text_fits_its_space(text):
    figure = Figure(figsize=(4, 1), dpi=300)
    write_centred(figure, 1, 0.5, 1.2, text)
    extent = figure.texts[0].get_window_extent(FigureCanvasAgg(figure).get_renderer())
    assert (extent.x0 + extent.x1) / 600 == pytest.approx(1.6, abs=0.02)
    # Capital Ws are wider than the average letter, and no name is made of them.
    assert extent.width / 300 < (1.2 if "W" not in text else 2.0)


def test_letters_are_no_larger_than_asked():
    assert font_size("ab", 3.0, at_most=6.5) == 6.5
    assert font_size("", 3.0, at_most=6.5) == 6.5


def test_saving_a_figure_does_not_tell_what_it_did_with_fonts(tmp_path, caplog):
    figure = Figure(figsize=(1, 1))
    figure.text(0.5, 0.5, "text")
    with caplog.at_level(logging.INFO):
        save_figure(figure, tmp_path / "a.pdf", tmp_path / "a.png")
    assert not caplog.records
