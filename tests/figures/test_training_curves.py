from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from bspa.figures.training_curves import Curve, Run, figure_training, read_curves, running_mean
from tests.support.figure_files import assert_nothing_is_cut_off, run_script


def write_journal(path: Path, losses: Sequence[float] | np.ndarray) -> Path:
    rows = [{"step": 10 * n, "epoch": n, "loss": loss} for n, loss in enumerate(losses, 1)]
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.fixture
def settings() -> list[dict[str, Any]]:
    """Two networks; on the first a uniform, an alternating and an uncertainty run."""
    return [
        {"model": "net", "method": "baseline", "phases": ["uniform"]},
        {"model": "net", "method": "BSPA", "phases": ["uniform", "inverse", "uniform"]},
        {"model": "net", "method": "UDN", "phases": ["uncertainty", "weighted"]},
        {"model": "other", "method": "baseline", "phases": ["uniform"]},
    ]


@pytest.fixture
def journals(tmp_path: Path) -> list[Path]:
    losses = [[0.3, 0.2, 0.1, 0.08], [0.3, 0.2], [0.4], [0.15, 0.12], [0.5, -0.5], [0.2, 0.18], [0.5, 0.4]]
    return [write_journal(tmp_path / f"{n}.csv", values) for n, values in enumerate(losses)]


@pytest.fixture
def runs(settings: list[dict[str, Any]], journals: list[Path]) -> list[Run]:
    files = [journals[:1], journals[1:4], journals[4:6], journals[6:]]
    return [
        Run(model=run["model"], method=run["method"], curves=read_curves(paths, run["phases"]))
        for run, paths in zip(settings, files, strict=True)
    ]


def lines_of(figure: Figure, panel: int) -> dict[str, list[list[float]]]:
    return {
        str(line.get_label()): np.round(np.array(line.get_data()), 6).tolist()
        for line in figure.axes[panel].lines
    }


def test_stages_are_joined_and_steps_counted_on(runs: list[Run]) -> None:
    stages = [(curve.phase, curve.step.tolist(), curve.loss.tolist()) for curve in runs[1].curves]
    assert stages == [
        ("uniform", [10, 20], [0.3, 0.2]),
        ("inverse", [30], [0.4]),
        ("uniform", [40, 50], [0.15, 0.12]),
    ]
    assert (runs[1].epochs, runs[1].steps) == (5, 50)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step,loss\n", "no rows"),
        ("step,epoch\n1,1\n", "loss"),
        ("step,loss\n10,0.1\n10,0.1\n", "steps that do not grow"),
        ("step,loss\n10,\n", "not finite"),
        ("step,loss\n10,abc\n", "abc"),
        ("", "No columns"),
    ],
)
def test_a_file_that_is_no_journal_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"x\.csv is not the journal of a training stage .*{message}"):
        read_curves([tmp_path / "x.csv"], ["uniform"])


def test_an_unknown_phase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.csv: phase 'warm'; allowed: uniform, inverse"):
        read_curves([write_journal(tmp_path / "a.csv", [1.0])], ["warm"])


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=30), st.sampled_from([1, 3, 7, 11]))
def test_running_means_are_those_of_slices(values: list[float], width: int) -> None:
    for n, mean in enumerate(running_mean(np.array(values), width)):
        reach = min(width // 2, n, len(values) - 1 - n)
        assert mean == pytest.approx(np.mean(values[n - reach : n + reach + 1]))


def test_each_kind_of_loss_has_its_row_and_each_network_its_column(runs: list[Run]) -> None:
    figure = figure_training(runs, label="x4, seed 0")
    assert [axes.get_title() for axes in figure.axes] == ["net", "other", "", "", "", ""]
    assert [axes.get_ylabel().split("\n")[0] for axes in figure.axes[::2]] == ["L1,", "L1,", "Weighted L1,"]
    assert all(axes.get_yscale() == "log" for axes in figure.axes)
    nan = pytest.approx(np.nan, nan_ok=True)
    assert lines_of(figure, 0) == {
        "baseline": [[10, 20, 30, 40, nan], [0.3, 0.2, 0.1, 0.08, nan]],
        "BSPA": [[10, 20, nan, 40, 50, nan], [0.3, 0.2, nan, 0.15, 0.12, nan]],
    }
    assert lines_of(figure, 1) == {"baseline": [[10, 20, nan], [0.5, 0.4, nan]]}
    assert lines_of(figure, 2) == {"BSPA": [[30, nan], [0.4, nan]]}
    # UDN's first step is not drawn.
    assert lines_of(figure, 4) == {"UDN": [[30, 40, nan], [0.2, 0.18, nan]]}
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["baseline", "BSPA", "UDN"]


@pytest.mark.parametrize(("first", "last"), [(0.92, 0.85), (0.07, 0.06), (0.5, 0.2), (0.3, 0.003)])
def test_several_losses_are_labelled_however_narrow_the_range(first: float, last: float) -> None:
    curve = Curve(phase="uniform", step=np.arange(1, 81), loss=np.geomspace(first, last, 80))
    run = Run(model="net", method="a", curves=[curve])
    axes = figure_training([run], label="").axes[0]
    lower, upper = axes.get_ylim()
    assert sum(lower <= tick <= upper for tick in axes.get_yticks()) >= 3


def test_a_method_keeps_its_colour_in_every_panel(runs: list[Run]) -> None:
    figure = figure_training(runs, label="")
    for method in ("baseline", "BSPA", "UDN"):
        lines = [line for axes in figure.axes for line in axes.lines if line.get_label() == method]
        assert len({to_rgb(line.get_color()) for line in lines}) == 1


@pytest.mark.parametrize("networks", [1, 2, 3, 6])
def test_any_number_of_networks_fits_and_nothing_leaves_the_figure(tmp_path: Path, networks: int) -> None:
    methods = ["baseline", "inverse", "bspa", "SamplingAug", "udn", "w/o IG", "fig", "BSPA (literal)"]
    path = write_journal(tmp_path / "j.csv", np.geomspace(0.2, 0.02, 90))
    phases = {method: ["informative", "inverse"] if method == "bspa" else ["uniform"] for method in methods}
    runs = [
        Run(
            model=f"network {n}",
            method=method,
            curves=read_curves([path] * len(phases[method]), phases[method]),
        )
        for n in range(networks)
        for method in methods
    ]
    figure = figure_training(runs, label="x4, seed 0")
    assert_nothing_is_cut_off(figure)
    assert len([axes for axes in figure.axes if axes.get_title()]) == networks
    assert figure.get_suptitle() == "Training loss, mean of 5 epochs\nx4, seed 0"


def test_the_script_draws_the_figure(
    tmp_path: Path, journals: list[Path], settings: list[dict[str, Any]]
) -> None:
    values = {"runs": settings, "label": "x4, seed 0"}
    run_script("figure_training", tmp_path, values, journals=journals)
