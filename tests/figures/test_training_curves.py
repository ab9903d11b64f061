from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

from bspa.figures.training_curves import PHASES, figure_training, read_runs, running_mean
from tests.support.figure_files import assert_drawn_twice_alike, assert_nothing_is_cut_off


def journal(path, losses, *, steps=10):
    rows = [
        {
            "step": steps * n,
            "epoch": n,
            "loss": loss,
            "learning_rate": 1e-3,
            "samples_per_second": 100.0,
            "device_seconds": 0.5 * n,
        }
        for n, loss in enumerate(losses, 1)
    ]
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def entry(method, phase, cycle=1, model="net"):
    return {
        "model": model, "model_label": model.upper(), "method": method, "method_label": method.title(),
        "phase": phase, "cycle": cycle,
    }  # fmt: skip


@pytest.fixture
def runs(tmp_path):
    """Two networks; on the first a uniform, an alternating and an uncertainty run."""
    stages = [
        (entry("baseline", "uniform"), [0.3, 0.2, 0.1, 0.08]),
        (entry("bspa", "uniform"), [0.3, 0.2]),
        (entry("bspa", "inverse"), [0.4]),
        (entry("bspa", "uniform", 2), [0.15, 0.12]),
        (entry("udn", "uncertainty"), [0.5, -0.5]),
        (entry("udn", "weighted"), [0.2, 0.18]),
        (entry("baseline", "uniform", model="other"), [0.5, 0.4]),
    ]
    paths = [journal(tmp_path / f"{n}.csv", losses) for n, (_, losses) in enumerate(stages)]
    return paths, [of for of, _ in stages]


def test_stages_are_joined_and_steps_counted_on(runs):
    networks = read_runs(*runs)
    assert {model: list(methods) for model, methods in networks.items()} == {
        "net": ["baseline", "bspa", "udn"],
        "other": ["baseline"],
    }
    bspa = networks["net"]["bspa"]
    assert (bspa.network, bspa.method, bspa.epochs) == ("NET", "Bspa", 5)
    stages = [(stage.phase, stage.start, stage.step.tolist(), stage.loss.tolist()) for stage in bspa.stages]
    assert stages == [
        ("uniform", 0, [10, 20], [0.3, 0.2]),
        ("inverse", 20, [30], [0.4]),
        ("uniform", 30, [40, 50], [0.15, 0.12]),
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
def test_a_file_that_is_no_journal_is_named(tmp_path, text, message):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"x\.csv is not the journal of a training stage .*{message}"):
        read_runs([tmp_path / "x.csv"], [entry("baseline", "uniform")])


def test_an_unknown_phase_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.csv: phase 'warm' is none of uniform, inverse"):
        read_runs([journal(tmp_path / "a.csv", [1.0])], [entry("a", "warm")])


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=30), st.sampled_from([1, 3, 7, 11]))
def test_running_means_are_those_of_slices(values, width):
    found = running_mean(np.array(values), width)
    for n, mean in enumerate(found):
        reach = min(width // 2, n, len(values) - 1 - n)
        assert mean == pytest.approx(np.mean(values[n - reach : n + reach + 1]))


def test_losses_are_drawn_but_those_of_the_uncertainty_step(runs):
    figure = figure_training(read_runs(*runs), label="x4, seed 0")
    upper = figure.axes[0]
    assert upper.get_title() == "NET"
    expected = {
        0: ([10, 20, 30, 40], [0.3, 0.2, 0.1, 0.08]),
        1: ([10, 20, 30, 40, 50], [0.3, 0.2, 0.4, 0.15, 0.12]),
        2: ([10, 20, 30, 40], [np.nan, np.nan, 0.2, 0.18]),
    }
    for line, (step, loss) in zip(upper.lines, expected.values(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), step)
        np.testing.assert_allclose(line.get_ydata(), loss)
    lowest, highest = upper.get_ylim()
    assert 0 < lowest < 0.08
    assert highest > 0.4


def test_strips_show_the_phases_of_each_method(runs):
    figure = figure_training(read_runs(*runs), label="")
    strips = next(axes for axes in figure.axes if axes.get_xlabel())
    assert [tick.get_text() for tick in strips.get_yticklabels()] == ["Baseline", "Bspa", "Udn"]
    found = []
    for bars in strips.collections:
        (box,) = (path.get_extents() for path in bars.get_paths())
        filled = bars.get_facecolor()[0][:3].tolist() != [1, 1, 1]
        found.append((round((box.y0 + box.y1) / 2), box.x0, box.x1, filled, bars.get_hatch() or ""))
    assert found == [
        (0, 0, 40, False, ""),
        (1, 0, 20, False, ""),
        (1, 20, 30, True, ""),
        (1, 30, 50, False, ""),
        (2, 0, 20, False, PHASES["uncertainty"].hatch),
        (2, 20, 40, False, PHASES["weighted"].hatch),
    ]
    (legend,) = figure.legends
    phases = ["uniform sampling", "inverse sampling", "uncertainty (not drawn)", "weighted L1"]
    assert [text.get_text() for text in legend.get_texts()] == ["Baseline", "Bspa", "Udn", *phases]


def test_a_method_keeps_its_colour_in_every_panel(runs):
    paths, entries = runs
    last = {**entries[1], "model": "other", "model_label": "OTHER"}
    networks = read_runs([*paths, paths[1]], [*entries, last])
    figure = figure_training(networks, label="")
    panels = [axes for axes in figure.axes if axes.get_title()]
    colours = [[to_rgb(line.get_color()) for line in panel.lines] for panel in panels]
    assert colours[1] == colours[0][:2]


@pytest.mark.parametrize("networks", range(1, 7))
def test_any_number_of_networks_fits_and_nothing_leaves_the_figure(tmp_path, networks):
    methods = ["baseline", "inverse", "bspa", "SamplingAug", "udn", "w/o IG", "fig", "BSPA (literal)"]
    paths, entries = [], []
    for model in range(networks):
        for method in methods:
            for phase in ("informative", "inverse") if method == "bspa" else ("uniform",):
                paths.append(journal(tmp_path / "j.csv", np.geomspace(0.2, 0.02, 90)))
                entries.append(entry(method, phase, model=f"network {model}"))
    figure = figure_training(read_runs(paths, entries), label="x4, seed 0")
    assert_nothing_is_cut_off(figure)
    assert len([axes for axes in figure.axes if axes.get_title()]) == networks
    assert "(mean of 5 epochs)" in figure.axes[0].get_ylabel()


def test_the_script_draws_the_figure(tmp_path, runs):
    paths, entries = runs
    settings = {"journals": entries, "scale": 4, "seed": 0}
    assert_drawn_twice_alike("figure_training", tmp_path, settings, journals=paths)
