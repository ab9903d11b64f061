"""Names, wildcard constraints, and what several chapters' rules share."""

from pathlib import Path

from snakemake.iocontainers import Wildcards

SPLITS = settings.class_splits
TABLES = settings.shown_tables()
RUN = "{model}_x{scale}_{method}_seed{seed}"


def any_of(names):
    return "|".join(sorted(names, key=len, reverse=True))


wildcard_constraints:
    archive=any_of(settings.archives) or "(?!)",
    source=any_of(settings.sources),
    benchmark=any_of(settings.data.benchmarks),
    scale="[234]",
    split=any_of(SPLITS),
    selection=any_of(settings.patch_selections) or "(?!)",
    model=any_of(settings.models),
    method=any_of(settings.methods),
    seed="0|[1-9][0-9]*",
    cycle="[1-9][0-9]*",
    table=any_of(TABLES) or "(?!)",


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


def run_wildcards(run):
    """The wildcards of a run, for functions of wildcards."""
    return Wildcards(fromdict={name: str(value) for name, value in run._asdict().items()})


def models():
    return [f"results/models/{RUN}.safetensors".format(**run._asdict()) for run in settings.runs()]


def tables():
    return ["results/tables/classes.csv"] + [
        f"results/tables/{name}.{suffix}" for name in TABLES for suffix in ("csv", "md", "tex")
    ]


def figures():
    names = ["figure1", *(name for name, shown in settings.figures if shown)]
    return [f"results/figures/{name}.{suffix}" for name in names for suffix in ("pdf", "png")]


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
    try:
        return plan_cycles(settings, wildcards.model, wildcards.method)
    except ValueError as error:
        raise WorkflowError(str(error)) from None


def cycle_of(wildcards):
    cycles = cycles_of(wildcards)
    number = int(wildcards.cycle)
    if number > len(cycles):
        raise WorkflowError(
            f"{wildcards.method} on {wildcards.model} has {len(cycles)} cycles; cycle {number} was asked for"
        )
    return cycles[number - 1]


def stage_of(wildcards, number, phase):
    """A stage's files, without suffix."""
    return f"{CYCLE}/{phase}".format(**{**wildcards, "cycle": number})


def stages_of(wildcards):
    """The stages of a run, in order, without suffix."""
    return [
        stage_of(wildcards, number, phase.name)
        for number, cycle in enumerate(cycles_of(wildcards), 1)
        for phase in cycle.phases
    ]


def mask_of(wildcards, number):
    return f"{CYCLE}/mask.safetensors".format(**{**wildcards, "cycle": number})


def masks_of(wildcards):
    """The attributions of a run whose masks a later cycle uses, without suffix."""
    count = len(cycles_of(wildcards)) if settings.methods[wildcards.method].attribution else 1
    return [f"{CYCLE}/mask".format(**{**wildcards, "cycle": number}) for number in range(1, count)]


def before(wildcards, phase):
    """What a stage starts from: the previous snapshot, and the mask that holds in it; nothing for the first."""
    number = int(wildcards.cycle)
    stages = stages_of(wildcards)
    this = stages.index(stage_of(wildcards, number, phase))
    files = {"previous": f"{stages[this - 1]}.safetensors"} if this else {}
    attribution = settings.methods[wildcards.method].attribution
    if attribution and number > 1 and phase in attribution.phases:
        files["mask"] = mask_of(wildcards, number - 1)
    return files


def loss_of(method, phase):
    """What a stage minimises: UDN's two have losses of their own."""
    return phase if phase in ("uncertainty", "weighted") else settings.methods[method].loss


