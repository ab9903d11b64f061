"""The training runs of a config: which there are, and what their stages and attributions compute."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from bspa.config.recipes import Cycle, Phase, lay_out_cycles, without_effect
from bspa.config.schema import Config, Method, SubImages, Table, Training, scale_key
from bspa.training.stage import PHASES, Attribution, Stage

F = TypeVar("F", bound=Callable[..., Any])


def remembered(method: F) -> F:
    """Compute a method of the plan once for the same arguments; a plan lives as long as its process."""
    return cast(F, functools.cache(method))


@dataclass(frozen=True, slots=True)
class Run:
    """A training run: one network, scale, recipe and seed; and which of its weights are delivered."""

    model: str
    scale: int
    method: str
    seed: int
    weights: str = ""
    """last, average or best; empty: as `training.select` says."""

    @property
    def name(self) -> str:
        """Its name in paths."""
        weights = self.weights and f"_{self.weights}"
        return f"{self.model}_x{self.scale}_{self.method}_seed{self.seed}{weights}"

    @property
    def trained(self) -> Run:
        """The run as it is trained, whichever weights are delivered."""
        return replace(self, weights="")


class Runs:
    """The runs that tables and figures show."""

    def __init__(self, config: Config):
        self.config = config

    # ---- what is shown -------------------------------------------------------------------------------------

    @property
    def tables(self) -> list[str]:
        """The tables that have rows and columns."""
        return [
            name
            for name, table in self.config.tables.items()
            if table and self.scales_of(table) and self.benchmarks_of(table)
        ]

    @property
    def figures(self) -> list[str]:
        """The figures that are made, by file name."""
        return ["figure1", *(name for name, figure in self.config.figures if figure)]

    @property
    def figure_scale(self) -> int:
        """The scale that figures show."""
        return max(self.config.scales)

    @property
    def sources(self) -> list[str]:
        """The sources that are used."""
        data = self.config.data
        return sorted({data.train, data.validation, *data.benchmarks, *self.validation_sources})

    @property
    def validation_sources(self) -> set[str]:
        """The sources of validation curves."""
        validations = [self.config.training_of(run.model).validation for run in self.runs()]
        return {validation.source for validation in validations if validation}

    @property
    def degraded(self) -> set[str]:
        """The sources whose LR images are degraded: those of training and validation, seldom benchmarks."""
        data = self.config.data
        if not data.degradation:
            return set()
        benchmarks = set(data.benchmarks)
        learned = {data.train, data.validation, *self.validation_sources} - benchmarks
        return learned | benchmarks if data.degrade_benchmarks else learned

    @property
    def degradation_in_words(self) -> dict[str, str]:
        """Say how LR images are degraded, as a setting of tables and of networks; empty if they are not."""
        data = self.config.data
        steps = [
            f"{name} of {value} {low:g}" + (f" to {high:g}" if high > low else "")
            for step in data.degradation
            for name, section in step.model_dump(exclude_none=True).items()
            for value, (low, high) in section.items()
        ]
        benchmarks = "the benchmarks' too" if data.degrade_benchmarks else "but not the benchmarks'"
        text = f"LR images are degraded in training and validation, {benchmarks}: {', '.join(steps)}"
        return {"degradation": text} if steps else {}

    def scales_of(self, table: Table) -> list[int]:
        """List the scales of a table that are computed."""
        return [scale for scale in self.config.scales if table.scales is None or scale in table.scales]

    def benchmarks_of(self, table: Table) -> list[str]:
        """List the benchmarks of a table that are computed."""
        names = self.config.data.benchmarks
        return [name for name in names if table.benchmarks is None or name in table.benchmarks]

    def table_runs(self, name: str) -> list[Run]:
        """List the runs of a table."""
        table = self.config.tables[name]
        assert table, f"tables.{name} is not null"
        return [
            Run(model, scale, method, seed, table.weights or "")
            for scale in self.scales_of(table)
            for model in table.models
            for method in table.methods
            for seed in self.config.seeds
        ]

    def figure_runs(self, figure: str) -> list[Run]:
        """List the runs that a figure shows, network by network: at one scale, with the first seed.

        Figure 7 shows all seeds.
        """
        section = self._figure(figure)
        models = getattr(section, "models", None) or [section.model]
        methods = getattr(section, "methods", None) or [section.method]
        seeds = self.config.seeds if figure == "figure7" else self.config.seeds[:1]
        scale = self.figure_scale
        return [Run(*run) for run in itertools.product(models, [scale], methods, seeds)]

    @remembered
    def shown_runs(self) -> list[tuple[str, list[Run]]]:
        """List tables and figures with the runs that they show."""
        drawn = [(name, self.figure_runs(name)) for name in self.figures if name != "figure1"]
        return [*((name, self.table_runs(name)) for name in self.tables), *drawn]

    @remembered
    def runs(self) -> list[Run]:
        """List every run that a table or a figure shows, each once, and those whose seconds they match."""
        shown = [run.trained for _, runs in self.shown_runs() for run in runs]
        matched = [other for run in shown if (other := self.matched_run(run))]
        return list(dict.fromkeys(shown + matched))

    def matched_run(self, run: Run) -> Run | None:
        """Return the run that a run takes as many device seconds as."""
        other = self.config.methods[run.method].match_seconds
        return replace(run.trained, method=other) if other else None

    @remembered
    def class_splits(self) -> list[str]:
        """List the class splits in use, that of the first recipe first; where none is used, any one."""
        methods = [self.config.methods[run.method] for run in self.runs()]
        used = [m.class_split for m in methods if m.sampling in ("inverse", "alternating")]
        return list(dict.fromkeys(used)) or list(self.config.class_splits)[:1]

    # ---- what a run computes -------------------------------------------------------------------------------

    @remembered
    def cycles(self, run: Run) -> list[Cycle]:
        """Lay out the cycles of a run; see `lay_out_cycles`."""
        return lay_out_cycles(self.config, run.model, run.method)

    def warning(self, run: Run) -> str | None:
        """Say which part of the run's recipe has no effect within its epochs."""
        return without_effect(self.config.methods[run.method], self.cycles(run))

    def previews(self, run: Run) -> int:
        """Return how many previews a run writes at each point of its validation curve."""
        validation = self.config.training_of(run.model).validation
        return validation.previews if validation else 0

    def stage(self, run: Run, phase: Phase) -> Stage:
        """Return what a training stage computes."""
        values = self.config.training_of(run.model)
        sampling, objective = PHASES[phase.name]
        if objective == "l1":
            objective = self._pixel_loss(run)
        # The reference network has no recipe and no validation.
        method = self.config.methods.get(run.method, Method(sampling="uniform"))
        validation = values.validation if run.method in self.config.methods else None
        return Stage(
            **values.model_dump(include={"batch", "learning_rate", "betas", "epsilon", "ema"}),
            **self._epoch(values),
            **self._learning_rates(values),
            weight_decay=self._weight_decay(values),
            **self.network(run.model, run.scale),
            phase=phase.name,
            sampling=sampling,
            objective=objective,
            seed=run.seed,
            patch=self.grid(run.scale).size,
            precision=self.config.compute.precision,
            first_epoch=phase.first_epoch,
            epochs=phase.epochs,
            extra_steps=phase.extra_steps,
            counts=phase.counts,
            total_epochs=values.epochs,
            image_order=method.image_order,
            stretch_schedule=method.stretch_schedule,
            fresh_optimiser=phase.fresh_optimiser,
            validate_every=validation.every if validation else None,
            validate_images=validation.images if validation else None,
            frozen_moments=method.attribution.moments if method.attribution else "fade",
        )

    def attribution(self, run: Run, cycle: int) -> Attribution:
        """Return what the attribution after a cycle, from 1, computes."""
        method, cycles = self.config.methods[run.method], self.cycles(run)
        training = self.config.training_of(run.model)
        assert method.attribution, f"{run.method} has an attribution"
        return Attribution(
            **method.attribution.model_dump(exclude={"phases", "moments"}),
            **self.network(run.model, run.scale),
            seed=run.seed,
            objective=self._pixel_loss(run),
            patch=self.grid(run.scale).size,
            batch=training.batch,
            **self._epoch(training),
            image_order=method.image_order,
            cycle=cycle,
            epoch=cycles[cycle - 1].end_epoch,
            total_epochs=max(training.epochs, cycles[-1].end_epoch),
        )

    def _pixel_loss(self, run: Run) -> str:
        """Return the loss of output and HR, for runs without uncertainty."""
        recipe = self.config.methods.get(run.method)
        return (recipe and recipe.loss) or self.config.training_of(run.model).loss

    @staticmethod
    def _learning_rates(training: Training) -> dict[str, Any]:
        """Return what sets the learning rates, without what their kind does not use."""
        rates = training.schedule
        return {
            "decay": rates.kind,
            "halve_every": training.halve_every if rates.kind == "step" else None,
            "milestones": rates.milestones,
            "gamma": rates.gamma if rates.kind == "multistep" else None,
            "final_rate": rates.final if rates.kind == "cosine" else None,
            "warm_up": rates.warm_up,
        }

    @staticmethod
    def _weight_decay(training: Training) -> float:
        default = 0.01 if training.optimiser == "adamw" else 0.0
        return default if training.weight_decay is None else training.weight_decay

    @staticmethod
    def _epoch(training: Training) -> dict[str, Any]:
        """Return what sets the steps of an epoch."""
        steps = training.epoch_steps
        return {"repeat": training.repeat if steps is None else None, "epoch_steps": steps}

    def reference_run(self, scale: int) -> Run:
        """Return the training of the reference network."""
        return Run(self.config.reference.model, scale, "reference", self.config.reference.seed)

    @property
    def given_references(self) -> list[int]:
        """The scales whose reference network is given."""
        return [int(name.removeprefix("x")) for name in self.config.reference.weights]

    @property
    def trained_references(self) -> list[int]:
        """The scales whose reference network is trained here."""
        return [scale for scale in self.config.scales if scale not in self.given_references]

    # ---- sections of the config ----------------------------------------------------------------------------

    def grid(self, scale: int) -> SubImages:
        """Return the grid of sub-images of a scale."""
        return self.config.sub_images[scale_key(scale)]

    def network(self, model: str, scale: int) -> dict[str, Any]:
        """Return what builds a network."""
        section = self.config.models[model]
        options = dict(sorted(section.options.model_dump().items()))
        return {"arch": section.arch, "scale": scale, "options": options}

    def model_label(self, model: str) -> str:
        """Return what a network, or bicubic interpolation, is called in tables and figures."""
        section = self.config.models.get(model)
        return (section and section.label) or model

    def method_label(self, method: str) -> str:
        """Return what a recipe, or bicubic interpolation, is called in tables and figures."""
        section = self.config.methods.get(method)
        return (section and section.label) or method

    def _figure(self, name: str) -> Any:
        figure = getattr(self.config.figures, name)
        if figure is None:
            raise ValueError(f"figures.{name} is null in the config: there is no such figure")
        return figure
