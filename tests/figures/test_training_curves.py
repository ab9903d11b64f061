from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from bspa.figures.training_curves import Journal, figure_training, read_runs, running_mean
from tests.support.figure_files import assert_drawn_twice_alike, assert_nothing_is_cut_off


def write_journal(path: Path, losses: Sequence[float] | np.ndarray) -> Path:
    rows = [{"step": 10 * n, "epoch": n, "loss": loss} for n, loss in enumerate(losses, 1)]
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def of(method: str, phase: str, model: str = "net") -> Journal:
    return Journal(model=model, method=method, phase=phase)


@pytest.fixture
def runs(tmp_path: Path) -> tuple[list[Path], list[Journal]]:
    """Two networks; on the first a uniform, an alternating and an uncertainty run."""
    stages = [
        (of("baseline", "uniform"), [0.3, 0.2, 0.1, 0.08]),
        (of("BSPA", "uniform"), [0.3, 0.2]),
        (of("BSPA", "inverse"), [0.4]),
        (of("BSPA", "uniform"), [0.15, 0.12]),
        (of("UDN", "uncertainty"), [0.5, -0.5]),
        (of("UDN", "weighted"), [0.2, 0.18]),
        (of("baseline", "uniform", "other"), [0.5, 0.4]),
    ]
    paths = [write_journal(tmp_path / f"{n}.csv", losses) for n, (_, losses) in enumerate(stages)]
    return paths, [journal for journal, _ in stages]


def lines_of(figure: Figure, panel: int) -> dict[str, list[list[float]]]:
    return {
        str(line.get_label()): np.round(np.array(line.get_data()), 6).tolist()
        for line in figure.axes[panel].lines
    }


def test_stages_are_joined_and_steps_counted_on(runs: tuple[list[Path], list[Journal]]) -> None:
    found = read_runs(*runs)
    names = [(run.model, run.method, run.epochs) for run in found]
    assert names == [("net", "baseline", 4), ("net", "BSPA", 5), ("net", "UDN", 4), ("other", "baseline", 2)]
    stages = [(curve.phase, curve.step.tolist(), curve.loss.tolist()) for curve in found[1].curves]
    assert stages == [
        ("uniform", [10, 20], [0.3, 0.2]),
        ("inverse", [30], [0.4]),
        ("uniform", [40, 50], [0.15, 0.12]),
    ]


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
        read_runs([tmp_path / "x.csv"], [of("baseline", "uniform")])


def test_an_unknown_phase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.csv: phase 'warm'; allowed: uniform, inverse"):
        read_runs([write_journal(tmp_path / "a.csv", [1.0])], [of("a", "warm")])


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=30), st.sampled_from([1, 3, 7, 11]))
def test_running_means_are_those_of_slices(values: list[float], width: int) -> None:
    for n, mean in enumerate(running_mean(np.array(values), width)):
        reach = min(width // 2, n, len(values) - 1 - n)
        assert mean == pytest.approx(np.mean(values[n - reach : n + reach + 1]))


def test_each_kind_of_loss_has_its_row_and_each_network_its_column(
    runs: tuple[list[Path], list[Journal]],
) -> None:
    figure = figure_training(read_runs(*runs), label="x4, seed 0")
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


def test_a_method_keeps_its_colour_in_every_panel(runs: tuple[list[Path], list[Journal]]) -> None:
    figure = figure_training(read_runs(*runs), label="")
    for method in ("baseline", "BSPA", "UDN"):
        lines = [line for axes in figure.axes for line in axes.lines if line.get_label() == method]
        assert len({to_rgb(line.get_color()) for line in lines}) == 1


@pytest.mark.parametrize("networks", [1, 2, 3, 6])
def test_any_number_of_networks_fits_and_nothing_leaves_the_figure(tmp_path: Path, networks: int) -> None:
    methods = ["baseline", "inverse", "bspa", "SamplingAug", "udn", "w/o IG", "fig", "BSPA (literal)"]
    path = write_journal(tmp_path / "j.csv", np.geomspace(0.2, 0.02, 90))
    journals = [
        of(method, phase, f"network {model}")
        for model in range(networks)
        for method in methods
        for phase in (("informative", "inverse") if method == "bspa" else ("uniform",))
    ]
    figure = figure_training(read_runs([path] * len(journals), journals), label="x4, seed 0")
    assert_nothing_is_cut_off(figure)
    assert len([axes for axes in figure.axes if axes.get_title()]) == networks
    assert figure.get_suptitle() == "Training loss, mean of 5 epochs\nx4, seed 0"


def test_the_script_draws_the_figure(tmp_path: Path, runs: tuple[list[Path], list[Journal]]) -> None:
    paths, journals = runs
    settings = {"journals": [asdict(journal) for journal in journals], "label": "x4, seed 0"}
    assert_drawn_twice_alike("figure_training", tmp_path, settings, journals=paths)
