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


def origin_of(rule):
    """What the product comes from, for its header; the key stands for it, too."""
    return lambda wildcards, output: origin(product(rule, wildcards), settings.results)
