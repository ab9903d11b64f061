"""The plan: every run, stage and product of a config, with its settings and its key.

A product is what one job makes. Its key is a digest of the job's settings, of the code that it runs and of
the keys of what it reads. So a change anywhere changes the key of everything behind it, whatever files happen
to be there, and the key in a file tells whether the file belongs to a config.

Nothing here looks at files under the results; of the user's own files, the content counts.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from bspa.config.code import PACKAGE, code_digest
from bspa.config.contents import Contents
from bspa.config.recipes import Cycle, Phase, lay_out_cycles, without_effect
from bspa.config.schema import ArchiveSource, Config, SubImages, Table
from bspa.data.sources import list_files
from bspa.metrics.catalogue import METRICS, lpips_available
from bspa.training.stage import OBJECTIVE_MODULES, PHASES, Attribution, Stage

BICUBIC = "bicubic"
MASK = "mask"
UNIFORM = "bspa.sampling.uniform"


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Product:
    """What one job makes."""

    rule: str
    path: str
    """Its first file, under the results."""
    settings: dict[str, Any]
    """Plain values for the script, by sorted names."""
    needs: tuple[Product, ...]
    """What the job reads."""
    key: str
    """32 hexadecimal digits that stand for the settings, the code, and the keys of what the job reads."""


P = ParamSpec("P")
T = TypeVar("T")


def remembered(method: Callable[Concatenate[Plan, P], T]) -> Callable[Concatenate[Plan, P], T]:
    """Compute a method of the plan once for the same arguments."""

    @functools.wraps(method)
    def wrapper(plan: Plan, *args: P.args, **kwargs: P.kwargs) -> T:
        call = (method.__name__, args, tuple(sorted(kwargs.items())))
        if call not in plan.memory:
            plan.memory[call] = method(plan, *args, **kwargs)
        return plan.memory[call]

    return wrapper


class Plan:
    """What a config makes. Methods with the name of a rule give the product of one job of that rule."""

    def __init__(self, config: Config, *, scripts: Path, contents: Contents):
        """Plan ``config``.

        Args:
            config: the checked settings.
            scripts: folder of the workflow scripts.
            contents: digests of the user's files.
        """
        self.config = config
        self.memory: dict[Any, Any] = {}
        self._scripts = scripts
        self._contents = contents

    # ---- runs and their stages -----------------------------------------------------------------------------

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

    def class_rows(self) -> list[dict[str, Any]]:
        """List the scales and splits of the table of classes."""
        return [
            {"scale": scale, "split": split} for scale in self.config.scales for split in self.class_splits()
        ]

    def mask_path(self, run: Run, cycle: int) -> str:
        """Return where the mask of a cycle lies under the results, without suffix."""
        return f"training/{run.name}/cycle{cycle}/{MASK}"

    @remembered
    def targets(self) -> list[Product]:
        """List what the config is for: tables, figures, weights, stages and masks."""
        made = [self.table_classes(), *map(self.table, self.tables)]
        for run in self.runs():
            chain = self._chain(run)
            made += [chain[planned.cycle, planned.stage.phase] for planned in self.stages(run)]
            made += [chain[cycle, MASK] for cycle in self.used_masks(run)]
            made.append(self.deliver_weights(run))
        return made

    @remembered
    def products(self) -> dict[str, Product]:
        """List everything that the targets need, by path, each after what it needs."""
        found: dict[str, Product] = {}

        def add(product: Product) -> None:
            if product.path not in found:
                for need in product.needs:
                    add(need)
                found[product.path] = product

        for target in self.targets():
            add(target)
        return found

    # ---- photographs ---------------------------------------------------------------------------------------

    @remembered
    def fetch_archive(self, archive: str) -> Product:
        """An unpacked archive. No code counts: an edited downloader is no reason to download again."""
        return self._product(
            "fetch_archive",
            f"data/archives/{archive}",
            self.config.archives[archive].model_dump(),
            code=False,
        )

    @remembered
    def make_manifest(self, source: str) -> Product:
        """The manifest of a source. Photographs count by name and content, wherever they lie.

        Raises:
            ValueError: a folder of photographs does not exist, or its pairs are incomplete.
        """
        section = self.config.sources[source]
        values = section.model_dump(exclude={"images"})
        # Only given pairs differ between scales: for others, a new scale is no reason to make anything again.
        scales = list(self.config.scales) if values.get("lr") else []
        side, reason = self._minimum_side(source)
        counted: dict[str, Any] = {"scales": scales, "minimum_side": side}
        needs = []
        if isinstance(section, ArchiveSource):
            counted["source"] = values
            folder = Path(self.config.results, "data/archives", section.archive, section.folder)
            values = {"kind": "folder", "path": str(folder), "hr": section.hr, "lr": section.lr}
            needs = [self.fetch_archive(section.archive)]
        else:
            counted["photographs"] = self._photographs(source, values, scales)
        settings = {
            "source": values,
            "scales": scales,
            "minimum_side": side,
            "minimum_side_reason": reason,
        }
        return self._product("make_manifest", f"data/{source}/manifest.csv", settings, needs, counted=counted)

    def _photographs(self, source: str, values: dict[str, Any], scales: list[int]) -> str:
        """Digest the names and the content of a source's photographs."""
        try:
            files = list_files(**values, scales=scales)
        except ValueError as error:
            raise ValueError(f"sources.{source}: {error}") from None
        paths = [path for file in files for path in (file.path, file.lr_path) if path]
        names = [(file.id, file.scale) for file in files]
        return _digest([names, self._contents.digest(paths)])

    @remembered
    def check_data(self) -> Product:
        """The check of the sources against each other."""
        config = self.config
        settings = {
            "sources": self.sources,
            "train": config.data.train,
            "benchmarks": list(config.data.benchmarks),
            "grids": {str(scale): self.grid(scale).model_dump() for scale in sorted(config.scales)},
            "classes": {name: config.class_splits[name].classes for name in sorted(self.class_splits())},
        }
        return self._product(
            "check_data", "data/checked.txt", settings, [self.make_manifest(name) for name in self.sources]
        )

    @remembered
    def pack_images(self, source: str, scale: int) -> Product:
        """The packed HR and LR images of a source."""
        settings = {"scale": scale, "border": self.config.data.border}
        return self._product(
            "pack_images", f"data/{source}/x{scale}.h5", settings, [self.make_manifest(source)]
        )

    @remembered
    def crop_sub_images(self, source: str, scale: int) -> Product:
        """The windows of a source's sub-images."""
        needs = [self.pack_images(source, scale)]
        return self._product(
            "crop_sub_images", f"sub_images/{source}/x{scale}.h5", self.grid(scale).model_dump(), needs
        )

    # ---- difficulty ----------------------------------------------------------------------------------------

    @property
    def given_references(self) -> list[int]:
        """The scales whose reference network is given."""
        return [int(name.removeprefix("x")) for name in self.config.reference.weights]

    @property
    def trained_references(self) -> list[int]:
        """The scales whose reference network is trained here."""
        return [scale for scale in self.config.scales if scale not in self.given_references]

    @remembered
    def import_reference(self, scale: int) -> Product:
        """The given reference network; a file counts by content."""
        weights = self.config.reference.weights[f"x{scale}"]  # type: ignore[index]
        network = self._network(self.config.reference.model, scale)
        settings = {**network, "file": weights.file, "sha256": weights.sha256}
        counted = {**network, "weights": self._content_of(weights.file, weights.sha256)}
        modules = [_module_of(network["arch"])]
        return self._product(
            "import_reference", _reference_path(scale), settings, modules=modules, counted=counted
        )

    def reference_stage(self, scale: int) -> Stage:
        """Return the training of the reference: uniform sampling and L1, as the baseline's."""
        model = self.config.reference.model
        phase = Phase(name="uniform", first_epoch=0, epochs=self.config.training_of(model).epochs)
        run = Run(model, scale, "reference", self.config.reference.seed)
        return self._stage(run, phase)

    @remembered
    def train_reference(self, scale: int) -> Product:
        """The trained reference network."""
        stage = self.reference_stage(scale)
        needs = [self.pack_images(self.config.data.train, scale)]
        return self._product(
            "train_reference", _reference_path(scale), asdict(stage), needs, modules=_modules_of(stage)
        )

    def reference(self, scale: int) -> Product:
        """The reference network, given or trained."""
        return self.import_reference(scale) if scale in self.given_references else self.train_reference(scale)

    @remembered
    def score_difficulty(self, source: str, scale: int) -> Product:
        """The difficulty of a source's sub-images."""
        reference = self.config.reference
        settings = {"batch": reference.batch, "precision": reference.precision}
        needs = [self.crop_sub_images(source, scale), self.reference(scale)]
        modules = [_module_of(self.config.models[reference.model].arch)]
        return self._product(
            "score_difficulty",
            f"difficulty/{source}/x{scale}/scores.h5",
            settings,
            needs,
            modules=modules,
        )

    @remembered
    def compute_thresholds(self, source: str, scale: int, split: str) -> Product:
        """The classes of a source's sub-images."""
        settings = self.config.class_splits[split].model_dump()
        return self._product(
            "compute_thresholds",
            f"difficulty/{source}/x{scale}/{split}/thresholds.csv",
            settings,
            [self.score_difficulty(source, scale)],
        )

    @remembered
    def write_class_shards(self, source: str, scale: int, split: str) -> Product:
        """The sub-images of each class."""
        needs = [self.compute_thresholds(source, scale, split)]
        return self._product(
            "write_class_shards", f"shards/{source}/x{scale}/{split}", {"samples": self.config.shards}, needs
        )

    @remembered
    def map_informativeness(self, source: str, scale: int) -> Product:
        """SamplingAug's error maps.

        Raises:
            ValueError: patches are too small: `scale + 6` pixels on each side do not count.
        """
        size = self.grid(scale).size
        least = (2 * (scale + 6) // scale + 1) * scale
        if size < least:
            raise ValueError(
                f"sub_images.x{scale}.size: {size} is too small for sampling: informative; "
                f"allowed: {least} or more"
            )
        return self._product(
            "map_informativeness",
            f"informative/{source}/x{scale}/maps.h5",
            {"patch": size},
            [self.pack_images(source, scale)],
        )

    @remembered
    def select_patches(self, source: str, scale: int, selection: str) -> Product:
        """SamplingAug's chosen patches."""
        settings = self.config.patch_selections[selection].model_dump()
        return self._product(
            "select_patches",
            f"informative/{source}/x{scale}/{selection}.h5",
            settings,
            [self.map_informativeness(source, scale)],
        )

    # ---- training ------------------------------------------------------------------------------------------

    def train_stage(self, run: Run, cycle: int, phase: str) -> Product:
        """The snapshot of a stage."""
        return self._chain(run)[cycle, self.stage(run, cycle, phase).stage.phase]

    def attribute_parameters(self, run: Run, cycle: int) -> Product:
        """The mask of a cycle."""
        self.attribution(run, cycle)
        return self._chain(run)[cycle, MASK]

    @remembered
    def _chain(self, run: Run) -> dict[tuple[int, str], Product]:
        """The products of a run's stages and attributions, by cycle and phase, in the order they are made."""
        method, train = self.config.methods[run.method], self.config.data.train
        packed = self.pack_images(train, run.scale)
        drawn_from = {
            "inverse": lambda: [self.write_class_shards(train, run.scale, method.class_split)],
            "informative": lambda: [self.select_patches(train, run.scale, method.patch_selection)],
            "uniform": lambda: [],
        }
        made: dict[tuple[int, str], Product] = {}
        for planned in self.stages(run):
            cycle, stage = planned.cycle, planned.stage
            previous, mask = self.previous(run, cycle, stage.phase), self.mask_in(run, cycle, stage.phase)
            needs = [packed, *drawn_from[stage.sampling]()]
            if previous:
                needs.append(made[previous.cycle, previous.stage.phase])
            if mask:
                needs.append(made[mask, MASK])
            made[cycle, stage.phase] = self._product(
                f"train_{stage.phase}",
                f"{planned.path}.safetensors",
                asdict(stage),
                needs,
                modules=_modules_of(stage),
                script="train_stage",
            )
            if method.attribution and stage.phase == "inverse":
                attribution, kept = self.attribution(run, cycle), self.kept_mask(run, cycle)
                needs = [packed, made[cycle, "uniform"], made[cycle, "inverse"]]
                needs += [made[kept, MASK]] if kept else []
                modules = [_module_of(attribution.arch), UNIFORM, OBJECTIVE_MODULES[attribution.objective]]
                made[cycle, MASK] = self._product(
                    "attribute_parameters",
                    f"{self.mask_path(run, cycle)}.safetensors",
                    asdict(attribution),
                    needs,
                    modules=modules,
                )
        return made

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

    @remembered
    def deliver_weights(self, run: Run) -> Product:
        """The delivered weights of a run."""
        network = self._network(run.model, run.scale)
        settings = {
            **network,
            "model": run.model,
            "method": run.method,
            "seed": run.seed,
            "trained_on": self.config.data.train,
        }
        chain = self._chain(run)
        last = self.stages(run)[-1]
        needs = [chain[last.cycle, last.stage.phase], *(chain[cycle, MASK] for cycle in self.used_masks(run))]
        return self._product(
            "deliver_weights",
            f"models/{run.name}.safetensors",
            settings,
            needs,
            modules=[_module_of(network["arch"])],
        )

    # ---- evaluation ----------------------------------------------------------------------------------------

    @remembered
    def evaluate(self, run: Run, benchmark: str) -> Product:
        """PSNR and SSIM of a run on a benchmark."""
        needs = [self.pack_images(benchmark, run.scale), self.deliver_weights(run)]
        return self._product(
            "evaluate",
            f"evaluation/{run.name}/{benchmark}.csv",
            {"tile": self.config.compute.tile},
            needs,
            modules=[self._architecture(run)],
        )

    @remembered
    def evaluate_bicubic(self, scale: int, benchmark: str) -> Product:
        """PSNR and SSIM of bicubic interpolation on a benchmark."""
        settings = {"scale": scale, "border": self.config.data.border}
        return self._product(
            "evaluate_bicubic",
            f"evaluation/{BICUBIC}_x{scale}/{benchmark}.csv",
            settings,
            [self.pack_images(benchmark, scale)],
        )

    @remembered
    def fetch_niqe_model(self) -> Product:
        """NIQE's pristine model; a file counts by content."""
        niqe = self.config.perceptual.niqe
        if niqe is None:
            raise ValueError("perceptual.niqe is null in the config: there is no pristine model to fetch")
        counted = {"model": self._content_of(niqe.file, niqe.sha256)}
        return self._product(
            "fetch_niqe_model", "perceptual/niqe_model.npz", niqe.model_dump(), counted=counted
        )

    @remembered
    def evaluate_perceptual(self, run: Run, benchmark: str) -> Product:
        """NIQE and LPIPS of a run on a benchmark."""
        needs = [self.pack_images(benchmark, run.scale), self.deliver_weights(run), *self._niqe()]
        settings = {"tile": self.config.compute.tile, "lpips": lpips_available()}
        return self._product(
            "evaluate_perceptual",
            f"perceptual/{run.name}/{benchmark}.csv",
            settings,
            needs,
            modules=[self._architecture(run)],
        )

    @remembered
    def evaluate_perceptual_bicubic(self, scale: int, benchmark: str) -> Product:
        """NIQE and LPIPS of bicubic interpolation on a benchmark."""
        settings = {"scale": scale, "border": self.config.data.border, "lpips": lpips_available()}
        needs = [self.pack_images(benchmark, scale), *self._niqe()]
        return self._product(
            "evaluate_perceptual_bicubic",
            f"perceptual/{BICUBIC}_x{scale}/{benchmark}.csv",
            settings,
            needs,
        )

    @remembered
    def score_sub_images(self, run: Run, source: str) -> Product:
        """The error of a run's network on a source's sub-images."""
        needs = [self.crop_sub_images(source, run.scale), self.deliver_weights(run)]
        settings = {"batch": self.config.reference.batch}
        return self._product(
            "score_sub_images",
            f"sub_image_scores/{run.name}/{source}.h5",
            settings,
            needs,
            modules=[self._architecture(run)],
        )

    # ---- tables --------------------------------------------------------------------------------------------

    @remembered
    def table_classes(self) -> Product:
        """The table of classes."""
        train, rows = self.config.data.train, self.class_rows()
        needs = [self.compute_thresholds(train, row["scale"], row["split"]) for row in rows]
        return self._product("table_classes", "tables/classes.csv", {"rows": rows}, needs)

    @remembered
    def table(self, table: str) -> Product:
        """A table of scores."""
        section, runs = self._table(table), self.table_runs(table)
        evaluations = self.evaluations(table)
        delivered = [self.deliver_weights(run) for run in runs]
        settings = {
            "table": table,
            "caption": section.caption,
            "paper": section.paper,
            "metrics": list(section.metrics),
            "benchmarks": self.benchmarks_of(section),
            "baseline": section.methods[0],
            "seeds": list(self.config.seeds),
            "trained_on": self.config.data.train,
            "evaluations": [
                {**self._row(run), "benchmark": benchmark, "kind": kind, "key": product.key}
                for run, benchmark, kind, product in evaluations
            ],
            "runs": [
                {**asdict(run), "warning": self.warning(run), "key": product.key}
                for run, product in zip(runs, delivered, strict=True)
            ],
        }
        needs = [self.check_data(), *(product for *_, product in evaluations), *delivered]
        return self._product("table", f"tables/{table}.csv", settings, needs)

    @remembered
    def evaluations(self, table: str) -> list[tuple[Run, str, str, Product]]:
        """List the scores of a table, bicubic interpolation first: run, benchmark, kind of metric, product."""
        section = self._table(table)
        bicubic = [Run(BICUBIC, scale, BICUBIC, 0) for scale in self.scales_of(section)]
        return [
            (run, benchmark, kind, self._evaluation(run, benchmark, kind))
            for run in (*bicubic, *self.table_runs(table))
            for benchmark in self.benchmarks_of(section)
            for kind in dict.fromkeys(METRICS[name].kind for name in section.metrics)
        ]

    def _evaluation(self, run: Run, benchmark: str, kind: str) -> Product:
        if run.model == BICUBIC:
            bicubic = {"quality": self.evaluate_bicubic, "perceptual": self.evaluate_perceptual_bicubic}
            return bicubic[kind](run.scale, benchmark)
        trained = {"quality": self.evaluate, "perceptual": self.evaluate_perceptual}
        return trained[kind](run, benchmark)

    def _row(self, run: Run) -> dict[str, Any]:
        """What a table says of a run."""
        if run.model == BICUBIC:
            return {**asdict(run), "model_label": BICUBIC, "method_label": BICUBIC}
        labels = {
            "model_label": self.model_label(run.model),
            "method_label": self.method_label(run.method),
        }
        return {**asdict(run), **labels}

    # ---- what several products need ------------------------------------------------------------------------

    def grid(self, scale: int) -> SubImages:
        """Return the grid of sub-images of a scale."""
        return self.config.sub_images[f"x{scale}"]  # type: ignore[index]

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

    def _architecture(self, run: Run) -> str:
        return _module_of(self.config.models[run.model].arch)

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

    def _minimum_side(self, source: str) -> tuple[int, str]:
        """Return the smallest side that every use of a source can work with, and what needs it."""
        sides = []
        if source in (self.config.data.train, self.config.data.validation):
            sizes = [self.grid(scale).size for scale in self.config.scales]
            sides += [(size, f"sub-images of {size} pixels") for size in sizes]
        if source in self.config.data.benchmarks:
            for scale in self.config.scales:
                needed = 11 + 2 * scale
                side = needed + -needed % scale  # the image is cut to a multiple of the scale first
                sides.append((side, f"SSIM's window of 11 pixels inside a cut border of {scale}"))
        return max(sides)

    def _niqe(self) -> list[Product]:
        return [self.fetch_niqe_model()] if self.config.perceptual.niqe else []

    def _content_of(self, file: str, sha256: str | None) -> str:
        """Digest a given file; an address counts by what it should hold, or by its name."""
        return f"{file} {sha256}" if "://" in file else self._contents.digest([Path(file).expanduser()])

    def _product(
        self,
        rule: str,
        path: str,
        settings: dict[str, Any],
        needs: Sequence[Product] = (),
        *,
        modules: Iterable[str] = (),
        counted: dict[str, Any] | None = None,
        code: bool = True,
        script: str | None = None,
    ) -> Product:
        """Make the product of a job.

        Args:
            rule: the rule that makes it.
            path: its first file, under the results.
            settings: what the script gets.
            needs: what the job reads.
            modules: what the script runs besides its imports, chosen by the settings.
            counted: what decides the result, where that is not the settings as they are.
            code: whether the code counts.
            script: the rule's script, where its name is another.
        """
        code_key = self._code(script or rule, tuple(sorted(set(modules)))) if code else ""
        decides = settings if counted is None else counted
        key = _digest([rule, decides, code_key, sorted(need.key for need in needs)])
        return Product(
            rule=rule, path=path, settings=dict(sorted(settings.items())), needs=tuple(needs), key=key
        )

    @remembered
    def _code(self, script: str, modules: tuple[str, ...]) -> str:
        return code_digest(self._scripts / f"{script}.py", modules)


def _reference_path(scale: int) -> str:
    return f"reference/x{scale}.safetensors"


def _module_of(arch: str) -> str:
    return f"{PACKAGE.name}.models.{arch}"


def _modules_of(stage: Stage) -> list[str]:
    """Name the modules that a stage's settings choose."""
    return [
        _module_of(stage.arch),
        f"{PACKAGE.name}.sampling.{stage.sampling}",
        OBJECTIVE_MODULES[stage.objective],
    ]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
