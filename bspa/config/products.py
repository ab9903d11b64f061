"""What each job makes, from photographs to scores, with its settings and its key.

A product's key is a digest of its job's settings, of the code that the job runs, and of the keys of what it
reads. So a change anywhere changes the key of everything behind it, whatever files happen to be there, and
the key in a file tells whether the file belongs to a config. Files under the results are not looked at; the
user's own files count by content.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeAlias

from bspa.config.code import code_digest, module_digests
from bspa.config.contents import Contents
from bspa.config.recipes import Phase, used_masks
from bspa.config.runs import Run, Runs, remembered
from bspa.config.schema import ArchiveSource, Config, scale_key
from bspa.data.sources import list_files
from bspa.metrics.catalogue import lpips_available
from bspa.system.files import is_address, user_path
from bspa.training.stage import OBJECTIVE_MODULES, Stage

BICUBIC = "bicubic"
SPANDREL = "bspa.models.spandrel"
MASK = "mask"

M = ParamSpec("M")
Needs: TypeAlias = Mapping[str, "Product | list[Product]"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Product:
    """What one job makes."""

    rule: str
    path: str
    """Its first file, under the results."""
    settings: dict[str, Any]
    """Plain values for the script, by sorted names."""
    needs: Needs
    """What the job reads, by names of inputs."""
    key: str
    """32 hexadecimal digits that stand for the settings, the code, and the keys of what the job reads."""
    code: str
    """16 hexadecimal digits that stand for the code; "" where no code counts."""
    counted: dict[str, Any]
    """What decides the result: the settings, or less or more than these."""
    modules: Mapping[str, str]
    """Digests of the script and of each module whose code counts."""

    @property
    def reads(self) -> list[Product]:
        """What the job reads."""
        return _flat(*self.needs.values())


@dataclass(frozen=True, slots=True)
class Job:
    """What decides a product. The code that counts is the script's, and the modules of `_chosen`."""

    settings: dict[str, Any]
    needs: Needs = field(default_factory=dict)
    counted: dict[str, Any] | None = None
    """What decides the result, where that is not the settings as they are."""


def made(path: str, *, script: str | None = None) -> Callable[[Callable[M, Job]], Callable[M, Product]]:
    """Turn a method that returns the job of the rule of its name into one that returns the product.

    Args:
        path: the product's first file under the results, with names of the method's arguments.
        script: the script whose code counts, if it has not the rule's name; "" if no code counts.
    """

    def decorate(method: Callable[M, Job]) -> Callable[M, Product]:
        rule, signature = method.__name__, inspect.signature(method)

        @remembered
        @functools.wraps(method)
        def make(*args: M.args, **kwargs: M.kwargs) -> Product:
            names = signature.bind(*args, **kwargs).arguments
            plan: Any = names["self"]
            return plan._product(rule, path.format(**names), method(*args, **kwargs), script)

        return make

    return decorate


