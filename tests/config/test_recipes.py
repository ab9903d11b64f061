"""Recipes laid out in cycles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bspa.config.load import load_config
from bspa.config.recipes import lay_out_cycles, used_masks, without_effect
from bspa.config.schema import Config


def config(root: Path, **method: Any) -> Config:
    values = yaml.safe_load((root / "config.yaml").read_text())
    values["training"] |= {"epochs": 400, "halve_every": 200}
    values["methods"]["tested"] = {
        "sampling": "alternating",
        "uniform_epochs": 50,
        "inverse_epochs": 50,
        **method,
    }
    return load_config(values)


def epochs(settings: Config, method: str = "tested") -> list[tuple[int | None, int | None, int]]:
    """Return the lengths of each cycle's uniform and inverse phase, and its end."""
    cycles = []
    for cycle in lay_out_cycles(settings, "fsrcnn", method):
        lengths = {phase.name: phase.epochs for phase in cycle.phases}
        assert set(lengths) <= {"uniform", "inverse"}
        cycles.append((lengths.get("uniform"), lengths.get("inverse"), cycle.end_epoch))
    return cycles


def test_the_default_alternation_is_four_cycles_of_the_baselines_length(root: Path) -> None:
    settings = config(root)
    assert epochs(settings) == [(50, 50, 100), (50, 50, 200), (50, 50, 300), (50, 50, 400)]
    assert epochs(settings, "baseline") == [(400, None, 400)]
    assert epochs(settings, "inverse") == [(None, 400, 400)]


def test_the_letter_of_algorithm_1_does_not_count_inverse_epochs(root: Path) -> None:
    settings = config(root, inverse_epochs=1, count_inverse=False)
    assert epochs(settings) == [(50, 1, 50 * k) for k in range(1, 9)]
    phases = [p for c in lay_out_cycles(settings, "fsrcnn", "tested") for p in c.phases]
    assert [p.counts for p in phases] == [True, False] * 8
    assert [p.first_epoch for p in phases] == [
        0,
        50,
        50,
        100,
        100,
        150,
        150,
        200,
        200,
        250,
        250,
        300,
        300,
        350,
        350,
        400,
    ]


@pytest.mark.parametrize(("uniform", "inverse"), [(30, 50), (150, 90), (1000, 1), (399, 5), (400, 50)])
def test_counted_phases_use_exactly_the_epochs_there_are(root: Path, uniform: int, inverse: int) -> None:
    cycles = lay_out_cycles(config(root, uniform_epochs=uniform, inverse_epochs=inverse), "fsrcnn", "tested")
    phases = [p for c in cycles for p in c.phases]
    assert sum(p.epochs for p in phases) == 400
    assert all(p.epochs > 0 for p in phases)
    starts = [p.first_epoch for p in phases]
    assert starts == [sum(p.epochs for p in phases[:n]) for n in range(len(phases))]
    assert cycles[-1].end_epoch == 400


def test_a_recipe_can_match_the_steps_of_another(root: Path) -> None:
    settings = config(root, inverse_epochs=1, count_inverse=False)
    values = settings.model_dump()
    values["methods"]["matched"] = {"sampling": "uniform", "match_steps": "tested"}
    assert epochs(load_config(values), "matched") == [(408, None, 408)]


def test_sampling_aug_is_one_stage_and_udn_two_within_the_epochs(root: Path) -> None:
    def stages(settings: Config, method: str) -> list[tuple[str, int, int]]:
        (cycle,) = lay_out_cycles(settings, "fsrcnn", method)
        assert cycle.end_epoch == 400
        return [(phase.name, phase.first_epoch, phase.epochs) for phase in cycle.phases]

    settings = config(root)
    assert stages(settings, "sampling_aug") == [("informative", 0, 400)]
    assert stages(settings, "udn") == [("uncertainty", 0, 200), ("weighted", 200, 200)]
    uneven = {"sampling": "uniform", "loss": "uncertainty", "uncertainty_epochs": 100}
    values = yaml.safe_load((root / "config.yaml").read_text())
    values["training"] |= {"epochs": 400}
    values["methods"]["udn"] = uneven
    assert stages(load_config(values), "udn") == [("uncertainty", 0, 100), ("weighted", 100, 300)]


