"""The training runs of a config: which there are, and their stages and masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bspa.config.product import remembered
from bspa.config.recipes import Cycle, Phase, lay_out_cycles, without_effect
from bspa.config.schema import Config, SubImages, Table, scale_key
from bspa.training.stage import PHASES, Attribution, Stage

MASK = "mask"


@dataclass(frozen=True, slots=True)
class Run:
    """A training run: one network, scale, recipe and seed."""

    model: str
    scale: int
    method: str
    seed: int

    @property
    def name(self) -> str:
        """Its name in paths."""
        return f"{self.model}_x{self.scale}_{self.method}_seed{self.seed}"


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage of a run, and where its files lie."""

    run: Run
    cycle: int
    """From 1."""
    stage: Stage

    @property
    def path(self) -> str:
        """Its files under the results, without suffix."""
        return f"training/{self.run.name}/cycle{self.cycle}/{self.stage.phase}"


class Runs:
    """The runs that tables and figures show, and their stages."""

    def __init__(self, config: Config):
        self.config = config
        self.memory: dict[Any, Any] = {}

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
    def figure_scale(self) -> int:
        """The scale that figures show."""
        return max(self.config.scales)

    @property
    def figures(self) -> list[str]:
        """The figures that are made, by file name."""
        return ["figure1", *(name for name, figure in self.config.figures if figure)]

    @property
    def sources(self) -> list[str]:
        """The sources that are used."""
        data = self.config.data
        return sorted({data.train, data.validation, *data.benchmarks})

    def scales_of(self, table: Table) -> list[int]:
        """List the scales of a table that are computed."""
        return [scale for scale in self.config.scales if table.scales is None or scale in table.scales]

    def benchmarks_of(self, table: Table) -> list[str]:
        """List the benchmarks of a table that are computed."""
        names = self.config.data.benchmarks
        return [name for name in names if table.benchmarks is None or name in table.benchmarks]

    def table_runs(self, table: str) -> list[Run]:
        """List the runs of a table."""
        section = self._table(table)
        return [
            Run(model, scale, method, seed)
            for scale in self.scales_of(section)
            for model in section.models
            for method in section.methods
            for seed in self.config.seeds
        ]

    def figure_runs(self, figure: str) -> list[Run]:
        """List the runs that a figure shows, network by network: at one scale, with the first seed."""
        section = self._figure(figure)
        models = getattr(section, "models", None) or [section.model]
        methods = getattr(section, "methods", None) or [section.method]
        seed = self.config.seeds[0]
        return [Run(model, self.figure_scale, method, seed) for model in models for method in methods]

    @remembered
    def runs(self) -> list[Run]:
        """List every run that a table or a figure shows, each once."""
        shown = [run for table in self.tables for run in self.table_runs(table)]
        shown += [run for name in self.figures if name != "figure1" for run in self.figure_runs(name)]
        return list(dict.fromkeys(shown))

    @remembered
    def cycles(self, run: Run) -> list[Cycle]:
        """Lay out the cycles of a run.

        Raises:
            ValueError: the epochs do not suffice for the recipe.
        """
        return lay_out_cycles(self.config, run.model, run.method)

    @remembered
    def stages(self, run: Run) -> list[PlannedStage]:
        """List the stages of a run, in order."""
        return [
            PlannedStage(run, number, self._stage(run, phase))
            for number, cycle in enumerate(self.cycles(run), 1)
            for phase in cycle.phases
        ]

    def stage(self, run: Run, cycle: int, phase: str) -> PlannedStage:
        """Return one stage of a run.

        Raises:
            ValueError: the run has no such stage.
        """
        for planned in self.stages(run):
            if (planned.cycle, planned.stage.phase) == (cycle, phase):
                return planned
        raise ValueError(f"{run.name} has no phase {phase!r} in cycle {cycle}; it has {self._places(run)}")

    def previous(self, run: Run, cycle: int, phase: str) -> PlannedStage | None:
        """Return the stage that a stage goes on from; None for the first of a run."""
        stages = self.stages(run)
        place = stages.index(self.stage(run, cycle, phase))
        return stages[place - 1] if place else None

    def mask_in(self, run: Run, cycle: int, phase: str) -> int | None:
        """Return the cycle whose mask holds in a stage; None where no weight is frozen."""
        attribution = self.config.methods[run.method].attribution
        return cycle - 1 if attribution and cycle > 1 and phase in attribution.phases else None

    def kept_mask(self, run: Run, cycle: int) -> int | None:
        """Return the cycle whose mask the mask of ``cycle`` extends (`update: cumulative`)."""
        attribution = self.config.methods[run.method].attribution
        return cycle - 1 if attribution and attribution.update == "cumulative" and cycle > 1 else None

    def used_masks(self, run: Run) -> list[int]:
        """List the cycles of a run whose mask a later cycle uses."""
        attributed = self.config.methods[run.method].attribution is not None
        return list(range(1, len(self.cycles(run)))) if attributed else []

    def warning(self, run: Run) -> str | None:
        """Say which part of the run's recipe has no effect within its epochs."""
        return without_effect(self.config.methods[run.method], self.cycles(run))

    @remembered
    def class_splits(self) -> list[str]:
        """List the class splits in use, that of the first recipe first; where none is used, any one."""
        methods = [self.config.methods[run.method] for run in self.runs()]
        used = [m.class_split for m in methods if m.sampling in ("inverse", "alternating")]
        return list(dict.fromkeys(used)) or list(self.config.class_splits)[:1]

    def mask_path(self, run: Run, cycle: int) -> str:
        """Return where the mask of a cycle lies under the results, without suffix."""
        return f"training/{run.name}/cycle{cycle}/{MASK}"

    @remembered
    def attribution(self, run: Run, cycle: int) -> Attribution:
        """Return what one attribution computes.

        Raises:
            ValueError: the recipe has no attribution, or the run has no such cycle.
        """
        method, values = self.config.methods[run.method], self.config.training_of(run.model)
        cycles = self.cycles(run)
        if method.attribution is None or cycle > len(cycles) or "inverse" not in cycles[cycle - 1].names:
            raise ValueError(f"{run.name} has no attribution in cycle {cycle}; it has {self._places(run)}")
        return Attribution(
            **method.attribution.model_dump(exclude={"phases"}),
            **self._network(run.model, run.scale),
            seed=run.seed,
            objective=method.loss,
            patch=self.grid(run.scale).size,
            batch=values.batch,
            cycle=cycle,
            epoch=cycles[cycle - 1].end_epoch,
            total_epochs=cycles[-1].end_epoch,
        )

    @property
    def given_references(self) -> list[int]:
        """The scales whose reference network is given."""
        return [int(name.removeprefix("x")) for name in self.config.reference.weights]

    @property
    def trained_references(self) -> list[int]:
        """The scales whose reference network is trained here."""
        return [scale for scale in self.config.scales if scale not in self.given_references]

    def reference_stage(self, scale: int) -> Stage:
        """Return the training of the reference: uniform sampling and L1, as the baseline's."""
        model = self.config.reference.model
        phase = Phase(name="uniform", first_epoch=0, epochs=self.config.training_of(model).epochs)
        run = Run(model, scale, "reference", self.config.reference.seed)
        return self._stage(run, phase)

    # ---- sections of the config ----------------------------------------------------------------------------

    def grid(self, scale: int) -> SubImages:
        """Return the grid of sub-images of a scale."""
        return self.config.sub_images[scale_key(scale)]

    def model_label(self, model: str) -> str:
        """Return what a network is called in tables and figures."""
        return self.config.models[model].label or model

    def method_label(self, method: str) -> str:
        """Return what a recipe is called in tables and figures."""
        return self.config.methods[method].label or method

    def _table(self, name: str) -> Table:
        table = self.config.tables[name]
        if table is None:
            raise ValueError(f"tables.{name} is null in the config: there is no such table")
        return table

    def _figure(self, name: str) -> Any:
        figure = getattr(self.config.figures, name)
        if figure is None:
            raise ValueError(f"figures.{name} is null in the config: there is no such figure")
        return figure

    def _places(self, run: Run) -> str:
        return ", ".join(f"cycle {planned.cycle} {planned.stage.phase}" for planned in self.stages(run))

    def _network(self, model: str, scale: int) -> dict[str, Any]:
        """What builds a network."""
        section = self.config.models[model]
        return {
            "arch": section.arch,
            "scale": scale,
            "options": dict(sorted(section.options.model_dump().items())),
        }

    def _stage(self, run: Run, phase: Phase) -> Stage:
        values = self.config.training_of(run.model)
        sampling, objective = PHASES[phase.name]
        return Stage(
            **values.model_dump(exclude={"epochs"}),
            **self._network(run.model, run.scale),
            phase=phase.name,
            sampling=sampling,
            objective=objective,
            seed=run.seed,
            patch=self.grid(run.scale).size,
            precision=self.config.compute.precision,
            first_epoch=phase.first_epoch,
            epochs=phase.epochs,
            counts=phase.counts,
            total_epochs=values.epochs,
        )
