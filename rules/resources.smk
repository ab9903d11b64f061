"""What jobs ask for: devices, threads, memory and time; and, on a cluster, which of them are submitted together."""

ON_CLUSTER = workflow.nodes is not None
GPU = 0 if ON_CLUSTER and settings.compute.device == "cpu" else 1


def available(resource, default):
    """How much of a resource this run of Snakemake may use."""
    amount = workflow.global_resources.get(resource)
    return default if amount is None or amount.value is None else amount.value


def threads_of_job(jobs=1):
    """Threads of a heavy job: the real cores, or as many as --cores allows, shared by some jobs at a time."""
    if settings.compute.threads != "auto":
        return settings.compute.threads
    cores = len(os.sched_getaffinity(0))
    return max(1, min(cores, available("_cores", cores)) // jobs)


THREADS = threads_of_job()
# All that this run may use: nothing runs beside such a job.
ALL_CORES = available("_cores", len(os.sched_getaffinity(0)))
# Jobs that compute on a GPU leave cores to each other: with all cores each, one would run at a time.
GPU_THREADS = threads_of_job(jobs=1 if ON_CLUSTER else max(1, available("gpu", 1)))


def devices_of(wildcards):
    """How many devices train a stage together; without a model in its wildcards, it is the reference's."""
    return settings.models[wildcards.get("model", settings.reference.model)].devices


def stage_gpus(wildcards):
    """How many of the resource a stage takes: all there is, where that is less."""
    return GPU * min(devices_of(wildcards), available("gpu", devices_of(wildcards)))


def stage_threads(wildcards):
    """Threads of a stage, for its devices together."""
    return GPU_THREADS * (devices_of(wildcards) if settings.compute.threads == "auto" else 1)


def compute(wildcards, output):
    """Where to compute, which changes no result."""
    return {"device": settings.compute.device, "jobs_per_gpu": settings.compute.jobs_per_gpu}


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


# ---- clusters; local runs use none of it ----
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
