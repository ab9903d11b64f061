"""Names, wildcard constraints, and what several chapters' rules share."""

from pathlib import Path

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


def compute_threads():
    """Threads of a heavy job: the real cores, whatever --cores says."""
    if settings.compute.threads == "auto":
        return len(os.sched_getaffinity(0))
    return settings.compute.threads


THREADS = compute_threads()


def network(model):
    """What builds a network."""
    return plain(arch=settings.models[model].arch, options=plain(settings.models[model].options))


def grid(scale):
    return settings.sub_images[f"x{scale}"]


def runs(scales=None):
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
