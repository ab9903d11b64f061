"""What each job makes, from photographs to scores, with its settings and its key.

A product's key is a digest of its job's settings, of the code that the job runs, and of the keys of what it
reads. So a change anywhere changes the key of everything behind it, whatever files happen to be there, and
the key in a file tells whether the file belongs to a config. Files under the results are not looked at; the
user's own files count by content.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bspa.config.code import PACKAGE, code_digest
from bspa.config.contents import Contents
from bspa.config.product import Product, digest, remembered
from bspa.config.runs import MASK, Run, Runs
from bspa.config.schema import ArchiveSource, Config, scale_key
from bspa.data.sources import list_files
from bspa.metrics.catalogue import lpips_available
from bspa.training.stage import OBJECTIVE_MODULES, Stage

BICUBIC = "bicubic"
UNIFORM = "bspa.sampling.uniform"


class Products(Runs):
    """Methods with the name of a rule give the product of one job of that rule."""

    def __init__(self, config: Config, *, scripts: Path, contents: Contents):
        """Plan ``config``.

        Args:
            config: the checked settings.
            scripts: folder of the workflow scripts.
            contents: digests of the user's files.
        """
        super().__init__(config)
        self._scripts = scripts
        self._contents = contents

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

    def _photographs(self, source: str, values: dict[str, Any], scales: Sequence[int]) -> str:
        """Digest the names and the content of a source's photographs."""
        try:
            files = list_files(**values, scales=scales)
        except ValueError as error:
            raise ValueError(f"sources.{source}: {error}") from None
        paths = [path for file in files for path in (file.path, file.lr_path) if path]
        names = [(file.id, file.scale) for file in files]
        return digest([names, self._contents.digest(paths)])

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

    @remembered
    def import_reference(self, scale: int) -> Product:
        """The given reference network; a file counts by content."""
        weights = self.config.reference.weights[scale_key(scale)]
        network = self._network(self.config.reference.model, scale)
        settings = {**network, "file": weights.file, "sha256": weights.sha256}
        counted = {**network, "weights": self._content_of(weights.file, weights.sha256)}
        modules = [_module_of(network["arch"])]
        return self._product(
            "import_reference", _reference_path(scale), settings, modules=modules, counted=counted
        )

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
            script="score_sub_images",
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
        method = self.config.methods[run.method]
        packed = self.pack_images(self.config.data.train, run.scale)
        made: dict[tuple[int, str], Product] = {}
        for planned in self.stages(run):
            cycle, stage = planned.cycle, planned.stage
            previous, mask = self.previous(run, cycle, stage.phase), self.mask_in(run, cycle, stage.phase)
            needs = [packed, *self._drawn_from(run, stage)]
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

    def _drawn_from(self, run: Run, stage: Stage) -> list[Product]:
        """What a stage draws its patches from, besides the packed images."""
        method, train = self.config.methods[run.method], self.config.data.train
        if stage.sampling == "inverse":
            return [self.write_class_shards(train, run.scale, method.class_split)]
        if stage.sampling == "informative":
            return [self.select_patches(train, run.scale, method.patch_selection)]
        return []

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
        settings = {"batch": self.config.reference.batch, "precision": "float32"}
        return self._product(
            "score_sub_images",
            f"sub_image_scores/{run.name}/{source}.h5",
            settings,
            needs,
            modules=[self._architecture(run)],
        )

    # ---- what several products need ------------------------------------------------------------------------

    def _architecture(self, run: Run) -> str:
        return _module_of(self.config.models[run.model].arch)

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
        key = digest([rule, decides, code_key, sorted(need.key for need in needs)])
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