@pytest.mark.parametrize(("epochs", "first"), [(12, 12), (12, 40), (1, None)])
def test_udn_without_an_epoch_for_its_second_step_is_refused(
    root: Path, epochs: int, first: int | None
) -> None:
    values = yaml.safe_load((root / "config.yaml").read_text())
    values["training"]["epochs"] = epochs
    values["methods"]["udn"]["uncertainty_epochs"] = first
    with pytest.raises(ValueError, match=rf"methods.udn.uncertainty_epochs: .* fsrcnn has {epochs} in all"):
        lay_out_cycles(load_config(values), "fsrcnn", "udn")


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ({}, None),
        ({"uniform_epochs": 400}, "no inverse phase"),
        ({"uniform_epochs": 200, "inverse_epochs": 200}, None),
        ({"uniform_epochs": 200, "inverse_epochs": 200, "attribution": {}}, "no mask"),
        ({"uniform_epochs": 100, "inverse_epochs": 100, "attribution": {}}, None),
        (
            {"uniform_epochs": 100, "inverse_epochs": 100, "attribution": {"update": "cumulative"}},
            "one mask",
        ),
    ],
)
def test_a_recipe_without_effect_is_told(root: Path, method: dict[str, Any], says: str | None) -> None:
    settings = config(root, **method)
    told = without_effect(settings.methods["tested"], lay_out_cycles(settings, "fsrcnn", "tested"))
    assert (told is None) if says is None else (told is not None and says in told)


RELEASED = {
    "uniform_epochs": 50,
    "inverse_steps": 2501,
    "count_inverse": False,
    "end": "uniform",
    "leave_out_last_epoch": True,
}


def steps(settings: Config, method: str, images: int = 800) -> int:
    (model, *_) = settings.models
    per_epoch = -(-images // 16)
    phases = [p for c in lay_out_cycles(settings, model, method) for p in c.phases]
    return sum(phase.epochs * per_epoch + phase.extra_steps for phase in phases)


def test_the_released_recipe_takes_37457_steps(root: Path) -> None:
    settings = config(root, **RELEASED)
    cycles = lay_out_cycles(settings, "fsrcnn", "tested")
    assert [[phase.name for phase in cycle.phases] for cycle in cycles] == [["uniform", "inverse"]] * 7 + [["uniform"]]
    assert [cycle.end_epoch for cycle in cycles] == [50, 100, 150, 200, 250, 300, 350, 399]
    assert steps(settings, "tested") == 399 * 50 + 7 * 2501 == 37457
    values = settings.model_dump()
    values["methods"]["matched"] = {"sampling": "uniform", "match_steps": "tested"}
    assert steps(load_config(values), "matched") == 37457


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ({}, [(50, 50, 100), (50, 50, 200), (50, 50, 300), (100, None, 400)]),
        ({"uniform_epochs": 60, "inverse_epochs": 80}, [(60, 80, 140), (60, 80, 280), (120, None, 400)]),
        ({"uniform_epochs": 50, "inverse_epochs": 70}, [(50, 70, 120), (50, 70, 240), (50, 70, 360), (40, None, 400)]),
        ({"inverse_epochs": 1, "count_inverse": False}, [(50, 1, 50 * k) for k in range(1, 8)] + [(50, None, 400)]),
    ],
)
def test_a_recipe_can_end_in_a_uniform_phase(root: Path, method: dict[str, Any], expected: list[Any]) -> None:
    assert epochs(config(root, end="uniform", **method)) == expected


def test_the_authors_udn_starts_its_second_step_afresh(root: Path) -> None:
    recipe = {"loss": "uncertainty", "uncertainty_epochs": 92, "restart_second_step": True}
    (cycle,) = lay_out_cycles(config(root, sampling="uniform", **recipe), "fsrcnn", "tested")
    first, second = cycle.phases
    assert (first.epochs, second.epochs, second.first_epoch) == (92, 308, 0)
    assert (first.fresh_optimiser, second.fresh_optimiser) == (False, True)


@pytest.mark.parametrize(
    ("method", "masks"),
    [
        ({}, [1, 2, 3]),
        ({"phases": ["inverse"]}, [1, 2]),
        ({"phases": ["inverse"], "update": "cumulative"}, [1, 2]),
        ({"phases": ["uniform"]}, [1, 2, 3]),
    ],
)
def test_a_mask_is_made_where_a_later_phase_uses_it(root: Path, method: dict[str, Any], masks: list[int]) -> None:
    settings = config(root, end="uniform", attribution=method)
    assert used_masks(settings.methods["tested"], lay_out_cycles(settings, "fsrcnn", "tested")) == masks


@pytest.mark.parametrize(
    ("method", "key"),
    [
        ({"inverse_steps": 5}, "methods.tested.inverse_steps"),
        ({"stretch_schedule": True}, "methods.tested.stretch_schedule"),
        ({"stretch_schedule": True, "match_steps": "bspa"}, "methods.tested.stretch_schedule"),
        ({"restart_second_step": True}, "methods.tested.restart_second_step"),
        ({"match_steps": "bspa", "match_seconds": "bspa"}, "methods.tested.match_seconds"),
        ({"match_seconds": "tested"}, "methods.tested.match_seconds"),
        ({"match_seconds": "nothing"}, "methods.tested.match_seconds"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(root: Path, method: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=key):
        config(root, **method)