class Products(Runs):
    """Methods with the name of a rule give the product of one job of that rule."""

    def __init__(self, config: Config, *, scripts: Path, contents: Contents):
        """Plan ``config``, given the folder of the workflow scripts and the digests of the user's files."""
        super().__init__(config)
        self._scripts = scripts
        self._contents = contents

    # ---- photographs ---------------------------------------------------------------------------------------

    # An edited downloader is no reason to download again.
    @made("data/archives/{archive}", script="")
    def fetch_archive(self, archive: str) -> Job:
        """An unpacked archive."""
        return Job(self.config.archives[archive].model_dump())

    @made("data/{source}/manifest.csv")
    def make_manifest(self, source: str) -> Job:
        """The manifest of a source. Photographs count by name and content, wherever they lie."""
        section = self.config.sources[source]
        values = section.model_dump(exclude={"images"})
        # Only given pairs differ between scales: for others, a new scale is no reason to make anything again.
        scales = list(self.config.scales) if values.get("lr") else []
        side, reason = self._minimum_side(source)
        counted: dict[str, Any] = {"scales": scales, "minimum_side": side}
        needs = {}
        if isinstance(section, ArchiveSource):
            counted["source"] = values
            folder = Path(self.config.results, "data/archives", section.archive, section.folder)
            values = {"kind": "folder", "path": str(folder), "hr": section.hr, "lr": section.lr}
            needs = {"archive": self.fetch_archive(section.archive)}
        else:
            counted["photographs"] = self._photographs(source, values, scales)
        settings = {"source": values, "scales": scales, "minimum_side": side, "minimum_side_reason": reason}
        return Job(settings, needs, counted)

    def _photographs(self, source: str, values: dict[str, Any], scales: Sequence[int]) -> str:
        """Digest the names and the content of a source's photographs."""
        try:
            files = list_files(**values, scales=scales)
        except ValueError as error:
            raise ValueError(f"sources.{source}: {error}") from None
        paths = [path for file in files for path in (file.path, file.lr_path) if path]
        names = [(file.id, file.scale) for file in files]
        return digest([names, self._contents.digest(paths)])

    def _minimum_side(self, source: str) -> tuple[int, str]:
        """Return the smallest side that every use of a source can work with, and what needs it."""
        sides = []
        for scale in self.config.scales:
            if source in (self.config.data.train, self.config.data.validation):
                size = self.grid(scale).size
                sides.append((size, f"sub-images of {size} pixels"))
            if source in {*self.config.data.benchmarks, *self.validation_sources}:
                needed = 11 + 2 * scale
                side = needed + -needed % scale  # the image is cut to a multiple of the scale first
                sides.append((side, f"SSIM's window of 11 pixels inside a cut border of {scale}"))
        return max(sides)

    @made("data/checked.txt")
    def check_data(self) -> Job:
        """The check of the sources against each other."""
        config = self.config
        settings = {
            "sources": self.sources,
            "train": config.data.train,
            "benchmarks": list(config.data.benchmarks),
            "validations": sorted(self.validation_sources),
            "grids": {str(scale): self.grid(scale).model_dump() for scale in sorted(config.scales)},
            "classes": {name: config.class_splits[name].classes for name in sorted(self.class_splits())},
        }
        return Job(settings, {"manifests": [self.make_manifest(name) for name in self.sources]})

    @made("data/{source}/x{scale}.h5")
    def pack_images(self, source: str, scale: int) -> Job:
        """The packed HR and LR images of a source."""
        data = self.config.data
        steps = [step.model_dump(exclude_none=True) for step in data.degradation]
        degraded = {"degradation": steps, "seed": data.degradation_seed} if source in self.degraded else {}
        counted = {"scale": scale, "border": data.border, "degraded": degraded}
        manifest = self.make_manifest(source)
        # Photographs that have moved are the same, but must be found.
        where = {name: manifest.settings[name] for name in ("source", "scales")}
        return Job(counted | where, {"manifest": manifest}, counted)

    @made("sub_images/{source}/x{scale}.h5")
    def crop_sub_images(self, source: str, scale: int) -> Job:
        """The windows of a source's sub-images."""
        return Job(self.grid(scale).model_dump(), {"packed": self.pack_images(source, scale)})

    # ---- difficulty ----------------------------------------------------------------------------------------

    @made("reference/x{scale}.safetensors")
    def import_reference(self, scale: int) -> Job:
        """The given reference network; a file counts by content."""
        weights = self.config.reference.weights[scale_key(scale)]
        network = self.network(self.config.reference.model, scale)
        counted = {**network, "weights": self._content_of(weights.file, weights.sha256)}
        return Job({**network, **weights.model_dump()}, counted=counted)

    @made("reference/x{scale}.safetensors")
    def train_reference(self, scale: int) -> Job:
        """The trained reference network: by uniform sampling and L1, as the baseline is."""
        run = self.reference_run(scale)
        training = self.config.training_of(run.model)
        spare = training.spare_steps
        phase = Phase(name="uniform", first_epoch=0, epochs=training.epochs, extra_steps=spare)
        packed = self.pack_images(self.config.data.train, scale)
        needs = {"packed": packed, **self._start(run), **self._checked(run)}
        return self._stage_job(run, self.stage(run, phase), needs)

    def _stage_job(self, run: Run, stage: Stage, needs: Needs) -> Job:
        """The job of a stage. On several devices sums are rounded otherwise, so that their number counts."""
        settings, devices = asdict(stage), self.config.models[run.model].devices
        return Job(settings, needs, {**settings, "devices": devices} if devices > 1 else None)

    def reference(self, scale: int) -> Product:
        """The reference network, given or trained."""
        return self.import_reference(scale) if scale in self.given_references else self.train_reference(scale)

    @made("difficulty/{source}/x{scale}/scores.h5", script="score_sub_images")
    def score_difficulty(self, source: str, scale: int) -> Job:
        """The difficulty of a source's sub-images."""
        reference = self.config.reference
        needs = {"windows": self.crop_sub_images(source, scale), "weights": self.reference(scale)}
        settings = {"border": scale if reference.border == "scale" else 0, "precision": reference.precision}
        return Job({"batch": reference.batch, **settings}, needs)

    @made("difficulty/{source}/x{scale}/{split}/thresholds.csv")
    def compute_thresholds(self, source: str, scale: int, split: str) -> Job:
        """The classes of a source's sub-images."""
        settings = self.config.class_splits[split].model_dump()
        return Job(settings, {"scores": self.score_difficulty(source, scale)})

    @made("shards/{source}/x{scale}/{split}")
    def write_class_shards(self, source: str, scale: int, split: str) -> Job:
        """The sub-images of each class."""
        needs = {"thresholds": self.compute_thresholds(source, scale, split)}
        return Job({"samples": self.config.shards}, needs)

    @made("informative/{source}/x{scale}/maps.h5")
    def map_informativeness(self, source: str, scale: int) -> Job:
        """SamplingAug's error maps."""
        size = self.grid(scale).size
        least = (2 * (scale + 6) // scale + 1) * scale  # `scale + 6` pixels on each side do not count
        if size < least:
            raise ValueError(
                f"sub_images.x{scale}.size: {size} is too small for sampling: informative; "
                f"allowed: {least} or more"
            )
        return Job({"patch": size}, {"packed": self.pack_images(source, scale)})

    @made("informative/{source}/x{scale}/{selection}.h5")
    def select_patches(self, source: str, scale: int, selection: str) -> Job:
        """SamplingAug's chosen patches."""
        settings = self.config.patch_selections[selection].model_dump()
        return Job(settings, {"maps": self.map_informativeness(source, scale)})

    # ---- training ------------------------------------------------------------------------------------------

    @made("start/{network}_x{scale}.safetensors")
    def import_start(self, network: str, scale: int) -> Job:
        """The given weights that a network's runs start from; a file counts by content."""
        weights = self.config.models[network].start[scale_key(scale)]
        built = self.network(network, scale)
        counted = {**built, "weights": self._content_of(weights.file, weights.sha256)}
        return Job({**built, **weights.model_dump()}, counted=counted)

    def _start(self, run: Run) -> dict[str, Product]:
        """What the first stage of a run starts from, if weights are given."""
        given = scale_key(run.scale) in self.config.models[run.model].start
        return {"start": self.import_start(run.model, run.scale)} if given else {}

    @made("networks/{model}_x{scale}.json")
    def check_network(self, model: str, scale: int) -> Job:
        """The check of a network that comes from another package."""
        side, batch = self.grid(scale).size // scale, self.config.training_of(model).batch
        return Job({**self.network(model, scale), "batch": batch, "side": side})

    def _checked(self, run: Run) -> dict[str, Product]:
        """The check that the first stage of a run waits for; none for the networks of this package."""
        if self.config.models[run.model].arch != "spandrel":
            return {}
        return {"network": self.check_network(run.model, run.scale)}

    def train_stage(self, run: Run, cycle: int, phase: str) -> Product:
        """The snapshot of a stage, or the mask of a cycle; a ValueError if the run has none."""
        chain = self.chain(run)
        if (cycle, phase) not in chain:
            found = ", ".join(f"cycle {number} {name}" for number, name in chain)
            raise ValueError(f"{run.name} has no {phase} in cycle {cycle}; it has {found}")
        return chain[cycle, phase]

    def attribute_parameters(self, run: Run, cycle: int) -> Product:
        """The mask of a cycle."""
        return self.train_stage(run, cycle, MASK)

    def stages(self, run: Run) -> list[Product]:
        """List the snapshots of a run, in order."""
        return [product for (_, name), product in self.chain(run).items() if name != MASK]

    def masks(self, run: Run) -> list[Product]:
        """List the masks of a run, in order."""
        return [product for (_, name), product in self.chain(run).items() if name == MASK]

    @remembered
    def chain(self, run: Run) -> dict[tuple[int, str], Product]:
        """The products of a run's stages and attributions, by cycle and phase, in the order they are made."""
        method, cycles, matched = self.config.methods[run.method], self.cycles(run), self.matched_run(run)
        attribution, attributed = method.attribution, used_masks(method, cycles)
        validation = self.config.training_of(run.model).validation
        packed = self.pack_images(self.config.data.train, run.scale)
        chain: dict[tuple[int, str], Product] = {}
        previous: Needs = {**self._start(run), **self._checked(run)}
        mask: Product | None = None
        for number, cycle in enumerate(cycles, 1):
            folder = f"training/{run.name}/cycle{number}"
            for phase in cycle.phases:
                stage = self.stage(run, phase)
                needs = {**previous, "packed": packed, **self._drawn_from(run, stage.sampling)}
                if attribution and mask and phase.name in attribution.phases:
                    needs["mask"] = mask
                if validation:
                    needs["validation"] = self.pack_images(validation.source, run.scale)
                if matched and phase is cycles[-1].phases[-1]:
                    needs["matched"] = self.deliver_weights(matched)
                    needs["spent_stages"] = [made for (_, name), made in chain.items() if name != MASK]
                    needs["spent_masks"] = [made for (_, name), made in chain.items() if name == MASK]
                rule, path = f"train_{phase.name}", f"{folder}/{phase.name}.safetensors"
                product = self._product(rule, path, self._stage_job(run, stage, needs), script="train_stage")
                previous = {"previous": product}
                chain[number, phase.name] = product
            if attribution and number in attributed:
                needs = {"packed": packed, "baseline": chain[number, "uniform"], "target": product}
                if mask and attribution.update == "cumulative":
                    needs["keep"] = mask
                job = Job(asdict(self.attribution(run, number)), needs)
                mask = self._product("attribute_parameters", f"{folder}/{MASK}.safetensors", job)
                chain[number, MASK] = mask
        return chain

    def _drawn_from(self, run: Run, sampling: str) -> dict[str, Product]:
        """What a stage draws its patches from, besides the packed images."""
        method, train = self.config.methods[run.method], self.config.data.train
        if sampling == "inverse":
            return {"source": self.write_class_shards(train, run.scale, method.class_split)}
        if sampling == "informative":
            return {"source": self.select_patches(train, run.scale, method.patch_selection)}
        return {}

    @made("models/{run.name}.safetensors")
    def deliver_weights(self, run: Run) -> Job:
        """The delivered weights of a run."""
        training = self.config.training_of(run.model)
        phases = [phase for cycle in self.cycles(run) for phase in cycle.phases]
        settings = {
            **self.network(run.model, run.scale),
            "select": run.weights or training.select or ("last" if training.ema is None else "average"),
            "validated_on": training.validation.source if training.validation else None,
            "model": run.model,
            "method": run.method,
            "seed": run.seed,
            "trained_on": self.config.data.train,
            "batch": str(training.batch),
            "hr_size": str(self.grid(run.scale).size),
            "losses": ", ".join(dict.fromkeys(self.stage(run, phase).objective for phase in phases)),
            **self.degradation_in_words,
        }
        start = list(self._start(run).values())
        needs: Needs = {"stages": self.stages(run.trained), "masks": self.masks(run.trained), "start": start}
        return Job(settings, needs)

    # ---- evaluation ----------------------------------------------------------------------------------------

    @made("evaluation/{run.name}/{benchmark}.csv")
    def evaluate(self, run: Run, benchmark: str) -> Job:
        """PSNR and SSIM of a run on a benchmark."""
        needs = {"packed": self.pack_images(benchmark, run.scale), "weights": self.deliver_weights(run)}
        return Job({"tile": self.config.compute.tile}, needs)

    @made("evaluation/bicubic_x{scale}/{benchmark}.csv")
    def evaluate_bicubic(self, scale: int, benchmark: str) -> Job:
        """PSNR and SSIM of bicubic interpolation on a benchmark."""
        settings = {"scale": scale, "border": self.config.data.border}
        return Job(settings, {"packed": self.pack_images(benchmark, scale)})

    @made("perceptual/niqe_model.npz")
    def fetch_niqe_model(self) -> Job:
        """NIQE's pristine model; a file counts by content."""
        niqe = self.config.perceptual.niqe
        if niqe is None:
            raise ValueError("perceptual.niqe is null in the config: there is no pristine model to fetch")
        return Job(niqe.model_dump(), counted={"model": self._content_of(niqe.file, niqe.sha256)})

    @made("perceptual/{run.name}/{benchmark}.csv")
    def evaluate_perceptual(self, run: Run, benchmark: str) -> Job:
        """NIQE and LPIPS of a run on a benchmark."""
        settings = {"tile": self.config.compute.tile, "lpips": lpips_available()}
        return Job(settings, {**self.evaluate(run, benchmark).needs, **self._niqe()})

    @made("perceptual/bicubic_x{scale}/{benchmark}.csv")
    def evaluate_perceptual_bicubic(self, scale: int, benchmark: str) -> Job:
        """NIQE and LPIPS of bicubic interpolation on a benchmark."""
        bicubic = self.evaluate_bicubic(scale, benchmark)
        return Job({**bicubic.settings, "lpips": lpips_available()}, {**bicubic.needs, **self._niqe()})

    @made("sub_image_scores/{run.name}/{source}.h5")
    def score_sub_images(self, run: Run, source: str) -> Job:
        """The error of a run's network on a source's sub-images."""
        needs = {"windows": self.crop_sub_images(source, run.scale), "weights": self.deliver_weights(run)}
        return Job({"batch": self.config.reference.batch, "border": 0, "precision": "float32"}, needs)

    # ---- keys ----------------------------------------------------------------------------------------------

    def _niqe(self) -> dict[str, Product]:
        return {"niqe": self.fetch_niqe_model()} if self.config.perceptual.niqe else {}

    def _content_of(self, file: str, sha256: str | None) -> str:
        """Digest a given file; an address counts by what it should hold, or by its name."""
        return f"{file} {sha256}" if is_address(file) else self._contents.digest([user_path(file)])

    def _product(self, rule: str, path: str, job: Job, script: str | None = None) -> Product:
        """Make a product; for ``script`` see `made`."""
        script = rule if script is None else script
        modules = tuple(sorted(set(_chosen(job))))
        digests, code = self._code(script, modules) if script else ({}, "")
        if script and SPANDREL in modules:
            code += f" spandrel {spandrel_version()}"
            digests = {**digests, "spandrel": spandrel_version()}
        counted = job.settings if job.counted is None else job.counted
        key = digest([rule, counted, code, sorted(need.key for need in _flat(*job.needs.values()))])
        settings = dict(sorted(job.settings.items()))
        return Product(
            rule=rule, path=path, settings=settings, needs=job.needs, key=key, code=code, counted=counted,
            modules=digests,
        )  # fmt: skip

    @remembered
    def _code(self, script: str, modules: tuple[str, ...]) -> tuple[dict[str, str], str]:
        digests = module_digests(self._scripts / f"{script}.py", modules)
        return digests, code_digest(digests)


def spandrel_version() -> str:
    """Return the version of spandrel, whose networks are no code of this package.

    Raises:
        ValueError: it is not installed.
    """
    try:
        return importlib.metadata.version("spandrel")
    except importlib.metadata.PackageNotFoundError:
        raise ValueError(
            "arch: spandrel: the package spandrel is not installed; install the extra: "
            "pip install 'bspa[spandrel]' (docs/extend.md, Networks of spandrel)"
        ) from None


def digest(value: Any) -> str:
    """Digest plain values: 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def lineage(targets: Iterable[Product]) -> dict[str, Product]:
    """Return products and all that they come from, by path, each after what it needs."""
    found: dict[str, Product] = {}

    def add(product: Product) -> None:
        if product.path not in found:
            for need in product.reads:
                add(need)
            found[product.path] = product

    for target in targets:
        add(target)
    return found


def _flat(*needs: Product | list[Product]) -> list[Product]:
    return [product for need in needs for product in (need if isinstance(need, list) else [need])]


def _chosen(job: Job) -> list[str]:
    """Name the modules of a job's network, sampling, objective and validation, and of its needs' networks."""
    networks = [job.settings, *(weights.settings for weights in _flat(job.needs.get("weights", [])))]
    modules = [f"bspa.models.{network['arch']}" for network in networks if "arch" in network]
    if "sampling" in job.settings:
        modules.append(f"bspa.sampling.{job.settings['sampling']}")
    if "objective" in job.settings:
        modules.append(OBJECTIVE_MODULES[job.settings["objective"]])
    if "validation" in job.needs:
        modules.append("bspa.training.validation")
    return modules
