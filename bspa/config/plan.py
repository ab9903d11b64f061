"""The plan: everything that a config makes. Tables and figures are planned here."""

from __future__ import annotations

import itertools
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bspa.config.products import BICUBIC, MASK, Job, Needs, Product, Products, made
from bspa.config.runs import Run, remembered
from bspa.config.schema import ArchiveSource
from bspa.config.work import memory_mb, minutes
from bspa.data.sources import list_files
from bspa.metrics.catalogue import METRICS
from bspa.training.stage import PHASES, Attribution, Stage

BESIDE = {"table": (".md", ".tex", ".html"), "table_classes": (".html",)}
"""Suffixes of what a rule makes besides its product; figures are made as PNG too."""


class Plan(Products):
    """Everything that a config makes."""

    # ---- tables --------------------------------------------------------------------------------------------

    @made("tables/classes.csv")
    def table_classes(self) -> Job:
        """The table of classes."""
        train, rows = self.config.data.train, list(itertools.product(self.config.scales, self.class_splits()))
        settings = {"rows": [{"scale": scale, "split": split} for scale, split in rows]}
        return Job(settings, {"thresholds": [self.compute_thresholds(train, *row) for row in rows]})

    @made("tables/{table}.csv")
    def table(self, table: str) -> Job:
        """A table of scores."""
        section = self.config.tables[table]
        assert section, f"tables.{table} is not null"
        benchmarks, runs = self.benchmarks_of(section), self.table_runs(table)
        bicubic = [Run(BICUBIC, scale, BICUBIC, 0) for scale in self.scales_of(section)]
        scored = [
            (run, benchmark, kind)
            for run in (*bicubic, *runs)
            for benchmark in benchmarks
            for kind in dict.fromkeys(METRICS[name].kind for name in section.metrics)
        ]
        evaluations = [self._evaluation(*place) for place in scored]
        delivered = [self.deliver_weights(run) for run in runs]
        settings = {
            "table": table,
            "caption": section.caption,
            "paper": section.paper,
            "metrics": list(section.metrics),
            "benchmarks": benchmarks,
            "baseline": section.methods[0],
            "seeds": list(self.config.seeds),
            "trained_on": self.config.data.train,
            **self.degradation_in_words,
            "evaluations": [
                {
                    **asdict(run),
                    "model_label": self.model_label(run.model),
                    "method_label": self.method_label(run.method),
                    "benchmark": benchmark,
                    "kind": kind,
                    "key": product.key,
                }
                for (run, benchmark, kind), product in zip(scored, evaluations, strict=True)
            ],
            "runs": [
                {**asdict(run), "warning": self.warning(run), "key": product.key}
                for run, product in zip(runs, delivered, strict=True)
            ],
        }
        return Job(settings, {"checked": self.check_data(), "evaluations": evaluations, "runs": delivered})

    def _evaluation(self, run: Run, benchmark: str, kind: str) -> Product:
        if run.model == BICUBIC:
            bicubic = {"quality": self.evaluate_bicubic, "perceptual": self.evaluate_perceptual_bicubic}
            return bicubic[kind](run.scale, benchmark)
        trained = {"quality": self.evaluate, "perceptual": self.evaluate_perceptual}
        return trained[kind](run, benchmark)

    # ---- figures -------------------------------------------------------------------------------------------

    @made("figures/figure1.pdf")
    def figure_1(self) -> Job:
        """The long tail of difficulty."""
        train, scale = self.config.data.train, self.figure_scale
        needs = {
            "scores": self.score_difficulty(train, scale),
            "thresholds": self.compute_thresholds(train, scale, self.class_splits()[0]),
        }
        return Job({"label": f"Sub-images of {self._source_in_words(train)}, x{scale}"}, needs)

    @made("figures/figure3.pdf")
    def figure_3(self) -> Job:
        """PSNR of each class of difficulty."""
        train, validation, scale = self.config.data.train, self.config.data.validation, self.figure_scale
        needs: Needs = {
            "train_scores": self._scores("figure3", train),
            "validation_scores": self._scores("figure3", validation),
            "difficulty": self.score_difficulty(train, scale),
            "validation_difficulty": self.score_difficulty(validation, scale),
            "thresholds": self.compute_thresholds(train, scale, self._figure("figure3").class_split),
        }
        return Job(self._shown("figure3"), needs)

    @made("figures/figure4.pdf")
    def figure_4(self) -> Job:
        """Sub-images and their errors under two methods."""
        figure, validation = self._figure("figure4"), self.config.data.validation
        settings = {
            **self._shown("figure4"),
            "source": validation,
            "count": figure.count,
            "regions": [region.model_dump() for region in figure.regions],
            "tile": self.config.compute.tile,
        }
        packed = self.pack_images(validation, self.figure_scale)
        scores, weights = self._scores("figure4", validation), self._weights("figure4")
        return Job(settings, {"packed": packed, "scores": scores, "weights": weights})

    @made("figures/figure5.pdf")
    def figure_5(self) -> Job:
        """The sub-images' error before and after."""
        return Job(self._shown("figure5"), {"scores": self._scores("figure5", self.config.data.train)})

    @made("figures/figure6.pdf")
    def figure_6(self) -> Job:
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
        packed = [self.pack_images(name, self.figure_scale) for name in benchmarks]
        return Job(settings, {"packed": packed, "weights": self._weights("figure6")})

    @made("figures/figure7.pdf")
    def figure_7(self) -> Job:
        """PSNR on validation photographs against steps and device seconds."""
        runs = self.figure_runs("figure7")
        curves = [v for run in runs if (v := self.config.training_of(run.model).validation)]
        of = {v.source: f"the first {v.images} of " if v.images else "" for v in curves}
        names = [part + self._source_in_words(source) for source, part in sorted(of.items())]
        seeds = ", ".join(map(str, self.config.seeds))
        trained_on = self._source_in_words(self.config.data.train)
        parts = [f"x{self.figure_scale}", f"seed{'s' * (len(self.config.seeds) > 1)} {seeds}"]
        parts += [f"trained on {trained_on}", f"validated on {' and '.join(names)}"]
        settings = {
            "label": ", ".join(parts),
            "runs": [
                {
                    "model": self.model_label(run.model),
                    "method": self.method_label(run.method),
                    "files": len(self.chain(run)),
                }
                for run in runs
            ],
        }
        return Job(settings, {"chains": [product for run in runs for product in self.chain(run).values()]})

    @made("figures/training.pdf")
    def figure_training(self) -> Job:
        """Training curves."""
        runs = {run: self.stages(run) for run in self.figure_runs("training")}
        trained_on = self._source_in_words(self.config.data.train)
        settings = {
            "label": f"x{self.figure_scale}, seed {self.config.seeds[0]}, trained on {trained_on}",
            "runs": [
                {
                    "model": self.model_label(run.model),
                    "method": self.method_label(run.method),
                    "phases": [_panel(stage.settings) for stage in stages],
                }
                for run, stages in runs.items()
            ],
        }
        return Job(settings, {"stages": [stage for stages in runs.values() for stage in stages]})

    @made("figures/attribution.pdf")
    def figure_attribution(self) -> Job:
        """Importance and frozen share of each layer."""
        (run,) = self.figure_runs("attribution")
        masks = self.masks(run)
        if not masks:
            raise ValueError(
                f"figures.attribution: {run.method!r} uses no mask on {run.model!r} ({self.warning(run)})"
            )
        label = f"{self.method_label(run.method)} on {self._shown('attribution')['label']}"
        attribution = self.config.methods[run.method].attribution
        assert attribution, f"{run.method} has an attribution"
        settings = {"label": label, "modules": attribution.modules, **self.network(run.model, run.scale)}
        return Job(settings, {"masks": masks})

    def _scores(self, figure: str, source: str) -> list[Product]:
        return [self.score_sub_images(run, source) for run in self.figure_runs(figure)]

    def _weights(self, figure: str) -> list[Product]:
        return [self.deliver_weights(run) for run in self.figure_runs(figure)]

    def _shown(self, figure: str) -> dict[str, Any]:
        """What a figure calls what it shows."""
        runs = self.figure_runs(figure)
        trained_on = self._source_in_words(self.config.data.train)
        return {
            "label": f"{self.model_label(runs[0].model)}, x{self.figure_scale}, trained on {trained_on}",
            "methods": [self.method_label(run.method) for run in runs],
        }

    def _source_in_words(self, source: str) -> str:
        """Describe a source to readers of a figure."""
        section = self.config.sources[source]
        return f"{len(section.photos)} scikit-image photographs" if section.kind == "builtin" else source

    # ---- everything ----------------------------------------------------------------------------------------

    @remembered
    def targets(self) -> list[Product]:
        """List what the config is for: stages, masks, weights, tables and figures."""
        targets = [product for run in self.runs() for product in self.chain(run).values()]
        shown = [run for _, runs in self.shown_runs() for run in runs]
        targets += [self.deliver_weights(run) for run in dict.fromkeys([*shown, *self.runs()])]
        targets += [self.table_classes(), *map(self.table, self.tables)]
        return targets + [getattr(self, _figure_rule(name))() for name in self.figures]

    def files(self) -> list[str]:
        """List the files of `rule all`, under the results."""
        beside = BESIDE | {_figure_rule(name): (".png",) for name in self.figures}
        files = []
        for product in self.targets():
            suffixes = beside.get(product.rule, ())
            files += [product.path, *(str(Path(product.path).with_suffix(suffix)) for suffix in suffixes)]
        return files

    @remembered
    def products(self) -> dict[str, Product]:
        """Return everything that the targets need, by path, each after what it needs."""
        found: dict[str, Product] = {}

        def add(product: Product) -> None:
            if product.path not in found:
                for need in product.reads:
                    add(need)
                found[product.path] = product

        for target in self.targets():
            add(target)
        return found

    @remembered
    def forecast(self) -> dict[str, Any]:
        """Return what trains and attributes, for the references and every run, for `snakemake plan`."""
        references = [(self.reference_run(s), [self.train_reference(s)]) for s in self.trained_references]
        trained = references + [(run, list(self.chain(run).values())) for run in self.runs()]
        return {
            "results": self.config.results,
            "train": self.config.data.train,
            "images": self.training_images(),
            "jobs": [
                {
                    "run": {name: value for name, value in asdict(run).items() if name != "weights"},
                    "shown_in": [
                        name
                        for name, runs in self.shown_runs()
                        if any(run in (shown.trained, self.matched_run(shown)) for shown in runs)
                    ],
                    "settings": product.settings,
                    "matched": other.settings["method"]
                    if isinstance(other := product.needs.get("matched"), Product)
                    else None,
                    "path": product.path,
                    "key": product.key,
                }
                for run, products in trained
                for product in products
            ],
        }

    # ---- clusters ------------------------------------------------------------------------------------------

    @remembered
    def work(self, run: Run) -> list[Stage | Attribution]:
        """List what a run, or the training of a reference, computes, in order."""
        if run.method not in self.config.methods:
            return [Stage(**self.train_reference(run.scale).settings)]
        chain = self.chain(run.trained).items()
        return [(Attribution if name == MASK else Stage)(**made.settings) for (_, name), made in chain]

    def memory_mb(self, run: Run) -> int:
        """Return the memory to ask for each job of a run, in MB."""
        return max(map(memory_mb, self.work(run)))

    @remembered
    def minutes(self, run: Run) -> list[int]:
        """List the minutes to ask for each job of a run, in order."""
        images, cpu = self.training_images(), self.config.compute.device == "cpu"
        return [minutes(work, images, cpu=cpu) for work in self.work(run)]

    @remembered
    def training_images(self) -> int | None:
        """Count the training photographs; None where they must first be downloaded and no number is given."""
        section = self.config.sources[self.config.data.train]
        if isinstance(section, ArchiveSource):
            return section.images
        scales = list(self.config.scales) if getattr(section, "lr", None) else []
        return len({file.id for file in list_files(**section.model_dump(), scales=scales)})


def _panel(stage: dict[str, Any]) -> str:
    """Return the panel of a stage's training curve: its phase, and its loss where that is not the phase's."""
    phase, objective = stage["phase"], stage["objective"]
    return phase if objective == PHASES[phase][1] else f"{phase} {objective}"


def _figure_rule(name: str) -> str:
    """Return the rule of a figure: figure_1 of figure1, figure_training of training."""
    return f"figure_{name.removeprefix('figure')}"
