"""Names, wildcard constraints, and what several chapters' rules share."""

from pathlib import Path

from snakemake.iocontainers import Wildcards

SPLITS = settings.class_splits
RUN = "{model}_x{scale}_{method}_seed{seed}"


def any_of(names):
    return "|".join(sorted(names, key=len, reverse=True))


wildcard_constraints:
    archive=any_of(settings.archives) or "(?!)",
    source=any_of(settings.sources),
    benchmark=any_of(settings.data.benchmarks),
    scale="[234]",
    split=any_of(SPLITS),
    model=any_of(settings.models),
    method=any_of(settings.methods),
    seed="0|[1-9][0-9]*",
    cycle="[1-9][0-9]*",


def plain(section=None, **more):
    """One plain dict with sorted keys, for a rule's params.

    Snakemake compares the params as a set of texts, without their names: of two numbers in params of their own,
    one that changes to the other goes unnoticed. So each rule has all its values in one dict.
    """
    values = section if isinstance(section, dict) else section.model_dump() if section else {}
    return dict(sorted({**values, **more}.items()))


def code(script):
    """Digest of the library code that a script runs; in params, so that a change of it is noticed."""
    return code_digest(Path(workflow.basedir) / "workflow_scripts" / f"{script}.py")


def compute_threads(share=1):
    """Threads of a heavy job: the real cores, or as few as --cores allows, divided among ``share`` jobs."""
    if settings.compute.threads != "auto":
        return settings.compute.threads
    cores = len(os.sched_getaffinity(0))
    return max(1, min(cores, available("_cores", cores)) // share)


def available(resource, default):
    """How much of a resource this run of Snakemake may use."""
    amount = workflow.global_resources.get(resource)
    return default if amount is None or amount.value is None else amount.value


THREADS = compute_threads()
# Jobs that compute on a GPU leave cores to each other: with all cores each, one would run at a time.
GPU_THREADS = compute_threads(share=max(1, available("gpu", 1)))


def network(model):
    """What builds a network."""
    return plain(arch=settings.models[model].arch, options=plain(settings.models[model].options))


def grid(scale):
    return settings.sub_images[f"x{scale}"]


def runs():
    """The runs of Table 4: (model, scale, method, seed)."""
    table = settings.tables.table4
    return [
        dict(model=model, scale=scale, method=method, seed=seed)
        for scale in settings.scales
        for model in table.models
        for method in table.methods
        for seed in settings.seeds
    ]


def models():
    return [f"results/models/{RUN}.safetensors".format(**run) for run in runs()]


def tables():
    return ["results/tables/classes.csv"] + [
        f"results/tables/table4.{suffix}" for suffix in ("csv", "md", "tex")
    ]


def figures():
    return [f"results/figures/figure1.{suffix}" for suffix in ("pdf", "png")]


def log_of(name):
    """Where a rule logs; the name holds the rule's own wildcards."""
    return f"results/logs/{name}.log"


def benchmark_of(name):
    """Where Snakemake notes a job's time, memory and input/output."""
    return f"results/benchmarks/{name}.tsv"


# ---- photographs -----------------------------------------------------------

USED_SOURCES = sorted({settings.data.train, settings.data.validation, *settings.data.benchmarks})


def source_values(wildcards):
    """The source for the script; an archive's becomes the folder it is unpacked to."""
    source = settings.sources[wildcards.source]
    if source.kind != "archive":
        return plain(source)
    folder = Path("results/data/archives", source.archive, source.folder)
    return plain(kind="folder", path=str(folder), hr=source.hr, lr=source.lr)


def source_files(wildcards):
    """The photographs of a folder, so that a new, changed or missing one is noticed."""
    source = settings.sources[wildcards.source]
    if source.kind == "archive":
        return [f"results/data/archives/{source.archive}"]
    if source.kind == "builtin":
        return []
    folders = [Path(source.path.replace("{scale}", str(scale))).expanduser() for scale in settings.scales]
    nested = any("/" in pattern for pattern in (source.hr, source.lr) if pattern)
    files = {file for folder in folders for file in (folder.rglob("*") if nested else folder.glob("*"))}
    # What cannot be read is left for make_manifest to complain about; Snakemake cannot name files with braces.
    return sorted(
        str(file)
        for file in files
        if file.is_file()
        and os.access(file, os.R_OK)
        and not file.name.startswith(".")
        and not {"{", "}"} & set(str(file))
    )


def minimum_side(wildcards):
    """The smallest image that every use of the source can work with, and why."""
    sides = []
    name = wildcards.source
    if name in (settings.data.train, settings.data.validation):
        sides += [(grid(scale).size, f"sub-images of {grid(scale).size} pixels") for scale in settings.scales]
    if name in settings.data.benchmarks:
        for scale in settings.scales:
            needed = 11 + 2 * scale
            side = needed + -needed % scale  # the image is cut to a multiple of the scale first
            sides.append((side, f"SSIM's window of 11 pixels inside a cut border of {scale}"))
    return max(sides)


def manifest_settings(wildcards):
    side, reason = minimum_side(wildcards)
    source = source_values(wildcards)
    return plain(
        source=source,
        # Of no use but to given pairs: without them, a new scale is no reason to train the others again.
        scales=list(settings.scales) if source.get("lr") else [],
        minimum_side=side,
        minimum_side_reason=reason,
    )


# ---- difficulty ------------------------------------------------------------

GIVEN = [key.removeprefix("x") for key in settings.reference.weights]
TRAINED = [str(scale) for scale in settings.scales if str(scale) not in GIVEN]


def given_weights(wildcards):
    """The given file, so that a change of it is noticed; nothing where it is an address."""
    file = settings.reference.weights[f"x{wildcards.scale}"].file
    return [] if "://" in file else [file]


def reference_settings(wildcards):
    """The reference is trained as the baseline is: uniform sampling and L1."""
    name = settings.reference.model
    return plain(
        settings.training_of(name).model_dump(),
        **network(name),
        scale=int(wildcards.scale),
        seed=settings.reference.seed,
        loss="l1",
        precision=settings.compute.precision,
        patch=grid(wildcards.scale).size,
        first_epoch=0,
        counts=True,
        total_epochs=settings.training_of(name).epochs,
    )


# ---- training --------------------------------------------------------------

CYCLE = f"results/training/{RUN}/cycle{{cycle}}"
TRAIN_PACKED = f"results/data/{settings.data.train}/x{{scale}}.h5"


def cycles_of(wildcards):
    return plan_cycles(settings, wildcards.model, wildcards.method)


def cycle_of(wildcards):
    cycles = cycles_of(wildcards)
    number = int(wildcards.cycle)
    if number > len(cycles):
        raise WorkflowError(
            f"{wildcards.method} on {wildcards.model} has {len(cycles)} cycles; cycle {number} was asked for"
        )
    return cycles[number - 1]


def file_of_cycle(wildcards, number, name):
    return f"{CYCLE}/{name}.safetensors".format(**{**wildcards, "cycle": number})


def before(wildcards, phase):
    """What a stage starts from: the previous snapshot, and the mask that holds in it; nothing for the first."""
    number = int(wildcards.cycle)
    files = {}
    if phase == "inverse" and cycle_of(wildcards).uniform:
        files["previous"] = file_of_cycle(wildcards, number, "uniform")
    elif number > 1:
        last = cycles_of(wildcards)[number - 2].last_phase
        files["previous"] = file_of_cycle(wildcards, number - 1, last)
    attribution = settings.methods[wildcards.method].attribution
    if attribution and number > 1 and phase in attribution.phases:
        files["mask"] = file_of_cycle(wildcards, number - 1, "mask")
    return files


def stage_settings(wildcards, phase):
    """Everything that decides what a stage computes, besides its inputs."""
    cycle = cycle_of(wildcards)
    values = settings.training_of(wildcards.model)
    method = settings.methods[wildcards.method]
    stage = cycle.uniform if phase == "uniform" else cycle.inverse
    return plain(
        values.model_dump(exclude={"epochs"}),
        **network(wildcards.model),
        scale=int(wildcards.scale),
        seed=int(wildcards.seed),
        loss=method.loss,
        precision=settings.compute.precision,
        patch=grid(wildcards.scale).size,
        first_epoch=stage.first_epoch,
        epochs=stage.epochs,
        counts=stage.counts,
        total_epochs=values.epochs,
    )


def attribution_settings(wildcards):
    """The settings of one attribution: the share of frozen units is beta * e / T."""
    attribution = settings.methods[wildcards.method].attribution
    values = settings.training_of(wildcards.model)
    return plain(
        attribution.model_dump(exclude={"phases"}),
        **network(wildcards.model),
        scale=int(wildcards.scale),
        seed=int(wildcards.seed),
        loss=settings.methods[wildcards.method].loss,
        batch=values.batch,
        patch=grid(wildcards.scale).size,
        cycle=int(wildcards.cycle),
        epoch=cycle_of(wildcards).end_epoch,
        total_epochs=cycles_of(wildcards)[-1].end_epoch,
    )


def previous_mask(wildcards):
    """With `update: cumulative`, the mask that the next one extends."""
    attribution = settings.methods[wildcards.method].attribution
    number = int(wildcards.cycle)
    if attribution.update == "cumulative" and number > 1:
        return {"keep": file_of_cycle(wildcards, number - 1, "mask")}
    return {}


def stages_of(wildcards):
    """The stages of a run, in order, without suffix."""
    return [
        f"{CYCLE}/{phase}".format(**{**wildcards, "cycle": number})
        for number, cycle in enumerate(cycles_of(wildcards), 1)
        for phase in ("uniform", "inverse")
        if getattr(cycle, phase)
    ]


def masks_of(wildcards):
    """The attributions of a run whose masks a later cycle uses."""
    count = len(cycles_of(wildcards)) if settings.methods[wildcards.method].attribution else 1
    return [f"{CYCLE}/mask".format(**{**wildcards, "cycle": number}) for number in range(1, count)]


# ---- tables ----------------------------------------------------------------


def used_splits():
    """The class splits of the recipes in the tables, the first recipe's first; `default` where none samples by class."""
    methods = [settings.methods[name] for name in settings.tables.table4.methods]
    used = dict.fromkeys(method.class_split for method in methods if method.sampling != "uniform")
    return list(used) or list(SPLITS)[:1]


def class_rows():
    return [{"scale": scale, "split": split} for scale in settings.scales for split in used_splits()]


def table4_rows():
    """One row of scores each: bicubic interpolation first, then every run, on every benchmark."""
    bicubic = [
        dict(scale=scale, model="bicubic", label="bicubic", method="bicubic", seed=0, benchmark=benchmark)
        for scale in settings.scales
        for benchmark in settings.data.benchmarks
    ]
    trained = [
        dict(
            run,
            label=settings.models[run["model"]].label or run["model"],
            method_label=settings.methods[run["method"]].label or run["method"],
            benchmark=benchmark,
        )
        for run in runs()
        for benchmark in settings.data.benchmarks
    ]
    return bicubic + trained


def evaluation_of(row):
    if row["model"] == "bicubic":
        return "results/evaluation/bicubic_x{scale}/{benchmark}.csv".format(**row)
    return f"results/evaluation/{RUN}/{{benchmark}}.csv".format(**row)


def snapshots():
    """Every stage of every run, so that one whose file is deleted is trained again."""
    files = []
    for run in runs():
        wildcards = Wildcards(fromdict={name: str(value) for name, value in run.items()})
        files += [f"{stage}.safetensors" for stage in stages_of(wildcards) + masks_of(wildcards)]
    return files
