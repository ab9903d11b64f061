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

from bspa.figures.training_curves import Run, figure_training, read_curve, running_mean
from tests.support.figure_files import assert_nothing_is_cut_off


def run_of(folder: Path, model: str, method: str, stages: Sequence[tuple[str, Any]]) -> Run:
    """Write journals of 10 steps an epoch, and read them."""
    paths = [folder / f"{number}.csv" for number in range(len(stages))]
    for path, (_, losses) in zip(paths, stages, strict=True):
        steps = 10 * np.arange(1, len(losses) + 1)
        pd.DataFrame({"step": steps, "loss": losses}).to_csv(path, index=False)
    return Run(model=model, method=method, curve=read_curve(paths, [phase for phase, _ in stages]))


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """Two networks; on the first a uniform, an alternating and an uncertainty run."""
    alternating = [("uniform", [0.3, 0.2]), ("inverse", [0.4]), ("uniform", [0.15, 0.12])]
    return [
        run_of(tmp_path, "net", "baseline", [("uniform", [0.3, 0.2, 0.1, 0.08])]),
        run_of(tmp_path, "net", "BSPA", alternating),
        run_of(tmp_path, "net", "UDN", [("uncertainty", [0.5, -0.5]), ("weighted", [0.2, 0.18])]),
        run_of(tmp_path, "other", "baseline", [("uniform", [0.5, 0.4])]),
    ]


def lines_of(figure: Figure, panel: int) -> dict[str, list[list[float]]]:
    return {
        str(line.get_label()): np.round(np.array(line.get_data()), 6).tolist()
        for line in figure.axes[panel].lines
    }


def test_stages_are_joined_and_steps_counted_on(runs: list[Run]) -> None:
    assert runs[1].curve[["stage", "phase", "step", "loss"]].values.tolist() == [
        [0, "uniform", 10, 0.3],
        [0, "uniform", 20, 0.2],
        [1, "inverse", 30, 0.4],
        [2, "uniform", 40, 0.15],
        [2, "uniform", 50, 0.12],
    ]
    assert runs[1].steps == 50


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
    for method in ("baseline", "BSPA", "UDN"):
        lines = [line for axes in figure.axes for line in axes.lines if line.get_label() == method]
        assert len({to_rgb(line.get_color()) for line in lines}) == 1
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["baseline", "BSPA", "UDN"]


@pytest.mark.parametrize(("first", "last"), [(0.92, 0.85), (0.07, 0.06), (0.5, 0.2), (0.3, 0.003)])
def test_several_losses_are_labelled_however_narrow_the_range(
    tmp_path: Path, first: float, last: float
) -> None:
    run = run_of(tmp_path, "net", "a", [("uniform", np.geomspace(first, last, 80))])
    axes = figure_training([run], label="").axes[0]
    lower, upper = axes.get_ylim()
    assert sum(lower <= tick <= upper for tick in axes.get_yticks()) >= 3


@pytest.mark.parametrize("networks", [1, 2])
def test_any_number_of_networks_fits_and_nothing_leaves_the_figure(tmp_path: Path, networks: int) -> None:
    methods = ["baseline", "inverse", "bspa", "SamplingAug", "udn", "w/o IG", "fig", "BSPA (literal)"]
    losses = np.geomspace(0.2, 0.02, 90)
    phases = {method: ["informative", "inverse"] if method == "bspa" else ["uniform"] for method in methods}
    runs = [
        run_of(tmp_path, f"network {n}", method, [(phase, losses) for phase in phases[method]])
        for n in range(networks)
        for method in methods
    ]
    figure = figure_training(runs, label="x4, seed 0")
    assert_nothing_is_cut_off(figure)
    assert len([axes for axes in figure.axes if axes.get_title()]) == networks
    assert figure.get_suptitle() == "Training loss, mean of 5 epochs\nx4, seed 0"


def test_other_losses_have_panels_of_their_own(tmp_path: Path) -> None:
    runs = [
        run_of(tmp_path, "net", "baseline", [("uniform", [0.3, 0.2])]),
        run_of(tmp_path, "net", "smooth", [("uniform charbonnier", [0.3, 0.2])]),
    ]
    figure = figure_training(runs, label="x4, seed 0")
    labels = [axes.get_ylabel().split("\n")[:2] for axes in figure.axes]
    assert labels == [["L1,", "uniform samples"], ["Charbonnier,", "uniform samples"]]
    assert [list(lines_of(figure, panel)) for panel in (0, 1)] == [["baseline"], ["smooth"]]
