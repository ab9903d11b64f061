"""Wildcards, threads, and the way from a job's wildcards to the plan."""

RUN = "{model}_x{scale}_{method}_seed{seed}"
DELIVERED = f"{RUN}{{weights}}"
CYCLE = f"<results>/training/{RUN}/cycle{{cycle}}"


def any_of(names):
    return "|".join(sorted(map(str, names), key=len, reverse=True)) or "(?!)"


wildcard_constraints:
    archive=any_of(settings.archives),
    source=any_of(settings.sources),
    benchmark=any_of(settings.data.benchmarks),
    scale="[2348]",
    split=any_of(settings.class_splits),
    selection=any_of(settings.patch_selections),
    model=any_of(settings.models),
    network=any_of(settings.models),
    method=any_of(settings.methods),
    seed="0|[1-9][0-9]*",
    weights="(_(last|average|best))?",
    cycle="[1-9][0-9]*",
    table=any_of(plan.tables),


def run_of(wildcards):
    """The training run that a job belongs to."""
    weights = wildcards.get("weights", "").removeprefix("_")
    return Run(wildcards.model, int(wildcards.scale), wildcards.method, int(wildcards.seed), weights)


def product(rule, wildcards, **more):
    """What a job of a rule makes, as planned."""
    values = {name: int(value) if name in ("scale", "cycle") else value for name, value in wildcards.items()}
    if "method" in values:
        values["run"] = run_of(wildcards)
        values = {name: value for name, value in values.items() if name not in Run.__match_args__}
    return planned(getattr(plan, rule), **values, **more)


def planned(function, *arguments, **values):
    """Ask the plan; a mistake of the user's is shown as a sentence."""
    try:
        return function(*arguments, **values)
    except ValueError as error:
        raise WorkflowError(str(error)) from None


# Where a job reads not a product's first file, but one beside it.
BESIDE = {"matched": ".json", "spent_stages": ".csv", "spent_masks": ".json"}


def needs_of(rule, **more):
    """What a job reads, by names of inputs, where its wildcards alone do not say it."""

    def files(wildcards):
        needs = product(rule, wildcards, **more).needs
        return {name: in_results(need, BESIDE.get(name)) for name, need in needs.items()}

    return files


def needed(rule, name, suffix=None):
    """The files of what a job needs under a name, or those of another suffix beside them."""
    return lambda wildcards: in_results(product(rule, wildcards).needs[name], suffix)


def in_results(need, suffix=None):
    """The file of a product, or the files of several."""
    if isinstance(need, list):
        return [in_results(one, suffix) for one in need]
    return f"<results>/{Path(need.path).with_suffix(suffix) if suffix else need.path}"


def wanted(path):
    """Whether to ask for a result: a report shows what there is."""
    return "--report" not in sys.argv or Path(settings.results, path).exists()


def key_of(rule, **more):
    """The key of the product: whatever changes it makes the job run again."""
    return lambda wildcards: product(rule, wildcards, **more).key


# Snakemake records no params whose function asks for the output: the key stands for these.
def settings_of(rule, **more):
    """What the script of the rule is told."""
    return lambda wildcards, output: product(rule, wildcards, **more).settings


def compute(wildcards, output):
    """Where to compute, which changes no result."""
    return {"device": settings.compute.device, "jobs_per_gpu": settings.compute.jobs_per_gpu}


def devices_of(wildcards):
    """How many devices train a stage together; without a model in its wildcards, it is the reference's."""
    return settings.models[wildcards.get("model", settings.reference.model)].devices


def stage_gpus(wildcards):
    """How many of the resource a stage takes: all there is, where that is less."""
    return GPU * min(devices_of(wildcards), available("gpu", devices_of(wildcards)))


def stage_threads(wildcards):
    """Threads of a stage, for its devices together."""
    return GPU_THREADS * (devices_of(wildcards) if settings.compute.threads == "auto" else 1)


def compute_stage(wildcards, output):
    """Where to compute a stage, and how often to save it."""
    return {
        **compute(wildcards, output),
        "devices": devices_of(wildcards),
        "save_every_seconds": settings.compute.save_every_seconds,
    }


def compute_run(wildcards, output):
    """The same for the stage of a run, and how many previews it writes, which changes no result either."""
    return {**compute_stage(wildcards, output), "previews": plan.previews(run_of(wildcards))}


# ---- clusters: what a job asks for, and which jobs are submitted together; local runs use none of it ----
ON_CLUSTER = workflow.nodes is not None
GPU = 0 if ON_CLUSTER and settings.compute.device == "cpu" else 1
# What a retry of a group may cost: it begins with the group's first job.
GROUP_MINUTES = 360


def trained_run(wildcards):
    """The run whose stage, attribution or weights a job makes; without a model, the reference's."""
    return run_of(wildcards) if "model" in wildcards.keys() else plan.reference_run(int(wildcards.scale))


def memory_of_run(wildcards, attempt):
    """MB of a job of a run; a retry gets more."""
    return planned(plan.memory_mb, trained_run(wildcards)) * attempt


def minutes_of_run(wildcards, attempt):
    """Minutes of a job of a run; a retry, which goes on where a stage was, gets more."""
    return max(planned(plan.minutes, trained_run(wildcards))) * attempt


def together(name, small=False):
    """The group of small jobs of a kind, and of whole runs that are short; a long stage is a job of its own."""

    def group(wildcards):
        short = sum(planned(plan.minutes, trained_run(wildcards))) <= GROUP_MINUTES
        return name if short else f"after_{name}" if small else None

    return group if ON_CLUSTER else None


def threads_of_job(jobs=1):
    """Threads of a heavy job: the real cores, or as many as --cores allows, shared by some jobs at a time."""
    if settings.compute.threads != "auto":
        return settings.compute.threads
    cores = len(os.sched_getaffinity(0))
    return max(1, min(cores, available("_cores", cores)) // jobs)


def available(resource, default):
    """How much of a resource this run of Snakemake may use."""
    amount = workflow.global_resources.get(resource)
    return default if amount is None or amount.value is None else amount.value


THREADS = threads_of_job()
# All that this run may use: nothing runs beside such a job.
ALL_CORES = available("_cores", len(os.sched_getaffinity(0)))
# Jobs that compute on a GPU leave cores to each other: with all cores each, one would run at a time.
GPU_THREADS = threads_of_job(jobs=1 if ON_CLUSTER else max(1, available("gpu", 1)))
