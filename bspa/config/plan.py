"""The plan: everything that a config makes. Tables and figures are planned here."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from bspa.config.product import Product, remembered
from bspa.config.products import BICUBIC, Products
from bspa.config.runs import MASK, PlannedStage, Run
from bspa.config.schema import ArchiveSource
from bspa.data.sources import list_files
from bspa.metrics.catalogue import METRICS

NETWORK_FIGURES = ("figure4", "figure6")
"""Figures that run the networks that they show."""


class Plan(Products):
    """Everything that a config makes."""

    def class_rows(self) -> list[dict[str, Any]]:
        """List the scales and splits of the table of classes."""
        return [
            {"scale": scale, "split": split} for scale in self.config.scales for split in self.class_splits()
        ]

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
        """List the scores of a table, bicubic first: run, benchmark, kind of metric, and product."""
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

    # ---- figures -------------------------------------------------------------------------------------------

    @remembered
    def figure_1(self) -> Product:
        """The long tail of difficulty."""
        train, scale, split = self.config.data.train, self.figure_scale, self.class_splits()[0]
        label = f"Sub-images of {self._source_in_words(train)}, x{scale}"
        return self._figure_product(
            "figure1", {"label": label}, [self.compute_thresholds(train, scale, split)]
        )

    @remembered
    def figure_3(self) -> Product:
        """PSNR of each class of difficulty."""
        train, validation = self.config.data.train, self.config.data.validation
        split = self._figure("figure3").class_split
        settings = self._shown("figure3")
        needs = [
            *(
                self.score_sub_images(run, source)
                for run in self.figure_runs("figure3")
                for source in (train, validation)
            ),
            self.compute_thresholds(train, self.figure_scale, split),
            self.score_difficulty(validation, self.figure_scale),
        ]
        return self._figure_product("figure3", settings, needs)

    @remembered
    def figure_4(self) -> Product:
        """Sub-images and their errors under two methods."""
        figure, validation = self._figure("figure4"), self.config.data.validation
        settings = {
            **self._shown("figure4"),
            "source": validation,
            "count": figure.count,
            "regions": [region.model_dump() for region in figure.regions],
            "tile": self.config.compute.tile,
        }
        needs = [self.score_sub_images(run, validation) for run in self.figure_runs("figure4")]
        return self._figure_product("figure4", settings, needs)

    @remembered
    def figure_5(self) -> Product:
        """The sub-images' error before and after."""
        needs = [self.score_sub_images(run, self.config.data.train) for run in self.figure_runs("figure5")]
        return self._figure_product("figure5", self._shown("figure5"), needs)

    @remembered
    def figure_6(self) -> Product:
        """Regions of benchmark photographs, compared across methods."""
        figure, benchmarks = self._figure("figure6"), self.config.data.benchmarks
        settings = {
            **self._shown("figure6"),
            "scale": self.figure_scale,
            "border": self.config.data.border,
            "benchmarks": list(benchmarks),
            "benchmark_labels": [
                "scikit-image" if self.config.sources[name].kind == "builtin" else name for name in benchmarks
            ],
            "size": figure.size,
            "count": figure.count,
            "regions": [
                {"source": region.benchmark, **region.model_dump(exclude={"benchmark"})}
                for region in figure.regions
                if region.benchmark in benchmarks
            ],
            "tile": self.config.compute.tile,
        }
        needs = [self.deliver_weights(run) for run in self.figure_runs("figure6")]
        needs += [self.pack_images(name, self.figure_scale) for name in benchmarks]
        return self._figure_product("figure6", settings, needs)

    @remembered
    def figure_training(self) -> Product:
        """Training curves."""
        needs = [self.train_stage(s.run, s.cycle, s.stage.phase) for s in self.shown_stages()]
        runs = [
            {
                "model": self.model_label(run.model),
                "method": self.method_label(run.method),
                "phases": [planned.stage.phase for planned in self.stages(run)],
            }
            for run in self.figure_runs("training")
        ]
        trained_on = self._source_in_words(self.config.data.train)
        label = f"x{self.figure_scale}, seed {self.config.seeds[0]}, trained on {trained_on}"
        settings = {"label": label, "runs": runs}
        return self._figure_product("training", settings, needs)

    @remembered
    def figure_attribution(self) -> Product:
        """Importance and frozen share of each layer.

        Raises:
            ValueError: no mask of the run is ever used.
        """
        (run,) = self.figure_runs("attribution")
        cycles = self.used_masks(run)
        if not cycles:
            raise ValueError(
                f"figures.attribution: {run.method!r} uses no mask on {run.model!r} ({self.warning(run)})"
            )
        needs = [self.attribute_parameters(run, cycle) for cycle in cycles]
        label = f"{self.method_label(run.method)} on {self._shown('attribution')['label']}"
        settings = {"label": label, **self._network(run.model, run.scale)}
        return self._figure_product("attribution", settings, needs)

    def shown_stages(self) -> list[PlannedStage]:
        """List the stages whose journals the training curves show."""
        return [planned for run in self.figure_runs("training") for planned in self.stages(run)]

    def shown_masks(self) -> list[str]:
        """List the masks whose layers are shown, as paths without suffix."""
        (run,) = self.figure_runs("attribution")
        return [self.mask_path(run, cycle) for cycle in self.used_masks(run)]

    def _shown(self, name: str) -> dict[str, Any]:
        """What a figure calls what it shows."""
        runs = self.figure_runs(name)
        trained_on = self._source_in_words(self.config.data.train)
        return {
            "label": f"{self.model_label(runs[0].model)}, x{self.figure_scale}, trained on {trained_on}",
            "methods": [self.method_label(run.method) for run in runs],
        }

    def _source_in_words(self, source: str) -> str:
        """Describe a source to readers of a figure."""
        section = self.config.sources[source]
        return f"{len(section.photos)} scikit-image photographs" if section.kind == "builtin" else source

    def _figure_product(self, name: str, settings: dict[str, Any], needs: list[Product]) -> Product:
        modules = (
            [self._architecture(run) for run in self.figure_runs(name)] if name in NETWORK_FIGURES else []
        )
        return self._product(_figure_rule(name), f"figures/{name}.pdf", settings, needs, modules=modules)

    # ---- everything ----------------------------------------------------------------------------------------

    @remembered
    def targets(self) -> list[Product]:
        """List what the config is for: tables, figures, weights, stages and masks."""
        made = []
        for run in self.runs():
            chain = self._chain(run)
            made += [chain[planned.cycle, planned.stage.phase] for planned in self.stages(run)]
            made += [chain[cycle, MASK] for cycle in self.used_masks(run)]
            made.append(self.deliver_weights(run))
        made += [self.table_classes(), *map(self.table, self.tables)]
        return made + [getattr(self, _figure_rule(name))() for name in self.figures]

    def files(self) -> list[str]:
        """List the files of `rule all`, under the results."""
        more = {"table": ("md", "tex", "html"), "table_classes": ("html",)}
        more |= {_figure_rule(name): ("png",) for name in self.figures}
        return [
            path
            for product in self.targets()
            for path in (
                product.path,
                *(product.path.rpartition(".")[0] + f".{s}" for s in more.get(product.rule, ())),
            )
        ]

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

    @remembered
    def forecast(self) -> dict[str, Any]:
        """List the stages and attributions of every run, and of the reference, for `snakemake plan`."""
        stages, attributions = [], []
        for run in self.runs():
            chain, place = self._chain(run), {"run": asdict(run), "tables": self._shown_in(run)}
            for planned in self.stages(run):
                product = chain[planned.cycle, planned.stage.phase]
                stages.append({**place, "stage": product.settings, "path": product.path, "key": product.key})
            for cycle in self.used_masks(run):
                product = chain[cycle, MASK]
                attributions.append(
                    {**place, "attribution": product.settings, "path": product.path, "key": product.key}
                )
        reference = self.config.reference
        return {
            "results": self.config.results,
            "train": self.config.data.train,
            "images": self._training_images(),
            "stages": stages,
            "attributions": attributions,
            "reference": [
                {
                    "run": asdict(Run(reference.model, scale, "reference", reference.seed)),
                    "tables": [],
                    "stage": product.settings,
                    "path": product.path,
                    "key": product.key,
                }
                for scale in self.trained_references
                for product in [self.train_reference(scale)]
            ],
        }

    def _shown_in(self, run: Run) -> list[str]:
        """Name the tables and figures that show a run."""
        shown = [name for name in self.tables if run in self.table_runs(name)]
        drawn = [name for name in self.figures if name != "figure1" and run in self.figure_runs(name)]
        return shown + drawn

    def _training_images(self) -> int | None:
        """Count the training photographs; None where they must first be downloaded and no number is given."""
        section = self.config.sources[self.config.data.train]
        if isinstance(section, ArchiveSource):
            return section.images
        scales = list(self.config.scales) if getattr(section, "lr", None) else []
        return len({file.id for file in list_files(**section.model_dump(), scales=scales)})


def _figure_rule(name: str) -> str:
    """Return the rule of a figure: figure_1 of figure1, figure_training of training."""
    return name.replace("figure", "figure_") if name.startswith("figure") else f"figure_{name}"
