"""Recipes laid out in cycles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bspa.config.contents import Contents
from bspa.config.load import load_config
from bspa.config.plan import Plan
from bspa.config.recipes import Phase, lay_out_cycles, used_masks, without_effect
from bspa.config.runs import Run
from bspa.config.schema import Config
from bspa.training.stage import Schedule, Stage

MakeConfig = Callable[..., Config]
PlanOf = Callable[[dict[str, Any]], Plan]


@pytest.fixture
def config(values: dict[str, Any]) -> MakeConfig:
    """The default config of 400 epochs with a recipe of its own; alternating, unless changed."""

    def make(epochs: int = 400, **method: Any) -> Config:
        changed = values | {"training": values["training"] | {"epochs": epochs, "halve_every": 200}}
        own = {"sampling": "alternating", "uniform_epochs": 50, "inverse_epochs": 50, **method}
        changed["methods"] = values["methods"] | {
            "tested": own,
            "matched": {"sampling": "uniform", "match_steps": "tested"},
        }
        return load_config(changed)

    return make


@pytest.fixture
def plan_of(root: Path, tmp_path: Path) -> Callable[[dict[str, Any]], Plan]:
    """Plan a config."""

    def make(values: dict[str, Any]) -> Plan:
        contents = Contents(tmp_path / "contents.json")
        return Plan(load_config(values), scripts=root / "workflow_scripts", contents=contents)

    return make


def epochs(settings: Config, method: str = "tested") -> list[tuple[int | None, int | None, int]]:
    """Return the lengths of each cycle's uniform and inverse phase, and its end."""
    cycles = []
    for cycle in lay_out_cycles(settings, "fsrcnn", method):
        lengths = {phase.name: phase.epochs for phase in cycle.phases}
        assert set(lengths) <= {"uniform", "inverse"}
        cycles.append((lengths.get("uniform"), lengths.get("inverse"), cycle.end_epoch))
    return cycles


def phases(settings: Config, method: str = "tested") -> list[Phase]:
    return [phase for cycle in lay_out_cycles(settings, "fsrcnn", method) for phase in cycle.phases]


def test_the_default_alternation_is_four_cycles_of_the_baselines_length(config: MakeConfig) -> None:
    assert epochs(config()) == [(50, 50, 100), (50, 50, 200), (50, 50, 300), (50, 50, 400)]
    assert epochs(config(), "baseline") == [(400, None, 400)]
    assert epochs(config(), "inverse") == [(None, 400, 400)]


def test_the_letter_of_algorithm_1_does_not_count_inverse_epochs(config: MakeConfig) -> None:
    settings = config(inverse_epochs=1, count_inverse=False)
    assert epochs(settings) == [(50, 1, 50 * k) for k in range(1, 9)]
    assert [p.counts for p in phases(settings)] == [True, False] * 8
    assert [p.first_epoch for p in phases(settings)] == [50 * ((k + 1) // 2) for k in range(16)]
    assert epochs(settings, "matched") == [(408, None, 408)]  # as many steps


@pytest.mark.parametrize(("uniform", "inverse"), [(30, 50), (150, 90), (1000, 1), (399, 5), (400, 50)])
def test_counted_phases_use_exactly_the_epochs_there_are(
    config: MakeConfig, uniform: int, inverse: int
) -> None:
    settings = config(uniform_epochs=uniform, inverse_epochs=inverse)
    lengths = [p.epochs for p in phases(settings)]
    assert sum(lengths) == epochs(settings)[-1][-1] == 400
    assert min(lengths) > 0
    assert [p.first_epoch for p in phases(settings)] == [sum(lengths[:n]) for n in range(len(lengths))]


def test_sampling_aug_is_one_stage_and_udn_two_within_the_epochs(config: MakeConfig) -> None:
    def stages(settings: Config, method: str) -> list[tuple[str, int, int]]:
        return [(phase.name, phase.first_epoch, phase.epochs) for phase in phases(settings, method)]

    settings = config(sampling="uniform", loss="uncertainty", uncertainty_epochs=100)
    assert stages(settings, "sampling_aug") == [("informative", 0, 400)]
    assert stages(settings, "udn") == [("uncertainty", 0, 200), ("weighted", 200, 200)]
    assert stages(settings, "tested") == [("uncertainty", 0, 100), ("weighted", 100, 300)]


@pytest.mark.parametrize(("epochs", "first"), [(12, 12), (12, 40), (1, None)])
def test_udn_without_an_epoch_for_its_second_step_is_refused(
    config: MakeConfig, epochs: int, first: int | None
) -> None:
    settings = config(epochs, sampling="uniform", loss="uncertainty", uncertainty_epochs=first)
    with pytest.raises(ValueError, match=rf"tested\.uncertainty_epochs: .* fsrcnn has {epochs} in all"):
        lay_out_cycles(settings, "fsrcnn", "tested")


@pytest.mark.parametrize(
    ("uniform", "inverse", "attribution", "says"),
    [
        (50, 50, None, None),
        (400, 50, None, "no inverse phase"),
        (200, 200, None, None),
        (200, 200, {}, "no mask"),
        (100, 100, {}, None),
        (100, 100, {"update": "cumulative"}, "one mask"),
    ],
)
def test_a_recipe_without_effect_is_told(
    config: MakeConfig, uniform: int, inverse: int, attribution: dict[str, str] | None, says: str | None
) -> None:
    settings = config(uniform_epochs=uniform, inverse_epochs=inverse, attribution=attribution)
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


def test_the_released_recipe_of_one_epoch_is_refused(config: MakeConfig) -> None:
    with pytest.raises(ValueError, match="leave_out_last_epoch leaves no epoch: fsrcnn has 1"):
        lay_out_cycles(config(epochs=1, **RELEASED), "fsrcnn", "tested")


def test_the_released_recipe_takes_37457_steps(config: MakeConfig) -> None:
    settings = config(**RELEASED)
    cycles = lay_out_cycles(settings, "fsrcnn", "tested")
    assert [[phase.name for phase in cycle.phases] for cycle in cycles] == [["uniform", "inverse"]] * 7 + [
        ["uniform"]
    ]
    assert [cycle.end_epoch for cycle in cycles] == [50, 100, 150, 200, 250, 300, 350, 399]
    assert steps(settings, "tested") == 399 * 50 + 7 * 2501 == 37457
    assert steps(settings, "matched") == 37457


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ({}, [(50, 50, 100), (50, 50, 200), (50, 50, 300), (100, None, 400)]),
        ({"uniform_epochs": 60, "inverse_epochs": 80}, [(60, 80, 140), (60, 80, 280), (120, None, 400)]),
        (
            {"uniform_epochs": 50, "inverse_epochs": 70},
            [(50, 70, 120), (50, 70, 240), (50, 70, 360), (40, None, 400)],
        ),
        (
            {"inverse_epochs": 1, "count_inverse": False},
            [(50, 1, 50 * k) for k in range(1, 8)] + [(50, None, 400)],
        ),
    ],
)
def test_a_recipe_can_end_in_a_uniform_phase(
    config: MakeConfig, method: dict[str, Any], expected: list[Any]
) -> None:
    assert epochs(config(end="uniform", **method)) == expected