def stage_settings(wildcards, phase):
    """Everything that decides what a stage computes, besides its inputs."""
    stage = cycle_of(wildcards).phase(phase)
    if stage is None:
        raise WorkflowError(f"{wildcards.method}: cycle {wildcards.cycle} has no stage {phase!r}")
    values = settings.training_of(wildcards.model)
    return plain(
        values.model_dump(exclude={"epochs"}),
        **network(wildcards.model),
        scale=int(wildcards.scale),
        seed=int(wildcards.seed),
        loss=loss_of(wildcards.method, phase),
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
        return {"keep": mask_of(wildcards, number - 1)}
    return {}


def informative_settings(wildcards):
    """SamplingAug looks at a patch without `scale + 6` pixels on each side."""
    scale, size = int(wildcards.scale), grid(wildcards.scale).size
    least = (2 * (scale + 6) // scale + 1) * scale
    if size < least:
        raise WorkflowError(
            f"sub_images.x{scale}.size: {size} is too small for sampling: informative; {least} or more are needed"
        )
    return plain(patch=size)


# ---- evaluation ------------------------------------------------------------

LPIPS = lpips_available()


def niqe_model(wildcards):
    return {"niqe": "results/perceptual/niqe_model.npz"} if settings.perceptual.niqe else {}


def given_niqe_model(wildcards):
    """The given file, so that a change of it is noticed; nothing where it is an address."""
    file = settings.perceptual.niqe.file
    return [] if "://" in file else [str(Path(file).expanduser())]


# ---- tables ----------------------------------------------------------------

QUALITY = ("psnr", "ssim")
PERCEPTUAL = ("niqe", "lpips")


def used_splits():
    """The class splits of the recipes that are shown, the first recipe's first; any where none samples by class."""
    methods = [settings.methods[name] for name in dict.fromkeys(run.method for run in settings.runs())]
    used = dict.fromkeys(
        method.class_split for method in methods if method.sampling in ("inverse", "alternating")
    )
    return list(used) or list(SPLITS)[:1]


def class_rows():
    return [{"scale": scale, "split": split} for scale in settings.scales for split in used_splits()]


def label_of(section, name):
    return section[name].label or name


def table_runs(table):
    """The runs of a table: the same for every metric and benchmark."""
    return [
        dict(model=model, scale=scale, method=method, seed=seed)
        for scale in settings.scales_of(table)
        for model in table.models
        for method in table.methods
        for seed in settings.seeds
    ]


def table_evaluations(table):
    """What each file of scores in a table is of: bicubic interpolation first, then every run."""
    kinds = [
        metrics for metrics in (QUALITY, PERCEPTUAL) if any(metric in table.metrics for metric in metrics)
    ]
    rows = [
        dict(model="bicubic", label="bicubic", scale=scale, method="bicubic", method_label="bicubic", seed=0)
        for scale in settings.scales_of(table)
    ]
    rows += [
        dict(
            run,
            label=label_of(settings.models, run["model"]),
            method_label=label_of(settings.methods, run["method"]),
        )
        for run in table_runs(table)
    ]
    return [
        dict(row, benchmark=benchmark, metrics=list(metrics))
        for row in rows
        for benchmark in settings.benchmarks_of(table)
        for metrics in kinds
    ]


def evaluation_of(row):
    folder = "perceptual" if row["metrics"] == list(PERCEPTUAL) else "evaluation"
    run = "bicubic_x{scale}" if row["model"] == "bicubic" else RUN
    return f"results/{folder}/{run}/{{benchmark}}.csv".format(**row)


def table_settings(wildcards):
    table = settings.table(wildcards.table)
    return plain(
        table=wildcards.table,
        caption=table.caption,
        paper=table.paper,
        metrics=list(table.metrics),
        benchmarks=settings.benchmarks_of(table),
        baseline=table.methods[0],
        seeds=list(settings.seeds),
        trained_on=settings.data.train,
        evaluations=table_evaluations(table),
        runs=table_runs(table),
    )


# ---- figures ---------------------------------------------------------------

FIGURE_SCALE = max(settings.scales)


def figure(name):
    """What a figure shows."""
    shown = getattr(settings.figures, name)
    if shown is None:
        raise WorkflowError(f"figures.{name} is null in the config: there is no such figure")
    return shown


def figure_runs(name):
    """The runs that a figure shows, network by network."""
    shown = figure(name)
    methods = getattr(shown, "methods", None) or [shown.method]
    names = getattr(shown, "models", None) or [shown.model]
    return [
        dict(model=model, scale=FIGURE_SCALE, method=method, seed=settings.seeds[0])
        for model in names
        for method in methods
    ]


def figure_label(name, source):
    """What a figure is of, for its corner."""
    return f"{label_of(settings.models, figure(name).model)} x{FIGURE_SCALE}, {source}"


def shown_regions():
    return [
        plain(region) for region in figure("figure6").regions if region.benchmark in settings.data.benchmarks
    ]


def figure_labels(name, source):
    methods = [label_of(settings.methods, method) for method in figure(name).methods]
    return plain(label=figure_label(name, source), methods=methods)


def figure_weights(name):
    return [f"results/models/{RUN}.safetensors".format(**run) for run in figure_runs(name)]


def figure_scores(name, source):
    return [f"results/sub_image_scores/{RUN}/{source}.h5".format(**run) for run in figure_runs(name)]


def training_stages():
    """The stages of the runs whose curves are drawn: file without suffix, and what it is of."""
    stages = []
    for run in figure_runs("training"):
        wildcards = Wildcards(fromdict={name: str(value) for name, value in run.items()})
        stages += [
            (
                stage_of(wildcards, number, phase.name),
                dict(
                    model=run["model"],
                    model_label=label_of(settings.models, run["model"]),
                    method=run["method"],
                    method_label=label_of(settings.methods, run["method"]),
                    cycle=number,
                    phase=phase.name,
                ),
            )
            for number, cycle in enumerate(cycles_of(wildcards), 1)
            for phase in cycle.phases
        ]
    return stages


def attribution_masks():
    """The masks of the run whose layers are drawn: of every cycle that ends with an attribution."""
    (run,) = figure_runs("attribution")
    wildcards = Wildcards(fromdict={name: str(value) for name, value in run.items()})
    return [
        mask_of(wildcards, number)
        for number, cycle in enumerate(cycles_of(wildcards), 1)
        if cycle.phase("inverse")
    ]


def snapshots():
    """Every stage of every run, so that one whose file is deleted is trained again."""
    files = []
    for run in settings.runs():
        wildcards = run_wildcards(run)
        files += [f"{stage}.safetensors" for stage in stages_of(wildcards) + masks_of(wildcards)]
    return files


# ---- plan ------------------------------------------------------------------


def planned_run(model, scale, method, seed, phases, attribution=None):
    values = settings.training_of(model)
    return plain(
        network(model),
        model=model,
        scale=scale,
        method=method,
        seed=seed,
        patch=grid(scale).size,
        batch=values.batch,
        repeat=values.repeat,
        ema=values.ema,
        phases=phases,
        attribution=attribution,
    )


def planned_runs():
    """Every training run: of the reference where it is not given, then of the recipes."""
    name = settings.reference.model
    epochs = settings.training_of(name).epochs
    runs = [
        planned_run(
            name,
            int(scale),
            "(reference)",
            settings.reference.seed,
            [dict(name="uniform", loss="l1", epochs=epochs)],
        )
        for scale in TRAINED
    ]
    for run in settings.runs():
        cycles = cycles_of(run_wildcards(run))
        phases = [
            dict(name=phase.name, loss=loss_of(run.method, phase.name), epochs=phase.epochs)
            for cycle in cycles
            for phase in cycle.phases
        ]
        attribution = settings.methods[run.method].attribution
        if attribution:
            attribution = dict(
                count=len(masks_of(run_wildcards(run))),
                steps=attribution.steps,
                batches=attribution.batches,
                loss=settings.methods[run.method].loss,
            )
        runs.append(planned_run(*run, phases, attribution))
    return runs


def planned_scoring(model, scale, method, source, precision="float32"):
    return plain(
        network(model),
        model=model,
        scale=scale,
        method=method,
        source=source,
        batch=settings.reference.batch,
        precision=precision,
        grid=plain(grid(scale)),
    )


def planned_scorings():
    """Every scoring of sub-images: their difficulty, then what figures 3 to 5 show."""
    train, validation = settings.data.train, settings.data.validation
    difficulty = [(scale, train) for scale in settings.scales]
    if settings.figures.figure3:
        difficulty.append((FIGURE_SCALE, validation))
    by_runs = [
        ("figure3", train),
        ("figure3", validation),
        ("figure4", validation),
        ("figure5", train),
    ]
    reference, precision = settings.reference.model, settings.reference.precision
    keys = [(reference, scale, "(reference)", source, precision) for scale, source in difficulty]
    keys += [
        (run["model"], run["scale"], run["method"], source)
        for name, source in by_runs
        if getattr(settings.figures, name)
        for run in figure_runs(name)
    ]
    return [planned_scoring(*key) for key in dict.fromkeys(keys)]


def plan_settings(wildcards):
    train, validation = settings.data.train, settings.data.validation
    source = settings.sources[train]
    there = source.kind != "archive" or Path("results/data/archives", source.archive).exists()
    return plain(
        train=train,
        source=source_values(Wildcards(fromdict={"source": train})) if there else None,
        scales=list(settings.scales),
        images=getattr(source, "images", None),
        precision=settings.compute.precision,
        runs=planned_runs(),
        scorings=planned_scorings(),
        manifests={name: f"results/data/{name}/manifest.csv" for name in sorted({train, validation})},
    )