def test_the_authors_udn_starts_its_second_step_afresh(config: MakeConfig) -> None:
    recipe = {"loss": "uncertainty", "uncertainty_epochs": 92, "restart_second_step": True}
    (cycle,) = lay_out_cycles(config(sampling="uniform", **recipe), "fsrcnn", "tested")
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
def test_a_mask_is_made_where_a_later_phase_uses_it(
    config: MakeConfig, method: dict[str, Any], masks: list[int]
) -> None:
    settings = config(end="uniform", attribution=method)
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
def test_settings_that_do_not_go_together_are_refused(
    config: MakeConfig, method: dict[str, Any], key: str
) -> None:
    with pytest.raises(ValueError, match=key):
        config(**method)


@pytest.mark.parametrize("steps", [12, 100, 491, 20_000])
@pytest.mark.parametrize(
    "method", ["baseline", "inverse", "sampling_aug", "udn", "udn_authors", "bspa", "bspa_ends_uniform"]
)
def test_a_budget_in_steps_is_kept_to_the_step(
    plan_of: PlanOf, values: dict[str, Any], method: str, steps: int
) -> None:
    """Whatever the number of images, and the phases."""
    values["training"]["steps"] = steps
    plan = plan_of(values)
    stages = [Stage(**stage.settings) for stage in plan.stages(Run("edsr_mini", 4, method, 0))]
    for images in (1, 6, 800):
        assert sum(Schedule(stage=stage, images=images).steps for stage in stages) == steps
    assert {stage.repeat for stage in stages} == {None}


def test_recipes_that_match_steps_match_those_of_a_budget(plan_of: PlanOf, values: dict[str, Any]) -> None:
    values["training"]["steps"] = 5 * 12 + 7
    plan = plan_of(values)

    def steps(method: str) -> int:
        run = Run("edsr_mini", 4, method, 0)
        stages = [Stage(**stage.settings) for stage in plan.stages(run)]
        return sum(Schedule(stage=stage, images=9).steps for stage in stages)

    # Inverse epochs, or steps, are added to the T epochs, of which the released loop leaves out the last.
    assert steps("bspa_literal") == steps("baseline_matched") == 67 + 5 * 5
    for method in ("bspa_released", "baseline_released_matched", "baseline_released_stretched"):
        assert steps(method) == 5 * 11 + 5 * 83


def test_the_reference_keeps_the_budget_too(plan_of: PlanOf, values: dict[str, Any]) -> None:
    values["training"]["steps"] = 67
    stage = Stage(**plan_of(values).train_reference(4).settings)
    assert Schedule(stage=stage, images=9).steps == 67
